"""All commands under one name: `python -m sweep COMMAND ...` is `python -m sweep.COMMAND ...`."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence

from frozen.problems import did_you_mean
from frozen.terminal import complain, say

USER_ERROR = 2
COMMANDS = {
    "run": "measure a study; the same command goes on where it stopped (STUDY.yaml --plan, --forecast, --limit N)",
    "report": "the page of results at any moment, figures and tables for a paper (results/NAME)",
    "show": "a study, one of its cells, or a methods paragraph (results/NAME --cell ID, --method)",
    "compare": "paired comparison of cells on the same samples (results/NAME --all)",
    "verify": "recompute every number from what is stored, and some cells from scratch (results/NAME)",
    "merge": "join two results directories (A B --into C)",
    "list": "what a study can name: backbones, scenes, data, read-outs, probes",
    "space": "the defaults of a study, or the schema of study files for an editor (STUDY.yaml, --schema)",
    "prefetch": "download every weight that a study needs (STUDY.yaml)",
    "render": "make the images that a study lacks (STUDY.yaml)",
    "clean": "what the store holds, and how to make room",
}


def main(argv: Sequence[str] | None = None) -> int:
    """List the commands, or run one."""
    arguments = sys.argv[1:] if argv is None else list(argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        width = max(map(len, COMMANDS))
        for name, meaning in COMMANDS.items():
            say(f"python -m sweep {name:<{width}}  {meaning}")
        say("each says more with --help")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        complain(f"no command {name!r}; {did_you_mean(name, COMMANDS)}")
        return USER_ERROR
    sys.argv = [f"sweep.{name}", *rest]
    runpy.run_module(f"sweep.{name}", run_name="__main__", alter_sys=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
