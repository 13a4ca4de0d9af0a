"""Exhibits of planted results: what is drawn is what the rows say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

from frozen.data.scenes import SplitPolicy, TwinShapes
from readouts.captions.categories.lexicon import LexiconCategoriser
from readouts.captions.categories.shares import caption_shares
from readouts.captions.columns import COLUMNS
from readouts.captions.exhibits import exhibits
from readouts.captions.exhibits._pairs import confusion, parts_of
from readouts.captions.exhibits._shares import stacked
from readouts.captions.parsing import Parser
from readouts.captions.scoring import WrittenCaptions, sample_table
from readouts.captions.stored import recompute
from readouts.captions.truth import truth_columns

SCENE = TwinShapes(split=SplitPolicy(train=2, validation=2, test=20))
SPLIT = SCENE.open("test")
TRUE = SPLIT.captions(np.arange(20), "counted")
SWAPPED = SPLIT.captions(np.arange(20) ^ 1, "counted")


def row(results: Path, place: int, captions: list[str], *, control: bool = False) -> dict:
    written = WrittenCaptions(captions, [np.array([1.0])] * 20, np.ones(20, dtype=bool), None)
    truth = truth_columns(captions, SPLIT.object_codes, Parser(SCENE.space))
    samples = sample_table(written, np.arange(20) // 2, truth, TRUE, choices=None, is_shuffled=False)
    shares = caption_shares(LexiconCategoriser().categorise(captions))
    samples = samples.append_column("shares", pa.FixedShapeTensorArray.from_numpy_ndarray(shares))
    known = dict.fromkeys(COLUMNS) | {"seed": 0, "interval_level": 0.95, "interval_resamples": 100}
    cell = f"{'c' if control else 't'}{place}"
    (results / "samples").mkdir(exist_ok=True)
    pq.write_table(samples, results / "samples" / f"{cell}.parquet")
    about = {"dataset": "twins", "backbone": "b", "translator": "none", "layer": str(place), "layer_index": place}
    about |= {"status": "done", "is_control": control, "cell_id": cell}
    return {**about, **known, **recompute(known, samples)}


@pytest.fixture
def rows(tmp_path: Path) -> list[dict]:
    return [row(tmp_path, 0, ["two a red circle"] * 20), row(tmp_path, 1, SWAPPED), row(tmp_path, 2, TRUE)]


def test_every_exhibit_can_be_drawn(tmp_path: Path, rows: list[dict]) -> None:
    found = list(exhibits(tmp_path, rows, {"twins": SCENE}))
    assert len(found) == 7
    for one in found:
        drawn = one.draw()
        assert isinstance(drawn, Figure) or json.dumps(drawn, allow_nan=False)
        assert one.title
        assert one.caption.endswith(".")
        assert one.alternative


def test_pairs_are_right_swapped_or_not_there(rows: list[dict]) -> None:
    for one, kind in ((rows[1], "swapped"), (rows[2], "right")):
        assert {part["pairs"]: part["percent"] for part in parts_of(one, "b")} == {
            "right": 0,
            "swapped": 0,
            "not there": 0,
            kind: 100,
        }
        assert next(parts_of(one, "b"))["chance"] == pytest.approx(50)


def test_the_confusion_of_swapped_captions_has_nothing_on_its_diagonal(tmp_path: Path, rows: list[dict]) -> None:
    parser = Parser(SCENE.space)
    diagonals = [
        {value["percent"] for value in confusion(tmp_path, one, parser) if value["true"] == value["said"]}
        for one in rows[1:]
    ]
    assert diagonals == [{0}, {100}]


def test_shares_of_a_layer_add_up(rows: list[dict]) -> None:
    values = stacked(rows)
    for place in range(3):
        assert sum(value["percent"] for value in values if value["place"] == place) == pytest.approx(100, abs=0.01)


def test_nothing_is_drawn_of_no_rows(tmp_path: Path) -> None:
    assert list(exhibits(tmp_path, [], {})) == []
    assert list(exhibits(tmp_path, [{"status": "failed", "layer_index": 0, "layer": "0"}], {})) == []
