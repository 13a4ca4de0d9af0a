"""The shipped classifier on scenes whose target is known to the pixel, and its random twin."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from frozen.capture.capture import capture
from frozen.capture.conditions import PLAIN, Condition, NoCls, SelfOnly
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from frozen.data.scenes import SplitPolicy, TargetShapes
from frozen.models import Backbone, BackboneConfig, load
from frozen.models._shipped import shipped_header
from readouts.class_embedding.deletion import Deletion, area, kept_counts
from readouts.class_embedding.patches import ClassPatches, KeepPatches, class_shares
from readouts.class_embedding.projection import class_gain, class_gain_p
from readouts.class_embedding.ranks import ABSENT, ClassRanks, twice_ranks
from tests.readouts.class_embedding.nets import columns_of

N, C = 300, 16
SCENE: Any = TargetShapes(seed=91_000_000, split=SplitPolicy(train=1, validation=1, test=N))
SPLIT = SCENE.open("test")
OUTPUT = ClassRanks(Site.parse("logits"))


@cache
def model(*, untrained: bool = False) -> Backbone:
    config = BackboneConfig(source="shipped:shapes_vit_class")
    chosen = config.untrained(0) if untrained else config
    assert chosen is not None
    return load(chosen, SCENE, torch.device("cpu"), head=True)


@cache
def read(sites: tuple[str, ...], condition: Condition = PLAIN, *, untrained: bool = False) -> dict[str, Any]:
    reductions = {site: ClassRanks(Site.parse(site)) for site in sites}
    tables = capture(model(untrained=untrained), SPLIT, list(reductions.values()), condition=condition)
    return {site: columns_of(tables[reduction]) for site, reduction in reductions.items()}


@cache
def shows() -> np.ndarray:
    return class_shares(SPLIT.class_masks(np.arange(N)), (8, 8)) > 0


def identifiability(columns: dict[str, np.ndarray]) -> np.ndarray:
    return 1 - columns["ranks"] / (2 * C)


def test_the_rate_of_cls_in_the_last_block_is_the_accuracy() -> None:
    found = read(("5", "logits"))
    assert np.array_equal(found["5"]["ranks"][:, 0] == 0, found["logits"]["ranks"][:, 0] == 0)
    assert (found["logits"]["ranks"] == 0).mean() > 0.97


def test_random_weights_know_nothing() -> None:
    found = read(("2", "5"), untrained=True)
    for site in ("2", "5"):
        for values, chance in ((identifiability(found[site]), (C + 1) / (2 * C)), (found[site]["ranks"] == 0, 1 / C)):
            of_images = values.mean(1)
            assert abs(of_images.mean() - chance) < 4 * of_images.std() / np.sqrt(N)


def test_blank_patches_have_the_same_projection_in_every_image() -> None:
    logits = read(("embed",))["embed"]["logits"][:, 1:]
    blank = (SPLIT.masks(np.arange(N)) == 0).reshape(N, 8, 8, 8, 8).all((2, 4)).reshape(N, 64)
    for token in (10, 20, 50):
        for label in range(C):
            values = logits[(SPLIT.classes == label) & blank[:, token], token]
            assert len(set(values.tolist())) <= 1
    shifted = logits[(SPLIT.classes == 3) & ~blank[:, 20], 20]
    assert len(set(shifted.tolist())) > 1


def test_blank_patches_are_at_chance_where_classes_are_balanced() -> None:
    found = read(("embed",))["embed"]
    blank = (SPLIT.masks(np.arange(N)) == 0).reshape(N, 8, 8, 8, 8).all((2, 4)).reshape(N, 64)
    r = identifiability(found)[:, 1:]
    by_class = [[r[(SPLIT.classes == c) & blank[:, t], t].mean() for c in range(C)] for t in (10, 20, 50)]
    assert np.mean(by_class) == pytest.approx((C + 1) / (2 * C), abs=1e-6)


def test_class_tokens_lead_and_exchanged_masks_do_not() -> None:
    found = read(("1.attention", "2.attention", "3.attention"))
    p = [class_gain_p(identifiability(found[site])[:, 1:], shows(), 199, 0) for site in found]
    assert min(p) * len(p) < 0.05
    exchanged = shows()[np.random.default_rng(0).permutation(N)]
    for site in found:
        gain = class_gain(identifiability(found[site])[:, 1:], exchanged)
        assert abs(gain.mean()) < 4 * gain.std() / np.sqrt(N)


def test_without_the_target_the_model_is_at_chance_and_with_it_alone_it_is_not() -> None:
    removed = read(("logits", "5"), KeepPatches("context"))
    kept = read(("logits", "5"), KeepPatches("class"))
    assert np.array_equal(removed["5"]["ranks"][:, 1:] != ABSENT, ~shows())
    assert (removed["logits"]["ranks"] == 0).mean() < 1 / C + 4 * np.sqrt(1 / C * (1 - 1 / C) / N)
    assert (kept["logits"]["ranks"] == 0).mean() > 1 / C + 10 * np.sqrt(1 / C * (1 - 1 / C) / N)


def test_tokens_that_see_themselves_alone_are_patches_run_alone() -> None:
    found = read(("5",), SelfOnly())["5"]
    whole = WholeSite(Site("embed"))
    first = np.arange(64)
    tokens = torch.tensor(columns_of(capture(model(), SPLIT, [whole], indices=first)[whole])["activations"])
    trunk, head = model().trunk, model().head
    assert trunk is not None
    assert head is not None
    true = torch.tensor(SPLIT.classes[:64])[:, None]
    for token in (1, 28, 64):
        x = tokens[:, token : token + 1]
        with torch.inference_mode():
            for block in trunk.blocks:
                x = block(x)
            logits = head.project(x)
        assert np.array_equal(twice_ranks(logits, true)[:, 0].numpy() == 0, found["ranks"][:64, token] == 0)
        own = logits[:, 0].gather(1, true)[:, 0].numpy()
        assert np.abs(own - found["logits"][:64, token]).max() < 1e-3
    plain = read(("5", "logits"))["5"]["logits"][:64, 28]
    assert np.abs(plain - found["logits"][:64, 28]).max() > 0.1


def test_cls_matters_to_other_tokens_unless_weights_are_renormalised() -> None:
    found = {}
    for renormalise in (True, False):
        trunk = model().trunk
        assert trunk is not None
        cls: torch.Tensor = trunk.run.__self__._tower.model.cls_token  # pyright: ignore
        before = capture(
            model(), SPLIT, [ClassRanks(Site("5"))], condition=NoCls(renormalise=renormalise), indices=np.arange(16)
        )
        kept = cls.detach().clone()
        with torch.no_grad():
            cls.add_(torch.randn(cls.shape, generator=torch.Generator().manual_seed(0)))
        try:
            after = capture(
                model(),
                SPLIT,
                [ClassRanks(Site("5"))],
                condition=NoCls(renormalise=renormalise),
                indices=np.arange(16),
            )
        finally:
            with torch.no_grad():
                cls.copy_(kept)
        logits = [columns_of(next(iter(tables.values())))["logits"][:, 1:] for tables in (before, after)]
        found[renormalise] = float(np.abs(logits[0] - logits[1]).max())
    assert found[True] == 0
    assert found[False] > 1e-3


@pytest.mark.slow
def test_relevancy_lands_on_the_target_and_the_oracle_is_the_best_order() -> None:
    counts = kept_counts(64, 8)
    reduction = Deletion(6, counts, ("relevancy", "chefer", "mask", "random", "other_class"), n_random=2)
    tables = capture(model(), SPLIT, [reduction, ClassPatches()])
    found = columns_of(tables[reduction])
    assert np.array_equal(columns_of(tables[ClassPatches()])["share"] > 0, shows())
    first = found["maps"].argmax(2)
    hits, of_other_class = (shows()[np.arange(N), first[:, order]].mean() for order in (0, 4))
    of_other_images = shows()[np.arange(N), np.roll(first[:, 0], 1)].mean()
    chance = shows().mean(1)
    deviation = np.sqrt(chance.mean() / N)
    assert hits > chance.mean() + 5 * deviation
    assert of_other_images < chance.mean() + 5 * deviation
    # what is large for one class is large for another one too: less often, yet far above chance
    assert hits > of_other_class + 2 * np.sqrt(0.25 / N)
    relevancy, chefer, oracle, random, other = (area(found["correct"][:, i, 0], counts).mean() for i in range(5))
    assert oracle >= max(relevancy, chefer, random, other)
    reversed_oracle, reversed_random = (area(found["correct"][:, i, 1], counts).mean() for i in (2, 3))
    assert reversed_oracle <= reversed_random


@pytest.mark.slow
def test_the_accuracy_is_that_of_the_files_header() -> None:
    scene: Any = TargetShapes(seed=93_000_000, split=SplitPolicy(train=1, validation=1, test=2000))
    last = ClassRanks(Site("5"))
    tables = capture(model(), scene.open("test"), [last, OUTPUT])
    first = columns_of(tables[last])["ranks"][:, 0] == 0
    assert np.array_equal(first, columns_of(tables[OUTPUT])["ranks"][:, 0] == 0)
    header = json.loads(shipped_header("shapes_vit_class")["held_out"])
    assert abs(100 * first.mean() - 100 * header["top1"]) <= 1
