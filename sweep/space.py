"""`python -m sweep.space --schema` prints the JSON schema of study files, for editors; with a study, its defaults."""

from __future__ import annotations

import json
from collections.abc import Sequence

from frozen.terminal import Arguments, complain, run_command, say
from sweep.study.errors import StudyError
from sweep.study.load import load_file
from sweep.study.several import json_schema
from sweep.study.yaml import dump_yaml


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the JSON schema, or check a study file and print it with all defaults filled in."""
    parser = Arguments(prog="python -m sweep.space", description=main.__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--schema", action="store_true", help="print the JSON schema of study files")
    what.add_argument("study", nargs="?", help="study file to check")
    options = parser.parse_args(arguments)
    if options.schema:
        say(json.dumps(json_schema(), indent=1, ensure_ascii=False))
        return 0
    try:
        say(dump_yaml(load_file(options.study).resolved()).rstrip())
    except StudyError as error:
        complain(error)
        return 2
    return 0


if __name__ == "__main__":
    run_command(main)
