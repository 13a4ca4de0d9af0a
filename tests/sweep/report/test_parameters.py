"""Numbers in which data sets differ are found, with what moves along and what tells lines apart."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sweep.report._parameters import ParameterAxis, parameter_axes


@pytest.fixture
def axes_of(cell, read):
    def find(**datasets: dict[str, Any]) -> list[ParameterAxis]:
        rows = [cell(dataset=name, dataset_parameters=json.dumps(of)) for name, of in datasets.items()]
        return parameter_axes(read(rows))

    return find


def test_numbers_that_move_together_are_one_axis(axes_of) -> None:
    [axis] = axes_of(
        **{f"pairs{n}": {"n_colors": n, "n_shapes": n, "seed": n, "size": 9, "folder": f"at{n}"} for n in (7, 3, 2)}
    )
    assert axis.title == "n_colors = n_shapes (with folder, seed)"
    assert not axis.is_log
    assert axis.lines == (("", {"pairs2": 2, "pairs3": 3, "pairs7": 7}),)


def test_a_grid_of_two_numbers_has_a_line_for_each_of_the_other(axes_of) -> None:
    heights, counts = axes_of(
        **{f"n{n}h{height}": {"height": height, "n": n} for n in (4, 12) for height in (0.6, 1.9, 3.2)}
    )
    assert (heights.title, counts.title) == ("height", "n")
    assert heights.lines == (
        ("n=4", {"n4h0.6": 0.6, "n4h1.9": 1.9, "n4h3.2": 3.2}),
        ("n=12", {"n12h0.6": 0.6, "n12h1.9": 1.9, "n12h3.2": 3.2}),
    )
    assert [line.label for line in counts.lines] == ["height=0.6", "height=1.9", "height=3.2"]


def test_sizes_that_multiply_are_on_a_logarithmic_axis(axes_of) -> None:
    [axis] = axes_of(**{f"s{n}": {"split": {"policy": "hash", "train": n}} for n in (400, 1600, 6400)})
    assert (axis.title, axis.is_log) == ("split.train", True)


@pytest.mark.parametrize(
    "parameters",
    [
        [{"n": 4}, {"n": 4}],
        [{"policy": "hash"}, {"policy": "independent"}],
        [{"is_round": True}, {"is_round": False}],
        [{"seed": 0}, {"seed": 1}],
        [{"n": 4}, {"m": 5}],
        [{"n": 4}, {"n": None}],
        [{"n": 4, "m": 1}, {"n": 4, "m": "x"}],
    ],
)
def test_what_is_no_number_or_means_no_size_is_no_axis(axes_of, parameters) -> None:
    assert axes_of(**{f"d{position}": of for position, of in enumerate(parameters)}) == []


def test_parameters_that_cannot_be_read_are_no_axis(cell, read) -> None:
    rows = [cell(dataset=name, dataset_parameters=text) for name, text in (("a", "not JSON"), ("b", "7"), ("c", ""))]
    assert parameter_axes(read(rows)) == []
