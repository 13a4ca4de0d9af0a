"""What appears at which layer: the depth curves of several read-outs on one scale, and where each passes half."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float64

from frozen.readout.cells import Cell
from frozen.readout.measures import DepthColumn, DepthCurve, Dimension, Measure
from frozen.readout.readout import Readout, Readouts

Row = Mapping[str, Any]

_DRAWS = 4000
_ORDERS = 40_320
"""Orders of the layers for a p-value: all of them up to 8 layers, so many random ones beyond."""
_FEWEST_TOGETHER = 4


class Point(NamedTuple):
    """A layer of a curve.

    Attributes:
        number: of the layer, see `Description.layer_number`.
        layer: its name.
        value: of the measure, NaN where it is not defined.
        low: lower end of its interval.
        high: upper end of its interval.
        n_rows: rows at this layer of which it is the largest.
        cell_id: of that row.
        how: what else it was measured with: mode, probe.
    """

    number: float
    layer: str
    value: float
    low: float
    high: float
    n_rows: int
    cell_id: str = ""
    how: str = ""


@dataclass(frozen=True)
class Curve:
    """A depth curve of a backbone, by depth."""

    readout: str
    declared: DepthCurve
    measure: Measure
    dataset: str
    backbone: str
    """Source of the backbone; of an untrained twin, that of the backbone it is the twin of."""
    control: str
    """Name of the control; empty for a measurement."""
    final: float
    """Number of what comes after the last block."""
    points: tuple[Point, ...]

    def share(self, value: float) -> float:
        """A value of the measure on the common scale: 0 where there is nothing, 1 at the most there can be."""
        return (value - self.declared.none) / (self.declared.full - self.declared.none)

    @property
    def best(self) -> Point:
        """The layer with the most."""
        return max(self.points, key=lambda point: point.value)


class Appearance(NamedTuple):
    """The first layer at which a curve has half of its most, or more; an interval's ends are layers too."""

    first: Point
    low: Point
    high: Point


class LayerValues(NamedTuple):
    """A measure of one backbone on one data set, layer by layer.

    Attributes:
        readout: its read-out.
        declared: what the read-out says of it.
        measure: the measure.
        dataset: name of the data set.
        backbone: source of the backbone; of an untrained twin, that of the backbone it is the twin of.
        control: name of the control; empty for a measurement.
        final: number of what comes after the last block.
        points: by depth; where a layer has several rows, of the one with the most.
    """

    readout: str
    declared: DepthColumn
    measure: Measure
    dataset: str
    backbone: str
    control: str
    final: float
    points: tuple[Point, ...]


def by_layer(
    readouts: Readouts,
    cells: Mapping[str, Sequence[Cell]],
    rows: Mapping[str, Row],
    declared_of: Callable[[Readout], Iterable[DepthColumn]],
    *,
    whole: bool = False,
) -> Iterator[LayerValues]:
    """Measures of backbones and their controls by layer, in the order of the read-outs.

    Args:
        readouts: by name.
        cells: of each read-out.
        rows: by cell.
        declared_of: which of a read-out's measures.
        whole: leave out rows of a layer's parts, such as its heads.
    """
    found: dict[tuple[Any, ...], list[tuple[Cell, Row]]] = {}
    for name, readout in readouts.items():
        for declared in declared_of(readout):
            for cell in cells[name]:
                row = rows.get(cell.cell_id)
                if (
                    row is None
                    or not _belongs(cell, row, declared)
                    or (whole and "." in str(row[_depth(readout).name]))
                ):
                    continue
                key = (name, declared, cell.dataset.name, cell.control_of or cell.label, cell.control or "")
                found.setdefault(key, []).append((cell, row))
    for (name, declared, *place), own in found.items():
        yield _layer_values(readouts[name], name, declared, own, *place)


def curves(readouts: Readouts, cells: Mapping[str, Sequence[Cell]], rows: Mapping[str, Row]) -> list[Curve]:
    """The depth curves of backbones and their controls of two layers and more; arguments as of `by_layer`."""
    found = by_layer(readouts, cells, rows, lambda readout: readout.depth_curves)
    return [Curve(**one._asdict()) for one in found if len(one.points) > 1]


def _belongs(cell: Cell, row: Row, declared: DepthColumn) -> bool:
    if row["status"] != "done" or cell.description.is_control or row.get(declared.column) is None:
        return False
    values = {name: row.get(name) for name, _ in declared.where}
    return all(("" if values[name] is None else str(values[name])) == value for name, value in declared.where)


def _depth(readout: Readout) -> Dimension:
    return next(one for one in readout.dimensions if one.role == "depth")


def _layer_values(
    readout: Readout,
    name: str,
    declared: DepthColumn,
    cells: Sequence[tuple[Cell, Row]],
    dataset: str,
    backbone: str,
    control: str,
) -> LayerValues:
    depth = _depth(readout)
    measure = next(one for one in (*readout.measures, *readout.extra_measures) if one.column == declared.column)
    at: dict[float, list[tuple[Cell, Row]]] = {}
    for cell, row in cells:
        at.setdefault(float(row[depth.order or depth.name]), []).append((cell, row))
    points = tuple(_point(number, readout, declared.column, at[number]) for number in sorted(at))
    final = float(cells[0][0].description.layer_number("final"))
    return LayerValues(name, declared, measure, dataset, backbone, control, final, points)


def _point(number: float, readout: Readout, column: str, cells: Sequence[tuple[Cell, Row]]) -> Point:
    """The best of the rows of a layer: of its probes, heads, dictionaries."""
    cell, best = max(cells, key=lambda one: one[1][column])
    value = float(best[column])
    low, high = (
        value if best.get(name) is None else float(best[name]) for name in (f"{column}_low", f"{column}_high")
    )
    depth = _depth(readout)
    others = [(one.label, best.get(one.name)) for one in readout.dimensions if one is not depth]
    how = ", ".join(f"{label} {text}" for label, text in others if text not in (None, ""))
    return Point(number, str(best[depth.name]), value, low, high, len(cells), cell.cell_id, how)


def appearance(curve: Curve, level: float = 0.95, *, seed: int = 0) -> Appearance | None:
    """Where a curve first has half of its most, with an interval; None where its most is not above nothing.

    The interval comes from drawing each layer's value anew, from a normal distribution on either side of the
    estimate that has the row's interval. Layers are drawn independently, although they were measured on the same
    images: this makes the interval wider rather than narrower where their errors rise and fall together.

    Args:
        curve: of one backbone.
        level: coverage that the interval aims at; that of the rows' intervals is taken to be the same.
        seed: of the drawing.
    """
    if curve.share(curve.best.low) <= 0:
        return None
    z = NormalDist().inv_cdf((1 + level) / 2)
    values, low, high = (
        np.array([curve.share(getattr(point, name)) for point in curve.points]) for name in ("value", "low", "high")
    )
    noise = np.random.default_rng(seed).standard_normal((_DRAWS, len(values)))
    drawn = values + noise * np.where(noise < 0, values - low, high - values).clip(0) / z
    places = first_at_half(drawn)
    ends = np.quantile(places, [(1 - level) / 2, (1 + level) / 2], method="inverted_cdf").astype(int)
    place = int(first_at_half(values[None])[0])
    return Appearance(*(curve.points[i] for i in (place, min(int(ends[0]), place), max(int(ends[1]), place))))


def first_at_half(drawn: Float64[np.ndarray, "draws layers"]) -> np.ndarray:
    """Place of the first layer that has half of the largest value or more: [draws]."""
    return (drawn >= drawn.max(axis=1, keepdims=True) / 2).argmax(axis=1)


class Together(NamedTuple):
    """Whether two curves of a backbone rise together.

    Attributes:
        one: a curve.
        other: another.
        n_layers: that both have.
        rho: Spearman's rank correlation over them.
        p_value: two-sided, over all orders of the layers.
    """

    one: Curve
    other: Curve
    n_layers: int
    rho: float
    p_value: float


def together(of: Iterable[Curve], *, seed: int = 0) -> list[Together]:
    """Pairs of curves of one backbone that share at least four layers."""
    found = []
    for one, other in combinations(of, 2):
        if one.backbone != other.backbone or one.control or other.control:
            continue
        values = [{point.number: point.value for point in curve.points} for curve in (one, other)]
        shared = sorted(values[0].keys() & values[1].keys())
        if len(shared) >= _FEWEST_TOGETHER:
            rho, p_value = rank_correlation(*([value[number] for number in shared] for value in values), seed=seed)
            found.append(Together(one, other, len(shared), rho, p_value))
    return found


def rank_correlation(one: Sequence[float], other: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """Spearman's ρ and its two-sided p-value: over all orders up to 8 values, over 40,320 random ones beyond.

    NaN where all values of one are equal.
    """
    from scipy.stats import permutation_test, rankdata

    if min(len(set(one)), len(set(other))) < 2:
        return math.nan, math.nan
    ranks = rankdata([one, other], axis=1) - (len(one) + 1) / 2
    scale = math.sqrt(float((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    found = permutation_test(
        (ranks[0],),
        lambda orders, axis: (orders * ranks[1]).sum(axis) / scale,
        permutation_type="pairings",
        vectorized=True,
        n_resamples=_ORDERS,
        rng=np.random.default_rng(seed),
    )
    return float(found.statistic), float(found.pvalue)
