"""Reads a study file: YAML in, a `Space` of frozen values out, or all of the file's mistakes at once.

`python -m sweep.space --schema` prints the JSON schema of study files, for editors.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from binding.information import IntervalConfig
from frozen.terminal import complain, say
from sweep.study.build import build, limited
from sweep.study.errors import StudyError, StudyProblem
from sweep.study.place import read_settings
from sweep.study.schema import json_schema
from sweep.study.study import DatasetSpec, Layers, LayerStride, Plain, ProbeSpec, Published, Space, StoreConfig, plain
from sweep.study.yaml import dump_yaml, read_text

__all__ = [
    "DatasetSpec",
    "IntervalConfig",
    "LayerStride",
    "Layers",
    "Locate",
    "Plain",
    "ProbeSpec",
    "Published",
    "Space",
    "StoreConfig",
    "StudyError",
    "StudyProblem",
    "dump_yaml",
    "load_space",
    "locate_in",
    "plain",
]


def load_space(path: str | os.PathLike[str], overrides: Sequence[str] = (), limit: int | None = None) -> Space:
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
    space = build(settings, Path(path).parent, source)
    return space if limit is None else limited(space, limit)


Locate = Callable[[tuple[str | int, ...], str], StudyProblem]
"""Makes a problem of a path in the study and a message."""


def locate_in(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Locate:
    """Lines for mistakes that only show when the study meets its data sets and backbones."""
    return read_settings(os.fspath(path), read_text(path), overrides).problem


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the JSON schema, or check a study file and print it with all defaults filled in."""
    parser = argparse.ArgumentParser(prog="python -m sweep.space", description=main.__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--schema", action="store_true", help="print the JSON schema of study files")
    what.add_argument("study", nargs="?", help="study file to check")
    options = parser.parse_args(arguments)
    if options.schema:
        print(json.dumps(json_schema(), indent=1, ensure_ascii=False))
        return 0
    try:
        say(dump_yaml(load_space(options.study).resolved()).rstrip())
    except StudyError as error:
        complain(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
