"""Likelihoods of given captions, and the aggregates of a cell: known answers."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa
import pytest

from frozen.data.scenes.codes import FeatureSpace
from frozen.intervals import IntervalConfig
from frozen.readout.comparing import IncomparableError
from readouts.captions.columns import RATIOS
from readouts.captions.decode import CaptionChoices
from readouts.captions.parsing import Parser
from readouts.captions.scoring import WrittenCaptions, bits_of, calibrated_bits, choice_columns, sample_table
from readouts.captions.stored import compare, estimates, recompute, sums_of, top_caption
from readouts.captions.truth import truth_columns

N = 400
UNITS = np.arange(N) // 2
SPACE = FeatureSpace.of(color=("red", "blue"), shape=("cube", "ball"))
ROW = {"seed": 0, "interval_level": 0.95, "interval_resamples": 200, "data_fingerprint": "d", "dataset": "x"}


def table(captions: list[str], nats: np.ndarray | None = None, true: str = "a red cube") -> pa.Table:
    codes = np.tile(np.array([1, 0, 0, 1], dtype=np.uint8), (N, 1))
    written = WrittenCaptions(captions, [np.array([1.0, 3.0])] * N, np.ones(N, dtype=bool), nats)
    truth = truth_columns(captions, codes, Parser(SPACE))
    return sample_table(written, UNITS, truth, [true] * N, choices=None, is_shuffled=False)


def chosen(nats: np.ndarray, *, is_shuffled: bool = False) -> dict[str, np.ndarray]:
    """Columns of likelihoods of the true caption, the swapped one, those of others, and one of these swapped."""
    choices = CaptionChoices("counted", nats.shape[1] - 3)
    return choice_columns(choices.read(nats, is_shuffled=is_shuffled), UNITS)


def swap_balanced(margins: np.ndarray) -> np.ndarray:
    """Choices of a decoder that does not see the image: the margin of a twin is minus that of its scene."""
    rng = np.random.default_rng(0)
    own = rng.normal(size=N)
    delta = np.where(np.arange(N) % 2 == 0, 1, -1) * np.repeat(margins, 2)
    return np.stack([own, own - delta, *rng.normal(size=(3, N)), np.zeros(N)], axis=1)


def test_a_constant_memory_chooses_at_chance_and_has_no_bits() -> None:
    columns = chosen(swap_balanced(np.random.default_rng(1).normal(size=N // 2) * 3))
    assert columns["preferred"].mean() == 0.5
    assert columns["choice_bits"].mean() < 0
    assert -0.05 < columns["fitted_bits"].mean() < 0.01


def test_an_oracle_has_one_bit_and_is_always_right() -> None:
    nats = np.tile([0.0, -1e3, -50.0, -60.0, -70.0, -1e3], (N, 1))
    columns = chosen(nats)
    assert columns["preferred"].mean() == 1
    assert columns["choice_bits"].mean() == pytest.approx(1)
    assert columns["fitted_bits"].mean() == pytest.approx(1)
    assert columns["retrieved"].mean() == 1
    assert columns["contrast_bits"].mean() == pytest.approx(math.log2(3))


def test_bits_of_a_known_channel() -> None:
    """A channel that is right with probability 0.9 and knows it has 1 - h(0.9) bits."""
    rng = np.random.default_rng(0)
    delta = math.log(9) * np.where(rng.random(200_000) < 0.9, 1, -1)
    exact = 1 + 0.9 * math.log2(0.9) + 0.1 * math.log2(0.1)
    assert bits_of(delta).mean() == pytest.approx(exact, abs=0.01)
    for factor in (0.2, 5.0):  # what knows it wrongly is put right by the factor of the other half
        assert bits_of(factor * delta).mean() < exact - 0.05
        assert calibrated_bits(factor * delta, np.arange(len(delta))).mean() == pytest.approx(exact, abs=0.01)


def test_scenes_without_a_swapped_caption_are_left_out() -> None:
    nats = swap_balanced(np.ones(N // 2))
    nats[::4, 1] = np.nan
    columns = chosen(nats)
    for name in ("preferred", "choice_bits", "fitted_bits", "delta_nats"):
        assert np.isnan(columns[name]).sum() == N // 4
    assert not np.isnan(columns["retrieved"]).any()


def test_equal_captions_share_retrieval_and_chance_is_one_over_their_number() -> None:
    columns = chosen(np.zeros((N, 7)))
    assert columns["retrieved"].mean() == pytest.approx(1 / 4)
    rng = np.random.default_rng(0)
    columns = chosen(rng.normal(size=(N, 7)), is_shuffled=True)
    assert columns["retrieved"].mean() == pytest.approx(1 / 4, abs=4 * math.sqrt(3 / 16 / N))
    assert columns["contrast_bits"].mean() < 0


def test_memories_of_other_images_are_judged_by_captions_that_are_not_theirs() -> None:
    """Own captions are likeliest by far; without them nothing is known."""
    rng = np.random.default_rng(0)
    nats = rng.normal(size=(N, 7))
    nats[:, 0] += 100
    assert chosen(nats)["retrieved"].mean() == 1
    shuffled = chosen(nats, is_shuffled=True)
    assert shuffled["retrieved"].mean() < 0.4
    assert shuffled["preferred"].mean() == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(N))


def test_a_template_is_flagged_and_counted_exactly() -> None:
    captions = ["a red ball"] * 120 + [f"a blue cube {i}" for i in range(N - 120)]
    row = recompute(ROW, table(captions))
    assert row["top_caption_percent"] == pytest.approx(30)
    assert row["top_caption"] == "a red ball"
    assert row["distinct_captions"] == N - 120 + 1
    assert row["flags"] == ["template_collapse"]
    assert recompute(ROW, table([f"a {i}" for i in range(N)]))["flags"] == []
    assert top_caption(["b", "a", "b", "a"]) == "a"


def test_measures_are_ratios_of_sums() -> None:
    captions = (["a red cube and a blue ball"] * 2 + ["a red ball", "a red red"]) * (N // 4)
    row = recompute(ROW, table(captions, true="a red cube and a blue ball"))
    assert row["exact_percent"] == 50
    assert row["object_recall_percent"] == 50
    assert row["pair_precision_percent"] == row["binding_accuracy_percent"] == 80
    assert row["swap_percent"] == pytest.approx(20)
    assert row["binding_chance_percent"] == pytest.approx(50)
    assert row["attribute_recall_percent"] == pytest.approx(100 * (4 + 4 + 2 + 1) / 16)
    assert row["entropy_bits"] == row["token_entropy_bits"] == 2
    assert row["choice_accuracy_percent"] is None


def test_what_is_never_named_has_no_accuracy() -> None:
    row = recompute(ROW, table(["a red and a ball"] * N))
    assert row["binding_accuracy_percent"] is None
    assert row["binding_accuracy_percent_low"] is None
    assert row["object_recall_percent"] == 0


def test_twins_are_resampled_together() -> None:
    """Every pair has one right and one wrong answer: nothing varies between pairs."""
    captions = ["a red cube", "a red ball"] * (N // 2)
    row = recompute(ROW, table(captions))
    assert row["exact_percent_low"] == row["exact_percent"] == row["exact_percent_high"] == 50
    assert row["n_units"] == N // 2


def test_intervals_cover_as_often_as_they_say() -> None:
    rng, config, hits = np.random.default_rng(0), IntervalConfig(resamples=200), 0
    ratios = [one for one in RATIOS if one.column == "exact_percent"]
    for _ in range(60):
        captions = np.where(rng.random(N) < 0.7, "a red cube", "a red ball").tolist()
        found = estimates(sums_of(table(captions)), ratios, config, seed=1)["exact_percent"]
        hits += found.low <= 70 <= found.high
    assert 50 <= hits <= 60


def test_differences_are_paired_and_refuse_other_images() -> None:
    one = table(["a red cube"] * 300 + ["a red ball"] * 100)
    other = table(["a red cube"] * 200 + ["a red ball"] * 200)
    cells = {"one": (ROW, one), "other": (ROW, other)}
    [found] = compare(cells, [("one", "other")], ["exact_percent"], IntervalConfig(resamples=200), seed=0)
    assert found.values == (75, 50)
    assert found.difference.low <= 25 <= found.difference.high
    assert found.p_value < 1e-6
    with pytest.raises(IncomparableError, match="not on the same samples"):
        compare(
            {"one": (ROW, one), "other": (ROW | {"data_fingerprint": "e"}, other)},
            [("one", "other")],
            ["exact_percent"],
            IntervalConfig(resamples=200),
            seed=0,
        )
