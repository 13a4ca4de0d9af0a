from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from frozen.capture.capture import capture
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from frozen.data.scenes import SplitPolicy, TargetShapes
from frozen.models import BackboneConfig, load
from readouts.class_embedding.bound import BoundClass, at_tokens, of_both, owners, pairs_of
from tests.readouts.class_embedding.nets import columns_of

N, SHAPES, KINDS = 200, 4, 16


def drawn(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes of pairs that share no feature: what is there and what is not [images 2], and codes [images kinds]."""
    rng = np.random.default_rng(seed)
    codes = np.zeros((N, KINDS), dtype=np.int64)
    for row in codes:
        (c1, c2), (s1, s2) = rng.choice(4, 2, replace=False), rng.choice(4, 2, replace=False)
        row[[c1 * SHAPES + s1, c2 * SHAPES + s2]] = 1
    pairs = pairs_of(codes, SHAPES)
    assert pairs.is_pair.all()
    return torch.tensor(pairs.there), torch.tensor(pairs.swapped), torch.tensor(codes).float()


def measures(logits: torch.Tensor, there: torch.Tensor, swapped: torch.Tensor) -> tuple[list[float], list[float]]:
    """Means of bound, margin, illusory and own at tokens of the first object, and at CLS."""
    own = at_tokens(logits[:, None], there[:, :1], there[:, 1:], swapped).mean((1, 2))
    return own.tolist(), of_both(logits[:, None], there, swapped).mean((1, 2)).tolist()


def test_logits_that_say_what_is_there_are_bound() -> None:
    there, swapped, codes = drawn()
    own, both = measures(codes + 0.01 * torch.arange(KINDS) / KINDS, there, swapped)
    assert own[0] == 100
    assert own[1] == pytest.approx(1, abs=0.02)
    assert own[2] == 0
    assert both[0] == 100
    assert both[1] == pytest.approx(1, abs=0.02)


def test_logits_that_add_features_up_are_not() -> None:
    there, swapped, codes = drawn()
    table = codes.reshape(N, 4, SHAPES)
    additive = (3.0 * table.amax(2)[:, :, None] + 2.0 * table.amax(1)[:, None]).flatten(1)
    own, both = measures(additive, there, swapped)
    assert own[:2] == [50, 0]
    assert own[3] == 50
    assert both[:2] == [50, 0]
    assert 0 < own[2] < 100, "the first of four equal logits is taken for the best"
    generator = torch.Generator().manual_seed(0)
    u, v = torch.randn(N, 4, generator=generator), torch.randn(N, SHAPES, generator=generator)
    of_any = measures((u[:, :, None] + v[:, None]).flatten(1), there, swapped)[1]
    assert of_any[0] == 50, "any sum of what is said of colours and shapes ties at CLS"
    assert of_any[1] == pytest.approx(0, abs=1e-6)


def test_noise_is_half() -> None:
    there, swapped, _ = drawn()
    own, both = measures(torch.randn(N, KINDS, generator=torch.Generator().manual_seed(1)), there, swapped)
    for value in (own[0], own[3], both[0]):
        assert abs(value - 50) < 4 * 50 / np.sqrt(N)
    assert abs(own[2] - 200 / KINDS) < 4 * 100 * np.sqrt(0.125 * 0.875 / N)


def test_images_that_are_no_pair_are_left_out() -> None:
    codes = np.zeros((4, KINDS), dtype=np.int64)
    codes[0, [0, 5]] = codes[1, [0, 1]] = codes[2, [0, 4]] = 1
    codes[3, [0, 5, 10]] = 1
    pairs = pairs_of(codes, SHAPES)
    assert pairs.is_pair.tolist() == [True, False, False, False]
    assert (pairs.there[0].tolist(), pairs.swapped[0].tolist()) == ([0, 5], [1, 4])


def test_a_patch_is_its_who_covers_a_quarter_of_it_and_more_than_the_other() -> None:
    masks = np.zeros((1, 4, 8), dtype=np.uint8)
    masks[0, 0, 0], masks[0, 0, 2], masks[0, 0, 4:6], masks[0, 1, 4] = 1, 6, 1, 6
    assert owners(masks, np.array([[0, 5]]), (2, 4)).tolist() == [[0, 1, 0, -1, -1, -1, -1, -1]]
    masks[0, 1, 5] = 6
    assert owners(masks, np.array([[0, 5]]), (2, 4))[0, 2] == -1, "equal shares have no owner"


def test_what_is_captured_is_what_a_loop_over_tokens_finds() -> None:
    scene: Any = TargetShapes(
        seed=92_000_000, min_objects=2, max_objects=2, split=SplitPolicy(train=1, validation=1, test=40)
    )
    split = scene.open("test")
    model = load(BackboneConfig(source="shipped:shapes_vit_class"), scene, torch.device("cpu"), head=True)
    reduction, raw = BoundClass(Site("3"), SHAPES), WholeSite(Site("3"))
    tables = capture(model, split, [reduction, raw])
    assert model.head is not None
    with torch.no_grad():
        z = model.head.project(torch.tensor(columns_of(tables[raw])["activations"])).numpy()
    found = columns_of(tables[reduction])["values"]
    pairs = pairs_of(split.labels("object_codes", np.arange(40)).astype(np.int64), SHAPES)
    masks = split.masks(np.arange(40))
    assert 0 < pairs.is_pair.sum() < 40
    for i in range(40):
        if not pairs.is_pair[i]:
            assert np.isnan(found[i]).all()
            continue
        kinds, (a, b) = pairs.there[i], pairs.swapped[i]
        at_object = []
        for t in range(64):
            patch = masks[i].reshape(8, 8, 8, 8)[t // 8, :, t % 8]
            shares = [(patch == kind + 1).mean() for kind in kinds]
            if max(shares) >= 0.25 and shares[0] != shares[1]:
                x, own = z[i, 1 + t], kinds[int(np.argmax(shares))]
                at_object.append([50 * (x[own] > x[a]) + 50 * (x[own] > x[b]), x[own] - (x[a] + x[b]) / 2])
        assert found[i, 0, :2] == pytest.approx(np.mean(at_object, 0), abs=1e-3)
        cls = z[i, 0]
        assert found[i, 3, 0] == 100 * (cls[kinds].sum() > cls[[a, b]].sum())
        assert found[i, 3, 2] == 100 * (cls.argmax() in (a, b))
