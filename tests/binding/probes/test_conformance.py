"""Every probe family of the package, as any new one."""

from __future__ import annotations

from binding.probes import (
    FAMILIES,
    AttentionQuadratic,
    DnnConcat,
    Linear,
    MultilinearConcatReuse,
    QuadraticConcat,
    QuadraticConcatReuse,
)
from binding.testing import ProbeConformance


class TestLinear(ProbeConformance):
    probes = (Linear(learning_rate=0.5), Linear(use_conditioned_query=False))


class TestQuadratic(ProbeConformance):
    probes = (
        QuadraticConcat(learning_rate=0.05, rank=4),
        QuadraticConcat(rank=3),
        QuadraticConcat(rank=2, use_conditioned_query=False),
    )


class TestDnn(ProbeConformance):
    probes = (
        DnnConcat(learning_rate=0.02, num_layers=2, hidden_dim=16),
        DnnConcat(num_layers=1),
        DnnConcat(num_layers=3, hidden_dim=5, dropout=0.2),
        DnnConcat(num_layers=2, use_conditioned_query=False),
    )


class TestQuadraticReuse(ProbeConformance):
    probes = (
        QuadraticConcatReuse(learning_rate=0.05, rank=4),
        QuadraticConcatReuse(rank=2, use_conditioned_query=False),
    )


class TestMultilinearReuse(ProbeConformance):
    group_sizes = (2, 2, 2)
    probes = (
        MultilinearConcatReuse(learning_rate=0.05, rank=4),
        MultilinearConcatReuse(rank=2, use_conditioned_query=False),
    )


class TestAttention(ProbeConformance):
    probes = (
        AttentionQuadratic(learning_rate=0.05, rank=4),
        AttentionQuadratic(rank=2, attend_cls=True),
        AttentionQuadratic(rank=2, use_conditioned_query=False),
    )


def test_every_family_is_tried() -> None:
    assert {suite.probes[0].family for suite in ProbeConformance.__subclasses__()} >= set(FAMILIES)
