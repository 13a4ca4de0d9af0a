"""The read-out runs on a CoCa of open_clip, from a folder of the library's own layout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from shutil import copytree

import pandas as pd
import pytest

from frozen.models._torchvision_ops import declare_missing_operators
from tests.frozen.models.open_clips import written

declare_missing_operators()
pytest.importorskip("open_clip", reason="open_clip is an extra")
ROOT = Path(__file__).parents[3]
STUDY = """\
name: coca
readout: captions
datasets:
  - {name: twins, scene: twinshapes, split: {train: 12, validation: 2, test: 16}}
backbones: ["open_clip:./coca"]
layers: [embed, final]
translators: [none, affine]
candidates: 3
decode: {max_words: 6}
controls: [random_init, blank]
intervals: {resamples: 100}
"""


@pytest.mark.slow
@pytest.mark.starts_ray
def test_a_study_of_random_weights_finds_nothing(tmp_path: Path) -> None:
    copytree(written("coca")[0], tmp_path / "coca")
    (tmp_path / "study.yaml").write_text(STUDY)
    command = [sys.executable, "-m", "sweep.run", "study.yaml", "--results", "results", "--store", "store"]
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = pd.read_parquet(tmp_path / "results" / "coca" / "results.parquet")
    assert (rows.status == "done").all()
    assert len(rows) == 9
    assert set(rows[rows.control.isna()].layer) == {"embed", "final"}
    assert (rows.exact_percent == 0).all()
    assert (rows[rows.control == "blank"].choice_accuracy_percent == 50).all()
    assert set(rows.backbone) == {f"{prefix}open_clip:./coca" for prefix in ("", "random_init:", "blank:")}
