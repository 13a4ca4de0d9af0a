"""The binding read-out: a row with exactly its columns, and samples from which its numbers follow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
import torch
import yaml

from binding.columns import COLUMNS, EXTRA_MEASURES, MEASURES
from binding.extras import EXTRA_ESTIMATES, EXTRAS, LEAVE_ONE_OUT
from binding.information import FLAGS, TestLosses, measures
from binding.paired import PAIRED_ESTIMATES
from binding.probes import FAMILIES
from binding.readout import BindingReadout
from frozen.data.scenes import SPLITS, ColorShape, SplitPolicy
from frozen.intervals import IntervalConfig
from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome
from sweep.study.load import load_study

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
SHAPE = ["z_dim", "n_tokens"]
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
    "through",
    "n_coordinates",
    "split_policy",
    "seen_share",
    "prior_source",
    "direct_view",
    *SHAPE,
    *COUNTS,
    *ENTROPIES,
    *TUNED,
    "object_accuracy",
    "feature_accuracy",
    "seed_spread_bits",
    "flags",
]


QUADRATIC = {"family": "quadratic_concat", "rank": {"choices": [2, 4]}}
LINEAR = {"family": "linear", "learning_rate": 0.5}
INTERVALS = IntervalConfig(level=0.9, resamples=200)
SEED = 3
N_SEEDS = 2


def study_of(probe: dict[str, object], **keys: object) -> dict[str, object]:
    """A study whose one cell reads Z = O; other keys replace its own."""
    plain = {
        "name": "oracle",
        "datasets": [
            {
                "name": "shapes",
                "scene": "colorshape",
                "seed": 0,
                "n_colors": 2,
                "n_shapes": 2,
                "max_objects": 3,
                "image_size": 64,
                "object_size": 12,
                "split": {"policy": "independent", "train": 300, "validation": 150, "test": 200},
            }
        ],
        "layers": ["final"],
        "modes": ["cls"],
        "controls": ["oracle_objects"],
        "probes": [probe],
        "fit": {"epochs": 2, "batch_size": 64},
        "search": {"suggestions": 2, "ask": 2},
        "seeds": N_SEEDS,
        "seed": SEED,
        "intervals": {"level": INTERVALS.level, "resamples": INTERVALS.resamples},
    }
    return plain | keys


def measured(folder: Path, study: dict[str, object], *, with_odds: bool = True) -> Outcome:
    """Measure the study's one cell."""
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump(study))
    readout = BindingReadout()
    [cell] = readout.cells(load_study(path))
    assert isinstance(cell, Cell)
    columns: dict[str, dict[str, np.ndarray]] = {}
    for name in SPLITS:
        labels = readout.labels(cell.dataset.config.open(name))
        if not with_odds:
            del labels["prior_log_odds"]
        columns[name] = {"activations": labels["object_codes"].astype(np.float16)}
        columns[f"{name}_labels"] = labels
    [(_, found)] = readout.measure({cell: Inputs({"cell_id": cell.cell_id}, columns, {})}, torch.device("cpu"))
    return found


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return measured(tmp_path_factory.mktemp("quadratic"), study_of(QUADRATIC))


@pytest.fixture(scope="module")
def with_extras(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return measured(
        tmp_path_factory.mktemp("extras"), study_of(QUADRATIC, extras=[one for one in EXTRAS if one != LEAVE_ONE_OUT])
    )


def test_the_columns_are_those_of_the_results_table() -> None:
    expected = {
        *OTHERS,
        *(
            f"{name}{end}"
            for name in (*ESTIMATES, *EXTRA_ESTIMATES, *PAIRED_ESTIMATES)
            for end in ("", "_low", "_high")
        ),
    }
    assert set(COLUMNS) == expected
    assert all(COLUMNS.values())


def test_a_row_has_exactly_the_columns_in_their_order(outcome: Outcome) -> None:
    assert list(outcome.row) == list(COLUMNS)
    assert json.loads(json.dumps(outcome.row, allow_nan=False)) == outcome.row


def test_a_row_says_what_was_done(outcome: Outcome) -> None:
    row = outcome.row
    assert row["split_policy"] == "independent"
    assert [row[name] for name in COUNTS] == [64, 10, 300, 150, 200, 2, 2, 3, 0.9, 200]
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
    split = SCENE.open("test")
    again = measures(
        losses_of(outcome),
        split.conditional_entropy_bits(),
        split.entropies,
        INTERVALS,
        seed=SEED,
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


def test_suggestions_tell_everything_that_was_tried(outcome: Outcome) -> None:
    assert outcome.suggestions is not None
    tried: dict[str, list[dict[str, Any]]] = {}
    for row in outcome.suggestions.to_pylist():
        tried.setdefault(row["target"], []).append(row)
    assert {target: len(suggestions) for target, suggestions in tried.items()} == {
        "objects": 2,
        "features": 2,
        "direct": 2,
    }
    first = tried["objects"][0]
    values = json.loads(first["values"])
    assert set(values) == {"learning_rate", "rank"} == set(json.loads(first["ranges"]))
    assert values["learning_rate"] == FAMILIES["quadratic_concat"]().learning_rate
    assert len(first["curve"]) == 2
    assert min(first["curve"]) == first["loss"]
    assert first["status"] == "finished"


def test_equal_cells_give_equal_rows(outcome: Outcome, tmp_path: Path) -> None:
    again = measured(tmp_path, study_of(QUADRATIC))
    assert again.row == outcome.row
    assert again.samples is not None
    assert again.samples.equals(outcome.samples)


def test_extras_are_empty_unless_asked_for(outcome: Outcome, with_extras: Outcome) -> None:
    columns = [f"{name}{end}" for name in EXTRA_ESTIMATES for end in ("", "_low", "_high")]
    assert [outcome.row[column] for column in columns] == [None] * len(columns)
    assert outcome.samples is not None
    assert set(outcome.samples["target"].to_pylist()) == {"objects", "features", "direct", "given", "entropy"}
    for name in EXTRA_ESTIMATES:
        low, value, high = (with_extras.row[f"{name}{end}"] for end in ("_low", "", "_high"))
        assert low < value < high, name  # type: ignore[operator]
    assert {**with_extras.row, **dict.fromkeys(columns)} == outcome.row


def test_extras_follow_from_the_samples(with_extras: Outcome) -> None:
    assert with_extras.samples is not None
    again = BindingReadout().recompute(with_extras.row, with_extras.samples)
    assert {name: with_extras.row[name] for name in again} == again
    assert set(EXTRA_ESTIMATES) < set(again)


def test_reuse_families_name_the_family_of_their_features_probe(tmp_path: Path) -> None:
    probe = {"family": "quadratic_concat_reuse", "learning_rate": 0.05, "rank": 2, "feature_probe": LINEAR}
    row = measured(tmp_path, study_of(probe, seeds=1)).row
    families = [json.loads(row[f"hyperparameters_{t}"])["family"] for t in ("objects", "features", "direct")]  # type: ignore[arg-type]
    assert families == ["quadratic_concat_reuse", "linear", "quadratic_concat_reuse"]
    assert row["seed_spread_bits"] is None
    assert json.dumps(row, allow_nan=False)


def test_a_ratio_of_nothing_is_empty(tmp_path: Path) -> None:
    """At most one object: the features say everything, H(O|F) = 0."""
    study = study_of(LINEAR, seeds=1)
    [dataset] = study["datasets"]  # type: ignore[misc]
    row = measured(tmp_path, study | {"datasets": [dataset | {"max_objects": 1}]}).row
    assert row["conditional_entropy_bits"] == 0
    for name in ("binding_ratio", "direct_binding_ratio"):
        assert [row[f"{name}{end}"] for end in ("", "_low", "_high")] == [None] * 3
    assert list(row) == list(COLUMNS)
    assert json.dumps(row, allow_nan=False)


def test_a_prior_may_be_unknown(tmp_path: Path) -> None:
    study = study_of(LINEAR, seeds=1)
    without, with_odds = measured(tmp_path, study, with_odds=False).row, measured(tmp_path, study).row
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
    assert [measure.column for measure in MEASURES[:2]] == ["cautious_binding_ratio", "binding_ratio"]
    for measure in MEASURES:
        assert measure.unit == ("ratio" if measure.column.endswith("_ratio") else "bits")
