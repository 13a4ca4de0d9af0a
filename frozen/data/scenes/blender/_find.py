"""Finds a Blender: the executable that BLENDER_PATH names, or an environment with the package bpy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from frozen.data.scenes._base import DataError

ENVIRONMENT_FOLDER = ".venv-bpy"
_SCRIPT = Path(__file__).parent / "inside" / "render.py"


class BlenderNotFoundError(DataError):
    """There is no Blender, or not where it was said to be."""


def find_blender() -> tuple[str, ...]:
    """The command that runs the render script; its own options come after.

    BLENDER_PATH names an executable of Blender; without it the environment in the folder that BPY_ENVIRONMENT
    names, by default .venv-bpy in the working directory, is used.

    Raises:
        BlenderNotFoundError: neither is there; the message says how to get one.
    """
    if wanted := os.environ.get("BLENDER_PATH"):
        found = shutil.which(wanted)
        if found is None:
            raise BlenderNotFoundError(
                f"BLENDER_PATH is {wanted!r}, which is no program; set it to Blender's executable"
            )
        options = ("--background", "--factory-startup", "--python-exit-code", "1", "--python")
        return (str(Path(found).absolute()), *options, str(_SCRIPT), "--")
    folder = Path(os.environ.get("BPY_ENVIRONMENT", ENVIRONMENT_FOLDER)).absolute()
    python = environment_python(folder)
    if not python.exists():
        raise BlenderNotFoundError(
            "rendering needs Blender: set BLENDER_PATH to its executable, or make an environment with the package "
            "bpy by `python -m frozen.data.scenes.blender_env` "
            f"(not in {folder}; BPY_ENVIRONMENT names another place)"
        )
    return (str(python), str(_SCRIPT))


def environment_python(folder: Path) -> Path:
    """Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
