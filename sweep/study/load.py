"""Reads a study file: YAML in, a `Study` of frozen values out, or all of the file's mistakes at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from frozen.readout.study import Study
from sweep.study.build import build, limited
from sweep.study.errors import StudyError, StudyProblem
from sweep.study.place import read_settings
from sweep.study.yaml import dump_yaml, read_text

__all__ = ["Locate", "StudyError", "StudyProblem", "dump_yaml", "load_study", "locate_in"]


def load_study(path: str | os.PathLike[str], overrides: Sequence[str] = (), limit: int | None = None) -> Study:
    """Read and check a study file.

    Args:
        path: the file.
        overrides: settings that replace those of the file, such as `fit.epochs=5` or `datasets[0].n_colors=3`;
            values are YAML.
        limit: most samples in each split of each data set.

    Raises:
        StudyError: with every mistake of the file and of the overrides.
    """
    file, source = os.fspath(path), read_text(path)
    settings = read_settings(file, source, overrides)
    if limit is not None and limit < 1:
        settings.problems.append(StudyProblem(file, None, "", f"the limit must be ≥ 1, got {limit}"))
    study = build(settings, Path(path).parent, source)
    return study if limit is None else limited(study, limit)


Locate = Callable[[tuple[str | int, ...], str], StudyProblem]
"""Makes a problem of a path in the study and a message."""


def locate_in(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Locate:
    """Lines for mistakes that only show when the study meets its data sets and backbones."""
    return read_settings(os.fspath(path), read_text(path), overrides).problem
