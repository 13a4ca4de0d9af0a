"""What every read-out must satisfy: a small study of it is measured in this process, without an engine."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from frozen.capture.capture import Capture, capture
from frozen.data.spec import open_split
from frozen.intervals import IntervalConfig
from frozen.models import Backbone, load
from frozen.readout.cells import Cell
from frozen.readout.comparing import IncomparableError
from frozen.readout.needs import Columns, Inputs, Labels, Product
from frozen.readout.outcome import Outcome
from frozen.readout.readout import Readout
from frozen.readout.study import Study

_CPU = torch.device("cpu")


class ReadoutConformance:
    """Fixtures `readout` and `study` (few cells, few samples, every stage of the read-out) come from the subclass."""

    @pytest.fixture
    def readout(self) -> Readout:
        """The read-out."""
        raise NotImplementedError

    @pytest.fixture
    def study(self) -> Study:
        """A small study of it."""
        raise NotImplementedError

    @pytest.fixture
    def cells(self, readout: Readout, study: Study) -> list[Cell]:
        """The cells of the study."""
        return [made for made in readout.cells(study) if isinstance(made, Cell)]

    @pytest.fixture
    def outcomes(self, readout: Readout, cells: list[Cell]) -> dict[Cell, Outcome]:
        """Every cell measured, givers of products first; once for all tests of a suite."""
        known: dict[Any, dict[Cell, Outcome]] = vars(type(self)).get("_measured", {})
        key = tuple(cell.cell_id for cell in cells)
        if key not in known:
            known = {key: dict(measured(readout, cells))}
            type(self)._measured = known  # pyright: ignore[reportAttributeAccessIssue]
        return known[key]

    def test_what_it_declares_fits_together(self, readout: Readout) -> None:
        columns = {**readout.grid_columns, **readout.columns}
        assert len(columns) == len(readout.grid_columns) + len(readout.columns)
        names = [one.name for one in readout.dimensions]
        assert len(set(names)) == len(names)
        assert set(names) <= set(readout.grid_columns)
        for dimension in readout.dimensions:
            assert dimension.order is None or dimension.order in readout.grid_columns
            assert dimension.role != "depth" or dimension.order is not None
        for measure in (*readout.measures, *readout.extra_measures):
            assert {measure.column, f"{measure.column}_low", f"{measure.column}_high"} <= set(readout.columns)
        assert readout.measures, "a read-out has at least one measure"
        assert readout.mild_flags <= set(readout.flag_meanings)
        columns_of_measures = {measure.column for measure in readout.measures}
        extra = {measure.column for measure in readout.extra_measures}
        for one in readout.expectations:
            is_backbone = ":" in one.control
            assert not one.control or is_backbone or one.control in readout.control_meanings
            assert one.column in columns_of_measures | extra
            assert one.low <= one.high
            assert {name for name, _ in one.where} <= set(names)
        for one in (*readout.depth_curves, *readout.depth_columns):
            assert any(dimension.role == "depth" for dimension in readout.dimensions)
            assert one.column in {measure.column for measure in (*readout.measures, *readout.extra_measures)}
            assert {name for name, _ in one.where} <= {*names, *readout.columns}
        assert all(one.none < one.full for one in readout.depth_curves)
        assert {readout.headline.column, readout.headline.beside or readout.headline.column} <= columns_of_measures
        assert {name for name, _ in readout.headline.where} <= set(names)
        assert set(readout.control_aliases.values()) <= set(readout.control_meanings)

    def test_its_keys_are_plain_values(self, study: Study) -> None:
        assert json.loads(json.dumps(study.keys.resolved())) == study.keys.resolved()

    def test_cells_have_identities_of_their_own_that_do_not_change(
        self, readout: Readout, study: Study, cells: list[Cell]
    ) -> None:
        assert cells
        assert len({cell.cell_id for cell in cells}) == len(cells) == len(set(cells))
        again = [made for made in readout.cells(study) if isinstance(made, Cell)]
        assert [cell.cell_id for cell in again] == [cell.cell_id for cell in cells]
        for cell in cells:
            assert [name for name, _ in cell.columns] == list(readout.grid_columns)
            json.dumps(dict(cell.columns), allow_nan=False)

    def test_every_product_that_is_needed_is_given_by_a_cell_of_another_bundle(
        self, readout: Readout, cells: list[Cell]
    ) -> None:
        by_id = {cell.cell_id: cell for cell in cells}
        for cell in cells:
            assert not cell.gives or readout.products
            for _, need in cell.needs_of(Product):
                giver = by_id[need.giver]
                assert need.name in giver.gives
                bundle = readout.bundle(cell)
                assert bundle is None or bundle != readout.bundle(giver)

    def test_rows_have_the_declared_columns_and_plain_finite_values(
        self, readout: Readout, outcomes: dict[Cell, Outcome]
    ) -> None:
        for cell, outcome in outcomes.items():
            assert set(outcome.row) == set(readout.columns), cell.name
            json.dumps(dict(outcome.row), allow_nan=False)
            flags: Any = outcome.row.get("flags") or []
            assert set(flags) <= set(readout.flag_meanings)
            assert set(outcome.products) == set(cell.gives)
            assert readout.has_samples(_row(cell, outcome)) == (outcome.samples is not None)
            for measure in readout.measures:
                value, low, high = (outcome.row[f"{measure.column}{end}"] for end in ("", "_low", "_high"))
                if value is not None and low is not None:
                    assert low <= value <= high, (cell.name, measure.column)  # pyright: ignore[reportOperatorIssue]

    def test_aggregates_follow_from_the_samples(self, readout: Readout, outcomes: dict[Cell, Outcome]) -> None:
        for cell, outcome in outcomes.items():
            if outcome.samples is not None:
                row = _row(cell, outcome)
                found = readout.recompute(row, outcome.samples)
                assert found, cell.name
                assert {name: row[name] for name in found} == dict(found), cell.name

    def test_bounds_image_by_image_are_the_measure(self, readout: Readout, outcomes: dict[Cell, Outcome]) -> None:
        for column in {one.column for one in (*readout.depth_curves, *readout.depth_columns) if one.bounds}:
            for cell, outcome in outcomes.items():
                value = outcome.row[column]
                found = None if outcome.samples is None else readout.per_image(column, outcome.samples)
                if value is None or found is None:
                    continue
                assert np.nanmean(found.values) == pytest.approx(value, abs=1e-6), (cell.name, column)
                assert found.unit is None or len(found.unit) == found.values.shape[1]

    def test_a_cell_does_not_differ_from_itself(self, readout: Readout, outcomes: dict[Cell, Outcome]) -> None:
        with_samples = {cell: one for cell, one in outcomes.items() if one.samples is not None}
        cell, outcome = next(iter(with_samples.items()))
        twice = dict.fromkeys(("one", "other"), (_row(cell, outcome), outcome.samples))
        columns = [measure.column for measure in readout.measures]
        config = IntervalConfig(resamples=100)
        found = list(readout.compare(twice, [("one", "other")], columns, config, seed=0))  # pyright: ignore
        assert found
        for difference in found:
            assert difference.difference.value == 0
            assert difference.difference.low <= 0 <= difference.difference.high
            assert difference.p_value == pytest.approx(1.0)

    def test_cells_of_other_data_are_not_compared(self, readout: Readout, outcomes: dict[Cell, Outcome]) -> None:
        cell, outcome = next((cell, one) for cell, one in outcomes.items() if one.samples is not None)
        row: Any = {**_row(cell, outcome), "dataset": cell.dataset.name, "data_fingerprint": "here"}
        samples: Any = outcome.samples
        cells = {"one": (row, samples), "other": ({**row, "data_fingerprint": "elsewhere"}, samples)}
        columns = [measure.column for measure in readout.measures]
        with pytest.raises(IncomparableError, match="not on the same samples"):
            list(readout.compare(cells, [("one", "other")], columns, IntervalConfig(resamples=100), seed=0))

    def test_it_says_what_a_paper_says_of_it(self, readout: Readout, study: Study, outcomes: Any) -> None:
        rows = [_row(cell, outcome) for cell, outcome in outcomes.items()]
        assert readout.method(study, rows).text.endswith(".")


Models = dict[Hashable, Backbone]
"""Models that are open, by what was asked for."""


def measured(readout: Readout, cells: list[Cell]) -> Iterator[tuple[Cell, Outcome]]:
    """Measure cells in this process, each after those whose products it needs."""
    done: dict[str, Outcome] = {}
    known: dict[Capture | Labels, Columns] = {}
    models: Models = {}
    left = list(cells)
    while left:
        ready = [cell for cell in left if all(need.giver in done for _, need in cell.needs_of(Product))]
        assert ready, "cells need each other's products in a circle"
        for cell in ready:
            columns: dict[str, Columns] = {}
            for name, need in cell.needs:
                if not isinstance(need, Product):
                    columns[name] = known[need] = known[need] if need in known else _columns(readout, need, models)
            products = {name: done[need.giver].products[need.name] for name, need in cell.needs_of(Product)}
            [(_, outcome)] = readout.measure({cell: Inputs({"cell_id": cell.cell_id}, columns, products)}, _CPU)
            done[cell.cell_id] = outcome
            yield cell, outcome
        left = [cell for cell in left if cell not in ready]


def _columns(readout: Readout, need: Capture | Labels, models: Models) -> Columns:
    split = open_split(need.dataset.config, need.split)
    if isinstance(need, Labels):
        return dict(readout.labels(split))
    asked = (need.backbone, need.dataset.config, need.needs_head, need.needs_decoder)
    if asked not in models:
        models[asked] = load(*asked[:2], _CPU, head=need.needs_head, decoder=need.needs_decoder)
    model = models[asked]
    [table] = capture(model, split, [need.reduction], condition=need.condition).values()
    return {name: _array(table.column(name)) for name in table.column_names}


def _array(column: pa.ChunkedArray) -> np.ndarray:
    chunk: Any = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    if isinstance(chunk, pa.FixedShapeTensorArray):
        return chunk.to_numpy_ndarray()
    return chunk.to_numpy(zero_copy_only=False)


def _row(cell: Cell, outcome: Outcome) -> Mapping[str, Any]:
    known = {"dataset": cell.dataset.name, "backbone": cell.label, "data_fingerprint": "", "status": "done"}
    return {**known, "is_control": cell.is_control, **dict(cell.columns), **outcome.row}
