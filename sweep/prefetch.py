"""Downloads every weight a study needs: `python -m sweep.prefetch STUDY.yaml`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from frozen.console import Terminal
from frozen.models import BackboneConfig, BackboneError, prefetch
from frozen.terminal import Arguments, complain, run_command
from sweep.engine.plan import human_bytes
from sweep.study.load import StudyError, load_file

DONE, USER_ERROR, INTERRUPTED = 0, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    parser = Arguments(
        prog="python -m sweep.prefetch",
        description="Download the newest weights of every backbone of some studies. Afterwards they run without "
        "a network (HF_HUB_OFFLINE=1). A run takes the cached weights as they are; this command renews them.",
        epilog="exit codes: 0 all there, 2 a mistake in a study or weights that cannot be had, 130 interrupted",
    )
    parser.add_argument("studies", nargs="+", type=Path, metavar="STUDY", help="study file (YAML)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="replace a setting")
    arguments = parser.parse_args(argv)
    try:
        files = [load_file(study, arguments.set) for study in arguments.studies]
    except StudyError as error:
        complain(error)
        return USER_ERROR
    backbones = dict.fromkeys(
        backbone for file in files for study in file.studies.values() for backbone in study.backbones
    )
    try:
        return _fetch_all(list(backbones), Terminal())
    except KeyboardInterrupt:
        complain("\ninterrupted; the same command goes on where this one stopped")
        return INTERRUPTED


def _fetch_all(backbones: Sequence[BackboneConfig], console: Console) -> int:
    """Fetch what can be had, and say what cannot; the libraries show the progress of each file."""
    failed = 0
    for backbone in backbones:
        try:
            files = prefetch(backbone)
        except BackboneError as error:
            complain(error)
            failed += 1
            continue
        size = human_bytes(sum(file.stat().st_size for file in files))
        state = f"{len(files)} files, {size}" if files else "needs no download"
        console.print(f"{backbone.source}: {state}", soft_wrap=True, highlight=False, markup=False)
    return USER_ERROR if failed else DONE


if __name__ == "__main__":
    run_command(main)
