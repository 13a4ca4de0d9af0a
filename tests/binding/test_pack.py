"""Packs of every family and target: each member as if alone, and never more memory than is allowed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from binding._pack import Member, Pack, packs_of
from binding._pack_memory import in_budget, multiplications, training_bytes
from binding.examples import Examples
from binding.fit import FitConfig, Fitted, fit
from binding.probes import FAMILIES, DnnConcat, HeadShape, Linear, Probe, QuadraticConcat
from binding.probes._pooling import pool
from frozen.rows import Rows

CPU = torch.device("cpu")
TARGETS = {
    "objects": HeadShape(z_dim=10, n_heads=6, group_sizes=(2, 3)),
    "features": HeadShape(z_dim=10, n_heads=5),
    "direct": HeadShape(z_dim=10, n_heads=6, n_given=5, group_sizes=(2, 3)),
}
STRUCTURES = {"rank": (2, 3), "hidden_dim": (8, 12)}


def members(family: str) -> list[Probe]:
    """Probes of a family that differ in all that a search may vary."""
    cls = FAMILIES[family]
    structural = next((name for name in STRUCTURES if hasattr(cls(), name)), None)
    sizes = STRUCTURES[structural] if structural else (None,)
    return [
        cls(learning_rate=rate, weight_decay=decay, **({structural: size} if structural else {}))  # type: ignore[arg-type]
        for size in sizes
        for rate, decay in ((0.003, 0.0), (0.02, 1e-3), (0.05, 1e-2))
    ]


def examples(shape: HeadShape, n: int, seed: int, *, tokens: bool) -> Examples:
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, *((7,) if tokens else ()), shape.z_dim)).astype(np.float32)
    bits = (rng.random((n, shape.n_codes)) < 0.5).astype(np.uint8)
    bits[:, : shape.n_heads] ^= (z.reshape(n, -1)[:, : shape.n_heads] > 0).astype(np.uint8) & bits[:, :1]
    odds = rng.standard_normal((n, shape.n_heads)) if shape.n_given else None
    return Examples.of(Rows(z, None, CPU), bits, odds, CPU)


def trained(probes: list[Probe], shape: HeadShape, config: FitConfig) -> list[Fitted]:
    tokens = probes[0].reads_tokens
    train, validation = (examples(shape, n, n, tokens=tokens) for n in (160, 64))
    return fit(probes, shape, train, validation, config, seed=5)


@pytest.mark.parametrize("n_tokens", [2, 4, 7])
def test_pooling_in_parts_is_pooling_at_once(monkeypatch: pytest.MonkeyPatch, n_tokens: int) -> None:
    """Parts hold some samples, and one member where tokens are few, or two of the three."""
    generator = torch.Generator().manual_seed(0)
    sizes = {"base": (3, 3, 8), "turned": (3, 5, 8), "seen": (5, 3, 5)}
    leaves = {
        name: torch.randn(size, generator=generator, dtype=torch.float64, requires_grad=True)
        for name, size in sizes.items()
    }
    tokens = torch.randn(5, n_tokens, 8, generator=generator, dtype=torch.float64)
    queries = leaves["base"] + torch.einsum("bkc,pcd->bpkd", leaves["seen"], leaves["turned"])
    weights = torch.einsum("bpkd,btd->bpkt", queries, tokens).softmax(3)
    plain = torch.einsum("bpkt,btd->bpkd", weights, tokens).flatten(1, 2)
    expected = (plain, *torch.autograd.grad(plain.square().sum(), list(leaves.values())))
    for chunk_bytes in (2**30, 2 * (n_tokens + 3) * 8 * 8, 1):
        monkeypatch.setattr("binding.probes._pooling._CHUNK_BYTES", chunk_bytes)
        pooled = pool(leaves["base"], leaves["turned"], leaves["seen"], tokens)
        found = (pooled, *torch.autograd.grad(pooled.square().sum(), list(leaves.values())))
        torch.testing.assert_close(found, expected)


def test_a_pack_that_is_cut_to_its_budget_trains_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    shape, config = TARGETS["objects"], FitConfig(epochs=2, batch_size=64)
    probes = members("quadratic_concat")
    whole = trained(probes, shape, config)
    size = training_bytes(probes[0], shape, 32, 1)
    for budget in (1, 2 * size, 3 * size):
        monkeypatch.setattr("binding._pack_memory._BUDGET_BYTES", budget)
        for one, other in zip(trained(probes, shape, config), whole, strict=True):
            np.testing.assert_allclose(np.array(one.curve), np.array(other.curve), rtol=1e-4)


def test_groups_fill_the_budget_and_what_is_too_large_is_alone() -> None:
    assert list(in_budget([3, 3, 3, 3], 7)) == [[0, 1], [2, 3]]
    assert list(in_budget([9, 1, 1, 9, 1], 7)) == [[0], [1, 2], [3], [4]]
    assert list(in_budget([1, 2, 3], 100)) == [[0, 1, 2]]


def test_the_largest_networks_never_train_together() -> None:
    """64 of them would take more than 200 GB with Adam; asking for them makes nothing of that size."""
    shape = HeadShape(z_dim=1024, n_heads=64)
    sizes = [training_bytes(DnnConcat(num_layers=4, hidden_dim=1024), shape, 512, 1)] * 64
    assert sum(sizes) > 210e9
    assert list(in_budget(sizes, 2**30)) == [[i] for i in range(64)]
    small = training_bytes(QuadraticConcat(rank=16), shape, 512, 1)
    assert len(next(in_budget([small] * 64, 2**30))) >= 12


@pytest.mark.parametrize("family", FAMILIES)
def test_the_estimate_covers_what_a_step_takes(family: str) -> None:
    """Counted by torch's own profiler: what one step allocates beyond what lived before it."""
    probe = FAMILIES[family]()
    shape = HeadShape(z_dim=96, n_heads=16, group_sizes=(4, 4))
    data = examples(shape, 256, 0, tokens=probe.reads_tokens)
    z, codes, offset = data.batch(torch.arange(256))
    with torch.profiler.profile(profile_memory=True) as profiled:
        pack = Pack([Member(0, probe)], shape, seed=0, device=CPU)
        pack.backward(z, codes, offset, share=1.0)
        pack.step(1.0)
    peak = total = 0
    for event in profiled.profiler.kineto_results.events():  # type: ignore[union-attr]
        if event.name() == "[memory]":
            total += event.nbytes()
            peak = max(peak, total)
    estimate = training_bytes(probe, shape, 256, 7)
    assert 0.25 * estimate < peak < estimate


def test_larger_probes_and_inputs_cost_more() -> None:
    shape = HeadShape(z_dim=64, n_heads=16, group_sizes=(4, 4))
    linear, shared, quadratic, dnn = (
        multiplications(FAMILIES[name](), shape, 1)
        for name in ("linear", "quadratic_concat_reuse", "quadratic_concat", "dnn_concat")
    )
    assert linear < shared < quadratic < dnn
    attention = FAMILIES["attention_quadratic"]()
    assert multiplications(attention, shape, 17) < multiplications(attention, shape, 65)


@pytest.mark.parametrize("family", FAMILIES)
def test_low_precision_products_train_nearly_the_same_in_float32_parameters(family: str) -> None:
    config = FitConfig(epochs=3, batch_size=32)
    curves = {}
    for products in ("float32", "tf32", "bfloat16"):
        [fitted] = trained(members(family)[1:2], TARGETS["objects"], replace(config, products=products))
        assert fitted.parameters is not None
        assert {value.dtype for value in fitted.parameters.values()} == {torch.float32}
        curves[products] = np.array(fitted.curve)
    np.testing.assert_array_equal(curves["tf32"], curves["float32"])  # without a GPU
    assert (curves["bfloat16"] != curves["float32"]).any(), "the products were not rounded"
    np.testing.assert_allclose(curves["bfloat16"], curves["float32"], rtol=0.02)


def test_members_that_share_no_product_are_alone_on_a_cpu() -> None:
    probes = [Linear(), DnnConcat(num_layers=2), Linear(learning_rate=0.1), DnnConcat(num_layers=2)]
    packs = packs_of([Member(i, probe) for i, probe in enumerate(probes)], HeadShape(3, 4), 0, CPU, "float32")
    assert [pack.positions for pack in packs] == [[0, 2], [1], [3]]
