"""The exhibits of the binding read-out."""

from __future__ import annotations

import io
import json
import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from matplotlib.figure import Figure

from binding.exhibits import exhibits
from binding.exhibits._budget import best_layers, budget
from binding.exhibits._importance import TrialExcess, importance, tried
from binding.exhibits._scenes import object_names
from frozen.data.scenes import ColorShape, SplitPolicy
from frozen.readout.exhibit import Exhibit
from frozen.readout.outcome import SUGGESTIONS
from frozen.readout.readout import find_readout

SIZES = SplitPolicy(train=4, validation=4, test=8)
SCENE = ColorShape(n_colors=3, n_shapes=2, max_objects=3, image_size=48, object_size=10, split=SIZES)
ROW = {
    "status": "done",
    "dataset": "shapes",
    "backbone": "small",
    "mode": "cls",
    "probe": "linear",
    "layer": "2",
    "object_entropy_bits": 10.0,
    "feature_information_bits": 3.0,
    "feature_information_bits_low": 2.5,
    "feature_information_bits_high": 3.5,
    "binding_information_bits": 4.0,
    "binding_information_bits_low": 3.0,
    "binding_information_bits_high": 5.0,
    "object_information_bits": 7.0,
    "object_information_bits_low": 6.0,
    "object_information_bits_high": 8.0,
}


def test_the_readout_shows_scenes_and_budget(tmp_path) -> None:
    shown = list(find_readout("binding").exhibits(tmp_path, [ROW], {"shapes": SCENE}))
    assert all(isinstance(one, Exhibit) for one in shown)
    titles = [one.title for one in shown]
    assert titles[0] == "Scenes of shapes"
    assert "Bits budget" in titles
    assert all(one.caption and one.alternative for one in shown)


def test_scenes_are_drawn_with_the_names_of_their_objects(tmp_path) -> None:
    picture = next(iter(exhibits(tmp_path, [], {"shapes": SCENE}))).draw()
    assert isinstance(picture, Figure)
    test = SCENE.open("test")
    texts = [axes.texts[0].get_text() for axes in picture.axes]
    assert texts == [object_names(SCENE, code) for code in test.object_codes[: len(texts)]]
    assert len(texts) == 6
    drawn = picture.axes[2].images[0].get_array()
    assert drawn is not None
    assert np.array_equal(drawn, test.images(np.array([2]))[0])
    picture.savefig(io.BytesIO(), format="png")


def test_many_objects_are_counted() -> None:
    scene = ColorShape(n_colors=4, n_shapes=4, max_objects=16, image_size=256, object_size=16, split=SIZES)
    names = object_names(scene, np.ones(16, dtype=np.uint8)).splitlines()
    assert names[0] == "red circle"
    assert names[-1] == "and 8 more"
    assert object_names(scene, np.zeros(16, dtype=np.uint8)) == "empty scene"


def test_the_parts_of_a_budget_add_up_to_the_entropy() -> None:
    features, binding, unread = budget(ROW)
    assert (features["start"], features["end"], features["low"], features["high"]) == (0, 3, 2.5, 3.5)
    assert (binding["start"], binding["end"], binding["low"], binding["high"]) == (3, 7, 6, 8)
    assert (unread["start"], unread["end"], unread["low"]) == (7, 10, None)
    assert binding["estimate"] == "4.00 [3.00, 5.00] bits"


def test_less_than_nothing_is_drawn_as_nothing() -> None:
    nothing = {"feature_information_bits": -1.0, "binding_information_bits": -2.0, "object_information_bits": -3.0}
    features, binding, unread = budget(ROW | nothing)
    assert (features["end"], binding["end"], unread["end"]) == (0, 0, 10)
    assert binding["estimate"].startswith("-2.00")


def test_the_best_layer_is_chosen_and_rows_without_numbers_are_left_out() -> None:
    better = ROW | {"layer": "5", "object_information_bits": 8.0}
    unknown = ROW | {"layer": "6", "object_entropy_bits": None}
    undefined = ROW | {"layer": "7", "object_information_bits": math.nan}
    assert [row["layer"] for row in best_layers([ROW, better, unknown, undefined])] == ["5"]


@pytest.mark.parametrize("rows", [[], [{"status": "failed", "dataset": "shapes"}]])
def test_nothing_measured_has_no_budget(tmp_path, rows) -> None:
    assert list(exhibits(tmp_path, rows, {})) == []


def test_specifications_are_plain_json(tmp_path) -> None:
    for one in exhibits(tmp_path, [ROW], {}):
        assert json.loads(json.dumps(one.draw(), allow_nan=False))


def test_the_hyper_parameter_that_matters_is_found() -> None:
    rng = np.random.default_rng(0)
    rates = 10 ** rng.uniform(-4, 0, 200)
    trials = [
        TrialExcess({"learning_rate": rate, "rank": int(rank), "fixed": True}, abs(np.log10(rate) + 2))
        for rate, rank in zip(rates, rng.choice([4, 16], 200), strict=True)
    ]
    shares = importance(trials)
    assert set(shares) == {"learning_rate", "rank"}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["learning_rate"] > 0.9
    assert importance(trials[:5]) == {}


def test_suggestions_are_judged_against_the_best_of_their_own_cell(tmp_path) -> None:
    (tmp_path / "suggestions").mkdir()
    tries = [
        {"target": "features", "values": json.dumps({"rank": rank}), "loss": bits}
        for rank, bits in ((4, 7.5), (16, 7.0), (8, None))
    ]
    pq.write_table(pa.Table.from_pylist(tries, SUGGESTIONS), tmp_path / "suggestions" / "a.parquet")
    row = ROW | {"cell_id": "a", "feature_probe": "quadratic"}
    assert tried(tmp_path, [row, row | {"cell_id": "gone"}]) == {
        ("quadratic", "features"): [TrialExcess({"rank": 4}, 0.5), TrialExcess({"rank": 16}, 0.0)]
    }
    titles = [exhibit.title for exhibit in exhibits(tmp_path, [row], {})]
    assert titles == ["Bits budget"], "too few suggestions to tell"
