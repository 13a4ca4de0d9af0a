"""The read-out passes the suite that every read-out has to pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from frozen.readout.study import Study
from frozen.testing import ReadoutConformance
from readouts.captions.readout import CaptionsReadout
from sweep.study.load import load_study

STUDY = """\
name: conformance
readout: captions
datasets:
  - {name: twins, scene: twinshapes, split: {train: 12, validation: 2, test: 16}}
backbones: ["shipped:shapes_coca"]
layers: [embed, 5]
translators: [none, affine]
candidates: 3
controls: [random_init, shuffled, blank, permuted_layers]
intervals: {resamples: 100}
"""


class TestCaptions(ReadoutConformance):
    @pytest.fixture
    def readout(self) -> CaptionsReadout:
        return CaptionsReadout()

    @pytest.fixture
    def study(self, tmp_path: Path) -> Study:
        path = tmp_path / "study.yaml"
        path.write_text(STUDY)
        return load_study(path)
