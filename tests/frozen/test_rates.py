from __future__ import annotations

import torch

from frozen.rates import LEAST_GAIN, Rates, measured, rates


def test_bfloat16_is_chosen_where_it_is_enough_faster() -> None:
    assert Rates(100.0, 100.0 * LEAST_GAIN).choice == "bfloat16"
    assert Rates(100.0, 129.0).choice == "float32"
    assert Rates(100.0, 40.0).choice == "float32"


def test_the_choice_is_said_with_both_rates() -> None:
    assert str(Rates(80.0, 200.0)) == (
        "auto: bfloat16, because products in bfloat16 are 2.5 times as fast as in float32 here (200 and 80 GFLOP/s)"
    )


def test_rates_are_measured_once_and_change_no_setting() -> None:
    rates.cache_clear()
    assert measured() is None
    threads = torch.get_num_threads()
    found = rates()
    assert min(found) > 0
    assert torch.get_num_threads() == threads
    assert measured() is found is rates()
    rates.cache_clear()
