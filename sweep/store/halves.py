"""Half precision that erases nothing: numbers are stored centred and scaled, channel by channel.

A half has 11 bits of its own size. Of a channel that lies far from 0 they hold the offset and nothing else, and
numbers below 6e-8 or above 65504 are lost. So each group of rows is stored as value = centre + scale * half, with the
group's mean and a scale that puts its largest deviation at 2^14: what rounding adds is at most 2^-11 of a number's
deviation from the mean, whatever the channel's offset and size.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, Int64

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST = 2.0**14
_SMALLEST_SCALE = 2.0**-126  # the smallest float32 whose inverse is finite


class Scaling(NamedTuple):
    """How the halves of a column are undone, group by group of consecutive rows.

    Attributes:
        starts: first row of each group, the first of all 0.
        centre: of each group.
        scale: of each group.
    """

    starts: Int64[np.ndarray, " groups"]
    centre: Float32[np.ndarray, "groups dim"]
    scale: Float32[np.ndarray, "groups dim"]

    @classmethod
    def of(cls, tables: Sequence[pa.Table], column: str) -> Scaling | None:
        """That of the rows of some tables, one after the other; None where numbers are stored as they are."""
        found, start = [], 0
        for table in tables:
            own = _read(table, column)
            if own is not None:
                found.append(own._replace(starts=own.starts + start))
            start += len(table)
        return cls(*map(np.concatenate, zip(*found, strict=True))) if found else None

    def on(self, table: pa.Table, column: str) -> pa.Table:
        """A table that says so of one of its columns, in its schema."""
        own = {_key(column, name): values.tobytes() for name, values in self._asdict().items()}
        return table.replace_schema_metadata({**(table.schema.metadata or {}), **own})

    def undone(self, rows: Int64[np.ndarray, " rows"], halves: np.ndarray) -> Float32[np.ndarray, "rows *tokens dim"]:
        """The numbers that some rows' halves stand for."""
        import torch

        values = torch.from_numpy(halves).float()
        group = np.searchsorted(self.starts, rows, side="right") - 1
        centre, scale = (self._of_rows(part, group, values.ndim) for part in (self.centre, self.scale))
        return torch.addcmul(centre, values, scale).numpy()

    def _of_rows(self, part: np.ndarray, group: np.ndarray, ndim: int) -> Tensor:
        """[rows *1 dim], or [1 *1 dim] if there is one group for all."""
        import torch

        chosen = part[:1] if len(self.starts) == 1 else part[group]
        return torch.from_numpy(chosen.reshape(len(chosen), *[1] * (ndim - 2), part.shape[1]))


def to_halves(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Numbers [rows *tokens dim] as halves, with centre and scale [dim] of each channel over rows and tokens.

    Where a number is not finite, the scale of its channel is not.
    """
    import torch

    flat = values.reshape(-1, values.shape[-1])
    centre = flat.mean(0)
    # twice a reduction of the values: one of their deviations takes four times as long on a CPU
    largest = torch.maximum(flat.amax(0) - centre, centre - flat.amin(0))
    scale = (largest / _LARGEST).clamp(min=_SMALLEST_SCALE)
    halves = (flat - centre).mul_(1 / scale).to(torch.float16)
    return halves.view(values.shape), centre, scale


def _read(table: pa.Table, column: str) -> Scaling | None:
    metadata: dict[bytes, Any] = table.schema.metadata or {}
    if _key(column, "starts") not in metadata:
        return None
    starts = np.frombuffer(metadata[_key(column, "starts")], dtype=np.int64)
    centre, scale = (
        np.frombuffer(metadata[_key(column, name)], dtype=np.float32).reshape(len(starts), -1)
        for name in ("centre", "scale")
    )
    return Scaling(starts, centre, scale)


def _key(column: str, name: str) -> bytes:
    return f"{column}.{name}".encode()
