"""What every reduction must satisfy."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pyarrow as pa
import pytest
import torch

from frozen.capture.capture import Images, capture
from frozen.capture.conditions import PLAIN, Condition
from frozen.capture.forward import run_batch
from frozen.capture.reductions import TEXT, Column, Reduction, WholeSite
from frozen.models import Backbone, Batch

_TOLERANCE = 1e-5
_FEW = 5


class ReductionConformance:
    """Tests that the tests of a reduction inherit.

    A subclass gives the fixtures `reduction`, `backbone` (with the parts that the reduction needs) and `split`
    (at least five samples, with the labels it needs); `condition` where it is made for one.

    ```
    class TestMyReduction(ReductionConformance):
        @pytest.fixture
        def reduction(self) -> MyReduction:
            return MyReduction(site=Site("1"))
    ```
    """

    @pytest.fixture
    def condition(self) -> Condition:
        return PLAIN

    @pytest.fixture
    def table(self, backbone: Backbone, split: Images, reduction: Reduction, condition: Condition) -> pa.Table:
        return _table(backbone, split, reduction, condition)

    @pytest.fixture
    def columns(self, backbone: Backbone, reduction: Reduction, condition: Condition) -> tuple[Column, ...]:
        return reduction.columns(backbone.description, condition)

    def test_satisfies_the_protocol(self, reduction: Reduction) -> None:
        assert isinstance(reduction, Reduction)
        assert reduction.sites
        assert len(set(reduction.sites)) == len(reduction.sites)

    def test_is_a_value_that_survives_the_journey_to_another_process(self, reduction: Reduction) -> None:
        copy = pickle.loads(pickle.dumps(reduction))  # noqa: S301
        assert copy == reduction
        assert hash(copy) == hash(reduction)
        assert copy.key() == reduction.key()

    def test_its_key_is_plain(self, reduction: Reduction) -> None:
        assert reduction.key()
        assert json.loads(json.dumps(reduction.key())) == reduction.key()

    def test_its_sites_are_the_models(self, reduction: Reduction, backbone: Backbone) -> None:
        for site in reduction.sites:
            assert site == site.resolved(backbone.description)
            assert site.refusal(backbone.description) is None

    def test_gives_the_columns_it_declares(self, table: pa.Table, columns: tuple[Column, ...]) -> None:
        assert table.num_rows == _FEW
        assert table.column_names == [column.name for column in columns]
        for column, field in zip(columns, table.schema, strict=True):
            kind = field.type
            if column.shape is None:
                assert pa.types.is_list(kind)
                kind = kind.value_type
            elif column.shape:
                assert isinstance(kind, pa.FixedShapeTensorType)
                assert tuple(kind.shape) == column.shape
                kind = kind.value_type
            expected = (
                pa.string() if column.dtype == TEXT else pa.from_numpy_dtype(np.dtype(column.dtype or "float32"))
            )
            assert kind == expected

    def test_every_sample_has_a_value_in_every_column(self, table: pa.Table) -> None:
        assert all(table.column(name).null_count == 0 for name in table.column_names)

    def test_a_sample_does_not_depend_on_the_others_of_its_batch(
        self, backbone: Backbone, split: Images, reduction: Reduction, condition: Condition, table: pa.Table
    ) -> None:
        _assert_close(_table(backbone, split, reduction, condition, batch_size=1), table)

    def test_rows_are_in_the_order_that_was_asked_for(
        self, backbone: Backbone, split: Images, reduction: Reduction, condition: Condition, table: pa.Table
    ) -> None:
        order = np.array([3, 0, 4])
        _assert_close(_table(backbone, split, reduction, condition, order), table.take(pa.array(order)))

    def test_what_it_takes_stays_as_it_was(
        self, backbone: Backbone, split: Images, reduction: Reduction, condition: Condition
    ) -> None:
        """Others see the same tensors in the same pass."""
        batch = _batch(split, reduction, condition)
        others = [WholeSite(site) for site in reduction.sites]
        alone = run_batch(backbone, batch, others, condition)
        beside = run_batch(backbone, batch, [reduction, *others], condition)
        for other in others:
            one, two = (found[other]["activations"] for found in (alone, beside))
            torch.testing.assert_close(two, one, rtol=_TOLERANCE, atol=_TOLERANCE)

    def test_gives_plain_tensors_unless_it_differentiates(
        self, backbone: Backbone, split: Images, reduction: Reduction, condition: Condition
    ) -> None:
        found = run_batch(backbone, _batch(split, reduction, condition), [reduction], condition)[reduction]
        for value in found.values():
            assert not (isinstance(value, torch.Tensor) and value.requires_grad and not reduction.needs_gradient)


def _table(
    backbone: Backbone,
    split: Images,
    reduction: Reduction,
    condition: Condition,
    indices: np.ndarray | None = None,
    batch_size: int = 2,
) -> pa.Table:
    rows = np.arange(_FEW) if indices is None else indices
    return capture(backbone, split, [reduction], condition=condition, indices=rows, batch_size=batch_size)[reduction]


def _batch(split: Images, reduction: Reduction, condition: Condition) -> Batch:
    rows = np.arange(1)
    names = {*reduction.labels, *condition.labels}
    labels = {name: np.asarray(split.labels(name, rows)) for name in names}  # pyright: ignore
    none = np.zeros((1, 0), np.uint8)
    return Batch(rows, split.images(rows), none, none, 0, labels)


def _assert_close(one: pa.Table, other: pa.Table) -> None:
    assert one.schema == other.schema
    for name in one.column_names:
        for left, right in zip(one.column(name).to_pylist(), other.column(name).to_pylist(), strict=True):
            values = np.asarray(left), np.asarray(right)
            if values[0].dtype.kind == "U":
                assert left == right
            else:
                np.testing.assert_allclose(*values, rtol=_TOLERANCE, atol=_TOLERANCE, err_msg=name)
