"""Faults put into the processes of a run, drivers and workers alike, without a hook in the product."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_INJECT = '''\
import importlib.abc
import sys

FAULTS = {faults!r}


class Inject(importlib.abc.MetaPathFinder):
    """Runs a fault at the end of its module."""

    def find_spec(self, name, path, target=None):
        code = FAULTS.pop(name, None)
        if code is None:
            return None
        from importlib.util import find_spec

        spec = find_spec(name)
        execute = spec.loader.exec_module

        def with_fault(module):
            execute(module)
            exec(code, vars(module))

        spec.loader.exec_module = with_fault
        return spec


sys.meta_path.insert(0, Inject())
'''

_STUCK_CELL = """\
whole = _measured
def _measured(inputs):
    if next(iter(inputs)).backbone.source == "control:noise":
        import os, ray, time
        with open({node!r} + ".pid", "w") as file:
            file.write(str(os.getpid()))
        with open({node!r}, "w") as file:
            file.write(ray.get_runtime_context().get_node_id())
        while not os.path.exists({go!r}):
            time.sleep(0.1)
    yield from whole(inputs)
"""


def stuck_cell(folder: Path) -> dict[str, str]:
    """The environment in which the cell of the control noise names its node in a file, and waits for a file `go`."""
    return inject(
        folder, {"sweep.engine.trial": _STUCK_CELL.format(node=str(folder / "node"), go=str(folder / "go"))}
    )


def inject(folder: Path, faults: Mapping[str, str]) -> dict[str, str]:
    """The environment in which code runs at the end of some modules, in every process of a run with two places."""
    place = folder / "fault"
    place.mkdir()
    (place / "sitecustomize.py").write_text(_INJECT.format(faults=dict(faults)))
    path = os.pathsep.join(filter(None, [str(place), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "RAY_OVERRIDE_RESOURCES": '{"CPU": 2}'}
