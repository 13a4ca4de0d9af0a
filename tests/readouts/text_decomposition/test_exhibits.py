"""Drawings of rows that are made by hand: what is in them, and what is not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frozen.data.scenes import FewShapes, SplitPolicy
from frozen.readout.exhibit import Exhibit
from readouts.text_decomposition.exhibits import exhibits
from readouts.text_decomposition.exhibits._heads import entropy, matrix
from readouts.text_decomposition.exhibits._spurious import bars
from readouts.text_decomposition.lens import pack

SCENES = {"few": FewShapes(split=SplitPolicy(train=2, validation=4, test=8))}


GROUPS = json.dumps({"circle · red": 80.0, "circle · blue": 60.0})
ENDS = json.dumps({"circle · red": [70.0, 90.0], "circle · blue": [50.0, 70.0]})


def row(analysis: str, layer: str, term: str, **columns: Any) -> dict[str, Any]:
    own = {"dataset": "few", "backbone": "shipped:shapes_clip_objects", "status": "done", "is_control": False}
    name = f"{analysis}-{layer}-{term}".replace(" ", "_")
    return {
        **own,
        "cell_id": name,
        "analysis": analysis,
        "layer": layer,
        "term": term,
        "setting": "2 texts",
        **columns,
    }


def measure(column: str, value: float) -> dict[str, float]:
    return {column: value, f"{column}_low": value - 1, f"{column}_high": value + 1}


def rows() -> list[dict[str, Any]]:
    texts = json.dumps([["red", 0.6, 0.6], ["a circle", 0.2, 0.8]])
    return [
        row("decomposition", "final", "embedding", **measure("accuracy_percent", 99)),
        row("ablation", "0", "attention up to here", **measure("accuracy_percent", 50)),
        row("ablation", "final", "mlps", **measure("change_percent", -3)),
        row("heads", "3", "head 1", factor="color", factor_ratio=0.9, change_percent=-2.0),
        row("textspan", "3", "head 1", texts=texts, explained_ratio=0.8, explained_by_chance_ratio=0.3),
        row("forced_choice", "3", "head 1", margin_share_ratio=0.4),
        row("heatmap", "final", "text", **measure("pointing_percent", 90.0), chance_percent=9.0),
        row("heatmap", "3", "head 1: text"),
        row("neighbours", "3", "head 1", factor="color", retrieved_percent=80.0, chance_percent=25.0),
        row(
            "spurious",
            "final",
            "all terms",
            group_percents=GROUPS,
            group_intervals=ENDS,
            **measure("accuracy_percent", 90),
        ),
    ]


def files(folder: Path) -> None:
    kept = {
        "maps/heatmap-3-head_1:_text": {"images": np.arange(2), "maps": np.ones((2, 8, 8), np.float32)},
        "maps/heatmap-final-text": {"images": np.arange(2), "maps": np.ones((2, 8, 8), np.float32)},
        "neighbours/neighbours-3-head_1": {"nearest": np.array([[1, 2], [0, 2]])},
        "cosines/decomposition-final-embedding": {"cosines": np.full((4, 4), 0.2, np.float32)},
    }
    for name, arrays in kept.items():
        path = folder / f"{name}.npz"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(pack(arrays))


def test_everything_is_drawn(tmp_path: Path) -> None:
    files(tmp_path)
    found = list(exhibits(tmp_path, rows(), SCENES))
    assert [one.title.partition(":")[0] for one in found] == [
        "Accuracy without attention",
        "Accuracy without MLPs and other sets",
        "What each head is about",
        "What the texts of a head explain",
        "Who tells a scene from its twin",
        "What goes without each head",
        "How many texts a head takes",
        "Texts of the heads",
        "Without the heads of a cue",
        "Accuracy of each group",
        "How alike heads are",
        "Maps against masks",
        "Maps of texts",
        "Maps of single heads",
        "Neighbours by head",
    ]
    for one in found:
        assert isinstance(one, Exhibit)
        drawn = one.draw()
        assert drawn
        if isinstance(drawn, dict):
            json.dumps(drawn, allow_nan=False)


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    assert list(exhibits(tmp_path, [], {})) == []
    failed = [{**one, "status": "failed"} for one in rows()]
    assert list(exhibits(tmp_path, failed, SCENES)) == []


def test_the_entropy_of_texts_says_how_many_it_takes() -> None:
    assert entropy([0.9]) == 0
    assert entropy([0.2] * 4) == pytest.approx(2)
    assert entropy([0.5, 0.25, 0.25]) == pytest.approx(1.5)
    assert entropy([]) is None
    [head] = matrix(rows())
    assert head["entropy"] == pytest.approx(entropy([0.6, 0.2]), abs=1e-4)
    assert head["effect"] == -2


def test_the_worst_group_stands_out_and_every_group_has_an_interval() -> None:
    found = [tuple(one[name] for name in ("group", "accuracy", "low", "high", "worst")) for one in bars(rows())]
    assert found == [("circle · red", 80, 70, 90, False), ("circle · blue", 60, 50, 70, True)]
    older = [{name: value for name, value in one.items() if name != "group_intervals"} for one in rows()]
    assert [one["low"] for one in bars(older)] == [None, None], "rows of before have none"


def test_a_head_has_its_words_and_numbers_in_one_place() -> None:
    [head] = matrix(rows())
    assert (head["layer"], head["head"], head["words"], head["told"], head["share"]) == (
        "3",
        "1",
        "red; a circle",
        0.9,
        0.4,
    )
