"""The read-out passes the suite that every read-out has to pass."""

from __future__ import annotations

from pathlib import Path

import pytest

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
sites: [joint, 1.tokens]
dictionaries: [{kind: topk, k: 4, expansion: 0.5}, {kind: relu_l1, expansion: 0.5, penalty: 0.03}]
seeds: 2
training: {steps: 5, batch_size: 64}
names: [{}, {images: "shipped:shapes_clip_features", threshold: 3}]
classifiers: [{penalties: [0.03, 0.01]}, {reads: features, penalties: [0.03]}, {solver: adam, epochs: 1}]
interventions: [{name: no red, names: ["*red*"], draws: 2}, {name: one, action: keep, atoms: [1], draws: 2}]
judge: shipped:shapes_clip_features
controls: [shuffled]
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
