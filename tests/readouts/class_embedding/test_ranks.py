from __future__ import annotations

import numpy as np
import pytest
import torch

from frozen.capture.capture import capture
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from readouts.class_embedding.patches import KeepPatches, class_corners, class_patches, class_shares
from readouts.class_embedding.ranks import ABSENT, ClassRanks, twice_ranks
from tests.readouts.class_embedding.nets import KINDS, N_CLASSES, Pictures, columns_of, net


def test_ranks_are_places_in_the_order_of_the_logits_and_ties_share_the_middle() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(0, 40, (1000, 30), generator=generator).float()
    true = torch.randint(0, 30, (1000,), generator=generator)
    found = twice_ranks(logits, true).numpy()
    for row, label, twice in zip(logits.numpy(), true.numpy(), found, strict=True):
        order = np.sort(row)[::-1]
        places = np.flatnonzero(order == row[label])
        assert twice == places[0] + places[-1]


def test_mean_identifiability_over_all_labels_is_that_of_chance() -> None:
    logits = torch.randint(0, 9, (50, N_CLASSES), generator=torch.Generator().manual_seed(1)).float()
    r = [1 - twice_ranks(logits, torch.full((50,), label)) / (2 * N_CLASSES) for label in range(N_CLASSES)]
    assert float(torch.stack(r).double().mean()) == pytest.approx((N_CLASSES + 1) / (2 * N_CLASSES), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_blocks_projection_is_the_models_output(kind: str) -> None:
    model, split = net(kind), Pictures(24)
    last, output = ClassRanks(Site("2")), ClassRanks(Site.parse("logits"))
    tables = capture(model, split, [last, output, WholeSite(Site("2")), WholeSite(Site.parse("logits"))])
    logits = columns_of(tables[WholeSite(Site.parse("logits"))])["activations"]
    assert model.head is not None
    tokens = torch.tensor(columns_of(tables[WholeSite(Site("2"))])["activations"])
    if kind == "distilled":
        timm = model._tower.model  # pyright: ignore
        found = columns_of(tables[last])["logits"][:, 0]
        each = [head(timm.norm(tokens)).detach().numpy() for head in (timm.head, timm.head_dist)]
        true = [of[np.arange(24), 0, split.classes] for of in each]
        assert np.abs(found - true[0]).max() <= 1e-5  # CLS is read by the classifier of CLS,
        assert np.abs(found - true[1]).max() > 1e-2
        both = (each[0][:, 0] + each[1][:, 1]) / 2  # and the model's output is the mean with the other one's
        assert np.abs(both - logits).max() <= 1e-5
        assert np.array_equal(columns_of(tables[output])["best"][:, 0, 0], both.argmax(1))
    elif kind not in ("mean_pool", "beit"):
        found = columns_of(tables[last])
        assert np.array_equal(found["best"][:, 0, 0], logits.argmax(1))
        assert np.array_equal(found["ranks"][:, 0], columns_of(tables[output])["ranks"][:, 0])
        true = logits[np.arange(24), split.classes]
        assert np.abs(found["logits"][:, 0] - true).max() <= 1e-5
    else:
        patches = tokens[:, model.description.layout.n_prefix :]
        pooled = model.head.project(patches.mean(1)).detach().numpy()
        assert np.abs(pooled - logits).max() <= 1e-5
        assert np.abs(model.head.project(patches).mean(1).detach().numpy() - logits).max() > 1e-3


def test_kept_tokens_stand_in_their_own_places() -> None:
    model, split = net("registers"), Pictures(24)
    condition = KeepPatches("class")
    shows = class_patches(split.masks, (4, 4), "any")
    reduction = ClassRanks(Site("2"))
    found = columns_of(capture(model, split, [reduction], condition=condition)[reduction])
    is_there = found["ranks"] != ABSENT
    assert np.array_equal(is_there[:, 5:], shows)
    assert is_there[:, :5].all()
    assert np.array_equal(np.isfinite(found["logits"]), is_there)


def test_kept_tokens_keep_their_positions() -> None:
    """The same logits as when the tokens are taken from what enters the first block, image by image."""
    model, split = net("registers"), Pictures(8)
    reduction, embed = ClassRanks(Site("2")), WholeSite(Site("embed"))
    found = columns_of(capture(model, split, [reduction], condition=KeepPatches("class"))[reduction])["logits"]
    tokens = torch.tensor(columns_of(capture(model, split, [embed])[embed])["activations"])
    assert model.trunk is not None
    assert model.head is not None
    for i, shows in enumerate(class_patches(split.masks, (4, 4), "any")):
        kept = np.concatenate([np.ones(5, dtype=bool), shows])
        x = tokens[i : i + 1, kept]
        with torch.no_grad():
            for block in model.trunk.blocks:
                x = block(x)
            true = model.head.project(x)[0, :, split.classes[i]].numpy()
        assert np.abs(found[i, kept] - true).max() < 1e-4


def test_shares_of_patches_are_those_of_their_pixels() -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((3, 30, 45)) < 0.3
    shares, corners = class_shares(masks, (4, 7)), class_corners(masks, (4, 7))
    for i in range(4):
        for j in range(7):
            rows = slice(i * 30 // 4, (i + 1) * 30 // 4)
            columns = slice(j * 45 // 7, (j + 1) * 45 // 7)
            assert shares[:, i * 7 + j] == pytest.approx(masks[:, rows, columns].mean((1, 2)))
            assert np.array_equal(corners[:, i * 7 + j], masks[:, rows.start, columns.start])


def test_a_class_the_classifier_does_not_have_is_refused() -> None:
    split = Pictures(24, n_classes=20)
    with pytest.raises(ValueError, match="the data set has a class 19, the classifier of token 32px has classes 0"):
        capture(net("token"), split, [ClassRanks(Site("2"))])
