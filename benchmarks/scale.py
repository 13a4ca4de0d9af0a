"""Time and memory of planning, resuming and tabulating grids of 10^2 to 10^5 cells, with synthetic rows.

    python benchmarks/scale.py [--cells 100 1000 10000 100000] [--save scale]

Each size runs in a process of its own. plan: the study file read, the grid made, every cell identified, compared with
an empty results directory and printed. resume: the same with a row for every cell, read from its file. table:
results.parquet and results.csv of all rows. Memory is the process's peak over that of the imports alone.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from measuring import alone, machine, save
from rich.console import Console

from binding.columns import COLUMN_KINDS
from frozen.readout.readout import Readout, find_readout
from sweep.engine.grid import make_grid
from sweep.engine.plan import Plan, make_plan, print_plan
from sweep.results.columns import IDENTITY_COLUMNS, identity_columns
from sweep.results.directory import ResultsDirectory
from sweep.study.load import load_study, locate_in

CELLS_A_DATASET = 192
STUDY = """\
name: scale
datasets:
  - name: shapes
    scene: colorshape
    n_colors: 4
    n_shapes: 4
    max_objects: 6
    image_size: 64
    object_size: 12
    split: {{policy: independent, train: 640, validation: 160, test: 200}}
    seed: {{grid: [{seeds}]}}
backbones: ["shipped:shapes_vit_objects", "shipped:shapes_vit_features"]
layers: all
modes: [cls, mean_spatial, cls_mean]
probes: [{{family: linear}}, {{family: quadratic_concat}}, {{family: dnn_concat}}, {{family: quadratic_concat_reuse}}]
"""


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    found = work()
    return time.perf_counter() - start, found


def planned(study: Path, readout: Readout, results: ResultsDirectory) -> Plan:
    space = load_study(study, [], None)
    plan = make_plan(make_grid(space, readout, locate_in(study, [])), results.rows(), None)
    with Path("/dev/null").open("w", encoding="utf-8") as nowhere:
        print_plan(plan, {space.readout: readout}, Console(file=nowhere))
    return plan


def write_rows(plan: Plan, folder: Path) -> None:
    (folder / "rows").mkdir(parents=True)
    known = {"study": "scale", "data_fingerprint": "pretended", "weights_digest": "pretended", "status": "done"}
    for number, cell in enumerate(plan.grid.cells):
        values = {"whole": number, "number": number / 7, "object": "{}", "list": [1], "texts": [], "text": "none"}
        measured = {name: values[kind.removesuffix("?")] for name, kind in COLUMN_KINDS.items()}
        row = {**measured, **identity_columns(cell), **known, "error": None}
        (folder / "rows" / f"{cell.cell_id}.json").write_text(json.dumps(row, indent=1), encoding="utf-8")


def one_size(n_cells: int) -> dict[str, object]:
    before = peak_mb()
    with tempfile.TemporaryDirectory() as scratch:
        study, readout = Path(scratch) / "scale.yaml", find_readout("binding")
        seeds = ", ".join(map(str, range(max(1, round(n_cells / CELLS_A_DATASET)))))
        study.write_text(STUDY.format(seeds=seeds), encoding="utf-8")
        results = ResultsDirectory(Path(scratch) / "results")
        plan_s, plan = timed(lambda: planned(study, readout, results))
        plan_mb = peak_mb() - before
        assert isinstance(plan, Plan)
        write_rows(plan, results.root)
        resume_s, again = timed(lambda: planned(study, readout, results))
        assert isinstance(again, Plan)
        assert len(again.done) == len(plan.grid.cells)
        resume_mb = peak_mb() - before
        del again
        rows = list(results.rows().values())
        table_s, _ = timed(lambda: results.write_table(rows, [*IDENTITY_COLUMNS, *readout.columns]))
    return {
        "cells": len(plan.grid.cells),
        "plan_s": round(plan_s, 2),
        "plan_mb": round(plan_mb),
        "resume_s": round(resume_s, 2),
        "resume_mb": round(resume_mb),
        "table_s": round(table_s, 2),
        "table_mb": round(peak_mb() - before),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="*", default=[100, 1_000, 10_000, 100_000])
    parser.add_argument("--save", metavar="NAME", help="write results/NAME.json")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one_size(arguments.one)))
        return
    rows = list(alone(__file__, (("--one", n_cells) for n_cells in arguments.cells)))
    if arguments.save:
        save(arguments.save, machine(torch.device("cpu")), rows)


if __name__ == "__main__":
    main()
