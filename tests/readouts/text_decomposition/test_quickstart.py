"""The quickstart through the real engine, with few images: what its page says comes out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
@pytest.mark.starts_ray
def test_the_quickstart_says_what_its_page_says(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sweep.run", "search_spaces/text_decomposition.yaml", "--limit", "200"]
    subprocess.run([*command, "--results", str(tmp_path)], cwd=ROOT, check=True, timeout=900)
    [path] = tmp_path.rglob("results.parquet")
    rows = pd.read_parquet(path)
    assert (rows.status == "done").all()
    whole = rows[rows.analysis == "decomposition"].set_index(["dataset", "backbone"])
    assert (whole.sum_error < 1e-3).all()
    assert whole.accuracy_percent["two_objects", "shipped:shapes_clip_objects"] > 97
    assert whole.accuracy_percent["one_object", "random_init:shipped:shapes_clip_objects"] < 20
    choice = rows[rows.analysis == "forced_choice"]
    features = choice[choice.backbone == "shipped:shapes_clip_features"]
    assert (features.mean_margin == 0).all()
    parts = choice[choice.backbone == "shipped:shapes_clip_objects"]
    sums = parts[parts.term.isin(["heads", "mlps"])]
    assert sums.groupby("dataset").margin_share_ratio.sum().tolist() == pytest.approx([1, 1], abs=1e-4)
    parts = parts[~parts.term.isin(["embedding", "heads", "all heads", "mlps"])]
    assert parts.groupby("dataset").margin_share_ratio.sum().tolist() == pytest.approx([1, 1], abs=1e-4)
    maps = rows[(rows.analysis == "heatmap") & (rows.dataset == "two_objects")].set_index(["backbone", "term"])
    assert maps.pointing_percent["shipped:shapes_clip_objects", "text - other"] > 90
    assert maps.pointing_percent["shipped:shapes_clip_objects", "other - text"] < 20
    texts = rows[(rows.analysis == "textspan") & (rows.term != "reconstruction")]
    assert (texts.explained_ratio > texts.explained_by_chance_ratio).all()
    assert all(len(json.loads(one)) == 5 for one in texts.texts)
    report = (path.parent / "report.html").read_text(encoding="utf-8")
    assert "could not be drawn" not in report
    assert "Controls hold" in report
