"""Heads of a cue: chosen without test labels, against random heads of the same layers; groups by hand."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from frozen.data.readers import Table
from frozen.data.transform import Transform
from frozen.intervals import IntervalConfig
from readouts.text_decomposition.asked import label_values, left_out
from readouts.text_decomposition.columns import COLUMNS
from readouts.text_decomposition.estimates import IN_GROUP, RIGHT_IN, estimate, group_estimates, table
from readouts.text_decomposition.measuring import _flags
from readouts.text_decomposition.settings import SpuriousConfig
from readouts.text_decomposition.spurious import (
    ALL,
    BY_VARIANCE,
    NAMED,
    RANDOM,
    _target_and_cue,
    cue_share,
    random_heads,
    without_cue,
)
from readouts.text_decomposition.texts import TextTable
from tests.readouts.text_decomposition.known import SPACE, WIDTH, given, lens, outputs

N = 160
WORDS = tuple(value for group in SPACE.groups for value in group.values)


def test_worst_group_by_hand() -> None:
    right = np.array([1, 1, 0, 1, 0, 0, 1, 1])
    groups = np.array([0, 0, 0, 1, 1, 1, 1, 3])
    columns = {}
    for group in range(4):
        columns[f"{IN_GROUP}{group}"] = groups == group
        columns[f"{RIGHT_IN}{group}"] = (groups == group) * right
    found = estimate({0: table(None, right=right, **columns)}, IntervalConfig(resamples=100), seed=0)[0]
    assert found["worst_group_percent"].value == 50
    assert found["accuracy_percent"].value == pytest.approx(62.5)


def test_a_group_has_its_own_interval() -> None:
    rng = np.random.default_rng(0)
    groups = rng.random(1000) < 0.9
    right = np.where(groups, rng.random(1000) < 0.8, rng.random(1000) < 0.3)
    columns = {}
    for group in range(3):  # the third one has no image
        columns[f"{IN_GROUP}{group}"] = groups == group
        columns[f"{RIGHT_IN}{group}"] = (groups == group) * right
    found = group_estimates(table(None, **columns), IntervalConfig(resamples=500), seed=0)
    assert set(found) == {0, 1}
    for group, true in ((0, 0.3), (1, 0.8)):
        value, low, high = found[group]
        n = int((groups == group).sum())
        assert value == pytest.approx(100 * right[groups == group].mean(), abs=1e-3)
        assert high - low == pytest.approx(2 * 196 * (true * (1 - true) / n) ** 0.5, rel=0.25)
    assert found[0].high - found[0].low > 2 * (found[1].high - found[1].low), "fewer images tell less"


def test_random_heads_are_equally_many_in_each_layer() -> None:
    chosen = ["11.0", "11.3", "10.2"]
    for heads in random_heads(chosen, 12, 5, seed=0):
        assert len(set(heads)) == 3
        assert Counter(name.partition(".")[0] for name in heads) == {"11": 2, "10": 1}
    assert random_heads(chosen, 12, 5, seed=0) != random_heads(chosen, 12, 5, seed=1)


def test_texts_name_a_cue() -> None:
    colors, shapes = ["red", "blue"], ["circle"]
    assert cue_share([("red", 0.5), ("a blue", 0.1), ("circle", 0.2)], colors, shapes) == pytest.approx(0.75)
    assert cue_share([("red circle", 0.5), ("a blue", 0.5)], colors, shapes) == 0.5
    assert cue_share([("bored", 1.0)], colors, shapes) == 0


def planted():
    """Head 1.0 writes the colour's direction and head 0.1 the shape's; texts are these directions."""
    codes = {
        name: np.eye(16, dtype=np.uint8)[np.random.default_rng(s).integers(16, size=N)]
        for s, name in enumerate(("validation", "test"))
    }
    weights = lens()
    output = 0.01 * weights.output
    for value in range(3):
        output[1, value, value] = 10
        output[0, 4 + value, 3 + value] = 10
    own = replace(
        weights,
        output=output,
        output_bias=0 * weights.output_bias,
        gain=0 * weights.gain + 1,
        norm_bias=0 * weights.norm_bias,
    )
    points = np.concatenate([np.eye(3), -np.ones((1, 3))]).astype(np.float32)
    columns = {}
    for number, name in enumerate(codes):
        one = outputs(N, number)
        kinds = codes[name].argmax(1)
        one["heads"] *= 0.1
        one["mlps"] *= 0.1
        one["mean"] *= 0
        one["heads"][:, 1, 0] += points[kinds // 4]
        one["heads"][:, 0, 1] += points[kinds % 4]
        columns[name] = one
    vectors = np.zeros((8, WIDTH), np.float32)
    vectors[:4, :3], vectors[4:, 4:7] = points, points
    return given(
        columns,
        np.zeros(N, int),
        np.eye(WIDTH),
        codes=codes,
        lens=own,
        table=TextTable(WORDS, vectors),
        config=SpuriousConfig(target="shape", cue="color"),
        analysis="spurious",
    )


def test_without_the_heads_of_the_cue_the_cue_is_lost_and_the_class_is_not() -> None:
    found = without_cue(planted(), [ALL, BY_VARIANCE, RANDOM])
    assert found[BY_VARIANCE].removed == [["1.0"]]
    assert found[ALL].right.mean() > 0.99
    assert found[ALL].cue_right.mean() > 0.99
    assert found[BY_VARIANCE].right.mean() > 0.99
    assert found[BY_VARIANCE].cue_right.mean() < 0.5
    assert all(len(one) == 1 for one in found[RANDOM].removed)
    assert json.dumps(found[ALL].names)


def test_named_terms_go_as_they_are_named() -> None:
    known = planted()
    config = SpuriousConfig(target="shape", cue="color", named=("1", "mlps"))
    object.__setattr__(known, "asked", replace(known.asked, config=config))
    found = without_cue(known, [NAMED, BY_VARIANCE])
    assert found[NAMED].removed == [["1", "mlps"]]
    assert found[NAMED].cue_right.mean() < 0.5
    assert found[NAMED].right.mean() > 0.99
    with pytest.raises(ValueError, match="'heads' is no term"):
        SpuriousConfig(named=("heads",))


def test_test_labels_choose_no_heads() -> None:
    one, other = planted(), planted()
    rng = np.random.default_rng(9)
    other.columns["test_labels"]["object_codes"] = rng.permutation(other.columns["test_labels"]["object_codes"])
    assert (
        without_cue(one, [BY_VARIANCE])[BY_VARIANCE].removed == without_cue(other, [BY_VARIANCE])[BY_VARIANCE].removed
    )


def test_groups_may_be_the_cue_of_labelled_images() -> None:
    known = planted()
    object.__setattr__(known, "space", None)
    object.__setattr__(known, "names", {"class": ("a", "b"), "group": ("x", "y")})
    assert _target_and_cue(known, SpuriousConfig(cue="group")) == ("class", "group")
    with pytest.raises(ValueError, match="a cue needs a label beside the class; there are class, group"):
        _target_and_cue(known, SpuriousConfig())
    object.__setattr__(known, "names", {"class": ("a", "b"), "place": ("x", "y")})
    assert _target_and_cue(known, SpuriousConfig()) == ("class", "place")
    table = Table(table="t.csv", labels=("class", "group"), transform=Transform(size=32))
    asked = replace(known.asked, config=SpuriousConfig())
    assert "groups may be named" in str(left_out(asked, table))
    assert left_out(replace(asked, config=SpuriousConfig(cue="group")), table) is None


def test_a_choice_of_no_heads_is_flagged() -> None:
    known = {**dict.fromkeys(COLUMNS), "n_images": 200}
    for term, n_terms, flags in ((BY_VARIANCE, 0, ["no_heads"]), (BY_VARIANCE, 2, []), (ALL, 0, [])):
        asked = replace(planted().asked, term=term)
        assert _flags({**known, "n_terms": n_terms}, asked) == flags


def test_mistakes_are_named() -> None:
    known = planted()
    for config, message in (
        (SpuriousConfig(target="size"), "no feature 'size'; it has color, shape"),
        (SpuriousConfig(target="color"), "target and cue are both color"),
    ):
        object.__setattr__(known, "asked", replace(known.asked, config=config))
        with pytest.raises(ValueError, match=message):
            without_cue(known, [ALL])


@pytest.mark.parametrize(
    ("labels", "config", "reason"),
    [
        (("class=species", "place"), SpuriousConfig(), "the values of place are no whole numbers"),
        (("class=species", "place"), SpuriousConfig(cue="place"), "`labels: [.., group=COLUMN]` and `cue: group`"),
        (("class=species", "size"), SpuriousConfig(), "the values of size are no whole numbers"),
        (("class=species", "group=place"), SpuriousConfig(cue="group"), None),
        (("class=species", "place", "part"), SpuriousConfig(), None),
        (("class=species", "place", "part"), SpuriousConfig(target="part", cue="class"), "part have no names"),
        (("class=species", "part"), SpuriousConfig(cue="parts"), "'parts' for the cue; did you mean 'part'?"),
        (("class=species", "part"), SpuriousConfig(target="part"), "target and cue are both part"),
        (("class=species", "part"), SpuriousConfig(cue="class"), "target and cue are both class"),
    ],
)
def test_the_plan_knows_which_labels_may_be_the_cue(
    tmp_path: Path, labels: tuple[str, ...], config: SpuriousConfig, reason: str | None
) -> None:
    """Places are texts, sizes fractions and parts whole numbers."""
    rows = [f"{n}.png,{('owl', 'duck')[n % 2]},{('red', 'blue')[n % 2]},0.{n},{n % 2}" for n in range(10)]
    (tmp_path / "t.csv").write_text("\n".join(["image,species,place,size,part", *rows]) + "\n")
    data = Table(table=str(tmp_path / "t.csv"), labels=labels, transform=Transform(size=32))
    values = label_values(data, "test")
    assert values is not None
    assert values["class"] == ("duck", "owl")
    found = left_out(replace(planted().asked, config=config), data, values)
    assert found is None if reason is None else reason in str(found)
    (tmp_path / "t.csv").unlink()
    assert label_values(data, "test") is None, "what is not there is not known"
