"""Reads a study file: YAML in, a `Study` of frozen values out, or all of the file's mistakes at once."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from frozen.readout.study import Study
from sweep.study.build import build, limited
from sweep.study.errors import StudyError, StudyProblem
from sweep.study.place import Settings, read_settings
from sweep.study.several import READOUTS, StudyFile, is_joint, parts_of
from sweep.study.yaml import dump_yaml, read_text

__all__ = [
    "Locate",
    "StudyError",
    "StudyFile",
    "StudyProblem",
    "dump_yaml",
    "load_file",
    "load_study",
    "locate_in",
    "locates_in",
]


def load_study(path: str | os.PathLike[str], overrides: Sequence[str] = (), limit: int | None = None) -> Study:
    """Read and check a study file of one read-out.

    Args:
        path: the file.
        overrides: settings that replace those of the file, such as `fit.epochs=5` or `datasets[0].n_colors=3`;
            values are YAML.
        limit: most samples in each split of each data set.

    Raises:
        StudyError: with every mistake of the file and of the overrides.
    """
    found = load_file(path, overrides, limit)
    if found.is_joint:
        names = ", ".join(found.studies)
        message = f"has several read-outs; name the folder of one in its results: {names}"
        raise StudyError([StudyProblem(os.fspath(path), None, READOUTS, message)])
    return found.first


def load_file(path: str | os.PathLike[str], overrides: Sequence[str] = (), limit: int | None = None) -> StudyFile:
    """Read and check a study file of one read-out or several; arguments and errors are those of `load_study`."""
    file, source = os.fspath(path), read_text(path)
    settings = read_settings(file, source, overrides)
    if limit is not None and limit < 1:
        settings.problems.append(StudyProblem(file, None, "", f"the limit must be ≥ 1, got {limit}"))
    folder = Path(path).parent
    joint = is_joint(settings)
    made = _several(settings, folder, source) if joint else [build(settings, folder, source)]
    name = made[0].name
    if joint:  # run by itself, a part writes to a folder of its own
        made = [replace(study, name=f"{name}.{study.readout}") for study in made]
    studies = {study.readout: study for study in made}
    if limit is not None:
        studies = {readout: limited(study, limit) for readout, study in studies.items()}
    return StudyFile(name, studies, joint)


def _several(settings: Settings, folder: Path, source: str) -> list[Study]:
    """The studies of a file that names several read-outs, or the mistakes of all of them."""
    parts = parts_of(settings)
    problems, studies = list(settings.problems), []
    for part in parts.values():
        try:
            studies.append(build(part, folder, source))
        except StudyError as error:
            problems += error.problems
    if problems:
        raise StudyError(problems)
    return studies


Locate = Callable[[tuple[str | int, ...], str], StudyProblem]
"""Makes a problem of a path in the study and a message."""


def locate_in(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Locate:
    """Lines for mistakes that only show when the study meets its data sets and backbones."""
    return read_settings(os.fspath(path), read_text(path), overrides).problem


def locates_in(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Mapping[str, Locate]:
    """The same for each study of a file, by its read-out."""
    settings = read_settings(os.fspath(path), read_text(path), overrides)
    if is_joint(settings):
        return {name: part.problem for name, part in parts_of(settings).items()}
    return defaultdict(lambda: settings.problem)
