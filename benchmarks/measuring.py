"""What the benchmarks share: rounds in turns, the machine's own rates, results as files."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""On a machine that others use, the time of one core (`cpu`, with one thread) is steadier than the wall's."""

# realistic shapes of a probe step: one wide product, its weight gradient, one product a head
_PRODUCTS = ((1, 512, 1024, 2048), (1, 1024, 512, 2048), (64, 512, 256, 256), (16, 512, 1024, 256))


_LEAST_TURN_S = 0.1


def alone(script: str, calls: Iterable[Sequence[object]]) -> Iterator[dict[str, object]]:
    """What a script prints as JSON in its last line, called with each list of arguments in a process of its own."""
    for call in calls:
        command = [sys.executable, script, *map(str, call)]
        printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        found = json.loads(printed.splitlines()[-1])
        print(found, flush=True)
        yield found


def in_turns(works: Sequence[Callable[[], object]], rounds: int, clock: str = "wall") -> list[float]:
    """Best time in seconds of every work, all run in turns (A B A B) after one round to warm up.

    As in training a work follows upon itself: a turn begins with one that is not timed, for the others have had the
    cache, and of a short work it is many, one after the other.
    """
    now = CLOCKS[clock]
    best, repeats = [float("inf")] * len(works), [1] * len(works)
    for number in range(rounds + 1):
        for index, work in enumerate(works):
            work()
            synchronize()
            start = now()
            for _ in range(repeats[index]):
                work()
            synchronize()
            each = (now() - start) / repeats[index]
            if number:
                best[index] = min(best[index], each)
            else:
                repeats[index] = max(1, round(_LEAST_TURN_S / each))
    return best


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def matrix_works(
    device: torch.device, dtype: torch.dtype = torch.float32
) -> list[tuple[Callable[[], object], float]]:
    """Plain matrix products into memory that is there already, with their FLOPs."""
    works = []
    for batch, rows, inner, columns in _PRODUCTS:
        a = torch.randn(batch, rows, inner, device=device, dtype=dtype)
        b = torch.randn(batch, inner, columns, device=device, dtype=dtype)
        out = torch.empty(batch, rows, columns, device=device, dtype=dtype)
        works.append((_product(a, b, out), 2.0 * batch * rows * inner * columns))
    return works


def _product(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor) -> Callable[[], object]:
    return lambda: torch.bmm(a, b, out=out)


def machine(device: torch.device) -> dict[str, object]:
    """Where a figure was measured."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": datetime.now(UTC).date().isoformat(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def save(name: str, where: Mapping[str, object], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write results/NAME.json, with the machine and the date."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": where, "rows": list(rows)}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
