"""Conditions, against the same change made in another way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from frozen.capture.conditions import PLAIN, Condition, Keep, KeepMost, NoCls, Plain, SelfOnly
from frozen.models import BackboneError, VisionTransformer
from tests.frozen.capture.nets import (
    BIASED,
    DEPTH,
    EXACT,
    NETS,
    PARALLEL,
    UNBIASED,
    backbone,
    backbone_of,
    batch,
    images,
    make,
    model_of,
    pixels,
    read,
)

LAYERS = ("embed", *map(str, range(DEPTH)), "final")
WITH_CLS = [name for name in NETS if backbone(name).description.layout.has_cls]
N = 16
ALL: tuple[Condition, ...] = (PLAIN, SelfOnly(), NoCls(), NoCls(renormalise=True), Keep("m"), KeepMost(3, "o"))


def test_conditions_are_values_with_keys_of_their_own() -> None:
    others = (Keep("m", invert=True), Keep("n"), KeepMost(4, "o"), KeepMost(3, "p"), KeepMost(3, "o", "last"))
    conditions = (*ALL, *others)
    assert len(set(conditions)) == len({str(condition.key()) for condition in conditions}) == len(conditions)
    assert Plain() == PLAIN
    assert PLAIN.key() == {}
    assert all(isinstance(condition, Condition) for condition in conditions)
    assert [condition.labels for condition in ALL] == [(), (), (), (), ("m",), ("o",)]


@contextmanager
def overwritten(model: VisionTransformer, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Attention weights as `change` makes them, in every block."""
    handles = []
    for block in model_of(model).blocks:
        block.attn.fused_attn = False
        hook = block.attn.attn_drop.register_forward_hook(lambda _module, _inputs, weights: change(weights))
        handles.append(hook)
    try:
        yield
    finally:
        for block in model_of(model).blocks:
            block.attn.fused_attn = True
        for handle in handles:
            handle.remove()


def one_hot_rows(n_prefix: int) -> Callable[[Tensor], Tensor]:
    def change(weights: Tensor) -> Tensor:
        changed = weights.clone()
        for t in range(n_prefix, weights.shape[-1]):
            changed[:, :, t] = 0
            changed[:, :, t, t] = 1
        return changed

    return change


def without_cls(n_prefix: int) -> Callable[[Tensor], Tensor]:
    def change(weights: Tensor) -> Tensor:
        changed = weights.clone()
        changed[:, :, n_prefix:, 0] = 0
        return changed

    return change


@pytest.mark.parametrize("name", NETS)
def test_self_only_is_one_hot_attention(name: str) -> None:
    model, given = backbone(name), batch()
    found = read(model, given, *LAYERS, condition=SelfOnly())
    with overwritten(model, one_hot_rows(model.description.layout.n_prefix)):
        expected = read(model, given, *LAYERS)
    for layer in LAYERS:
        torch.testing.assert_close(found[layer], expected[layer], **EXACT)
    plain = read(model, given, "final")["final"]
    assert (found["final"] - plain).abs().max() > 0.01
    torch.testing.assert_close(read(model, given, "final")["final"], plain, rtol=0, atol=0)


@pytest.mark.parametrize("name", NETS)
def test_under_self_only_a_patch_changes_its_own_token_alone(name: str) -> None:
    model = backbone(name)
    pictures = images(1)
    other = pictures.copy()
    other[:, 8:16, 16:24] = 255 - other[:, 8:16, 16:24]
    prefix = model.description.layout.n_prefix
    for condition, expected in ((SelfOnly(), [6]), (PLAIN, list(range(N)))):
        one, two = (read(model, batch(shown), *LAYERS[:-1], condition=condition) for shown in (pictures, other))
        for block in LAYERS[1:-1]:
            changed = (one[block] != two[block]).any(-1)[0, prefix:]
            assert changed.nonzero().flatten().tolist() == expected


@pytest.mark.parametrize("name", WITH_CLS)
def test_no_cls_loses_the_weights_of_cls(name: str) -> None:
    model, given = backbone(name), batch()
    found = read(model, given, *LAYERS, condition=NoCls())
    with overwritten(model, without_cls(model.description.layout.n_prefix)):
        expected = read(model, given, *LAYERS)
    for layer in LAYERS:
        torch.testing.assert_close(found[layer], expected[layer], **EXACT)
    assert (
        found["final"] - read(model, given, "final", condition=NoCls(renormalise=True))["final"]
    ).abs().max() > 1e-3


@pytest.mark.parametrize(
    "name", ["token", "avg", "deit3", "registers", "clip", "norms", "swiglu", "distilled", "diff"]
)
def test_masks_are_those_of_the_library(name: str) -> None:
    model, given = backbone(name), batch()
    layout = model.description.layout
    alone = torch.ones(layout.n_tokens, layout.n_tokens, dtype=torch.bool)
    alone[layout.n_prefix :] = torch.eye(layout.n_tokens, dtype=torch.bool)[layout.n_prefix :]
    no_cls = torch.ones_like(alone)
    no_cls[layout.n_prefix :, 0] = False
    for condition, mask in ((SelfOnly(), alone), (NoCls(renormalise=True), no_cls)):
        expected = model_of(model)(pixels(given.images), attn_mask=mask)
        torch.testing.assert_close(read(model, given, "logits", condition=condition)["logits"], expected, **EXACT)


@pytest.mark.parametrize("name", [name for name in WITH_CLS if backbone(name).description.layout.n_prefix == 1])
def test_image_tokens_depend_on_cls_only_through_what_is_lost(name: str) -> None:
    """Noise, since the norms remove a constant."""
    net = make(NETS[name])
    model, given = backbone_of(net), batch()
    conditions = (NoCls(), NoCls(renormalise=True))
    before = [read(model, given, "-1", condition=condition)["-1"][:, 1:] for condition in conditions]
    net.cls_token.add_(torch.randn(net.cls_token.shape, generator=torch.Generator().manual_seed(1)))
    after = [read(model, given, "-1", condition=condition)["-1"][:, 1:] for condition in conditions]
    changes = [float((two - one).abs().max()) for one, two in zip(before, after, strict=True)]
    assert changes[0] > 1e-3
    is_masked = not isinstance(model.description.part("attention_mask"), str)
    assert changes[1] <= (0 if is_masked else 1e-14)  # else the sum that is divided by was rounded with CLS in it


def orders(n_samples: int) -> np.ndarray:
    generator = np.random.default_rng(1)
    return np.stack([generator.permutation(N) for _ in range(n_samples)])


@pytest.mark.parametrize("name", UNBIASED)
def test_keeping_all_tokens_changes_nothing(name: str) -> None:
    model = backbone(name)
    given = batch(m=np.ones((3, N), bool), o=orders(3))
    plain = read(model, given, *LAYERS, "logits")
    for condition in (Keep("m"), KeepMost(N, "o"), KeepMost(N, "o", "last")):
        found = read(model, given, *LAYERS, "logits", condition=condition)
        for site, value in plain.items():
            torch.testing.assert_close(found[site], value, **EXACT)


@pytest.mark.parametrize("name", UNBIASED)
def test_a_batch_of_gathered_tokens_is_every_image_with_the_others_hidden(name: str) -> None:
    """Alone, and by a mask over all tokens in the place of the gather, which keeps every position as it is."""
    model = backbone(name)
    layout = model.description.layout
    given = batch(o=orders(3))
    found = read(model, given, *LAYERS[1:-1], condition=KeepMost(5, "o"))
    assert found["0"].shape[1] == layout.n_prefix + 5
    for i in range(3):
        kept = np.sort(given.labels["o"][i, :5])
        mask = np.zeros((1, N), bool)
        mask[0, kept] = True
        single = batch(given.images[i : i + 1], m=mask, o=given.labels["o"][i : i + 1])
        alone = read(model, single, *LAYERS[1:-1], condition=Keep("m"))
        seen = torch.tensor([*range(layout.n_prefix), *(layout.n_prefix + kept)])
        hidden = hide(model, single, seen)
        for layer in LAYERS[1:-1]:
            torch.testing.assert_close(found[layer][i : i + 1], alone[layer], **EXACT)
            torch.testing.assert_close(alone[layer], hidden[layer][:, seen], **EXACT)


def hide(model: VisionTransformer, given: Any, seen: Tensor) -> dict[Any, Tensor]:
    """All tokens run, and only those that are seen are attended to."""

    def change(weights: Tensor) -> Tensor:
        kept = torch.zeros_like(weights)
        kept[..., seen] = weights[..., seen]
        return kept / kept.sum(-1, keepdim=True)

    with overwritten(model, change):
        return read(model, given, *LAYERS[1:-1])


@pytest.mark.parametrize("name", ["token", "registers", "dinov3"])
def test_tokens_are_kept_from_either_end_of_an_order_or_by_a_mask(name: str) -> None:
    model, given = backbone(name), batch(o=orders(3))
    prefix = model.description.layout.n_prefix
    whole = read(model, given, "embed")["embed"]
    for n in (0, 1, 7, N):
        for end in ("first", "last"):
            mask = np.zeros((3, N), bool)
            chosen = given.labels["o"][:, :n] if end == "first" else given.labels["o"][:, N - n :]
            np.put_along_axis(mask, chosen, True, axis=1)
            expected = torch.stack(
                [whole[i][[*range(prefix), *(prefix + np.flatnonzero(mask[i]))]] for i in range(3)]
            )
            masked = given._replace(labels={"o": given.labels["o"], "m": mask, "rest": ~mask})
            for condition in (KeepMost(n, "o", end), Keep("m"), Keep("rest", invert=True)):  # pyright: ignore
                assert torch.equal(read(model, masked, "embed", condition=condition)["embed"], expected)


def test_the_order_of_the_tokens_does_not_matter_to_cls() -> None:
    """Permuted tokens with their positions give the same output."""
    model, given = backbone("token"), batch()
    permutation = torch.from_numpy(np.random.default_rng(0).permutation(N))
    plain = read(model, given, "logits")["logits"]
    handle = model_of(model).patch_drop.register_forward_hook(
        lambda _module, _inputs, output: torch.cat([output[:, :1], output[:, 1:][:, permutation]], dim=1)
    )
    try:
        torch.testing.assert_close(read(model, given, "logits")["logits"], plain, **EXACT)
    finally:
        handle.remove()


def test_masks_count_what_is_kept() -> None:
    layout = backbone("token").description.layout
    masks = np.zeros((3, 4, 4), bool)
    masks[1, 0] = True
    masks[2] = True
    assert Keep("m").counts({"m": masks}, layout).tolist() == [0, 4, 16]  # pyright: ignore
    assert Keep("m", invert=True).counts({"m": masks}, layout).tolist() == [16, 12, 0]  # pyright: ignore
    assert [condition.n_spatial(layout) for condition in ALL] == [N, N, N, N, None, 3]


@pytest.mark.parametrize(
    ("condition", "labels", "message"),
    [
        (Keep("m"), {"m": np.ones((3, N))}, "must be bool .*float64"),
        (Keep("m"), {"m": np.ones((3, 9), bool)}, r"one for each token of the 4 x 4 grid"),
        (Keep("m"), {"m": np.tri(3, N, dtype=bool)}, "the same number of tokens"),
        (KeepMost(3, "o"), {"o": np.zeros((3, N), int)}, "0 to 15 once a sample"),
        (KeepMost(3, "o"), {"o": orders(3)[:, :9]}, "0 to 15 once a sample"),
    ],
)
def test_labels_of_another_form_are_refused(
    condition: Condition, labels: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        read(backbone("token"), batch(**labels), "0", condition=condition)


def test_what_a_model_cannot_do_is_refused_with_the_reason() -> None:
    given = batch(o=orders(3))
    for name in BIASED:
        with pytest.raises(BackboneError, match="adds a bias between all positions of the grid"):
            read(backbone(name), given, "0", condition=KeepMost(3, "o"))
    with pytest.raises(BackboneError, match="no_cls needs a CLS token"):
        read(backbone("gap"), given, "0", condition=NoCls())
    with pytest.raises(BackboneError, match="n must be 0 to that, got 17"):
        read(backbone("token"), given, "0", condition=KeepMost(17, "o"))
    closed = backbone_of(make(PARALLEL["ParallelScalingBlock"]))
    for condition in (SelfOnly(), NoCls(), KeepMost(3, "o")):
        with pytest.raises(BackboneError, match=r"cannot run under .*ParallelScalingBlock has no attention"):
            read(closed, given, "0", condition=condition)


def test_compiled_blocks_are_masked_but_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    compiled = backbone_of(make(NETS["token"]), compile_blocks=True)
    expected = read(backbone("token"), batch(), "1", condition=SelfOnly())
    torch.testing.assert_close(read(compiled, batch(), "1", condition=SelfOnly())["1"], expected["1"], **EXACT)
    with pytest.raises(BackboneError, match="compile: false"):
        read(compiled, batch(), "1", condition=NoCls())


def test_a_condition_leaves_the_model_as_it_was() -> None:
    model, given = backbone("relpos"), batch()
    plain = read(model, given, "final")["final"]

    def fail(_module: nn.Module, _inputs: Any) -> None:
        raise RuntimeError("out of memory")

    for condition in (SelfOnly(), NoCls(), NoCls(renormalise=True)):
        handle = model_of(model).blocks[1].register_forward_pre_hook(fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            read(model, given, "final", condition=condition)
        handle.remove()
        assert torch.equal(read(model, given, "final")["final"], plain)
        assert all(block.attn.fused_attn for block in model_of(model).blocks)
