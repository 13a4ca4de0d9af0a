"""The command that makes data a study lacks: `python -m sweep.render STUDY.yaml`.

A data set whose images are rendered offers a maker (`frozen.data.scenes.Maker`): which pieces are missing, and who
makes one. Here they are handed to Ray actors, looked at again afterwards, and tried again where they failed.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from frozen.console import Terminal
from frozen.data.scenes import DataError, Device, MadeScene, MakeError, Maker, Missing, Worker
from frozen.terminal import Arguments, complain, run_command
from sweep.live.countdown import Countdown, countdown

DONE, INCOMPLETE, USER_ERROR, INTERRUPTED = 0, 1, 2, 130
_JOBS_AHEAD = 2
_SHOWN_ERRORS = 3


def parser() -> argparse.ArgumentParser:
    """The command line's arguments."""
    arguments = Arguments(
        prog="python -m sweep.render",
        description="Make the images that the data sets of a study lack. The same command goes on where it stopped.",
        epilog="exit codes: 0 everything is there, 1 something could not be made, 2 a mistake, 130 interrupted",
    )
    arguments.add_argument("study", type=Path, help="study file (YAML)")
    arguments.add_argument("--plan", action="store_true", help="show what is missing, and do nothing")
    arguments.add_argument("--check", action="store_true", help="read every image that is there to its last pixel")
    arguments.add_argument("--limit", type=_whole, metavar="N", help="only the first N samples of each split")
    arguments.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="replace a setting, such as datasets[0].samples=16",
    )
    arguments.add_argument(
        "--workers", type=_whole, metavar="N", help="processes that render; by default one a GPU, else one a CPU"
    )
    arguments.add_argument(
        "--passes", type=_whole, default=3, metavar="N", help="how often what failed is tried again, at most"
    )
    arguments.add_argument(
        "--address", help="address of a running Ray cluster, or auto; by default Ray is started on this machine"
    )
    return arguments


def _whole(text: str) -> int:
    value = int(text) if text.isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number ≥ 1, got {text!r}")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    arguments = parser().parse_args(argv)
    from sweep.engine.cluster import ClusterError
    from sweep.engine.stopping import stoppable
    from sweep.study.load import StudyError

    with stoppable(max_hours=None):
        try:
            return _run(arguments, Terminal())
        except (StudyError, ClusterError, DataError) as error:
            complain(error)
            return USER_ERROR
        except KeyboardInterrupt:
            complain("\ninterrupted; the same command goes on where this one stopped")
            return INTERRUPTED


@dataclass(frozen=True)
class Order:
    """A data set, who makes its data, and what is missing."""

    name: str
    scene: MadeScene
    maker: Maker
    jobs: tuple[Any, ...]


def _run(arguments: argparse.Namespace, console: Console) -> int:
    from sweep.study.load import load_file

    studies = load_file(arguments.study, arguments.set, arguments.limit).studies.values()
    datasets = [dataset for study in studies for dataset in study.datasets]
    made = {dataset.config: dataset.name for dataset in datasets if isinstance(dataset.config, MadeScene)}
    if not made:
        console.print("none of the study's data sets is rendered", highlight=False)
        return DONE
    orders = [_order(name, scene, thorough=arguments.check) for scene, name in made.items()]
    for order in orders:
        text = f"{order.name}: {len(order.jobs):,} of {order.maker.n_jobs:,} {order.maker.unit} to make"
        console.print(f"{text} in {order.maker.place}", highlight=False, markup=False, soft_wrap=True)
    if not arguments.plan and any(order.jobs for order in orders):
        orders = _make(arguments, orders, console)
    return INCOMPLETE if not arguments.plan and _report(orders, console) else DONE


def _order(name: str, scene: MadeScene, *, thorough: bool) -> Order:
    maker = scene.maker()
    return Order(name, scene, maker, tuple(maker.jobs(thorough=thorough)))


def _report(orders: Sequence[Order], console: Console) -> bool:
    """Say what is still missing; returns whether a run would be refused for it."""
    refused = False
    for order in orders:
        missing: Missing | None = order.scene.missing()  # pyright: ignore[reportAttributeAccessIssue]
        refused |= missing is not None
        if missing is not None or order.jobs:
            text = f"{order.name}: {len(order.jobs):,} {order.maker.unit} are still missing"
            consequence = "a run is refused" if missing is not None else "a run goes on without them"
            console.print(f"{text}; {consequence}", highlight=False, markup=False, soft_wrap=True)
    return refused


def _make(arguments: argparse.Namespace, orders: list[Order], console: Console) -> list[Order]:
    """Make what is missing, look again, and try what failed again; returns what is missing after that."""
    from sweep.engine.cluster import ray_session

    for order in orders:
        if order.jobs:
            order.maker.prepare()
    with ray_session(arguments.address, dashboard=False) as resources:
        gpus = resources.gpus > 0
        wanted = arguments.workers or resources.gpus or resources.cpus
        for number in range(arguments.passes):
            jobs = [(order.maker, job) for order in orders for job in order.jobs]
            if not jobs:
                break
            title = "rendering" if number == 0 else f"pass {number + 1}"
            n_workers = min(wanted, len(jobs))
            threads = max(1, resources.cpus // n_workers) if not gpus else 0
            with countdown(console, title, len(jobs), orders[0].maker.unit) as line:
                share = 1 / math.ceil(n_workers / max(1, resources.gpus or resources.cpus))
                errors = _run_jobs(jobs, line, n_workers, share, gpus=gpus, threads=threads)
            _show_errors(errors, console)
            orders = [Order(o.name, o.scene, o.maker, tuple(o.maker.jobs(thorough=False))) for o in orders]
    return orders


def _show_errors(errors: Sequence[str], console: Console) -> None:
    for error in errors[:_SHOWN_ERRORS]:
        console.print(f"failed: {error}", highlight=False, markup=False, soft_wrap=True)
    if len(errors) > _SHOWN_ERRORS:
        console.print(f"and {len(errors) - _SHOWN_ERRORS} more failures", highlight=False)


class Hand:
    """An actor with one worker; data sets come one after another, so it changes its worker seldom."""

    def __init__(self, device: Device, threads: int) -> None:
        self._device: Device = device
        self._threads = threads
        self._worker: tuple[str, Worker] | None = None

    def make(self, maker: Maker, job: Any) -> str | None:
        """Make one piece; returns why it could not be made, or None."""
        if self._worker is None or self._worker[0] != maker.place:
            self.close()
            self._worker = (maker.place, maker.worker(self._device, self._threads))
        try:
            self._worker[1].make(job)
        except MakeError as error:
            return str(error)
        return None

    def close(self) -> None:
        """End the worker's process."""
        if self._worker is not None:
            self._worker[1].close()
        self._worker = None


def _run_jobs(
    jobs: Sequence[tuple[Maker, Any]], line: Countdown, n_workers: int, share: float, *, gpus: bool, threads: int
) -> list[str]:
    """Hand all jobs out, each worker with a share of a GPU or CPU; returns the errors of those that failed."""
    import ray
    from ray.exceptions import RayError

    remote: Any = ray.remote(Hand)
    actor = remote.options(num_cpus=0 if gpus else share, num_gpus=share if gpus else 0, max_restarts=3)
    idle = [actor.remote("gpu" if gpus else "cpu", threads) for _ in range(n_workers)] * _JOBS_AHEAD
    hands = idle[:n_workers]
    waiting = list(reversed(jobs))
    flight: dict[Any, Any] = {}
    errors: list[str] = []
    while waiting or flight:
        while waiting and idle:
            hand = idle.pop(0)
            flight[hand.make.remote(*waiting.pop())] = hand
        [done], _ = ray.wait(list(flight), num_returns=1)
        idle.append(flight.pop(done))
        try:
            error = ray.get(done)
        except RayError as lost:
            error = f"a worker died: {lost}"
        errors += [error] if error else []
        line.finished(failed=bool(error))
    ray.get([hand.close.remote() for hand in hands])
    for hand in hands:
        ray.kill(hand)
    return errors


if __name__ == "__main__":
    run_command(main)
