"""Where a measure is half there: planted curves."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from frozen.intervals import IntervalConfig
from readouts.captions.emergence import emergence, first_at_half

N = 200
CONFIG = IntervalConfig(resamples=300)


def layer(share: float, preferred: float) -> pa.Table:
    right = (np.arange(N) % 100 < 100 * share).astype(float)
    chosen = (np.arange(N) % 100 < 100 * preferred).astype(float)
    return pa.table({"unit": np.arange(N), "exact": right, "preferred": chosen})


LAYERS = [layer(0.0, 0.5), layer(0.1, 0.55), layer(0.6, 0.8), layer(0.9, 1.0)]


def test_the_first_layer_at_half_of_the_last_above_chance() -> None:
    chances = {"exact_percent": 0.0, "choice_accuracy_percent": 0.5, "retrieval_percent": 0.1}
    found = emergence(LAYERS, chances, CONFIG, seed=0)
    assert set(found) == {"exact_percent", "choice_accuracy_percent"}
    assert found["exact_percent"] == (2, 2, 2)
    assert found["choice_accuracy_percent"].place == 2


def test_a_layer_near_half_has_an_interval() -> None:
    found = emergence([layer(0.46, 0.5), layer(0.9, 0.5)], {"exact_percent": 0.0}, CONFIG, seed=0)["exact_percent"]
    assert (found.place, found.low, found.high) == (0, 0, 1)


def test_what_stays_at_chance_has_no_place() -> None:
    assert emergence([layer(0.0, 0.5)] * 2, {"choice_accuracy_percent": 0.5}, CONFIG, seed=0) == {}
    assert first_at_half(np.array([[1.0], [0.2], [0.0]])).tolist() == [2]
