"""The study file beside results, with the grids of its read-outs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from frozen.readout.readout import Readouts, find_readout
from sweep.engine.grid import Grid, make_grids
from sweep.study.load import Locate, StudyFile, load_file, locates_in


class ReadFile(NamedTuple):
    """A study file, read.

    Attributes:
        file: what it asks for.
        readouts: of its studies, by name.
        locates: find the lines of mistakes of each study.
        grids: of its studies.
    """

    file: StudyFile
    readouts: Readouts
    locates: Mapping[str, Locate]
    grids: Mapping[str, Grid]


def read_file(path: Path) -> ReadFile:
    """Read a study file and make its grids.

    Raises:
        StudyError: with every mistake of the file.
    """
    file, locates = load_file(path), locates_in(path)
    readouts = {name: find_readout(name) for name in file.studies}
    return ReadFile(file, readouts, locates, make_grids(file.studies, readouts, locates))


def file_beside(folder: Path) -> ReadFile:
    """The file beside a folder's rows: of a part of several read-outs, that of all, as parts may need each other.

    Raises:
        StudyError: with every mistake of the file.
    """
    whole = folder.absolute().parent / "study.yaml"
    if whole.is_file():
        found = read_file(whole)
        if found.file.is_joint and folder.absolute().name in found.grids:
            return found
    return read_file(folder / "study.yaml")
