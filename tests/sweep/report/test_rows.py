import math

import numpy as np
import pandas as pd

from sweep.report._rows import distinct


def test_rows_are_ordered_by_place_with_controls_last(study, read):
    shuffled = study.sample(frac=1, random_state=np.random.default_rng(0))
    rows = read(shuffled)
    assert [row.place for row in rows] == [row.place for row in read(study)]
    assert [row.at for row in rows[:3]] == ["embed", "0", "final"]
    assert [row.is_control for row in rows] == [False] * 24 + [True] * 4


def test_a_failed_cell_takes_its_layer_index_from_its_neighbours(study, read):
    (failed,) = [row for row in read(study) if row.failed]
    assert failed.depth == 3
    assert not failed.estimates["grip_ratio"].is_defined


def test_missing_columns_are_blank(read):
    (row,) = read([{"backbone": "small", "flags": None, "is_control": pd.NA}])
    assert row.place == ("–", "small", "–", "–", "–")
    assert row.flags == ()
    assert not row.is_control
    assert math.isnan(row.n_test)
    assert math.isnan(row.estimates["grip_bits"].value)


def test_flags_may_come_as_an_array_or_a_word(cell, read):
    rows = read([cell(flags=np.array(["a", "b"])), cell(layer="1", flags="c")])
    assert [row.flags for row in rows] == [("a", "b"), ("c",)]


def test_an_arrow_round_trip_reads_the_same(study, read, tmp_path):
    study.to_parquet(tmp_path / "results.parquet")
    back = read(pd.read_parquet(tmp_path / "results.parquet"))
    assert [(row.place, row.flags, row.failed, row.error) for row in back] == [
        (row.place, row.flags, row.failed, row.error) for row in read(study)
    ]


def test_data_sets_that_share_a_name_are_told_apart_by_what_differs(cell, read):
    rows = [
        cell(dataset_parameters='{"n": 10, "side": 3}'),
        cell(dataset_parameters='{"n": 2, "side": 3}'),
        cell(dataset="alone", dataset_parameters="{}"),
    ]
    names = distinct(row.dataset for row in read(rows))
    assert names == ["alone", "squares (n=2)", "squares (n=10)"]


def test_lines_that_share_a_place_are_numbered(cell, read):
    rows = read([cell(0.1), cell(0.2), cell(0.3, layer="1")])
    assert [row.line for row in rows] == ["linear", "linear #2", "linear"]


def test_the_table_is_left_as_it_is(study, read):
    before = study.copy(deep=True)
    read(study)
    pd.testing.assert_frame_equal(study, before)
