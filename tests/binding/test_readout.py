"""The binding read-out: a row with exactly its columns, and samples from which its numbers follow."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow.compute as pc
import pytest
import torch

from binding.columns import COLUMNS, EXTRA_MEASURES, MEASURES
from binding.extras import EXTRA_ESTIMATES, EXTRAS, Extra
from binding.fit import FitConfig
from binding.information import FLAGS, TestLosses, measures
from binding.probes import FAMILIES
from binding.readout import BindingReadout, Outcome
from binding.search import ProbeSpace, SearchConfig
from frozen.capture.views import Mode
from frozen.data.scenes import SPLITS, ColorShape, SplitPolicy
from frozen.intervals import IntervalConfig
from frozen.models import BackboneConfig, TokenLayout
from frozen.ranges import Choices

SCENE = ColorShape(
    n_colors=2,
    n_shapes=2,
    max_objects=3,
    image_size=64,
    object_size=12,
    split=SplitPolicy(train=300, validation=150, test=200),
)
ESTIMATES = [
    "object_loss_bits",
    "feature_loss_bits",
    "direct_loss_bits",
    "given_loss_bits",
    "object_information_bits",
    "object_information_ratio",
    "feature_information_bits",
    "binding_information_bits",
    "binding_ratio",
    "direct_binding_information_bits",
    "direct_binding_ratio",
    "v_information_bits",
    "cautious_binding_information_bits",
    "cautious_binding_ratio",
]
COUNTS = [
    "batch_size",
    "n_steps",
    "n_train",
    "n_validation",
    "n_test",
    "n_suggestions",
    "n_seeds",
    "seed",
    "interval_level",
    "interval_resamples",
]
ENTROPIES = [
    "object_entropy_bits",
    "feature_entropy_bits",
    "conditional_entropy_bits",
    "conditional_entropy_exact_bits",
]
TUNED = [
    name.format(target)
    for name in ("hyperparameters_{}", "best_epoch_{}", "train_gap_{}_bits")
    for target in ("objects", "features", "direct")
]
OTHERS = [
    "split_policy",
    "seen_share",
    "prior_source",
    "direct_view",
    *COUNTS,
    *ENTROPIES,
    *TUNED,
    "object_accuracy",
    "feature_accuracy",
    "seed_spread_bits",
    "flags",
]


@dataclass(frozen=True)
class Dataset:
    config: Any = SCENE


@dataclass(frozen=True)
class Choice:
    space: ProbeSpace
    feature_probe: ProbeSpace | None = None


@dataclass(frozen=True)
class Settings:
    n_seeds: int = 2
    seed: int = 3
    store_dtype: str = "float16"
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=2, batch_size=64))
    search: SearchConfig = field(default_factory=lambda: SearchConfig(suggestions=2, ask=2))
    intervals: IntervalConfig = field(default_factory=lambda: IntervalConfig(level=0.9, resamples=200))
    extras: tuple[Extra, ...] = ()


@dataclass(frozen=True)
class Task:
    """A cell, as far as the read-out knows it."""

    probe: Choice
    dataset: Dataset = field(default_factory=Dataset)
    settings: Settings = field(default_factory=Settings)
    backbone: BackboneConfig = field(default_factory=lambda: BackboneConfig(source="control:oracle_objects"))
    layer: str = "code"
    mode: Mode = "cls"


class Arrays(NamedTuple):
    activations: np.ndarray
    labels: dict[str, np.ndarray]


def layout(width: int) -> TokenLayout:
    return TokenLayout(has_cls=True, n_registers=0, grid=(0, 0), width=width)


def measured(task: Task, *, with_odds: bool = True) -> Outcome:
    """Measure Z = O."""
    scene, readout, data = task.dataset.config, BindingReadout(), {}
    for name in SPLITS:
        labels = readout.labels(scene.open(name))
        if not with_odds:
            del labels["prior_log_odds"]
        data[name] = Arrays(labels["object_codes"].astype(np.float16), labels)
    return readout.measure(task, data, layout(scene.space.n_objects), torch.device("cpu"))


QUADRATIC = Task(Choice(ProbeSpace.of("quadratic_concat", rank=Choices(choices=(2, 4)))))


@pytest.fixture(scope="module")
def outcome() -> Outcome:
    return measured(QUADRATIC)


def test_the_columns_are_those_of_the_results_table() -> None:
    expected = {
        *OTHERS,
        *(f"{name}{end}" for name in (*ESTIMATES, *EXTRA_ESTIMATES) for end in ("", "_low", "_high")),
    }
    assert set(COLUMNS) == expected
    assert all(COLUMNS.values())


def test_a_row_has_exactly_the_columns_in_their_order(outcome: Outcome) -> None:
    assert list(outcome.row) == list(COLUMNS)
    assert json.loads(json.dumps(outcome.row, allow_nan=False)) == outcome.row


def test_a_row_says_what_was_done(outcome: Outcome) -> None:
    row = outcome.row
    assert row["split_policy"] == "independent"
    assert [row[name] for name in COUNTS] == [300, 150, 200, 2, 2, 3, 0.9, 200]
    for target in ("objects", "features", "direct"):
        probe = json.loads(row[f"hyperparameters_{target}"])  # type: ignore[arg-type]
        assert probe["family"] == "quadratic_concat"
        assert probe["rank"] in (2, 4)
        assert set(probe) == {"family", "rank", "learning_rate", "weight_decay", "use_conditioned_query"}
        assert all(0 <= epoch <= 2 for epoch in row[f"best_epoch_{target}"])  # type: ignore[union-attr]
        assert len(row[f"best_epoch_{target}"]) == 2  # type: ignore[arg-type]
    assert set(row["flags"]) <= set(FLAGS)  # type: ignore[call-overload]


def test_entropies_are_those_of_the_test_split(outcome: Outcome) -> None:
    split = SCENE.open("test")
    assert outcome.row["conditional_entropy_bits"] == pytest.approx(split.conditional_entropy_bits().mean())
    assert outcome.row["conditional_entropy_exact_bits"] == split.entropies.conditional_bits
    assert outcome.row["feature_entropy_bits"] == split.entropies.feature_bits
    assert outcome.row["object_entropy_bits"] == split.entropies.object_bits


def losses_of(outcome: Outcome, n_seeds: int = 2) -> TestLosses:
    """The losses back from the table, [seeds samples]."""
    found = {}
    for target in ("objects", "features", "direct", "given"):
        table = outcome.samples.filter(pc.equal(outcome.samples["target"], target))
        array = np.full((n_seeds, 200), np.nan)
        array[table["seed"].to_numpy(), table["sample"].to_numpy()] = table["bits"].to_numpy()
        found[target] = array
    return TestLosses(**found)


def test_every_estimate_follows_from_the_samples(outcome: Outcome) -> None:
    row, mean = outcome.row, {name: values.mean() for name, values in losses_of(outcome).named().items()}
    given_features = SCENE.open("test").conditional_entropy_bits().mean()
    binding = given_features - (mean["objects"] - mean["features"])
    objects = row["object_entropy_bits"] - mean["objects"]  # type: ignore[operator]
    expected = {
        "object_loss_bits": mean["objects"],
        "feature_loss_bits": mean["features"],
        "direct_loss_bits": mean["direct"],
        "given_loss_bits": mean["given"],
        "object_information_bits": objects,
        "object_information_ratio": objects / row["object_entropy_bits"],  # type: ignore[operator]
        "feature_information_bits": row["feature_entropy_bits"] - mean["features"],  # type: ignore[operator]
        "binding_information_bits": binding,
        "binding_ratio": binding / given_features,
        "direct_binding_information_bits": given_features - mean["direct"],
        "direct_binding_ratio": 1 - mean["direct"] / given_features,
        "v_information_bits": mean["given"] - mean["direct"],
        "cautious_binding_information_bits": given_features - mean["direct"],
        "cautious_binding_ratio": 1 - mean["direct"] / given_features,
    }
    assert list(expected) == ESTIMATES
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"], name  # type: ignore[operator]


def test_intervals_follow_from_the_samples_too(outcome: Outcome) -> None:
    split, settings = SCENE.open("test"), QUADRATIC.settings
    again = measures(
        losses_of(outcome),
        split.conditional_entropy_bits(),
        split.entropies,
        settings.intervals,
        seed=settings.seed,
    )
    for name, estimate in again.estimates.items():
        assert estimate is not None
        found = [outcome.row[f"{name}{end}"] for end in ("", "_low", "_high")]
        assert found == pytest.approx(list(estimate), rel=1e-9, abs=1e-12), name
    assert outcome.row["seed_spread_bits"] == pytest.approx(again.seed_spread_bits)


def test_curves_have_every_epoch_of_every_training(outcome: Outcome) -> None:
    table = outcome.curves
    assert table.column_names == ["target", "seed", "epoch", "train_bits", "validation_bits"]
    found = {(row["target"], row["seed"], row["epoch"]) for row in table.to_pylist()}
    targets = ("objects", "features", "direct", "given")
    assert found == {(t, seed, epoch) for t in targets for seed in (0, 1) for epoch in (1, 2)}
    assert table.num_rows == len(found)
    assert np.isfinite(table["validation_bits"].to_numpy()).all()


def test_curves_tell_everything_that_was_tried(outcome: Outcome) -> None:
    tried = json.loads(outcome.curves.schema.metadata[b"suggestions"])
    assert {target: len(suggestions) for target, suggestions in tried.items()} == {
        "objects": 2,
        "features": 2,
        "direct": 2,
        "given": 0,
    }
    first = tried["objects"][0]
    assert set(first["values"]) == {"learning_rate", "rank"}
    assert first["values"]["learning_rate"] == FAMILIES["quadratic_concat"]().learning_rate
    assert set(first) == {"values", "ranges", "curve", "validation_bits", "best_epoch", "status"}
    assert set(first["ranges"]) == set(first["values"])
    assert min(first["curve"]) == first["validation_bits"]


def test_equal_cells_give_equal_rows(outcome: Outcome) -> None:
    again = measured(QUADRATIC)
    assert again.row == outcome.row
    assert again.samples.equals(outcome.samples)


def test_extras_are_empty_unless_asked_for(outcome: Outcome) -> None:
    columns = [f"{name}{end}" for name in EXTRA_ESTIMATES for end in ("", "_low", "_high")]
    assert [outcome.row[column] for column in columns] == [None] * 12
    assert set(outcome.samples["target"].to_pylist()) == {"objects", "features", "direct", "given", "entropy"}
    asked = measured(replace(QUADRATIC, settings=Settings(extras=EXTRAS)))
    for name in EXTRA_ESTIMATES:
        low, value, high = (asked.row[f"{name}{end}"] for end in ("_low", "", "_high"))
        assert low < value < high, name  # type: ignore[operator]
    assert {**asked.row, **dict.fromkeys(columns)} == outcome.row


def test_extras_follow_from_the_samples() -> None:
    asked = measured(replace(QUADRATIC, settings=Settings(extras=EXTRAS)))
    again = BindingReadout().recompute(asked.row, asked.samples)
    assert {name: asked.row[name] for name in again} == again
    assert set(EXTRA_ESTIMATES) < set(again)


def test_reuse_families_name_the_family_of_their_features_probe() -> None:
    space = ProbeSpace.of("quadratic_concat_reuse", learning_rate=0.05, rank=2)
    task = Task(Choice(space, ProbeSpace.of("linear", learning_rate=0.5)), settings=Settings(n_seeds=1))
    row = measured(task).row
    families = [json.loads(row[f"hyperparameters_{t}"])["family"] for t in ("objects", "features", "direct")]  # type: ignore[arg-type]
    assert families == ["quadratic_concat_reuse", "linear", "quadratic_concat_reuse"]
    assert row["seed_spread_bits"] is None
    assert json.dumps(row, allow_nan=False)


def test_a_ratio_of_nothing_is_empty() -> None:
    """At most one object: the features say everything, H(O|F) = 0."""
    scene = replace(SCENE, max_objects=1)
    task = Task(Choice(ProbeSpace.of("linear", learning_rate=0.5)), Dataset(scene), Settings(n_seeds=1))
    row = measured(task).row
    assert row["conditional_entropy_bits"] == 0
    for name in ("binding_ratio", "direct_binding_ratio"):
        assert [row[f"{name}{end}"] for end in ("", "_low", "_high")] == [None] * 3
    assert list(row) == list(COLUMNS)
    assert json.dumps(row, allow_nan=False)


def test_a_prior_may_be_unknown() -> None:
    task = Task(Choice(ProbeSpace.of("linear", learning_rate=0.5)), settings=Settings(n_seeds=1))
    without, with_odds = measured(task, with_odds=False).row, measured(task).row
    assert without["object_loss_bits"] == with_odds["object_loss_bits"]
    assert without["direct_loss_bits"] != with_odds["direct_loss_bits"]


def test_labels_are_what_is_known_of_every_sample() -> None:
    for name in SPLITS:
        split = SCENE.open(name)
        labels = BindingReadout().labels(split)
        assert set(labels) == {"object_codes", "conditional_entropy_bits", "prior_log_odds"}
        np.testing.assert_array_equal(labels["object_codes"], split.object_codes)
        np.testing.assert_array_equal(labels["conditional_entropy_bits"], split.conditional_entropy_bits())
        np.testing.assert_array_equal(labels["prior_log_odds"], split.prior_log_odds())


def test_labels_without_a_known_prior(monkeypatch: pytest.MonkeyPatch) -> None:
    split = SCENE.open("test")
    monkeypatch.setattr(split, "prior_log_odds", lambda: None)
    assert set(BindingReadout().labels(split)) == {"object_codes", "conditional_entropy_bits"}


def test_measures_are_columns_with_words() -> None:
    assert [measure.column for measure in (*MEASURES, *EXTRA_MEASURES) if measure.column not in COLUMNS] == []
    assert MEASURES[0].column == "binding_ratio"
    for measure in MEASURES:
        assert measure.unit == ("ratio" if measure.column.endswith("_ratio") else "bits")
