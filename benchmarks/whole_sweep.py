"""Where the time of a whole sweep goes: the engine's share, phase by phase, and cells a minute.

    python benchmarks/whole_sweep.py [--cells 126] [--save whole_sweep]

Runs a fixed study as a user would (2 shipped backbones x 7 layers x 3 pooled modes x 3 families x 8 suggestions, on
this machine's cores) with clocks around the functions of each phase, in every process. The clocks are the processor
time of a thread, nested calls taken off, so that a busy machine changes the sums little; what the processes took
besides (Ray's daemons, imports, message passing) is the processor time of the whole family of processes minus the
phases; idle is what remains of wall time x cores. On an idle machine idle is the engine's waste as well.
Before, `--forecast` is asked how long it will take.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import psutil
import torch
from clocks import FOLDER, PHASES
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

WORK = ("drawing", "forward", "probes", "intervals", "labels")


def family_seconds(process: subprocess.Popen[bytes]) -> dict[int, tuple[str, float]]:
    """What a process and all it starts are called, and their processor time until they end, by process number."""
    seen: dict[int, tuple[str, float]] = {}
    root = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            members = [root, *root.children(recursive=True)]
        except psutil.NoSuchProcess:
            break
        for member in members:
            try:
                times = member.cpu_times()
                name = "driver" if member is root else called(member)
            except psutil.Error:
                continue
            known = seen.get(member.pid, (name, 0.0))[0]
            seen[member.pid] = (known if name == "ray::IDLE" else name, times.user + times.system)
        time.sleep(0.25)
    process.wait()
    return seen


def called(process: psutil.Process) -> str:
    """Ray's workers are called after their task, daemons after their program or script."""
    words = process.cmdline() or [process.name()]
    if words[0].startswith("ray::"):
        return words[0].split("(")[0]
    script = (
        next((word for word in words[1:] if word.endswith(".py")), words[0]) if "python" in words[0] else words[0]
    )
    return Path(script.split()[0]).name


def whole_sweep(n_cells: int | None) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "clocks").mkdir()
        (folder / "sitecustomize.py").write_text("import clocks\n\nclocks.put_clocks()\n")
        (folder / "study.yaml").write_text(STUDY)
        here = Path(__file__).resolve()
        paths = [str(folder), str(here.parent), str(here.parents[1]), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, FOLDER: str(folder / "clocks"), "PYTHONPATH": os.pathsep.join(paths)}
        limit = ["--max-cells", str(n_cells)] if n_cells else []
        command = [sys.executable, "-m", "sweep.run", "study.yaml", *limit]
        said = subprocess.run([*command, "--forecast"], cwd=folder, capture_output=True, text=True, check=True).stdout
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, env=environment)
        family = family_seconds(process)
        wall = time.perf_counter() - start
        assert process.returncode == 0, "the study failed"
        clocks = {int(path.stem): json.loads(path.read_text()) for path in (folder / "clocks").glob("*.json")}
        measured = len(list((folder / "results" / "whole_sweep" / "rows").glob("*.json")))
    phases = {phase: sum(clock.get(phase, 0.0) for clock in clocks.values()) for phase in PHASES}
    rows = table(phases, sum(seconds for _, seconds in family.values()), wall, measured) + rest(family, clocks)
    return [*rows, {"forecast_s": (forecast := forecast_s(said)), "error": round(forecast / wall - 1, 3)}]


def forecast_s(said: str) -> int:
    """Seconds of what `--forecast` printed."""
    found = re.search(r"^forecast: ([^(]+) \(", said, flags=re.MULTILINE)
    assert found, said
    words = found[1].split()
    return sum(
        int(number) * {"h": 3600, "min": 60, "s": 1}[unit] for number, unit in pairwise(words) if unit.isalpha()
    )


def rest(
    family: Mapping[int, tuple[str, float]], clocks: Mapping[int, Mapping[str, float]]
) -> list[dict[str, object]]:
    """Which processes took the time that belongs to no phase."""
    outside: defaultdict[str, float] = defaultdict(float)
    for number, (name, seconds) in family.items():
        outside[name] += seconds - sum(clocks.get(number, {}).values())
    ranked = sorted(outside.items(), key=lambda item: -item[1])
    return [{"outside all phases": name, "core_s": round(seconds, 1)} for name, seconds in ranked if seconds >= 0.5]


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
