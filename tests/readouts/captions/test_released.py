"""Replay of released labels: files of the released form, made so that the published numbers come out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from readouts.captions.categories.models import CategoriesConfig
from readouts.captions.categories.released import COUNTS, SHARES, main

N = 500


def answers_with(shares: Mapping[str, float], n: int) -> list[str]:
    """Captions of one part each, whose categories have these shares in percent, the rest objects."""
    labels = [name for name, share in shares.items() for _ in range(round(n * share / 100))]
    return [json.dumps({"part": [label, "", ""]}) for label in labels + ["object"] * (n - len(labels))]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Every layer has its published number of captions that can be read."""
    captions = {}
    for layer, count in enumerate(COUNTS):
        odd = ['{"red": ["color", ""', '{"red": "color"}', '{"a": {"red": ["color"]}}', "{}", "no JSON"]
        answers = answers_with(SHARES.get(layer, {}), count) + [odd[i % len(odd)] for i in range(N - count)]
        (tmp_path / "labels").mkdir(exist_ok=True)
        name = f"classification_llama_70B_top3_labels_layer_{layer}_caps_batch0.json"
        (tmp_path / "labels" / name).write_text(json.dumps(answers))
        captions[f"layer_{layer}"] = [f"caption {min(i, 3)} of {layer}" for i in range(N)]
    (tmp_path / "caps_batch0.json").write_text(json.dumps(captions))
    return tmp_path


def test_the_published_counts_come_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 24 + 2
    assert lines[1].split() == ["0", "441", "441"]
    assert "action 20.8 (published 20.8)" in lines[18]


def test_another_count_or_another_share_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [first, other] = [next((folder / "labels").glob(f"*_layer_{layer}_*")) for layer in (0, 17)]
    texts = first.read_text(), other.read_text()
    first.write_text(json.dumps([*json.loads(texts[0])[1:], "{}"]))
    assert main([str(folder)]) == 1
    first.write_text(texts[0])
    other.write_text(texts[1].replace("action", "person", 2))
    assert main([str(folder)]) == 1
    other.write_text(texts[1])
    other.unlink()
    assert main([str(folder)]) == 1
    assert "NOT equal" in capsys.readouterr().out


def test_answers_are_written_for_a_study(folder: Path) -> None:
    path = folder / "answers.jsonl"
    assert main([str(folder / "labels"), "--answers", str(path)]) == 0
    stored = CategoriesConfig(by="replay", answers=str(path), nested="drop").make()
    known, unknown = stored.categorise(["caption 3 of 17", "never seen"])
    assert known is not None
    assert [part.category for part in known] == ["action"]
    assert unknown is None


def test_what_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    (tmp_path / "x_labels_layer_0_y.json").write_text('["{}"]')
    assert main([str(tmp_path), "--answers", str(tmp_path / "a.jsonl")]) == 2
    (tmp_path / "caps_batch0.json").write_text('{"layer_0": []}')
    assert main([str(tmp_path), "--answers", str(tmp_path / "a.jsonl")]) == 2
    (tmp_path / "x_labels_layer_0_y.json").write_text("{}")
    assert main([str(tmp_path)]) == 2
    errors = capsys.readouterr().err.splitlines()
    for error, part in zip(
        errors, ("has no file called", "caps_batch0.json is neither", "has 0 captions", "valid array"), strict=True
    ):
        assert part in error
    assert not (tmp_path / "a.jsonl").exists()
