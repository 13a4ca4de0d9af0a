"""The first layer at which a measure passes half of its value at the last layer, with an interval over images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float64

from frozen.intervals import IntervalConfig
from readouts.captions.stored import Sums, drawn_ratios, sums_of


class Emergence(NamedTuple):
    """Places in the list of layers, from 0.

    Attributes:
        place: the first layer at half of the last one's value or more.
        low: the lower end of its interval.
        high: the upper end.
    """

    place: int
    low: int
    high: int


def emergence(
    layers: Sequence[pa.Table], chances: Mapping[str, float], config: IntervalConfig, *, seed: int
) -> dict[str, Emergence]:
    """Of some measures above chance; those that the last layer does not have above chance are left out.

    Args:
        layers: samples of the same images, in order of depth.
        chances: measures that grow with what is known, and the share (1 is all) that each has by chance.
        config: level and number of resamples.
        seed: of the bootstrap; one draw of images serves all layers.
    """
    cells: Mapping[str, Mapping[str, Sums]] = {str(place): sums_of(table) for place, table in enumerate(layers)}
    drawn, _ = drawn_ratios(cells, config, seed)
    found = {}
    last = cells[str(len(layers) - 1)]
    for column, chance in chances.items():
        if column not in last or last[column].value <= chance:
            continue
        # what a layer never names is not known there
        values = np.array([of[column].value if column in of else chance for of in cells.values()]) - chance
        none = np.full(config.resamples, chance)
        curves = np.stack([drawn.get((place, column), none) for place in cells]) - chance
        ends = np.quantile(
            first_at_half(curves), [(1 - config.level) / 2, (1 + config.level) / 2], method="inverted_cdf"
        )
        place = int(first_at_half(values[:, None])[0])
        found[column] = Emergence(place, min(int(ends[0]), place), max(int(ends[1]), place))
    return found


def first_at_half(curves: Float64[np.ndarray, "layers draws"]) -> np.ndarray:
    """Place of the first layer at half of the last one's value or more; the last one where that is not above 0."""
    last = curves[-1]
    reached = (last > 0) & (curves >= last / 2)
    reached[-1] = True
    return reached.argmax(axis=0)
