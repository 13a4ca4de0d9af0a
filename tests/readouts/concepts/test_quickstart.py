"""The quickstart finds conjunctions in one model and none in the other; a run that ended early goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[3]
STUDY = ROOT / "search_spaces" / "concepts.yaml"


def run(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    places = ["--results", str(folder / "results"), "--store", str(folder / "store")]
    command = [sys.executable, "-m", "sweep.run", str(STUDY), *places, *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def rows(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "results" / "concepts" / "results.parquet")


@pytest.mark.slow
@pytest.mark.starts_ray
def test_the_quickstart_says_what_the_documents_say(tmp_path: Path) -> None:
    done = run(folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = rows(tmp_path)
    assert (found.status == "done").all()
    plain = found[found.control.isna()]
    objects, features = (plain[plain.backbone == f"shipped:shapes_clip_{name}"] for name in ("objects", "features"))
    topk = objects[objects.dictionary.str.startswith("topk")]
    assert (topk[topk.stage == "binding"].kinds_covered >= 14).all()
    assert (topk[topk.stage == "names"].kinds_named >= 15).all()
    assert (features[features.stage == "binding"].conjunction_atoms == 0).all()
    fit = plain[plain.stage == "dictionary"]
    assert (fit.explained_variance > 0.9).all()
    assert (fit[fit.backbone == "shipped:shapes_clip_objects"].zero_shot_lost < 2).all()
    shuffled = found[(found.control == "shuffled") & (found.stage == "binding")]
    assert (shuffled.conjunction_atoms == 0).all()
    assert "Search among atoms" in (tmp_path / "results" / "concepts" / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.starts_ray
def test_a_run_that_ended_early_goes_on_to_the_same_rows(tmp_path: Path) -> None:
    small = ["--limit", "300", "--set", "training.steps=20", "--set", "controls=[]"]
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    assert run(*small, folder=first).returncode == 0
    assert run(*small, "--max-cells", "7", folder=second).returncode in (0, 3)
    assert run(*small, folder=second).returncode == 0
    one, other = (rows(folder).set_index("cell_id").sort_index() for folder in (first, second))
    columns = ["explained_variance", "name_score", "accuracy_percent", "mmcs", "accuracy_change"]
    pd.testing.assert_frame_equal(one[columns], other[columns])
