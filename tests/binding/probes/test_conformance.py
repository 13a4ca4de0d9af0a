"""Every probe family of the package, as any new one, and the formula that counts its parameters."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from binding.probes import (
    FAMILIES,
    AttentionQuadratic,
    DnnConcat,
    HeadShape,
    Linear,
    MultilinearConcatReuse,
    Probe,
    QuadraticConcat,
    QuadraticConcatReuse,
)
from binding.testing import ProbeConformance


def width(probe: Probe, shape: HeadShape) -> int:
    """What every head sees: z, the codes unless they are hidden, and given features."""
    return shape.z_dim + (shape.n_codes if probe.use_conditioned_query else shape.n_given)


class TestLinear(ProbeConformance):
    probes = (Linear(learning_rate=0.5), Linear(use_conditioned_query=False))

    def n_parameters(self, probe: Linear, shape: HeadShape) -> int:
        return (width(probe, shape) + 1) * shape.n_heads


class TestQuadratic(ProbeConformance):
    probes = (
        QuadraticConcat(learning_rate=0.05, rank=4),
        QuadraticConcat(rank=3),
        QuadraticConcat(rank=2, use_conditioned_query=False),
    )

    def n_parameters(self, probe: QuadraticConcat, shape: HeadShape) -> int:
        return (2 * probe.rank * width(probe, shape) + 1) * shape.n_heads


class TestDnn(ProbeConformance):
    probes = (
        DnnConcat(learning_rate=0.02, num_layers=2, hidden_dim=16),
        DnnConcat(num_layers=1),
        DnnConcat(num_layers=3, hidden_dim=5, dropout=0.2),
        DnnConcat(num_layers=2, use_conditioned_query=False),
    )

    def n_parameters(self, probe: DnnConcat, shape: HeadShape) -> int:
        inputs = width(probe, shape)
        hidden = probe.hidden_dim or min(max(inputs, 128), 1024)
        widths = [inputs, *[hidden] * (probe.num_layers - 1), 1]
        return sum((inner + 1) * outer for inner, outer in pairwise(widths)) * shape.n_heads


class TestQuadraticReuse(ProbeConformance):
    probes = (
        QuadraticConcatReuse(learning_rate=0.05, rank=4),
        QuadraticConcatReuse(rank=2, use_conditioned_query=False),
    )

    def n_parameters(self, probe: QuadraticConcatReuse, shape: HeadShape) -> int:
        return shared(probe, shape, probe.rank)


class TestMultilinearReuse(ProbeConformance):
    group_sizes = (2, 2, 2)
    probes = (
        MultilinearConcatReuse(learning_rate=0.05, rank=4),
        MultilinearConcatReuse(rank=2, use_conditioned_query=False),
    )

    def n_parameters(self, probe: MultilinearConcatReuse, shape: HeadShape) -> int:
        return shared(probe, shape, probe.rank)


class TestAttention(ProbeConformance):
    probes = (
        AttentionQuadratic(learning_rate=0.05, rank=4),
        AttentionQuadratic(rank=2, attend_cls=True),
        AttentionQuadratic(rank=2, use_conditioned_query=False),
    )

    def n_parameters(self, probe: AttentionQuadratic, shape: HeadShape) -> int:
        queries = (shape.n_heads + shape.n_codes + shape.z_dim) * shape.z_dim
        return queries + (2 * probe.rank * (2 * shape.z_dim + shape.n_codes) + 1) * shape.n_heads


def shared(probe: Any, shape: HeadShape, rank: int) -> int:
    """The z part of each factor is one of its group's values; the code part and the bias are each head's own."""
    groups = shape.group_sizes
    assert math.prod(groups) == shape.n_heads
    codes = width(probe, shape) - shape.z_dim
    return rank * (sum(groups) * shape.z_dim + len(groups) * codes * shape.n_heads) + shape.n_heads


def test_every_family_is_tried() -> None:
    assert {suite.probes[0].family for suite in ProbeConformance.__subclasses__()} >= set(FAMILIES)
