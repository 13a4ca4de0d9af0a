"""The command line: `python -m sweep.run STUDY.yaml`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from frozen.terminal import Arguments, complain, run_command

LOGS = {"tensorboard": "tensorboardX", "optuna": "optuna", "mlflow": "mlflow", "wandb": "wandb"}
"""Logs that `--log` offers, with the package each needs."""

DONE, CELLS_FAILED, USER_ERROR, TIME_IS_UP, INTERRUPTED = 0, 1, 2, 3, 130
GO_ON = "rows and table hold what is done, and the same command goes on where this one stopped"


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    arguments = Arguments(
        prog="python -m sweep.run",
        description="Measure every cell of a study. Running the same command again does only what is missing.",
        epilog="exit codes: 0 all cells done, 1 some cells failed, 2 it cannot run as asked (a mistake, a full "
        "disk, another run in the same folder, no cluster), 3 --max-hours is over, 130 interrupted or terminated",
    )
    arguments.add_argument("study", type=Path, help="study file (YAML)")
    arguments.add_argument("--plan", action="store_true", help="show what there is to do, and do nothing")
    arguments.add_argument(
        "--forecast", action="store_true", help="as --plan, and time a little of everything to say how long it takes"
    )
    arguments.add_argument("--limit", type=_whole, metavar="N", help="use at most N samples of each split")
    arguments.add_argument(
        "--max-cells", type=_whole, metavar="N", help="measure at most N cells in this run, few of everything"
    )
    arguments.add_argument(
        "--available",
        action="store_true",
        help="measure what the data sets and backbones of this machine allow, and leave the other cells missing",
    )
    arguments.add_argument(
        "--max-hours", type=_hours, metavar="HOURS", help="stop after this time, and show what there is until then"
    )
    arguments.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="replace a setting, such as fit.epochs=5"
    )
    arguments.add_argument(
        "--results",
        default="results",
        metavar="PLACE",
        help="folder of results, or its URL, such as s3://BUCKET/results",
    )
    arguments.add_argument("--store", default="store", metavar="PLACE", help="folder of activations, or its URL")
    arguments.add_argument(
        "--address", help="address of a running Ray cluster, or auto; by default Ray is started on this machine"
    )
    arguments.add_argument(
        "--no-dashboard", action="store_true", help="start Ray without its dashboard, which saves seconds"
    )
    arguments.add_argument(
        "--gpus", type=_whole, default=0, metavar="N", help="GPUs that an autoscaled cluster may grow to"
    )
    arguments.add_argument(
        "--gpus-per-cell", type=_share, default=0.25, metavar="SHARE", help="share of a GPU a cell trains on"
    )
    arguments.add_argument(
        "--log",
        type=_logs,
        default=_logs("tensorboard,optuna"),
        metavar="NAMES",
        help="logs to keep beside the rows: tensorboard, optuna, mlflow, wandb, separated by commas, or none; "
        "by default tensorboard,optuna",
    )
    return arguments


def _whole(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number ≥ 1, got {text!r}")
    return value


def _logs(text: str) -> tuple[str, ...]:
    names = () if text == "none" else tuple(dict.fromkeys(text.split(",")))
    if unknown := [name for name in names if name not in LOGS]:
        raise argparse.ArgumentTypeError(f"there is no log {unknown[0]!r}; there are {', '.join(LOGS)}, none")
    return names


def _hours(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"must be a number of hours > 0, got {text!r}")
    return value


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must lie in (0, 1], got {text!r}")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    options = parser()
    arguments = options.parse_args(argv)
    if arguments.gpus and arguments.address is None:
        options.error("argument --gpus: must come with --address; the GPUs of this machine are used anyway")
    if arguments.no_dashboard and arguments.address not in (None, "local"):
        options.error("argument --no-dashboard: not with --address; a running cluster has its dashboard, or has none")
    from sweep.engine.cluster import ClusterError
    from sweep.engine.packages import MissingPackageError, require
    from sweep.engine.places import PlaceError
    from sweep.engine.stopping import stoppable
    from sweep.results.directory import BusyError
    from sweep.store.disk import LostEntryError
    from sweep.store.full_disk import FullDiskError, full_disk, no_space
    from sweep.store.remote import RemoteError
    from sweep.study.load import StudyError

    with stoppable(arguments.max_hours) as stop:
        try:
            from sweep.engine.command import run  # takes a second, in which a run may be interrupted too

            require(LOGS[name] for name in arguments.log)
            return DONE if run(arguments, stop) else CELLS_FAILED
        except (
            StudyError,
            BusyError,
            ClusterError,
            FullDiskError,
            LostEntryError,
            MissingPackageError,
            PlaceError,
            RemoteError,
        ) as error:
            complain(error)
            return USER_ERROR
        except OSError as error:
            if not no_space(error):
                raise
            complain(full_disk(error.filename or arguments.results))
            return USER_ERROR
        except KeyboardInterrupt:
            reason = f"--max-hours {arguments.max_hours:g} is over" if stop.time_is_up else "interrupted"
            complain(f"\n{reason}; {GO_ON}")
            return TIME_IS_UP if stop.time_is_up else INTERRUPTED


if __name__ == "__main__":
    run_command(main)
