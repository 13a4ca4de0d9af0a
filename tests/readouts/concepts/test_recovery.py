"""Planted dictionaries are found again, whatever the units of the data, and resampling that is centred helps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from readouts.concepts.quality import match, quality
from readouts.concepts.settings import DictionaryConfig, TrainingConfig
from readouts.concepts.stream import Stream, statistics
from readouts.concepts.training import DictionaryRun, train
from tests.readouts.concepts.planted import CPU, mmcs, planted, trained

SHORT = TrainingConfig(steps=900, batch_size=256)
LONG = TrainingConfig(steps=3000, batch_size=512)
CONFIGS = [
    DictionaryConfig(kind="relu_l1"),
    DictionaryConfig(kind="topk", k=3),
    DictionaryConfig(kind="batchtopk", k=4),
    DictionaryConfig(kind="jumprelu"),
    DictionaryConfig(kind="gated"),
    DictionaryConfig(kind="matryoshka", k=4),
]
DEAD = {"relu_l1": 0.10, "topk": 0.25}
"""Most silent atoms: 64 of 128 are enough, and of three a row the others win few."""
BY_KIND = {config.kind: config for config in CONFIGS}


@pytest.mark.parametrize("kind", ["relu_l1", "topk"])
def test_atoms_are_found_again(kind: str) -> None:
    atoms, rows = planted(0, n=20_000)
    assert mmcs(atoms, trained(rows, BY_KIND[kind], SHORT), rows) > 0.97


def test_without_centring_and_with_an_offset_fewer_are_found() -> None:
    atoms, rows = planted(0, n=20_000, offset=3.0)
    short = replace(SHORT, steps=600)
    centred = mmcs(atoms, trained(rows, BY_KIND["topk"], short), rows)
    raw = mmcs(atoms, trained(rows, BY_KIND["topk"], replace(short, centre=False)), rows)
    assert centred > 0.95
    assert raw < centred - 0.01


def test_units_of_the_activations_do_not_matter_where_they_are_scaled() -> None:
    _, rows = planted(0, n=5000)
    training = replace(SHORT, steps=300)
    one, ten = (trained(factor * rows, BY_KIND["relu_l1"], training) for factor in (1.0, 10.0))
    assert ten.scale == pytest.approx(one.scale / 10, rel=1e-4)
    a, b = quality(one, rows, CPU), quality(ten, 10 * rows, CPU)
    assert b.explained_variance == pytest.approx(a.explained_variance, abs=0.01)
    assert float(b.l0.mean()) == pytest.approx(float(a.l0.mean()), rel=0.02)
    raw = replace(training, scale=False)
    penalised = DictionaryConfig(kind="relu_l1", penalty=1e-2)
    small, large = (trained(factor * rows, penalised, raw) for factor in (1.0, 10.0))
    assert float(quality(large, 10 * rows, CPU).l0.mean()) > 1.5 * float(quality(small, rows, CPU).l0.mean())


def test_quality_is_the_definition() -> None:
    _, rows = planted(1, n=500)
    one = trained(rows, DictionaryConfig(kind="topk", k=3), replace(SHORT, steps=50))
    found = quality(one, rows, CPU)
    x = torch.from_numpy(rows)
    modelled = one.decode(one.encode(x))
    expected = 1 - float((x - modelled).square().sum() / (x - x.mean(0)).square().sum())
    assert found.explained_variance == pytest.approx(expected, abs=1e-5)
    assert found.fires.sum() == int((one.encode(x) > 0).sum())
    tokens = quality(one, rows.reshape(100, 5, 32), CPU)
    assert tokens.explained_variance == pytest.approx(expected, abs=1e-5)
    assert len(tokens.error) == 100
    assert tokens.n_rows == 500


def test_two_trainings_agree_on_planted_data_and_not_on_noise() -> None:
    _, rows = planted(0, n=20_000)
    noise = np.random.default_rng(0).standard_normal((5000, 32)).astype(np.float32)
    for array, training, low, high in ((rows, SHORT, 0.93, 1.0), (noise, replace(SHORT, steps=200), 0.0, 0.6)):
        one, other = (
            found.dictionary
            for found in train(
                array, [DictionaryRun(BY_KIND["topk"], seed) for seed in (0, 1)], training, seed=0, device=CPU
            )
        )
        alive = [quality(each, array, CPU).fires > 0.001 * len(array) for each in (one, other)]
        assert low < match(one, other, *alive).mean() < high


def test_a_stream_gives_every_row_once_a_pass_also_where_memory_holds_few() -> None:
    rows = np.arange(4096, dtype=np.float32)[:, None].repeat(4, axis=1)
    for buffer in (2**30, 4096):
        stream = Stream(rows, 64, seed=0, buffer_bytes=buffer).batches()
        first = torch.cat([next(stream) for _ in range(64)])[:, 0].numpy()
        assert sorted(first) == list(range(4096))
        assert not np.array_equal(first, np.sort(first))
    few = Stream(rows[:10], 64, seed=0).batches()
    assert len(next(few)) == 10


def test_statistics_are_of_all_rows() -> None:
    rows = np.random.default_rng(0).standard_normal((300, 3, 5)) + 2
    found = statistics(rows)
    flat = rows.reshape(-1, 5).astype(np.float32)
    np.testing.assert_allclose(found.mean, flat.mean(0), rtol=1e-5)
    assert found.deviation == pytest.approx(np.sqrt(((flat - flat.mean(0)) ** 2).sum(1).mean()), rel=1e-5)
    assert found.offset_ratio == pytest.approx(np.linalg.norm(found.mean) / found.deviation)


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
@pytest.mark.parametrize("seed", range(4))
def test_every_kind_finds_the_atoms(config: DictionaryConfig, seed: int) -> None:
    atoms, rows = planted(seed)
    one = trained(rows, config, LONG, seed)
    assert mmcs(atoms, one, rows) > (0.96 if config.kind == "matryoshka" else 0.97)
    if config.kind in DEAD:
        assert quality(one, rows, CPU).dead < DEAD[config.kind]
