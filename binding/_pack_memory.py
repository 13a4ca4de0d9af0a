"""How much memory training takes, so that packs are cut to fit, which never changes a number; and how much work."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch

from binding.probes import HeadShape, Probe

_BUDGET_BYTES = 2**30
_GPU_SHARE = 0.2  # of its memory: several cells may share a GPU
_EVALUATION_ROWS = 2048
_EVALUATION_BYTES = 2**24
_COPIES = 6  # of a parameter: value, gradient, a product on the way to it, two moments, value at the best epoch


def pack_budget_bytes(device: torch.device) -> int:
    """What the packs that train at one time may take on a device."""
    if device.type != "cuda":
        return _BUDGET_BYTES
    return int(_GPU_SHARE * torch.cuda.get_device_properties(device).total_memory)


def training_bytes(probe: Probe, shape: HeadShape, batch_size: int, n_tokens: int) -> int:
    """About what one probe takes in training, activations apart; nothing of that size is made to find out."""
    rows = max(batch_size, _EVALUATION_ROWS // 4)  # without gradients a sample needs less
    return 4 * (_COPIES * probe.n_parameters(shape) + rows * probe.units(shape, n_tokens))


def multiplications(probe: Probe, shape: HeadShape, n_tokens: int) -> float:
    """About how many multiplications training takes a sample: three a parameter, and attention's own."""
    attention = 4 * shape.n_heads * n_tokens * shape.z_dim if probe.reads_tokens else 0
    return 3.0 * probe.n_parameters(shape) + attention


def in_budget(sizes: Sequence[int], budget_bytes: int) -> Iterator[list[int]]:
    """Positions in groups that fit the budget together; what exceeds it alone trains alone."""
    group: list[int] = []
    for position, size in enumerate(sizes):
        if group and sum(sizes[other] for other in group) + size > budget_bytes:
            yield group
            group = []
        group.append(position)
    yield group


def evaluation_rows(shape: Sequence[int]) -> int:
    """Samples that are evaluated at one time: fewer where each is many tokens."""
    bytes_each = 4 * math.prod(shape[1:])
    return max(1, min(_EVALUATION_ROWS, _EVALUATION_BYTES // max(bytes_each, 1)))
