"""Two read-outs' lower bounds of one quantity at one layer, held against each other image by image.

Caption bits and the direct binding information of a layer, for example, both bound I(O;Z|F) from below: their
difference on the same images says which of the two comes closer, and by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from frozen.intervals import Estimate, IntervalConfig, Losses, p_value, resample, spread, student_interval
from frozen.readout.outcome import PerImage
from sweep.results.depth import LayerValues, Point

PerImageOf = Callable[[LayerValues, Point], PerImage | None]
"""A measure of the row behind a point, image by image."""


class Gap(NamedTuple):
    """How much one read-out's bound of a layer is above another's.

    Attributes:
        one: a measure by layer.
        other: that of another read-out.
        at: their points at the layer.
        difference: of the first less the second in bits, with its paired interval.
        p_value: two-sided, that it is 0.
        n_images: images that both have.
    """

    one: LayerValues
    other: LayerValues
    at: tuple[Point, Point]
    difference: Estimate
    p_value: float
    n_images: int


def gaps(
    found: Sequence[LayerValues], per_image: PerImageOf, config: IntervalConfig, *, seed: int = 0
) -> Iterator[Gap]:
    """Every pair of bounds of one quantity that two read-outs have of a layer of a backbone on a data set.

    Args:
        found: measures by layer.
        per_image: of a point; None where images are not known.
        config: level and number of resamples.
        seed: of the bootstrap.
    """
    bounds = [one for one in found if one.declared.bounds and not one.control]
    for one, other in combinations(bounds, 2):
        places = [(each.dataset, each.backbone, each.declared.bounds) for each in (one, other)]
        if one.readout == other.readout or places[0] != places[1]:
            continue
        others = {point.number: point for point in other.points}
        for point in one.points:
            if point.number not in others:
                continue
            at = (point, others[point.number])
            values = (per_image(one, at[0]), per_image(other, at[1]))
            if values[0] is not None and values[1] is not None:
                gap = difference(values[0], values[1], config, seed=seed)
                if gap is not None:
                    yield Gap(one, other, at, *gap)


def difference(
    one: PerImage, other: PerImage, config: IntervalConfig, *, seed: int
) -> tuple[Estimate, float, int] | None:
    """The mean of one less that of the other over the images that both have; None where these are not the same.

    Images that either keeps together are drawn together; trainings are drawn for each by itself.

    Returns:
        The difference with its interval, its p-value, and the number of images.
    """
    n_images = one.values.shape[1]
    if other.values.shape[1] != n_images:
        return None
    is_there = np.isfinite(one.values).all(axis=0) & np.isfinite(other.values).all(axis=0)
    if not is_there.any():
        return None
    units = [each.unit[is_there] for each in (one, other) if each.unit is not None]
    numbered = [np.unique(unit, return_inverse=True)[1] for unit in units] or [np.arange(int(is_there.sum()))]
    unit = numbered[0]
    if not np.array_equal(unit, numbered[-1]):
        return None
    sums: dict[str, Losses] = {
        name: np.stack([np.bincount(unit, weights=values) for values in each.values[:, is_there]])
        for name, each in (("one", one), ("other", other))
    }
    sums["images"] = np.bincount(unit).astype(np.float64)[None]
    drawn = resample(sums, resamples=config.resamples, seed=seed)
    value = float((sums["one"].mean(axis=0) - sums["other"].mean(axis=0)).sum() / is_there.sum())
    both = (drawn.both["one"] - drawn.both["other"]) / drawn.both["images"]
    seeds = [(drawn.seeds[name] / drawn.seeds["images"], len(sums[name])) for name in ("one", "other")]
    varied = spread(value, both, seeds, drawn.n_samples, seed=seed)
    return student_interval(value, varied, config.level), p_value(value, varied), int(is_there.sum())
