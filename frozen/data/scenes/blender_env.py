"""Makes the environment that renders: `python -m frozen.data.scenes.blender_env`.

The package bpy is a whole Blender, but for one version of Python and with its own numpy, so it gets a virtual
environment of its own. About 370 MB are downloaded, and the folder takes about 1.2 GB.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from frozen.data.scenes.blender._find import ENVIRONMENT_FOLDER, environment_python
from frozen.terminal import complain, say

REQUIREMENT = "bpy==5.0.1"
_PYTHON = (3, 11)
DONE, FAILED, USER_ERROR = 0, 1, 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m frozen.data.scenes.blender_env", description=__doc__)
    default = os.environ.get("BPY_ENVIRONMENT", ENVIRONMENT_FOLDER)
    parser.add_argument("--folder", type=Path, default=Path(default), metavar="DIR", help=f"by default {default}")
    folder: Path = parser.parse_args(argv).folder.absolute()
    python = interpreter()
    if python is None:
        wanted = ".".join(map(str, _PYTHON))
        complain(
            f"{REQUIREMENT} needs Python {wanted}, and python{wanted} was not found; install it, or download Blender "
            "from blender.org and set BLENDER_PATH to its executable"
        )
        return USER_ERROR
    commands = (
        [python, "-m", "venv", str(folder)],
        [str(environment_python(folder)), "-m", "pip", "install", "--disable-pip-version-check", REQUIREMENT],
        [str(environment_python(folder)), "-c", "import bpy; print('Blender', bpy.app.version_string)"],
    )
    for command in commands:
        if code := subprocess.run(command, check=False).returncode:
            complain(f"failed with code {code}: {' '.join(command)}")
            return FAILED
    say(f"ready in {folder}")
    return DONE


def interpreter() -> str | None:
    """A Python of the version that bpy is built for, or None."""
    return sys.executable if sys.version_info[:2] == _PYTHON else shutil.which("python" + ".".join(map(str, _PYTHON)))


if __name__ == "__main__":
    sys.exit(main())
