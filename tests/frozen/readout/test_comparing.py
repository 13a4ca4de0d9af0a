"""Which cells can be compared, and the interval of their difference."""

from __future__ import annotations

import numpy as np
import pytest

from frozen.readout.comparing import IncomparableError, difference, refuse_other_samples

ROW = {"dataset": "shapes", "data_fingerprint": "0123456789"}


def test_cells_of_other_data_or_of_another_number_of_samples_are_refused() -> None:
    refuse_other_samples({"a": (ROW, 10), "b": (ROW, 10)})
    with pytest.raises(IncomparableError, match=r"same samples: data set shapes \(01234567\) and"):
        refuse_other_samples({"a": (ROW, 10), "b": (ROW | {"data_fingerprint": "other"}, 10)})
    with pytest.raises(IncomparableError, match="a and c are not on the same samples: 10 and 9 of them"):
        refuse_other_samples({"a": (ROW, 10), "b": (ROW, 10), "c": (ROW, 9)})


def test_what_two_cells_share_leaves_their_difference() -> None:
    rng = np.random.default_rng(0)
    shared, own = rng.normal(0, 5, 4000), rng.normal(0, 0.1, 4000)
    found = difference("a", "b", "x", (2.5, 2.0), (shared + own) - shared + 0.5, 1000, level=0.95, seed=0)
    assert (found.one, found.other, found.column, found.values) == ("a", "b", "x", (2.5, 2.0))
    assert found.difference.value == 0.5
    assert found.difference.low == pytest.approx(0.3, abs=0.02)
    assert found.difference.high == pytest.approx(0.7, abs=0.02)
    assert found.p_value < 1e-5
