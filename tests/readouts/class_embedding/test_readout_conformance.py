from __future__ import annotations

from pathlib import Path

import pytest

from frozen.readout.study import Study
from frozen.testing import ReadoutConformance
from readouts.class_embedding.readout import ClassEmbedding
from sweep.study.load import load_study

STUDY = Path(__file__).parents[3] / "search_spaces" / "class_embedding.yaml"


class TestConformance(ReadoutConformance):
    @pytest.fixture
    def readout(self) -> ClassEmbedding:
        return ClassEmbedding()

    @pytest.fixture
    def study(self) -> Study:
        return load_study(
            str(STUDY),
            [
                "layers=[5]",
                "controls=[]",
                "conditions=[no_cls, class_removed]",
                "deletion_steps=4",
                "intervals.resamples=200",
            ],
            limit=20,
        )
