"""Cells begin in the order of their cost, the longest first."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from frozen.readout.readout import find_readout
from sweep.engine.cluster import Resources
from sweep.engine.grid import make_grid
from sweep.engine.measuring import longest_first
from sweep.engine.needs import Graph, Source
from sweep.engine.run import Run
from sweep.results.directory import ResultsDirectory
from sweep.study.load import load_study, locate_in

STUDY = """\
name: order
datasets:
  - {name: shapes, scene: colorshape, n_colors: 3, n_shapes: 3, max_objects: 3, image_size: 64, object_size: 12,
     split: {policy: independent, train: 60, validation: 20, test: 30}}
backbones: ["shipped:shapes_vit_objects"]
layers: [5]
modes: [cls, cls_mean, all]
probes: [{family: linear}, {family: dnn_concat}, {family: quadratic_concat}, {family: attention_quadratic}]
"""


def test_the_longest_cells_begin_first(tmp_path: Path) -> None:
    study = tmp_path / "order.yaml"
    study.write_text(STUDY, encoding="utf-8")
    readout = find_readout("binding")
    cells = make_grid(load_study(study, [], None), readout, locate_in(study, [])).cells
    source = Source({}, {"train": 60, "validation": 20, "test": 30}, "", "")
    graph = Graph(cells, dict.fromkeys(cells, source), {"binding": readout})
    run = Run(
        study="order",
        git_commit="",
        readouts={"binding": readout},
        cells=cells,
        graph=graph,
        results=ResultsDirectory(tmp_path),
        store=str(tmp_path),
        store_memory_bytes=0,
        resources=Resources(1, 0, ""),
        gpus_per_cell=1.0,
        logs=(),
        console=Console(),
    )
    order = [(cell.column("probe"), cell.column("mode")) for cell in longest_first(run)]
    assert sorted(order) == sorted((cell.column("probe"), cell.column("mode")) for cell in cells)
    pooled = [place for place in order if place[1] != "all"]
    assert pooled == [
        ("dnn_concat", "cls_mean"),
        ("dnn_concat", "cls"),
        ("quadratic_concat", "cls_mean"),
        ("quadratic_concat", "cls"),
        ("linear", "cls_mean"),
        ("linear", "cls"),
    ]
    assert order.index(("attention_quadratic", "all")) < order.index(("linear", "cls"))
