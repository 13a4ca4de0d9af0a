"""Two thousand cells in one run: memory stays flat, files are few, and no end of a run leaves anything behind.

`SOAK_CELLS` makes it smaller.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import psutil
import pytest

from tests.sweep.conftest import STUDY, Project, finish, kill, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.starts_ray]

N_CELLS = int(os.environ.get("SOAK_CELLS", "2000"))
N_PROBES = 20
MB = 1e6
MOST_GROWTH_BYTES, MOST_GROWTH_BYTES_A_CELL = 10e6, 25e3
"""Of any process, after the first fifth of the cells."""
MOST_FILES_A_CELL = 7
MOST_BYTES_A_CELL = 50e3


def write_study(project: Project, n_cells: int) -> None:
    """Layers of two numbers, read by many probes."""
    rng = np.random.default_rng(0)
    layers = [str(number) for number in range(n_cells // N_PROBES)]
    for split, n in (("train", 64), ("validation", 32), ("test", 32)):
        content = {layer: rng.standard_normal((n, 2)).astype(np.float32) for layer in layers}
        np.savez(project.folder / f"tiny_{split}.npz", **content)  # pyright: ignore[reportArgumentType]
    text = STUDY[: STUDY.index("layers:")].replace("shipped:shapes_vit_objects", "activations:tiny_{split}.npz")
    text = text.replace("train: 600, validation: 150, test: 200", "train: 64, validation: 32, test: 32")
    probes = "".join(f"  - {{family: quadratic_concat, rank: {rank + 1}}}\n" for rank in range(N_PROBES))
    project.write(
        f"{text}layers: all\nmodes: [cls]\nprobes:\n{probes}fit: {{epochs: 1, batch_size: 64}}\n"
        "search: {suggestions: 1, ask: 1}\nseeds: 1\nintervals: {resamples: 100}\n"
    )


class Family:
    """The processes of a run, wherever they were started from: they know its mark."""

    def __init__(self) -> None:
        self._mark = uuid.uuid4().hex
        self.environment: Mapping[str, str] = {**os.environ, "SOAK_MARK": self._mark}

    def members(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("SOAK_MARK") == self._mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def own_bytes(self) -> dict[tuple[int, str], int]:
        """Memory that belongs to each process alone, by its number and title."""
        found = {}
        for member in self.members():
            with contextlib.suppress(psutil.Error):
                title = " ".join(member.cmdline()[:3]).split("/")[-1].partition(".")[0].strip()[:24]
                found[member.pid, title] = member.memory_full_info().uss
        return found


class Moment(NamedTuple):
    """How a run stands."""

    n_rows: int
    own_bytes: dict[tuple[int, str], int]


def shared_memory_files() -> set[Path]:
    return set(Path("/dev/shm").iterdir())


def nothing_is_left(family: Family, before: set[Path]) -> None:
    wait_until(lambda: not family.members(), 60)
    wait_until(lambda: shared_memory_files() <= before, 60)  # other runs of this machine may hold some for a moment


def test_memory_and_files_of_two_thousand_cells(project: Project) -> None:
    write_study(project, N_CELLS)
    family, before = Family(), shared_memory_files()
    moments = [Moment(0, {})]
    with (project.folder / "output").open("w") as output:
        process = project.start(environment=family.environment, output=output)
        try:
            while process.poll() is None:
                n_rows = len(project.rows)
                if n_rows >= moments[-1].n_rows + N_CELLS // 10:
                    moments.append(Moment(n_rows, family.own_bytes()))
                time.sleep(1)
        finally:
            if process.poll() is None:
                kill(process)
    assert process.returncode == 0, (project.folder / "output").read_text()
    nothing_is_left(family, before)

    frame = project.table()
    assert len(frame) == N_CELLS
    assert set(frame.status) == {"done"}
    sizes = [path.stat().st_size for path in project.results.rglob("*") if path.is_file()]
    wall_s = pd.read_parquet(project.results / "results.parquet").wall_s
    print(f"{len(sizes) / N_CELLS:.2f} files and {sum(sizes) / N_CELLS:,.0f} bytes a cell, {wall_s.median():.3f} s")
    for moment in moments[1:]:
        own = sorted(moment.own_bytes.items(), key=lambda item: -item[1])[:8]
        print(moment.n_rows, ", ".join(f"{title} {number} {size / MB:.0f} MB" for (number, title), size in own))
    assert len(sizes) < MOST_FILES_A_CELL * N_CELLS
    assert sum(sizes) < MOST_BYTES_A_CELL * N_CELLS

    early, late = moments[2], moments[-1]
    growth = {
        who: late.own_bytes[who] - early.own_bytes[who] for who in early.own_bytes.keys() & late.own_bytes.keys()
    }
    assert process.pid in {number for number, _ in growth}
    assert len(growth) > 3
    for who, growth_bytes in growth.items():
        assert growth_bytes < MOST_GROWTH_BYTES + MOST_GROWTH_BYTES_A_CELL * (late.n_rows - early.n_rows), who


def test_a_driver_that_is_killed_leaves_no_process_and_no_shared_memory(project: Project) -> None:
    write_study(project, 100)
    family, before = Family(), shared_memory_files()
    process = project.start(environment=family.environment)
    wait_until(lambda: project.rows)
    assert len(family.members()) > 5
    process.kill()  # and nothing else
    finish(process)
    assert len(project.rows) < 100
    nothing_is_left(family, before)
