"""The first lines of a report: whether the controls hold, and where each backbone gives most."""

from __future__ import annotations

import pytest

from frozen.readout.measures import Expectation
from sweep.report._verdict import answers, verdict

NOISE = Expectation(control="noise", column="grip_ratio", high=0.01, otherwise="Read nothing.")
ORACLE = Expectation(control="oracle", column="grip_ratio", low=0.95, otherwise="Train longer.")


@pytest.fixture
def rows(cell, read):
    def make(**values):
        cells = [cell(value, backbone=name, is_control=name in ("noise", "oracle")) for name, value in values.items()]
        return read(cells)

    return make


def test_controls_hold_where_their_intervals_reach_what_is_expected(rows, measures) -> None:
    found = verdict(rows(small=0.5, noise=0.02, oracle=0.94), measures, (NOISE, ORACLE))
    assert found is not None
    assert found == (True, "Controls hold (γ*): noise 0.02, oracle 0.94.", ())


def test_what_fails_is_told_with_its_number_its_bound_and_its_remedy(rows, measures) -> None:
    found = verdict(rows(small=0.5, noise=0.44, oracle=1.0), measures, (NOISE, ORACLE))
    assert found is not None
    assert found.holds is False
    assert found.line == "Controls fail: 1 of 2 cells do not give what they must."
    fault, advice = found.faults
    assert fault.startswith("squares · noise · ")
    assert fault.endswith("γ* 0.440 [0.420, 0.470], must be at most 0.010")
    assert advice == "Read nothing."


def test_nothing_vouches_where_no_control_was_measured(rows, measures) -> None:
    found = verdict(rows(small=0.5), measures, (NOISE, ORACLE))
    assert found is not None
    assert found.holds is None
    assert "(noise, oracle)" in found.line
    assert verdict(rows(small=0.5), measures, ()) is None


def test_a_backbone_of_a_known_answer_and_every_row_are_held_against_it(rows, measures) -> None:
    small = Expectation(control="small", column="grip_ratio", high=0.1, otherwise="Small knows too much.")
    every = Expectation(control="", column="grip_ratio", low=0.0, otherwise="Below nothing.")
    found = verdict(rows(small=0.02, large=0.9), measures, (small, every))
    assert found == (True, "Controls hold (γ*): small 0.02, every row 0.02 to 0.90.", ())
    broken = verdict(rows(small=0.5, large=0.9), measures, (small, every))
    assert broken is not None
    assert broken.line == "Controls fail: 1 of 2 cells do not give what they must."
    assert broken.faults[-1] == "Small knows too much."


def test_each_backbone_answers_with_its_largest_cell_and_controls_do_not_compete(rows, measures) -> None:
    (one,) = answers(rows(small=0.5, oracle=1.0), measures)
    assert (one.backbone, one.dataset) == ("small", "squares")
    assert "0.500 [0.480, 0.530]" in one.first
