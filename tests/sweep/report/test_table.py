import io
import re

import pandas as pd
import pytest
from rich.cells import cell_len
from rich.console import Console

from sweep.report import print_table
from tests.sweep.report.conftest import DIMENSIONS


def printed(rows, measures, width=100, terminal=False) -> str:
    console = Console(
        file=io.StringIO(),
        width=width,
        force_terminal=terminal,
        color_system="standard" if terminal else None,
        legacy_windows=False,
    )
    print_table(rows, DIMENSIONS, measures, {"unsure": "Nobody knows."}, console)
    return console.file.getvalue()


def test_a_line_a_cell_with_both_headline_measures(study, measures):
    text = printed(study, measures)
    lines = text.splitlines()
    assert sum(bool(re.match(r"(cls|mean) ", line)) for line in lines) == len(study)
    (line,) = [line for line in lines if line.startswith("cls") and "exceeds_direct unsure" in line]
    assert re.search(r"linear +embed +0\.100 \[0\.080, 0\.130\] +0\.000 \[-0\.020, 0\.030\]", line)
    assert "γ*_direct  Direct grip ratio (ratio)" in text
    assert "Grip, " not in text, "only the first two measures are printed"


def test_groups_and_controls(study, measures):
    lines = [line.rstrip() for line in printed(study, measures).splitlines()]
    headings = [line for line in lines if line in {"squares", "small", "large", "Controls", "noise", "oracle"}]
    assert headings == ["squares", "large", "small", "Controls", "squares", "noise", "oracle"]


def test_legend_of_the_flags_that_occur(study, measures):
    text = printed(study, measures)
    assert "exceeds_direct (1 cell)" in text
    assert "unsure (1 cell): Nobody knows." in text
    study["flags"] = [[] for _ in range(len(study))]
    assert "exceeds_direct" not in printed(study, measures)


def test_failed_cells_are_red_with_the_first_line_of_their_error(study, measures):
    text = printed(study, measures, terminal=True)
    assert "1 cell failed" in text
    (reason,) = [line for line in text.splitlines() if "no room" in line]
    assert reason.startswith("\x1b[31m")
    assert "squares · small · cls · quadratic · final: ValueError: no room" in reason
    assert "Traceback" not in text
    (row,) = [line for line in text.splitlines() if re.search(r"quadratic.*failed", line) and "·" not in line]
    assert "\x1b[31m" in row


def test_a_file_gets_no_colour(study, measures):
    assert "\x1b" not in printed(study, measures)


def test_undefined_estimates_are_dashes(study, measures):
    assert re.search(r"linear +0 +– +0\.200", printed(study, measures))


@pytest.mark.parametrize(("terminal", "width"), [(True, 100), (True, 70), (False, 30)])
def test_numbers_are_never_cut(cell, measures, terminal, width):
    rows = pd.DataFrame([cell(0.5, probe="a_probe_with_a_very_long_name_indeed", mode="mean_spatial_of_all_tokens")])
    text = printed(rows, measures, width=width, terminal=terminal)
    assert "0.50 [0.48, 0.53]" in text
    assert "0.40 [0.38, 0.43]" in text
    assert "…" not in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    table = plain.partition(f"{measures[0].symbol}  {measures[0].label}")[0]  # what follows is prose
    assert max(cell_len(line.rstrip()) for line in table.splitlines()) <= max(width, 100 if not terminal else 0)


def test_three_decimals_where_there_is_room(study, measures):
    assert "0.100 [0.080, 0.130]" in printed(study, measures, width=100)
    narrow = printed(study, measures, width=64, terminal=True)
    assert "0.10 [0.08, 0.13]" in narrow
    assert "0.100" not in narrow


def test_names_are_not_markup(cell, measures):
    assert "[red]bold[/red]" in printed(pd.DataFrame([cell(backbone="[red]bold[/red]")]), measures)


def test_an_empty_table_says_so(measures):
    assert "No cell has been measured yet." in printed(pd.DataFrame(), measures)
