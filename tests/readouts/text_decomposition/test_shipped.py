"""The shipped CLIPs: what their files say of them, seen through the decomposition."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from frozen.capture.capture import capture
from frozen.data.scenes import FewShapes, SplitPolicy, TwinShapes
from frozen.intervals import IntervalConfig
from frozen.models import BackboneConfig, load
from frozen.models._shipped import shipped_header
from frozen.models.joint import open_joint
from readouts.text_decomposition.asked import TWIN, Asked, Shared
from readouts.text_decomposition.capture import ImageTerms
from readouts.text_decomposition.choice import choices, preferred
from readouts.text_decomposition.given import Given
from readouts.text_decomposition.heatmaps import mapped, named_objects, text_maps, tokens_of
from readouts.text_decomposition.lens import Lens, Stored
from readouts.text_decomposition.removal import factors
from readouts.text_decomposition.settings import HeatmapConfig
from readouts.text_decomposition.texts import (
    TextTable,
    captions,
    classifier,
    credit,
    default_pool,
    exchanged,
    scene_classes,
)
from tests.readouts.text_decomposition.towers import columns

N = 200


def made(scene: Any, source: str) -> Given:
    """Everything to measure with, from the real model on fresh scenes."""
    config = BackboneConfig(source=source)
    model, joint = load(config, scene, torch.device("cpu")), open_joint(config)
    splits = {name: scene.open(name) for name in ("validation", "test")}
    kept = {
        name: columns(next(iter(capture(model, split, [ImageTerms(6, tokens=True)]).values())))
        for name, split in splits.items()
    }
    codes = {name: split.object_codes for name, split in splits.items()}
    classes = scene_classes(codes["test"], scene.space, joint.grammar)
    distinct = list(dict.fromkeys(classes.texts))
    scenes = [
        text
        for one in codes.values()
        for some in (one, exchanged(one, scene.space))
        for text in captions(some, scene.space, joint.grammar)
    ]
    kinds = captions(np.eye(16, dtype=np.uint8), scene.space, joint.grammar)
    usable = [*scenes, *default_pool(scene.space, joint.grammar), *kinds]
    shared = Shared("held_out", "uniform", (), None, ("auto",), IntervalConfig(resamples=100), 0)
    return Given(
        Lens.of(model, joint),
        TextTable.of(usable, joint),
        classes,
        classifier(distinct, ("{}",), joint),
        np.array([distinct.index(text) for text in classes.texts]),
        {},
        {group.name: group.values for group in scene.space.groups},
        joint.scale,
        joint.grammar,
        scene.space,
        {**kept, **{f"{name}_labels": {"object_codes": one} for name, one in codes.items()}},
        Asked("heads", "final", "embedding", shared),
    )


def few(size: int, validation: int = N) -> FewShapes:
    policy = SplitPolicy(train=2, validation=validation, test=N)
    return FewShapes(seed=5150, min_objects=size, max_objects=size, split=policy)


@pytest.fixture(scope="module")
def singles() -> Given:
    return made(few(1), "shipped:shapes_clip_features")


@pytest.fixture(scope="module")
def pairs() -> Given:
    return made(few(2), "shipped:shapes_clip_objects")


def accuracy(given: Given) -> float:
    stored = Stored.of(given.columns["test"])
    scores = given.scores(given.lens.all_terms(stored).sum(1).numpy())
    return float(credit(scores, given.text_of_class, given.classes.labels).mean())


def header(name: str) -> dict[str, float]:
    return json.loads(shipped_header(name)["held_out"])


def test_zero_shot_accuracy_is_what_the_file_says(pairs: Given) -> None:
    assert accuracy(pairs) == pytest.approx(header("shapes_clip_objects")["two_objects"], abs=0.02)


def test_single_objects_are_named_as_often_as_the_file_says() -> None:
    found = accuracy(made(few(1, validation=2), "shipped:shapes_clip_objects"))
    assert found == pytest.approx(header("shapes_clip_objects")["one_object"], abs=0.02)


def test_a_text_has_one_vector_however_many_are_encoded_with_it() -> None:
    joint = open_joint(BackboneConfig(source="shipped:shapes_clip_objects"))
    texts = ["a red square", "nothing", "a red square and a blue circle", "blue"]
    together = joint.encode(texts)
    for number, text in enumerate(texts):
        assert np.allclose(joint.encode([text])[0], together[number], atol=1e-6)
    assert np.allclose(joint.encode(texts * 50)[-4:], together, atol=1e-6)


def test_random_weights_are_at_chance() -> None:
    found = accuracy(made(few(1, validation=2), "random:shipped:shapes_clip_objects"))
    assert abs(found - 1 / 16) < 4 * (1 / 16 * 15 / 16 / N) ** 0.5


TWINS = TwinShapes(seed=5150, split=SplitPolicy(train=2, validation=200, test=200))


@pytest.fixture(scope="module")
def twins() -> Given:
    return made(TWINS, "shipped:shapes_clip_objects")


@pytest.fixture(scope="module")
def twins_of_features() -> Given:
    return made(TWINS, "shipped:shapes_clip_features")


def test_twins_are_told_apart_by_one_model_and_not_by_the_other(twins: Given, twins_of_features: Given) -> None:
    found = choices(twins)
    expected = header("shapes_clip_objects")["forced_choice"]
    assert float(preferred(found.test[:, -1]).mean()) == pytest.approx(expected, abs=0.02)
    assert np.allclose(found.test[:, :-1].sum(1), found.test[:, -1], atol=1e-5)
    assert 0.95 < float(found.bits(found.of_all).mean()) <= 1
    none = choices(twins_of_features)
    assert (none.test == 0).all()
    assert float(preferred(none.test).mean()) == 0.5


def test_a_text_lands_on_its_object_and_the_other_text_does_not(pairs: Given) -> None:
    test = few(2).open("test")
    found = mapped(pairs, test, HeatmapConfig(), _layout(), test)
    own, other = (found.columns[name] for name in ("text - other", "other - text"))
    error = float(own["touched"].std() / len(own["touched"]) ** 0.5)
    assert own["pointed"].mean() > 0.89
    assert other["pointed"].mean() < own["touched"].mean() + 5 * max(error, 0.01)


def test_what_tells_a_scene_from_its_twin_is_read_at_its_objects(twins: Given, twins_of_features: Given) -> None:
    """Of a model without a margin the map is flat, and is at the objects as often as patches are."""
    split = TWINS.open("test")
    found = mapped(twins, split, HeatmapConfig(), _layout(), split)
    own = found.columns[TWIN]
    assert found.is_used[TWIN].all()
    assert own["pointed"].mean() > 0.9 > 3 * own["touched"].mean()
    single = found.columns["text"]
    assert (own["touched"] > single["touched"]).mean() > 0.9, "both objects count"
    none = mapped(twins_of_features, split, HeatmapConfig(), _layout(), split).columns[TWIN]
    assert np.allclose(none["pointed"], none["touched"])


def test_the_map_of_twins_sums_to_their_margin(twins: Given) -> None:
    rows = slice(0, 50)
    stored = Stored.of(twins.columns["test"], rows)
    maps = text_maps(twins, tokens_of(twins, rows, stored), named_objects(twins.codes("test")[rows]))[TWIN]
    margins = choices(twins).test[rows]
    n_heads = twins.lens.n_blocks * twins.lens.n_heads
    assert np.allclose(maps.sum(1), margins[:, :n_heads].sum(1), atol=1e-5)


def _layout() -> Any:
    config = BackboneConfig(source="shipped:shapes_clip_objects")
    return load(config, few(2), torch.device("cpu")).description.layout


def test_a_map_sums_to_the_difference_of_the_scores(pairs: Given) -> None:
    rows = slice(0, 50)
    stored = Stored.of(pairs.columns["test"], rows)
    named = named_objects(pairs.codes("test")[rows])
    maps = text_maps(pairs, tokens_of(pairs, rows, stored), named)["text - other"]
    kinds = captions(np.eye(16, dtype=np.uint8), pairs.space, pairs.grammar)
    direction = pairs.table.rows(kinds)[named.own] - pairs.table.rows(kinds)[named.other]
    rest = np.einsum("ntj,nj->n", pairs.lens.of_mlps(stored).numpy(), direction)
    whole = (pairs.lens.embeddings(stored).numpy() * direction).sum(1)
    assert np.allclose(maps.sum(1) + rest, whole, atol=1e-5)


def test_some_late_head_is_about_colour_alone(singles: Given) -> None:
    found = factors(singles)
    share = found.between.sum(1) / found.total.sum(0)
    color = share[list(found.fitted).index("color")]
    late = [p for p, term in enumerate(singles.lens.terms) if term.kind == "head" and term.layer >= 4]
    assert color[late].max() > 0.9
