"""The read-out passes the suite that every read-out has to pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from frozen.readout.study import Study
from frozen.testing import ReadoutConformance
from readouts.text_decomposition.readout import TextDecomposition
from sweep.study.load import load_study

STUDY = """\
name: conformance
readout: text_decomposition
datasets:
  - {name: twins, scene: twinshapes, split: {train: 2, validation: 24, test: 16}}
backbones: ["shipped:shapes_clip_objects"]
analyses: [textspan, heatmap]
textspan: {texts: 2, last_layers: 1, rotations: 2}
heatmap: {layers: [4, 5], heads: ["5.1"]}
intervals: {resamples: 100}
"""


class TestTextDecomposition(ReadoutConformance):
    @pytest.fixture
    def readout(self) -> TextDecomposition:
        return TextDecomposition()

    @pytest.fixture
    def study(self, tmp_path: Path) -> Study:
        path = tmp_path / "study.yaml"
        path.write_text(STUDY)
        return load_study(path)
