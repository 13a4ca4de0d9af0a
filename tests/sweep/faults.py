"""Faults put into the processes of a run, drivers and workers alike, without a hook in the product."""

from __future__ import annotations

import os
from pathlib import Path

_INJECT = '''\
import importlib.abc
import sys


class Inject(importlib.abc.MetaPathFinder):
    """Runs the fault when its module has been imported."""

    def find_spec(self, name, path, target=None):
        if name != {module!r}:
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec
        spec = find_spec(name)
        execute = spec.loader.exec_module
        def with_fault(module):
            execute(module)
            exec({code!r}, vars(module))
        spec.loader.exec_module = with_fault
        return spec


sys.meta_path.insert(0, Inject())
'''


def inject(folder: Path, module: str, code: str) -> dict[str, str]:
    """The environment in which `code` runs at the end of a module, in every process of a run."""
    place = folder / "fault"
    place.mkdir()
    (place / "sitecustomize.py").write_text(_INJECT.format(module=module, code=code))
    path = os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path}
