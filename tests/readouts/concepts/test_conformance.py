"""The read-out passes the suite that every read-out has to pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from frozen.readout.cells import Cell
from frozen.readout.outcome import Outcome
from frozen.readout.study import Study
from frozen.testing import ReadoutConformance
from readouts.concepts.readout import ConceptsReadout
from sweep.study.load import load_study

STUDY = """\
name: conformance
readout: concepts
datasets:
  - {name: many, scene: fewshapes, split: {policy: independent, train: 120, validation: 60, test: 80}}
backbones: ["shipped:shapes_clip_objects"]
sites: [joint]
dictionaries: [{kind: topk, k: 4, expansion: 0.5}]
seeds: 2
training: {steps: 5, batch_size: 64}
names: [{}, {images: "shipped:shapes_clip_features", threshold: 3}]
classifiers: [{penalties: [0.03, 0.01]}, {reads: features, penalties: [0.03]}, {solver: adam, epochs: 1}]
interventions: [{name: no red, names: ["*red*"], draws: 2}, {name: one, action: keep, atoms: [1], draws: 2}]
judge: shipped:shapes_clip_features
controls: []
intervals: {resamples: 100}
"""


class TestConcepts(ReadoutConformance):
    @pytest.fixture
    def readout(self) -> ConceptsReadout:
        return ConceptsReadout()

    @pytest.fixture
    def study(self, tmp_path: Path) -> Study:
        path = tmp_path / "study.yaml"
        path.write_text(STUDY)
        return load_study(path)

    def test_every_exhibit_is_drawn(
        self, readout: ConceptsReadout, study: Study, outcomes: dict[Cell, Outcome], tmp_path: Path
    ) -> None:
        rows = []
        for cell, outcome in outcomes.items():
            for name, content in outcome.files.items():
                folder, _, suffix = name.partition(".")
                (tmp_path / folder).mkdir(exist_ok=True)
                (tmp_path / folder / f"{cell.cell_id}.{suffix}").write_bytes(content)
            own = {"cell_id": cell.cell_id, "dataset": cell.dataset.name, "backbone": cell.label, "status": "done"}
            rows.append({**own, "is_control": cell.is_control, **dict(cell.columns), **outcome.row})
        scenes = {one.name: one.config for one in study.datasets}
        shown = list(readout.exhibits(tmp_path, rows, scenes))
        titles = " ".join(one.title for one in shown)
        for part in (
            "atoms fire",
            "few atoms",
            "strongest images",
            "Search among",
            "Accuracy against",
            "Decisions",
            "Classes",
            "Clusters",
        ):
            assert part in titles
        for one in shown:
            assert one.caption.endswith(".")
            assert one.alternative
            drawing = one.draw()
            assert isinstance(drawing, Figure | dict)
