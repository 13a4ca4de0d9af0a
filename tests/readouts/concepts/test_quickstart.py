"""The quickstart finds conjunctions in one model and none in the other; a run that ended early goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[3]
STUDY = ROOT / "search_spaces" / "concepts.yaml"


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def command(*options: str, folder: Path) -> list[str]:
    places = ["--results", str(folder / "results"), "--store", str(folder / "store")]
    return [sys.executable, "-m", "sweep.run", str(STUDY), *places, *options]


def run(*options: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*options, folder=folder), capture_output=True, text=True, cwd=folder, env=ENVIRONMENT
    )


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


STAGES = ("dictionary", "codes", "names", "binding", "classifier", "fidelity", "intervention", "stability")
SMALL = [
    *("--limit", "300", "--set", "training.steps=20", "--set", "controls=[]"),
    *("--set", "backbones=[shipped:shapes_clip_objects]"),
]


@pytest.mark.slow
@pytest.mark.starts_ray
def test_a_run_that_is_killed_in_every_stage_goes_on_to_the_same_rows(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
    assert run(*SMALL, folder=first).returncode == 0
    killed = [stage for stage in STAGES if kill_in(stage, second)]
    assert len(killed) >= 3, f"only {killed} began in a start of their own"
    n_rows = len(list((second / "results" / "concepts" / "rows").glob("*.json")))
    done = run(*SMALL, folder=second)
    assert done.returncode == 0, done.stdout + done.stderr
    one, other = (rows(folder).set_index("cell_id").sort_index() for folder in (first, second))
    assert set(one.stage) >= set(STAGES)
    assert n_rows < len(one)
    columns = ["explained_variance", "name_score", "accuracy_percent", "mmcs", "accuracy_change", "bound_auc"]
    pd.testing.assert_frame_equal(one[columns], other[columns])


def kill_in(stage: str, folder: Path) -> bool:
    """Start the study, and kill it as soon as the stage has its first row; False if it has one already."""

    def has_row() -> bool:
        found = (folder / "results" / "concepts" / "rows").glob("*.json")
        return any(json.loads(path.read_text())["stage"] == stage for path in found)

    if has_row():
        return False
    with (folder / "output.txt").open("w") as output:
        process = subprocess.Popen(
            command(*SMALL, folder=folder), cwd=folder, env=ENVIRONMENT, stdout=output, stderr=output
        )
    try:
        while not has_row():
            assert process.poll() is None, (folder / "output.txt").read_text()
            time.sleep(0.05)
        return process.poll() is None
    finally:
        process.kill()  # SIGKILL: nothing is put in order
        process.wait()
