"""Training: each probe of a pack as if alone, the best epoch kept, the optimiser equal to torch's."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from binding._pack import Member, Pack, head_losses
from binding.examples import Examples
from binding.fit import FitConfig, Fitted, fit
from binding.probes import DnnConcat, HeadShape, Linear, Probe, QuadraticConcat
from frozen.problems import ConfigurationError
from frozen.rows import Rows, Standardizer

CPU = torch.device("cpu")
SHAPE = HeadShape(z_dim=6, n_heads=4)


def examples(n: int, seed: int = 0, *, noise: float = 0.0, offset: bool = False) -> Examples:
    """Bits that are the signs of the first activations."""
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, SHAPE.z_dim)).astype(np.float32)
    bits = (z[:, : SHAPE.n_heads] + noise * rng.standard_normal((n, SHAPE.n_heads)) > 0).astype(np.uint8)
    odds = np.where(rng.random(bits.shape) < 0.5, 0.0, 0.3) if offset else None
    return Examples.of(Rows(z, None, CPU), bits, odds, CPU)


def trained(probes: list[Probe], config: FitConfig, **options: object) -> list[Fitted]:
    return fit(probes, SHAPE, examples(300), examples(100, 1), config, seed=3, **options)  # type: ignore[arg-type]


def test_a_member_of_a_pack_trains_as_if_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DnnConcat, "is_apart", False)  # as on a GPU
    probes = [
        Linear(learning_rate=0.1),
        QuadraticConcat(learning_rate=0.01, rank=2),
        QuadraticConcat(learning_rate=0.05, rank=2, weight_decay=1e-2),
        QuadraticConcat(learning_rate=0.05, rank=3),
        DnnConcat(num_layers=2, hidden_dim=8, dropout=0.3, learning_rate=0.01),
        DnnConcat(num_layers=2, hidden_dim=8, dropout=0.3, learning_rate=0.02),
    ]
    config = FitConfig(epochs=4, batch_size=32, accumulate=2)
    together = trained(probes, config)
    for probe, member in zip(probes, together, strict=True):
        [alone] = trained([probe], config)
        assert alone.best_epoch == member.best_epoch
        np.testing.assert_allclose(np.array(alone.curve), np.array(member.curve), rtol=1e-4)
        assert alone.parameters is not None
        assert member.parameters is not None
        for name, value in alone.parameters.items():
            torch.testing.assert_close(member.parameters[name], value, rtol=1e-4, atol=1e-5)


def test_the_optimiser_is_adam_with_l2() -> None:
    probe = QuadraticConcat(learning_rate=0.03, rank=2, weight_decay=0.01)
    pack = Pack([Member(0, probe)], SHAPE, seed=0, device=CPU)
    reference = {name: value.detach().clone().requires_grad_() for name, value in pack.parameters.items()}
    adam = torch.optim.Adam(list(reference.values()), lr=0.03, weight_decay=0.01)
    data = examples(64)
    for step in range(5):
        z, codes, _ = data.batch(torch.arange(step * 8, step * 8 + 8))
        pack.backward(z, codes, None, share=1.0)
        pack.step(0.5 if step > 2 else 1.0)
        adam.param_groups[0]["lr"] = 0.03 * (0.5 if step > 2 else 1.0)
        adam.zero_grad()
        head_losses(probe.logits(reference, SHAPE, z, codes), codes, None).mean().backward()
        adam.step()
    for name, value in reference.items():
        torch.testing.assert_close(pack.parameters[name], value, rtol=1e-5, atol=1e-7)


def test_accumulated_batches_equal_one_large_batch() -> None:
    whole = trained([Linear()], FitConfig(epochs=2, batch_size=100))
    halves = trained([Linear()], FitConfig(epochs=2, batch_size=50, accumulate=2))
    np.testing.assert_allclose(
        [point.validation_bits for point in whole[0].curve],
        [point.validation_bits for point in halves[0].curve],
        rtol=1e-4,
    )


def test_the_best_validation_epoch_is_kept() -> None:
    [result] = trained([Linear(learning_rate=1.5)], FitConfig(epochs=12, batch_size=16, schedule_factor=1.0))
    losses = [point.validation_bits for point in result.curve]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    assert result.best_epoch < 12
    heads, accuracy = result.evaluate(examples(100, 1))
    bits = heads.sum(axis=1)
    assert bits.mean() == pytest.approx(min(losses), rel=1e-6)
    assert bits.shape == (100,)
    assert 0.9 < accuracy <= 1


def test_losses_are_bits_of_the_whole_code() -> None:
    data = examples(50)
    untrained = Fitted(Linear(), SHAPE)
    bits = untrained.evaluate(data)[0].sum(axis=1)
    np.testing.assert_allclose(bits, SHAPE.n_heads)
    odds = examples(50, offset=True)
    with_prior = untrained.evaluate(odds)[0].sum(axis=1)
    assert odds.offset is not None
    signs = np.where(odds.codes.numpy() > 0, 1, -1)
    expected = np.log2(1 + np.exp(-signs * odds.offset.numpy().astype(float))).sum(1)
    np.testing.assert_allclose(with_prior, expected, rtol=1e-6)


def test_certain_bits_cost_nothing_and_teach_nothing() -> None:
    data = examples(40)
    certain = np.where(data.codes.numpy() > 0, np.inf, -np.inf)
    known = Examples.of(data.z, (data.codes.numpy() > 0).astype(np.uint8), certain, CPU)
    [result] = fit([Linear()], SHAPE, known, known, FitConfig(epochs=2), seed=0, untrained=True)
    assert result.validation_bits == 0
    assert result.best_epoch == 0
    assert all(point.train_bits == 0 for point in result.curve)


def test_the_untrained_state_wins_where_training_only_harms() -> None:
    rng = np.random.default_rng(0)

    def noise(n: int) -> Examples:
        z = rng.standard_normal((n, 6)).astype(np.float32)
        return Examples.of(Rows(z, None, CPU), rng.integers(2, size=(n, 4), dtype=np.uint8), np.zeros((n, 4)), CPU)

    train, validation = noise(40), noise(400)
    [free] = fit([Linear(learning_rate=1.0)], SHAPE, train, validation, FitConfig(epochs=3), seed=0)
    [kept] = fit([Linear(learning_rate=1.0)], SHAPE, train, validation, FitConfig(epochs=3), seed=0, untrained=True)
    assert free.validation_bits > 4
    assert (kept.best_epoch, kept.parameters, kept.validation_bits) == (0, None, 4)
    np.testing.assert_array_equal(kept.evaluate(validation)[0].sum(axis=1), 4)


def test_patience_stops_a_probe_and_never_changes_its_result() -> None:
    config = FitConfig(epochs=30, batch_size=16, schedule_factor=1.0)
    [long] = trained([Linear(learning_rate=2.0)], config)
    [short] = trained([Linear(learning_rate=2.0)], replace(config, patience=20))
    assert long.status == "finished"
    assert short.curve == long.curve[: len(short.curve)]
    [hasty] = trained([Linear(learning_rate=2.0)], replace(config, patience=2))
    assert hasty.status == "stopped"
    assert len(hasty.curve) == hasty.best_epoch + 2


def test_patience_does_not_count_from_the_untrained_state() -> None:
    """A learning rate so large that the first epochs are far above the prior's loss, and the last ones below."""
    config = FitConfig(epochs=24, batch_size=16, schedule_step=4, schedule_factor=0.2, patience=3)
    [result] = trained([Linear(learning_rate=50.0)], config, untrained=True)
    losses = [point.validation_bits for point in result.curve]
    assert min(losses[:4]) > SHAPE.n_heads > result.validation_bits
    assert result.best_epoch > 4


def test_a_pruned_probe_leaves_and_the_others_go_on_unchanged() -> None:
    probes = [Linear(learning_rate=0.01), Linear(learning_rate=0.1)]
    told: list[tuple[int, int]] = []

    def prune_first(position: int, epoch: int, bits: float) -> bool:
        assert math.isfinite(bits)
        told.append((position, epoch))
        return position == 0 and epoch == 2

    config = FitConfig(epochs=5)
    pruned, other = trained(probes, config, on_epoch=prune_first)
    assert pruned.status == "pruned"
    assert len(pruned.curve) == 2
    assert told == [(0, 1), (1, 1), (0, 2), (1, 2), (1, 3), (1, 4), (1, 5)]
    [alone] = trained(probes[1:], config)
    np.testing.assert_allclose(np.array(other.curve), np.array(alone.curve), rtol=1e-4)


def test_a_diverged_probe_is_marked_and_does_not_touch_its_neighbours() -> None:
    probes = [QuadraticConcat(learning_rate=1e30, rank=2), QuadraticConcat(learning_rate=0.01, rank=2)]
    wild, tame = trained(probes, FitConfig(epochs=3))
    assert wild.status == "diverged"
    assert tame.status == "finished"
    [alone] = trained(probes[1:], FitConfig(epochs=3))
    np.testing.assert_allclose(np.array(tame.curve), np.array(alone.curve), rtol=1e-4)


def test_seeds_change_the_training_and_equal_seeds_repeat_it() -> None:
    def curve(seed: int) -> list[tuple[int, float, float]]:
        return fit([QuadraticConcat()], SHAPE, examples(200), examples(80, 1), FitConfig(epochs=2), seed=seed)[
            0
        ].curve

    assert curve(0) == curve(0)
    assert curve(0) != curve(1)


def test_rows_are_copies_standardised_with_the_given_statistics() -> None:
    array = np.random.default_rng(0).normal(3, 2, (5000, 3)).astype(np.float16)
    array[:, 2] = 1
    standardizer = Standardizer.of(array)
    np.testing.assert_allclose(standardizer.mean, array.astype(float).mean(0))
    np.testing.assert_allclose(standardizer.deviation[:2], array.astype(float).std(0)[:2])
    assert standardizer.deviation[2] == 1
    array.setflags(write=False)
    indices = torch.tensor([4, 0, 4])
    resident = Rows(array, standardizer, CPU)
    streamed = Rows(array, standardizer, CPU, budget_bytes=0)
    torch.testing.assert_close(resident.gather(indices), streamed.gather(indices))
    expected = (array[[4, 0, 4]].astype(float) - standardizer.mean) / standardizer.deviation
    np.testing.assert_allclose(resident.gather(indices).numpy(), expected, rtol=1e-4, atol=1e-5)
    raw = Rows(array.astype(np.float32), None, CPU)
    before = raw.gather(indices).clone()
    raw.gather(indices).add_(1)
    torch.testing.assert_close(raw.gather(indices), before)


def test_small_differences_of_large_doubles_are_kept() -> None:
    signal = np.random.default_rng(0).standard_normal((100, 3))
    array = 1e9 + 1e-3 * signal
    for budget in (None, 0):
        rows = Rows(array, Standardizer.of(array), CPU, budget_bytes=budget).gather(torch.arange(100)).numpy()
        np.testing.assert_allclose(rows, (signal - signal.mean(0)) / signal.std(0), atol=1e-3)


def test_the_papers_preset_is_the_papers() -> None:
    assert FitConfig.paper() == FitConfig(
        epochs=40,
        batch_size=512,
        accumulate=2,
        patience=None,
        schedule_step=8,
        schedule_factor=0.2,
        standardize=False,
        learning_rate=1e-3,
        weight_decay=1e-4,
    )


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("epochs", 0, "epochs: must be ≥ 1, got 0"),
        ("batch_size", 0, "batch_size: must be ≥ 1, got 0"),
        ("accumulate", 0, "accumulate: must be ≥ 1, got 0"),
        ("patience", 0, "patience: must be ≥ 1, got 0"),
        ("schedule_factor", 1.5, r"schedule_factor: must lie in \(0, 1\], got 1.5"),
        ("learning_rate", 0.0, "learning_rate: must be > 0, got 0.0"),
        ("weight_decay", -1.0, "weight_decay: must be ≥ 0, got -1.0"),
    ],
)
def test_settings_out_of_range_are_named(field: str, value: float, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        FitConfig(**{field: value})  # type: ignore[arg-type]


@dataclass(frozen=True)
class Hungry(Linear):
    """A linear probe on a GPU with memory for three of them."""

    def logits(self, parameters, shape, z, codes, dropout=None):
        if len(next(iter(parameters.values()))) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().logits(parameters, shape, z, codes, dropout)


def test_a_pack_that_does_not_fit_is_halved_until_it_does(caplog: pytest.LogCaptureFixture) -> None:
    rates = [10 ** -(1 + i / 4) for i in range(8)]
    config = FitConfig(epochs=3, batch_size=64)
    whole = trained([Linear(learning_rate=rate) for rate in rates], config)
    seen: list[tuple[int, int]] = []
    halved = trained(
        [Hungry(learning_rate=rate) for rate in rates],
        config,
        on_epoch=lambda position, epoch, bits: bool(seen.append((position, epoch))),
    )
    assert [round(a.validation_bits, 4) for a in halved] == [round(b.validation_bits, 4) for b in whole]
    assert [len(fitted.curve) for fitted in halved] == [3] * 8
    assert sorted(seen) == [(position, epoch) for position in range(8) for epoch in (1, 2, 3)]
    assert [record.getMessage() for record in caplog.records] == [
        "out of GPU memory with 8 probes in a pack; going on with 4",
        "out of GPU memory with 4 probes in a pack; going on with 2",
        "out of GPU memory with 4 probes in a pack; going on with 2",
    ]


def test_a_single_probe_that_does_not_fit_is_an_error() -> None:
    @dataclass(frozen=True)
    class Huge(Linear):
        def logits(self, *arguments):
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        trained([Huge(), Huge()], FitConfig(epochs=1))
