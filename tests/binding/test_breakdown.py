"""Information per conjunction and per number of objects: the parts sum to the totals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from binding.breakdown import breakdown, prior_head_bits, seen_in_training
from binding.fit import FitConfig
from binding.measurement import Measurement, measure_samples
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.search import ProbeSpace, SearchConfig
from frozen.data.scenes.codes import FeatureSpace
from frozen.data.scenes.priors import UniformPrior
from frozen.intervals import IntervalConfig

SPACE = FeatureSpace.of(color=("red", "blue"), shape=("circle", "square", "cross"))
INTERVALS = IntervalConfig(resamples=400)
CONFIG = MeasureConfig(
    fit=FitConfig(epochs=12, batch_size=200), search=SearchConfig(suggestions=1), intervals=INTERVALS, n_seeds=2
)


def samples(n: int, seed: int, *, odds: bool = True) -> Samples:
    """Uniform codes; the activations show the first three conjunctions only."""
    codes = np.random.default_rng(seed).integers(2, size=(n, 6), dtype=np.uint8)
    prior = UniformPrior(SPACE, 0, 6)
    entropy = prior.conditional_entropy_bits(SPACE.feature_codes(codes))
    return Samples(codes[:, :3].astype(np.float32), codes, entropy, prior.log_odds(codes) if odds else None)


TEST = samples(500, 2)
SEEN = seen_in_training(samples(60, 0).object_codes, TEST.object_codes)


@pytest.fixture(scope="module")
def measurement() -> Measurement:
    splits = SplitSamples(SPACE, samples(1500, 0), samples(400, 1), TEST)
    return measure_samples(splits, ProbeSpace.of("linear", learning_rate=0.5), CONFIG)


@pytest.fixture(scope="module")
def table(measurement: Measurement) -> pd.DataFrame:
    return (
        breakdown(measurement.targets, TEST, SEEN, SPACE, INTERVALS, seed=0).to_pandas().set_index(["part", "name"])
    )


def test_the_prior_bits_of_a_code_sum_to_its_entropy() -> None:
    np.testing.assert_allclose(prior_head_bits(TEST).sum(1), TEST.conditional_entropy_bits, atol=1e-9)


@pytest.mark.parametrize("part", ["conjunction", "object_count", "code"])
def test_the_parts_sum_to_the_totals(part: str, table: pd.DataFrame, measurement: Measurement) -> None:
    rows = table.loc[part]
    losses = measurement.losses
    totals = {
        "entropy_bits": measurement.conditional_entropy_bits,
        "object_loss_bits": losses.objects.mean(),
        "direct_loss_bits": losses.direct.mean(),
        "given_loss_bits": losses.given.mean(),
        "direct_bits": measurement.direct_binding_information_bits.value,  # type: ignore[union-attr]
        "v_bits": measurement.v_information_bits.value,  # type: ignore[union-attr]
    }
    if part != "conjunction":
        totals["feature_loss_bits"] = losses.features.mean()
    for name, total in totals.items():
        assert (rows["weight"] * rows[name]).sum() == pytest.approx(total, abs=1e-4), name


def test_information_lies_where_the_activations_show_it(table: pd.DataFrame) -> None:
    rows = table.loc["conjunction"]
    seen, unseen = rows.iloc[:3], rows.iloc[3:]
    assert (seen.direct_bits > 0.8 * seen.entropy_bits).all()
    assert (unseen.direct_bits_low < 0.05).all()
    assert tuple(rows.index) == SPACE.object_names
    assert list(rows.n_samples) == TEST.object_codes.sum(0).tolist()


def test_codes_that_training_saw_are_told_from_others(table: pd.DataFrame) -> None:
    known = {tuple(code) for code in samples(60, 0).object_codes.tolist()}
    n_seen = sum(tuple(code) in known for code in TEST.object_codes.tolist())
    assert 0 < n_seen < len(TEST.object_codes)
    assert table.loc["code"].n_samples.to_dict() == {"seen": n_seen, "unseen": len(TEST.object_codes) - n_seen}


def test_intervals_hold_their_estimate_and_shrink_with_samples(table: pd.DataFrame) -> None:
    for name in ("direct_bits", "v_bits"):
        assert (table[f"{name}_low"] <= table[name] + 1e-9).all()
        assert (table[name] <= table[f"{name}_high"] + 1e-9).all()
    assert (table.direct_bits_high <= table.entropy_bits + 1e-9).all()
    one = table.loc["conjunction", "red circle"]
    spread = one.direct_bits - one.direct_bits_low
    head = prior_head_bits(TEST)[:, 0]
    assert spread == pytest.approx(1.96 * head.std() / np.sqrt(len(head)), rel=0.3)  # its loss is about 0


def test_an_unknown_prior_leaves_conjunctions_without_entropy(measurement: Measurement) -> None:
    unknown = TEST._replace(prior_log_odds=None)
    rows = breakdown(measurement.targets, unknown, SEEN, SPACE, INTERVALS, seed=0).to_pandas().set_index("part")
    assert rows.loc["conjunction", ["entropy_bits", "direct_bits"]].isna().all(axis=None)
    assert rows.loc["conjunction", "v_bits"].notna().all()
    assert rows.loc["object_count", "direct_bits"].notna().all()
