"""Where the time of a whole sweep goes: the engine's share, phase by phase, and cells a minute.

    python benchmarks/whole_sweep.py [--cells 126] [--save whole_sweep]

Runs a fixed study as a user would (2 shipped backbones x 7 layers x 3 pooled modes x 3 families x 8 suggestions, on
this machine's cores) with clocks around the functions of each phase, in every process. The clocks are the processor
time of a thread, nested calls taken off, so that a busy machine changes the sums little; what the processes took
besides (Ray's daemons, imports, message passing) is the processor time of the whole family of processes minus the
phases; idle is what remains of wall time x cores. On an idle machine idle is the engine's waste as well.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import torch
import wrapt
from measuring import machine, save

STUDY = """\
name: whole_sweep
datasets:
  - name: shapes
    scene: colorshape
    n_colors: 4
    n_shapes: 4
    max_objects: 6
    image_size: 64
    object_size: 12
    split: {policy: independent, train: 1600, validation: 400, test: 500}
backbones: ["shipped:shapes_vit_objects", "shipped:shapes_vit_features"]
layers: [embed, 0, 1, 2, 3, 4, final]
modes: [cls, mean_spatial, cls_mean]
probes: [{family: linear}, {family: quadratic_concat, rank: {choices: [4, 16]}}, {family: dnn_concat, hidden_dim: 64}]
fit: {epochs: 12, batch_size: 256}
search: {suggestions: 8, ask: 4}
seeds: 1
"""

# The outermost function of each phase, where it is looked up; the phases that are the work itself come first.
PHASES = {
    "drawing": ("sweep.extractor:make_batch",),
    "forward": ("sweep.extractor:Extractor.extract",),
    "probes": ("binding._trainer:fit", "binding.fit:Fitted.evaluate", "binding._trainer:Standardizer.of"),
    "intervals": ("binding.measurement:measures", "binding.readout:breakdown"),
    "labels": ("binding.readout:BindingReadout.labels",),
    "Optuna": (
        "optuna:Study.ask",
        "optuna:Study.tell",
        "optuna:create_study",
        "binding.search:ProbeSpace.suggest",
        "binding.tuning:_suggestion",
    ),
    "store": (
        "sweep.store:DiskStore.write_part",
        "sweep.store:DiskStore.publish",
        "sweep.store:DiskStore.open",
        "sweep.cell:read_split",
    ),
    "results": ("sweep.results:ResultsDirectory.write", "sweep.views:rebuild", "sweep.views:write_page"),
}
WORK = ("drawing", "forward", "probes", "intervals", "labels")
FOLDER = "WHOLE_SWEEP_CLOCKS"


class Clocks:
    """Processor time by phase in this process, written to a file of its own after every outermost call."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"{os.getpid()}.json"
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()
        self._running = threading.local()

    def around(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def timed(*arguments: Any, **options: Any) -> Any:
            outer, self._running.inner = getattr(self._running, "inner", None), 0.0
            start = time.thread_time()
            try:
                return function(*arguments, **options)
            finally:
                took = time.thread_time() - start
                with self._lock:
                    self._seconds[phase] += took - self._running.inner
                    if outer is None:
                        self._path.write_text(json.dumps(self._seconds))
                self._running.inner = None if outer is None else outer + took

        return timed


def put_clocks() -> None:
    """Put clocks around the phases' functions in this process, in each module once it is imported."""
    clocks = Clocks(Path(os.environ[FOLDER]))
    for phase, places in PHASES.items():
        for place in places:
            module, _, path = place.partition(":")
            put = functools.partial(put_clock, clocks, phase, path.split("."))
            wrapt.register_post_import_hook(put, module)


def put_clock(clocks: Clocks, phase: str, names: list[str], owner: Any) -> None:
    """Put a clock around one function of a module or of a class in it."""
    for name in names[:-1]:
        owner = getattr(owner, name)
    found = vars(owner)[names[-1]]
    inner = found.__func__ if isinstance(found, classmethod) else found
    timed = clocks.around(phase, inner)
    setattr(owner, names[-1], classmethod(timed) if isinstance(found, classmethod) else timed)


def run_with_clocks(arguments: list[str]) -> int:
    """The sweep's own command, with clocks in the driver and in every worker of Ray."""
    import ray

    start = ray.init
    hook = {"worker_process_setup_hook": f"{Path(__file__).stem}.put_clocks"}
    ray.init = functools.partial(start, runtime_env=hook)
    put_clocks()
    from sweep.run import main

    return main(arguments)


def family_seconds(process: subprocess.Popen[bytes]) -> float:
    """Processor time of a process and of everything it starts, until it ends."""
    seen: dict[tuple[int, float], float] = {}
    root = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            members = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            break
        for member in members:
            try:
                times = member.cpu_times()
                seen[member.pid, member.create_time()] = times.user + times.system
            except psutil.Error:
                continue
        time.sleep(0.25)
    process.wait()
    return sum(seen.values())


def whole_sweep(n_cells: int | None) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "clocks").mkdir()
        (folder / "study.yaml").write_text(STUDY)
        here = Path(__file__).resolve()
        paths = [str(here.parent), str(here.parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, FOLDER: str(folder / "clocks"), "PYTHONPATH": os.pathsep.join(paths)}
        limit = ["--max-cells", str(n_cells)] if n_cells else []
        command = [sys.executable, str(here), "--inside", "study.yaml", *limit]
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment)
        total = family_seconds(process)
        wall = time.perf_counter() - start
        assert process.returncode == 0, "the study failed"
        clocks = [json.loads(path.read_text()) for path in (folder / "clocks").glob("*.json")]
        measured = len(list((folder / "results" / "whole_sweep" / "rows").glob("*.json")))
    phases = {phase: sum(clock.get(phase, 0.0) for clock in clocks) for phase in PHASES}
    return table(phases, total, wall, measured)


def table(phases: Mapping[str, float], total: float, wall: float, n_cells: int) -> list[dict[str, object]]:
    capacity = wall * (os.cpu_count() or 1)
    seconds = {**phases}
    seconds["Ray, imports, driver"] = total - sum(seconds.values())
    seconds["idle or others' work"] = capacity - total
    rows: list[dict[str, object]] = [
        {
            "phase": name,
            "core_s": round(value, 1),
            "share": round(value / capacity, 3),
            "of_busy": round(value / total, 3),
        }
        for name, value in seconds.items()
    ]
    work = sum(seconds[phase] for phase in WORK)
    engine = {"core_s": round(capacity - work, 1), "share": round(1 - work / capacity, 3)}
    rows.append({"phase": "engine: all but the work", **engine, "of_busy": round(1 - work / total, 3)})
    rows.append(
        {
            "phase": "whole",
            "cells": n_cells,
            "wall_s": round(wall, 1),
            "cells_a_minute": round(60 * n_cells / wall, 1),
        }
    )
    return rows


def main() -> None:
    if sys.argv[1:2] == ["--inside"]:
        sys.exit(run_with_clocks(sys.argv[2:]))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, help="measure only so many of the 126 cells")
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json")
    arguments = parser.parse_args()
    rows = whole_sweep(arguments.cells)
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    if arguments.save:
        save(arguments.save, machine(torch.device("cpu")), rows)


if __name__ == "__main__":
    main()
