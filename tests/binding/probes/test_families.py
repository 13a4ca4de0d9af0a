"""Every family against the paper's formulas, and the rules that all families share."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from binding.probes import (
    FAMILIES,
    AttentionQuadratic,
    DnnConcat,
    Dropout,
    HeadShape,
    Linear,
    MultilinearConcatReuse,
    Parameters,
    Probe,
    QuadraticConcat,
    QuadraticConcatReuse,
)
from frozen.problems import ConfigurationError
from tests.binding.probes.naive import naive_logits

PROBES = {
    "linear": Linear(),
    "dnn of one layer": DnnConcat(num_layers=1),
    "dnn of two layers": DnnConcat(num_layers=2, hidden_dim=5),
    "dnn of four layers": DnnConcat(num_layers=4, hidden_dim=3),
    "quadratic": QuadraticConcat(rank=3),
    "quadratic reuse": QuadraticConcatReuse(rank=2),
    "multilinear reuse": MultilinearConcatReuse(rank=2),
    "attention": AttentionQuadratic(rank=2),
    "attention to cls": AttentionQuadratic(rank=2, attend_cls=True),
}
OBJECTS = HeadShape(z_dim=4, n_heads=6, group_sizes=(2, 3))
SHAPES = {
    "objects": OBJECTS,
    "direct": replace(OBJECTS, n_given=5),
    "three groups": HeadShape(z_dim=3, n_heads=8, n_given=6, group_sizes=(2, 2, 2)),
    "no cls": replace(OBJECTS, has_cls=False),
    "features": HeadShape(z_dim=4, n_heads=5),
}


def suits(probe: Probe, shape: HeadShape) -> bool:
    if probe.objects_only and not shape.group_sizes:
        return False
    return not (isinstance(probe, QuadraticConcatReuse) and len(shape.group_sizes) != 2)


def inputs(probe: Probe, shape: HeadShape, batch: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    size = (batch, 4, shape.z_dim) if probe.reads_tokens else (batch, shape.z_dim)
    z = torch.randn(size, generator=generator, dtype=torch.float64)
    codes = torch.randint(2, (batch, shape.n_codes), generator=generator) - 0.5
    return z, codes.double()


def parameters_of(probe: Probe, shape: HeadShape, seed: int = 0) -> Parameters:
    """Initial parameters, made large enough that every term of the formula shows."""
    drawn = probe.initial(shape, torch.Generator().manual_seed(seed))
    noise = torch.Generator().manual_seed(seed + 100)
    return {
        name: (value.double() + torch.randn(value.shape, generator=noise, dtype=torch.float64)).requires_grad_()
        for name, value in drawn.items()
    }


def packed(*members: Parameters) -> Parameters:
    return {name: torch.stack([member[name] for member in members]) for name in members[0]}


CASES = [
    pytest.param(replace(probe, use_conditioned_query=conditioned), shape, id=f"{name}-{shape_name}-{conditioned}")
    for name, probe in PROBES.items()
    for shape_name, shape in SHAPES.items()
    for conditioned in (True, False)
    if suits(probe, shape)
]


@pytest.mark.parametrize(("probe", "shape"), CASES)
def test_logits_and_gradients_equal_the_formula(probe: Probe, shape: HeadShape) -> None:
    z, codes = inputs(probe, shape)
    members = [parameters_of(probe, shape, seed) for seed in (0, 1)]
    fast = probe.logits(packed(*members), shape, z, codes)
    slow = torch.stack([naive_logits(probe, member, shape, z, codes) for member in members])
    torch.testing.assert_close(fast, slow, rtol=1e-5, atol=1e-9)
    weight = torch.randn(slow.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    leaves = [member[name] for member in members for name in sorted(member)]
    fast_gradients = torch.autograd.grad((fast * weight).sum(), leaves, allow_unused=True)
    slow_gradients = torch.autograd.grad((slow * weight).sum(), leaves, allow_unused=True)
    for leaf, fast_gradient, slow_gradient in zip(leaves, fast_gradients, slow_gradients, strict=True):
        expected = torch.zeros_like(leaf) if slow_gradient is None else slow_gradient
        torch.testing.assert_close(
            torch.zeros_like(leaf) if fast_gradient is None else fast_gradient, expected, rtol=1e-5, atol=1e-9
        )


def test_dropout_scales_what_it_keeps_and_has_one_stream_a_member() -> None:
    shape = replace(OBJECTS, z_dim=64)
    probe = DnnConcat(num_layers=2, hidden_dim=256, dropout=0.5)
    z, codes = inputs(probe, shape, batch=64)
    drawn = probe.initial(shape, torch.Generator().manual_seed(0))
    pack = {name: torch.stack([value, value]).double() for name, value in drawn.items()}

    def logits(*seeds: int) -> Tensor:
        return probe.logits(pack, shape, z, codes, Dropout(tuple(torch.Generator().manual_seed(s) for s in seeds)))

    both = logits(3, 4)
    assert not torch.equal(both[0], both[1])
    assert torch.equal(both[1], logits(4, 4)[0])
    kept = Dropout((torch.Generator().manual_seed(0),)).keep((100, 100), torch.tensor([0.3]))
    assert kept.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert kept.mean().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize(
    ("family", "fields", "message"),
    [
        ("linear", {"learning_rate": 0.0}, "learning_rate: must be > 0, got 0.0"),
        ("linear", {"weight_decay": -1.0}, "weight_decay: must be ≥ 0, got -1.0"),
        ("quadratic_concat", {"rank": 0}, "rank: must be ≥ 1, got 0"),
        ("attention_quadratic", {"rank": 0}, "rank: must be ≥ 1, got 0"),
        ("multilinear_concat_reuse", {"rank": 0}, "rank: must be ≥ 1, got 0"),
        ("dnn_concat", {"num_layers": 0}, "num_layers: must be ≥ 1, got 0"),
        ("dnn_concat", {"hidden_dim": 0}, "hidden_dim: must be ≥ 1, got 0"),
        ("dnn_concat", {"dropout": 1.0}, r"dropout: must lie in \[0, 1\), got 1.0"),
    ],
)
def test_a_hyper_parameter_out_of_range_is_named(family: str, fields: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FAMILIES[family](**fields)


@pytest.mark.parametrize(
    ("family", "mode", "target", "n_groups", "refused"),
    [
        ("linear", "cls", "features", 2, None),
        ("linear", "all", "objects", 2, "linear reads one vector, mode all gives all tokens"),
        ("attention_quadratic", "all", "objects", 2, None),
        (
            "attention_quadratic",
            "cls",
            "objects",
            2,
            "attention_quadratic reads all tokens, mode cls gives one vector",
        ),
        ("quadratic_concat_reuse", "cls", "direct", 2, None),
        ("quadratic_concat_reuse", "cls", "features", 2, "has no probe for features"),
        ("quadratic_concat_reuse", "cls", "objects", 3, "needs 2 feature groups, the data set has 3"),
        ("multilinear_concat_reuse", "cls", "objects", 3, None),
        ("multilinear_concat_reuse", "cls", "objects", 1, "at least 2 feature groups"),
    ],
)
def test_a_family_says_why_it_cannot_measure(
    family: str, mode: str, target: str, n_groups: int, refused: str | None
) -> None:
    reason = FAMILIES[family].refuses(mode, target, n_groups)  # type: ignore[arg-type]
    assert reason is None if refused is None else refused in (reason or "")


@pytest.mark.parametrize(
    ("probe", "n_parameters"),
    [
        (Linear(), 69_696),
        (QuadraticConcat(rank=16), 2_228_288),
        (QuadraticConcatReuse(rank=16), 393_280),
        (MultilinearConcatReuse(rank=16), 393_280),
        (DnnConcat(num_layers=3), 138_608_704),
        (AttentionQuadratic(rank=16), 5_505_088),
    ],
)
def test_a_probe_of_8_by_8_objects_on_1024_channels_has_as_many_parameters_as_counted_by_hand(
    probe: Probe, n_parameters: int
) -> None:
    assert probe.n_parameters(HeadShape(1024, 64, group_sizes=(8, 8))) == n_parameters
