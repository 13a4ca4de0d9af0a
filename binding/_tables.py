"""Per-sample losses and learning curves of a measurement as tables."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa

from binding.measurement import Measurement
from frozen.intervals import Losses
from frozen.readout.outcome import SUGGESTIONS


def sample_table(measurement: Measurement) -> pa.Table:
    """Long table of values in bits: sample, target, seed (position), bits.

    Beside the losses of every target it has, as target `entropy`, the samples' own H(O | F = f_i), so that
    every aggregate follows from the table; and, where asked for, `control`, `order_1` and on and, of the training
    samples, `code_length`.
    """
    values = {**measurement.losses.named(), "entropy": measurement.sample_entropies_bits[None]}
    values |= measurement.extra_bits
    columns: dict[str, list[np.ndarray]] = {"sample": [], "target": [], "seed": [], "bits": []}
    for target, losses in values.items():
        n_seeds, n_samples = losses.shape
        columns["sample"].append(np.tile(np.arange(n_samples, dtype=np.int32), n_seeds))
        columns["target"].append(np.full(losses.size, target))
        columns["seed"].append(np.repeat(np.arange(n_seeds, dtype=np.int16), n_samples))
        columns["bits"].append(losses.ravel())
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    joined["target"] = pa.array(joined["target"]).dictionary_encode()  # pyright: ignore
    return pa.table(joined)


def by_target(samples: pa.Table) -> dict[str, Losses]:
    """The values of `sample_table` back as [seeds samples], by target.

    Raises:
        ValueError: a table in which values are missing or doubled.
    """
    frame = samples.to_pandas()
    found: dict[str, Losses] = {}
    for target, part in frame.groupby(frame["target"].astype(str), sort=False):
        ordered = part.sort_values(["seed", "sample"])
        n_seeds, n_samples = int(part["seed"].max()) + 1, int(part["sample"].max()) + 1
        expected = np.repeat(np.arange(n_seeds), n_samples), np.tile(np.arange(n_samples), n_seeds)
        if len(part) != n_seeds * n_samples or not (
            np.array_equal(ordered["seed"], expected[0]) and np.array_equal(ordered["sample"], expected[1])
        ):
            raise ValueError(f"target {target} should have each of {n_samples} samples once for {n_seeds} seeds")
        found[str(target)] = ordered["bits"].to_numpy(np.float64).reshape(n_seeds, n_samples)
    return found


def curve_table(measurement: Measurement) -> pa.Table:
    """Long table of learning curves of the final trainings: target, seed (position), epoch, losses in bits."""
    rows = [
        {"target": target, "seed": seed, **point._asdict()}
        for target, result in measurement.targets.items()
        for seed, fitted in enumerate(result.fits)
        for point in fitted.curve
    ]
    schema = pa.schema(
        [
            ("target", pa.string()),
            ("seed", pa.int16()),
            ("epoch", pa.int32()),
            ("train_bits", pa.float64()),
            ("validation_bits", pa.float64()),
        ]
    )
    return pa.Table.from_pylist(rows, schema)


def suggestion_table(measurement: Measurement) -> pa.Table:
    """Everything that was tried for each target."""
    rows = [
        {
            "target": target,
            "number": number,
            "values": json.dumps(suggestion.values, sort_keys=True),
            "ranges": json.dumps(suggestion.ranges, sort_keys=True),
            "loss": suggestion.validation_bits if math.isfinite(suggestion.validation_bits) else None,
            "status": suggestion.status,
            "best_epoch": suggestion.best_epoch,
            "curve": suggestion.curve,
        }
        for target, result in measurement.targets.items()
        for number, suggestion in enumerate(result.suggestions)
    ]
    return pa.Table.from_pylist(rows, SUGGESTIONS)
