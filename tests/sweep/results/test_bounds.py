"""Two bounds of one layer image by image: differences whose answer, and whose interval, is known."""

from __future__ import annotations

import numpy as np
import pytest

from frozen.intervals import IntervalConfig
from frozen.readout.measures import DepthColumn, Measure
from frozen.readout.outcome import PerImage
from sweep.results.bounds import difference, gaps
from sweep.results.depth import LayerValues, Point

CONFIG = IntervalConfig(resamples=2000)
RNG = np.random.default_rng(0)
BITS = RNG.normal(0.6, 0.5, (1, 400))


def width(found: tuple[object, ...] | None) -> float:
    assert found is not None
    return found[0].high - found[0].low  # type: ignore[attr-defined]


def test_what_both_say_of_every_image_leaves_no_doubt() -> None:
    same = difference(PerImage(BITS), PerImage(BITS), CONFIG, seed=0)
    assert same == ((0, 0, 0), 1.0, 400)
    less = difference(PerImage(BITS), PerImage(BITS - 0.25), CONFIG, seed=0)
    assert less is not None
    assert less[0] == pytest.approx((0.25, 0.25, 0.25))
    assert less[1] == 0


def test_it_is_the_interval_of_the_mean_of_differences() -> None:
    noise = RNG.normal(0, 0.2, (1, 400))
    found = difference(PerImage(BITS), PerImage(BITS + noise), CONFIG, seed=0)
    expected = 2 * 1.966 * noise.std() / np.sqrt(400)
    assert width(found) == pytest.approx(expected, rel=0.08)
    shuffled = difference(PerImage(BITS), PerImage(RNG.permutation(BITS[0])[None]), CONFIG, seed=0)
    assert width(shuffled) > 3 * width(found), "pairing should pay"


def test_twins_are_drawn_together() -> None:
    half, noise = BITS[:, :200], RNG.normal(0, 0.2, (1, 200))
    twice = [np.repeat(values, 2, axis=1) for values in (half, half + noise)]
    unit = np.repeat(np.arange(200), 2)
    alone = difference(PerImage(half), PerImage(half + noise), CONFIG, seed=0)
    found = difference(PerImage(twice[0]), PerImage(twice[1], unit), CONFIG, seed=0)
    apart = difference(PerImage(twice[0]), PerImage(twice[1]), CONFIG, seed=0)
    assert width(found) == pytest.approx(width(alone), rel=1e-6)
    assert width(apart) == pytest.approx(width(alone) / np.sqrt(2), rel=0.08)


def test_trainings_that_differ_widen_it() -> None:
    seeds = BITS + np.array([[-0.1], [0.1]])
    assert width(difference(PerImage(seeds), PerImage(BITS), CONFIG, seed=0)) > 0.2


def test_only_images_that_both_have_count() -> None:
    missing = BITS.copy()
    missing[0, :100] = np.nan
    found = difference(PerImage(BITS + 1), PerImage(missing), CONFIG, seed=0)
    assert found is not None
    assert (found[0].value, found[2]) == (pytest.approx(1), 300)
    assert difference(PerImage(BITS), PerImage(BITS[:, 1:]), CONFIG, seed=0) is None
    assert difference(PerImage(BITS), PerImage(missing * np.nan), CONFIG, seed=0) is None
    units = np.arange(400) // 2, np.arange(400) // 4
    assert difference(*(PerImage(BITS, unit) for unit in units), CONFIG, seed=0) is None


def test_bounds_of_one_quantity_meet_at_their_layers() -> None:
    measure = Measure("bits", "Bits", "B", "bits", "some bits")

    def values(readout: str, bounds: str, layers: tuple[int, ...], control: str = "") -> LayerValues:
        points = tuple(Point(number, str(number), 0.5, 0.4, 0.6, 1, f"{readout}{number}") for number in layers)
        return LayerValues(
            readout, DepthColumn(name=readout, column="bits", bounds=bounds), measure, "d", "b", control, 9.0, points
        )

    found = [values("one", "I", (0, 1)), values("other", "I", (1, 2)), values("third", "J", (1,))]
    found += [values("fourth", "", (1,)), values("other", "I", (1,), "random_init"), values("one", "I", (1,))]
    bits = {"one1": BITS + 0.5, "other1": BITS}
    met = list(gaps(found, lambda _, point: PerImage(bits[point.cell_id]), CONFIG))
    assert [(gap.one.readout, gap.other.readout, gap.at[0].layer) for gap in met] == [
        ("one", "other", "1"),
        ("other", "one", "1"),
    ]
    assert met[0].difference.value == pytest.approx(0.5)
