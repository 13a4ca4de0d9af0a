"""What the samples of a block give for every entry that a pass makes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from frozen.capture.reductions import Column, Reduction, Values
from frozen.capture.tables import TableBuilder, to_array
from frozen.paths import written
from sweep.engine.passes import Output, Pass
from sweep.store.halves import Scaling, to_halves


class BlockValues:
    """Columns of every output of a pass, copied out of the device batch by batch.

    Columns of a type of their own are kept as they are. Those in the store's type become halves where that is
    float16: tokens batch by batch on the device; of pooled values a block is small, and is scaled as a whole.

    Args:
        job: says what is kept, and the type of the store.
        columns: of each output.
        n_samples: of the block.
        device: where the backbone computes.
    """

    def __init__(
        self, job: Pass, columns: Mapping[Output, tuple[Column, ...]], n_samples: int, device: torch.device
    ) -> None:
        self._job, self._device = job, device
        self._n_samples, self._n_put = n_samples, dict.fromkeys(job.outputs, 0)
        self._outputs: dict[Reduction, list[Output]] = {}
        for output in job.outputs:
            self._outputs.setdefault(output.reduction, []).append(output)
        self._stored = {
            output: {
                column.name: _StoredColumn(column, job.dtype, n_samples, device)
                for column in of
                if _is_stored(column)
            }
            for output, of in columns.items()
        }
        self._typed = {
            output: TableBuilder([column for column in of if not _is_stored(column)], n_samples, job.dtype, device)
            for output, of in columns.items()
        }

    def put(self, rows: np.ndarray, found: Mapping[Reduction, Mapping[str, Values]]) -> None:
        """What some samples of the block, by their places in it, give."""
        for output, values in ((output, values) for key, values in found.items() for output in self._outputs[key]):
            stored = self._stored[output]
            for name, column in stored.items():
                column.put(rows, values[name])
            rest = {name: value for name, value in values.items() if name not in stored}
            self._typed[output].put(rows, rest)
            self._n_put[output] += len(rows)

    def tables(self) -> dict[str, pa.Table]:
        """A table of each output by its key.

        Raises:
            ValueError: values that are not finite.
            RuntimeError: samples that never came, whose memory would hold anything.
        """
        if missing := [output for output, n_put in self._n_put.items() if n_put != self._n_samples]:
            raise RuntimeError(f"not every sample came for {', '.join(str(one.reduction) for one in missing)}")
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return {output.key: self._table(output) for output in self._job.outputs}

    def _table(self, output: Output) -> pa.Table:
        arrays: dict[str, pa.Array] = {}
        scalings: dict[str, Scaling] = {}
        for name, column in self._stored[output].items():
            if not column.is_finite:
                raise ValueError(_not_finite(self._job, output))
            arrays[name], scaling = column.array()
            if scaling is not None:
                scalings[name] = scaling
        typed = self._typed[output].table()
        table = pa.table({**arrays, **dict(zip(typed.column_names, typed.columns, strict=True))})
        for name, scaling in scalings.items():
            table = scaling.on(table, name)
        return table


class _StoredColumn:
    """A column in the type of the store."""

    def __init__(self, column: Column, dtype: str, n_samples: int, device: torch.device) -> None:
        shape = column.shape or ()
        self._halves, self._at_once = dtype == "float16", dtype == "float16" and len(shape) > 1
        is_cuda = device.type == "cuda"  # copies into pinned memory do not stop the device
        kind = torch.float16 if self._at_once else torch.float32
        self._values = torch.empty((n_samples, *shape), dtype=kind, pin_memory=is_cuda)
        self._scales: list[tuple[int, Tensor, Tensor]] = []
        self._largest: list[Tensor] = []

    def put(self, rows: np.ndarray, value: Values) -> None:
        assert isinstance(value, Tensor)
        if self._at_once and _are_consecutive(rows):
            value, centre, scale = to_halves(value)
            self._scales.append((int(rows[0]), centre, scale))
            self._largest.append(scale.amax())
        elif value.numel():
            self._largest.append(value.abs().amax())
        if _are_consecutive(rows):
            self._values[int(rows[0]) : int(rows[-1]) + 1].copy_(value, non_blocking=True)
        else:
            self._values[torch.from_numpy(rows)] = value.to("cpu", self._values.dtype)

    @property
    def is_finite(self) -> bool:
        """Whether all numbers are."""
        return not self._largest or bool(torch.stack([one.cpu() for one in self._largest]).isfinite().all())

    def array(self) -> tuple[pa.Array, Scaling | None]:
        """The column, and how its halves are undone."""
        values, scales = self._values, self._scales
        if self._halves and not scales and values.ndim > 1 and len(values):
            values, centre, scale = to_halves(values.float())
            scales = [(0, centre, scale)]
        if not scales:
            return to_array(values.numpy()), None
        starts, centres, factors = zip(*sorted(scales, key=lambda one: one[0]), strict=True)
        centre, scale = (torch.stack([part.cpu() for part in parts]).numpy() for parts in (centres, factors))
        return to_array(values.numpy()), Scaling(np.array(starts, dtype=np.int64), centre, scale)


def _is_stored(column: Column) -> bool:
    return column.dtype is None and column.shape is not None


def _are_consecutive(rows: np.ndarray) -> bool:
    return len(rows) > 0 and int(rows[-1] - rows[0]) == len(rows) - 1


def _not_finite(job: Pass, output: Output) -> str:
    """What to do about numbers that no type of the store can hold."""
    backbone = job.backbone
    if backbone.kind == "activations":
        remedy = f"look for them in the file of the split {job.split}"
    elif backbone.precision != "float32":
        remedy = f"set `precision: float32` of the backbone, which is {backbone.precision}"
    else:
        remedy = "look at its weights"
    sites = ", ".join(str(site) for site in output.reduction.sites)
    return (
        f"activations of layer {sites} of {written(backbone.source)} are not finite (NaN, infinite, or beyond "
        f"float32); {remedy}, or leave the layer out"
    )
