"""Read-outs are found by name and fulfil the engine's protocol."""

from __future__ import annotations

import pytest

from frozen.readout.measures import Measure
from frozen.readout.readout import Readout, find_readout
from sweep.results.columns import IDENTITY_COLUMNS, PRODUCT_COLUMNS, VOLATILE_COLUMNS, all_columns


def test_the_binding_readout_fulfils_the_protocol() -> None:
    readout = find_readout("binding")
    assert isinstance(readout, Readout)
    assert readout.version >= 1
    assert readout.measures
    assert all(isinstance(measure, Measure) for measure in readout.measures)


def test_every_measure_has_its_columns_and_its_words() -> None:
    readout = find_readout("binding")
    for measure in readout.measures:
        assert {measure.column, f"{measure.column}_low", f"{measure.column}_high"} <= set(readout.columns)
        assert measure.unit in ("bits", "ratio")
        assert measure.label
        assert measure.symbol
        assert measure.meaning
    for texts in (
        [measure.column for measure in readout.measures],
        [measure.label for measure in readout.measures],
        [measure.symbol for measure in readout.measures],
    ):
        assert len(set(texts)) == len(texts)


def test_columns_of_engine_and_readout_do_not_clash() -> None:
    readout = find_readout("binding")
    groups = (IDENTITY_COLUMNS, readout.grid_columns, PRODUCT_COLUMNS, readout.columns, VOLATILE_COLUMNS)
    names = [name for group in groups for name in group]
    assert len(set(names)) == len(names)
    assert list(all_columns(readout)) == names
    assert all(all_columns(readout).values())


def test_the_engine_says_which_cell_it_was_and_where_it_ran() -> None:
    who = ["cell_id", "schema_version", "status", "error", "study", "readout", "is_control", "control", "control_of"]
    what = ["dataset", "dataset_entry", "dataset_point", "dataset_parameters"]
    what += ["data_fingerprint", "n_skipped", "backbone", "weights_digest"]
    assert sorted(IDENTITY_COLUMNS) == sorted([*who, *what])
    assert sorted(VOLATILE_COLUMNS) == ["device", "git_commit", "host", "notes", "versions", "wall_s"]


@pytest.mark.parametrize("name", ["bindings", ""])
def test_an_unknown_readout_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=f"no read-out '{name}' is installed; there is .*binding"):
        find_readout(name)


def test_no_readout_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frozen.readout.readout._offered", dict)
    with pytest.raises(ValueError, match="no read-out 'binding' is installed; there is none"):
        find_readout("binding")
