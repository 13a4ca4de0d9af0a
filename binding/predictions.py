"""What the direct probe reads of every test sample, object by object."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from jaxtyping import Float32, UInt8

_SCHEMA = pa.schema([("sample", pa.int32()), ("loss_bits", pa.float32()), ("objects", pa.list_(pa.int32()))])
_EVEN = 0.5


def predictions(
    head_bits: Float32[np.ndarray, "seeds samples heads"], codes: UInt8[np.ndarray, "samples heads"]
) -> pa.Table:
    """The objects that a probe gives more than even odds, and the loss of each sample.

    A head's loss says the probability of the true answer, p = 2^-bits. So a head whose p, mean over seeds, is below
    one half answers the opposite. Each head answers given the true objects before it, as in the loss.

    Args:
        head_bits: test losses of every head.
        codes: the true objects, 0 or 1.

    Returns:
        sample (int32), loss_bits (float32; sum over heads, mean over seeds), objects (positions in the space).
    """
    is_right = np.exp2(-head_bits.astype(np.float64)).mean(axis=0) >= _EVEN
    read = np.where(is_right, codes, 1 - codes).astype(bool)
    columns = {
        "sample": np.arange(len(codes)),
        "loss_bits": head_bits.astype(np.float64).sum(axis=2).mean(axis=0),
        "objects": [np.flatnonzero(objects).tolist() for objects in read],
    }
    return pa.Table.from_pydict(columns, _SCHEMA)
