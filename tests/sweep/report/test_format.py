import math

import pytest

from sweep.report._format import (
    abbreviations,
    counted,
    decimal,
    estimate_text,
    first_line,
    natural_key,
    percent,
    symbol_parts,
)


@pytest.mark.parametrize(
    ("numbers", "decimals", "expected"),
    [
        ((0.8712, 0.8511, 0.8949), 2, ("0.87", "[0.85, 0.89]")),
        ((0.8712, 0.8511, 0.8949), 3, ("0.871", "[0.851, 0.895]")),
        ((12.0, math.nan, 13.0), 2, ("12.00", "")),
        ((math.nan, 0.0, 1.0), 2, ("–", "")),
    ],
)
def test_estimates(numbers, decimals, expected):
    assert estimate_text(*numbers, decimals) == expected


def test_zero_has_no_sign():
    assert decimal(-0.004, 2) == "0.00"
    assert decimal(-0.006, 2) == "-0.01"


def test_symbols_split_at_the_first_underscore(with_symbol):
    assert symbol_parts(with_symbol("β*_direct")) == ("β*", "direct")
    assert symbol_parts(with_symbol("V")) == ("V", "")


def test_abbreviations_are_short_and_distinct():
    short = abbreviations(["at_search_edge", "a_silent_end", "unsure", "at_search_edge", "§"])
    assert short == {"a_silent_end": "ase", "at_search_edge": "ase2", "unsure": "unsu", "§": "§"}


def test_natural_order():
    assert sorted(["b10", "b9", "10", "9", "a", "²"], key=natural_key) == ["9", "10", "a", "b9", "b10", "²"]


def test_words():
    assert percent(0.95) == "95 %"
    assert (counted(1, "cell"), counted(0, "cell")) == ("1 cell", "0 cells")
    assert first_line("\n  ValueError: x  \nmore") == "ValueError: x"
    assert first_line("") == "no error was recorded"
