"""What follows from a cell's row and its stored per-sample losses, without training: aggregates and comparisons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from binding._tables import by_target
from binding.extras import code_length_extras, derived_extras, extra_estimates, of_test_samples
from binding.information import TestLosses, derived, measures
from binding.paired import paired_estimates
from frozen.data.scenes import Entropies
from frozen.intervals import Estimate, IntervalConfig, Losses, Resampled, p_value, resample, spread, student_interval
from frozen.readout.comparing import IncomparableError, refuse_other_samples
from frozen.readout.outcome import PerImage
from frozen.readout.readout import Difference

Row = Mapping[str, Any]

_FROM_LOSSES = (
    "prior_mismatch",
    "features_probe_excess",
    "direct_probe_excess",
    "excess_unexplained",
    "objects_probe_excess",
    "seeds_disagree",
)


class Stored(NamedTuple):
    """A cell as the results directory has it."""

    row: Row
    samples: pa.Table

    @property
    def entropies(self) -> Entropies | None:
        """Exact entropies of the test split, as the row has them."""
        feature, conditional = self.row["feature_entropy_bits"], self.row["conditional_entropy_exact_bits"]
        return None if feature is None else Entropies(feature, conditional)


def losses_of(values: Mapping[str, Losses]) -> TestLosses:
    """The four losses among the values of a samples table.

    Raises:
        ValueError: one of them is missing.
    """
    missing = [name for name in (*TestLosses.__dataclass_fields__, "entropy") if name not in values]
    if missing:
        raise ValueError(f"the samples have no {', '.join(missing)}")
    return TestLosses(**{name: values[name] for name in TestLosses.__dataclass_fields__})


def recompute(cell: Stored) -> dict[str, object]:
    """Every column of a row that follows from the stored losses; equal to the row's, to the last bit.

    Raises:
        ValueError: a table of samples that is not complete.
    """
    values = by_target(cell.samples)
    entropy = values["entropy"][0] if "entropy" in values else np.zeros(0)
    config = IntervalConfig(level=cell.row["interval_level"], resamples=cell.row["interval_resamples"])
    found = measures(
        losses_of(values), entropy, cell.entropies, config, seed=cell.row["seed"], prior=cell.row["prior_source"]
    )
    extras = extra_estimates(values, cell.entropies, config, seed=cell.row["seed"])
    extras |= paired_estimates(values, config, seed=cell.row["seed"])
    others = [flag for flag in cell.row["flags"] if flag not in _FROM_LOSSES]
    return {
        "conditional_entropy_bits": float(entropy.mean()),
        "seed_spread_bits": found.seed_spread_bits,
        "n_test": len(entropy),
        "flags": found.flags + others,
        **estimate_columns(found.estimates | extras),
    }


def direct_bits(samples: pa.Table) -> PerImage | None:
    """H(O|F) less the direct loss of every test image; None where no prior is known."""
    values = by_target(samples)
    if not {"entropy", "direct"} <= values.keys() or np.isnan(values["entropy"]).any():
        return None
    return PerImage(values["entropy"] - values["direct"])


def estimate_columns(estimates: Mapping[str, Estimate | None]) -> dict[str, object]:
    """Estimates as columns of a row: the value, and its bounds with _low and _high."""
    columns: dict[str, object] = {}
    for name, estimate in estimates.items():
        values = (None, None, None) if estimate is None else estimate
        columns |= dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))
    return columns


def compare(
    cells: Mapping[str, Stored],
    pairs: Iterable[tuple[str, str]],
    columns: Iterable[str],
    config: IntervalConfig,
    *,
    seed: int,
) -> list[Difference]:
    """Paired differences of measures between cells on the same test samples.

    One draw of seeds and samples serves all cells, so that what the samples share leaves the difference.

    Args:
        cells: by name.
        pairs: names of the cells to compare.
        columns: which measures.
        config: level and number of resamples.
        seed: seed of the bootstrap.

    Returns:
        For each pair and measure that both cells have, in that order.

    Raises:
        IncomparableError: cells that were not measured on the same test samples.
        ValueError: a table of samples that is not complete.
    """
    values = {name: by_target(cell.samples) for name, cell in cells.items()}
    _refuse_other_samples(cells, values)
    losses = {f"{name} {target}": v for name, of in values.items() for target, v in _compared(of).items()}
    drawn = resample(losses, resamples=config.resamples, seed=seed)
    found = {name: _Derived.of(name, cells[name], values[name], drawn, seed) for name in cells}
    wanted = list(columns)
    return [
        _difference(found[one], found[other], column, drawn, config.level, seed)
        for one, other in pairs
        for column in wanted
        if found[one].point.get(column) is not None and found[other].point.get(column) is not None
    ]


def _compared(values: Mapping[str, Losses]) -> dict[str, Losses]:
    """What is of the test samples, and so resampled together."""
    extra = {name: losses for name, losses in values.items() if of_test_samples(name)}
    return {**losses_of(values).named(), **extra, "entropy": values["entropy"]}


def _refuse_other_samples(cells: Mapping[str, Stored], values: Mapping[str, Mapping[str, Losses]]) -> None:
    refuse_other_samples({name: (cell.row, cell.row["n_test"]) for name, cell in cells.items()})
    names = list(cells)
    for name in names[1:]:
        if not np.array_equal(values[names[0]]["entropy"], values[name]["entropy"]):
            raise IncomparableError(f"{names[0]} and {name} have samples with other entropies; run sweep.verify")


class _Derived(NamedTuple):
    """Every measure of a cell: its value, over resamples, and over resamples of the seeds alone."""

    name: str
    point: dict[str, np.ndarray | None]
    both: dict[str, np.ndarray | None]
    seeds: dict[str, np.ndarray | None]

    @classmethod
    def of(cls, name: str, cell: Stored, values: Mapping[str, Losses], drawn: Resampled, seed: int) -> _Derived:
        def mine(means: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            return {target: means[f"{name} {target}"] for target in _compared(values)}

        exact = cell.entropies
        point = {target: np.array([losses.mean()]) for target, losses in _compared(values).items()}
        all_means = (point, mine(drawn.both), mine(drawn.seeds))
        prior = cell.row["prior_source"]
        found = cls(name, *(derived(means, exact, prior) | derived_extras(means, exact) for means in all_means))
        if "code_length" in values:
            resamples = len(found.both["object_loss_bits"])  # pyright: ignore[reportArgumentType]
            lengths = values["code_length"][0]
            coded = code_length_extras(lengths, order_seed=cell.row["seed"], resamples=resamples, seed=seed)
            for column, (value, over_resamples) in coded.items():
                found.point[column], found.both[column] = np.array([value]), over_resamples
                found.seeds[column] = np.full(resamples, value)  # one training: no seeds to draw
        return found


def _difference(one: _Derived, other: _Derived, column: str, drawn: Resampled, level: float, seed: int) -> Difference:
    (a, b), both, seeds = (
        [np.asarray(found[column], dtype=np.float64) for found in (first, second)]
        for first, second in ((one.point, other.point), (one.both, other.both), (one.seeds, other.seeds))
    )
    value = float(a[0] - b[0])
    found = spread(value, both[0] - both[1], [(seeds[0] - seeds[1], drawn.n_seeds)], drawn.n_samples, seed=seed)
    return Difference(
        one.name,
        other.name,
        column,
        (float(a[0]), float(b[0])),
        student_interval(value, found, level),
        p_value(value, found),
    )
