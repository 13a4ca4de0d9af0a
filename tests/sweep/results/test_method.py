"""The methods paragraph says what the study says: counts, ranges, versions, citations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from frozen.readout.readout import find_readout
from sweep import show
from sweep.results.directory import CELLS_FILE, ResultsDirectory
from sweep.results.method import method
from sweep.study.load import load_study
from tests.sweep.rows import cell_id, sound_row

STUDY = """
name: mine
seed: 5
datasets:
  - {name: shapes, scene: colorshape, n_colors: 3, n_shapes: 2, max_objects: 2, image_size: 48, object_size: 8}
backbones: [shipped:shapes_vit_objects]
layers: all
modes: [cls, mean_spatial]
controls: [noise]
probes:
  - {family: linear, learning_rate: 0.1}
  - {family: multilinear_concat_reuse, rank: {choices: [2, 8]}, feature_probe: {family: dnn_concat}}
fit: {epochs: 7, patience: 3, standardize: false}
search: {suggestions: 6}
seeds: 3
intervals: {level: 0.9, resamples: 500}
"""
ROW: dict[str, Any] = {
    "status": "done",
    "is_control": False,
    "control": None,
    "dataset": "shapes",
    "backbone": "shipped:shapes_vit_objects",
    "weights_digest": "0123456789abcdef",
    "layer": "0",
    "layer_index": 1,
    "mode": "cls",
    "probe": "linear",
    "split_policy": "independent",
    "n_train": 39_200,
    "n_validation": 9_800,
    "n_test": 9_801,
    "git_commit": "f" * 40 + "+",
    "versions": json.dumps({"torch": "2.0", "python": "3.11.7"}),
}
CONTROL = {**ROW, "is_control": True, "backbone": "control:noise", "layer": "code"}
ROWS = [{**ROW, "layer": "final", "layer_index": 9}, ROW, CONTROL, {**ROW, "status": "failed"}]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "study.yaml"
    found.write_text(STUDY)
    return found


def test_a_paragraph_says_what_was_measured(path: Path) -> None:
    text = method(load_study(path), find_readout("binding"), ROWS)
    for part in (
        "shipped:shapes_vit_objects (weights 0123456789ab) were read, frozen, at layers 0 and final, at mode cls",
        "Controls with known answers were measured in the same way: control:noise.",
        "3 cells, each a data set, backbone, layer, mode and probe, were measured (1 failed)",
        "shapes has 6 possible objects (3 color × 2 shape), and 39,200 training, 9,800 validation and 9,801 test",
        "linear (learning rate 0.1, ",
        "rank chosen from 2, 8",
        "with features read by dnn_concat (",
        "at most 7 epochs, stopped after 3 epochs without improvement) on activations not standardised",
        "among 6 suggestions of a tree-structured Parzen estimator",
        "trained with 3 seeds",
        "90% intervals are from a hierarchical bootstrap over seeds and test samples (500 resamples)",
        "(commit ffffffffffff+), Python 3.11.7 and PyTorch 2.0.",
        "eprint        = {2606.03976}",
        "@software{binding_sweep,",
    ):
        assert part in text
    assert text.count("\n\n@") == 2


def test_what_was_not_tuned_or_repeated_is_not_claimed(path: Path) -> None:
    fixed = ["seeds=1", "probes=[{family: linear, learning_rate: 0.1}]"]
    text = method(load_study(path, fixed), find_readout("binding"), ROWS[:1])
    assert "hyper-parameters were chosen" not in text
    assert "a bootstrap over test samples" in text
    assert "Controls" not in text
    assert "failed" not in text


def test_the_command_prints_it_or_says_what_it_needs(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / CELLS_FILE).write_text(json.dumps([cell_id("a")]))
    ResultsDirectory(tmp_path).write(sound_row("a", **ROW), pa.table({"bits": [1.0]}))
    ResultsDirectory(tmp_path).write(sound_row("b", **ROW | {"layer": "final"}), pa.table({"bits": [1.0]}))
    assert show.main([str(tmp_path), "--method"]) == 0
    said = capsys.readouterr()
    assert "were read, frozen, at layer 0" in said.out
    assert "final" not in said.out
    assert "1 cells, each" in said.out
    assert "left out: 1 row of other settings" in said.err
    path.unlink()
    assert show.main([str(tmp_path), "--method"]) == 2
    assert "needs the study beside its rows" in capsys.readouterr().err
