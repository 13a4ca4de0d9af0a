"""The read-out passes the suite that every read-out has to pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from binding.readout import BindingReadout
from frozen.readout.study import Study
from frozen.testing import ReadoutConformance
from sweep.study.load import load_study

STUDY = """\
name: conformance
datasets:
  - {name: shapes, scene: colorshape, n_colors: 2, n_shapes: 2, max_objects: 3, image_size: 64, object_size: 12,
     split: {policy: independent, train: 96, validation: 48, test: 64}}
backbones: ["shipped:shapes_vit_objects"]
layers: [final]
modes: [cls]
controls: [oracle, noise]
probes: [{family: linear}]
fit: {epochs: 2, batch_size: 32}
search: {suggestions: 2}
seeds: 1
intervals: {resamples: 100}
"""


class TestBinding(ReadoutConformance):
    @pytest.fixture
    def readout(self) -> BindingReadout:
        return BindingReadout()

    @pytest.fixture
    def study(self, tmp_path: Path) -> Study:
        path = tmp_path / "study.yaml"
        path.write_text(STUDY)
        return load_study(path)
