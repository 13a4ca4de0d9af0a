"""How fast this machine multiplies matrices in half precision: what `auto` in a study decides by."""

from __future__ import annotations

import time
from functools import cache
from typing import Literal, NamedTuple

import torch

LEAST_GAIN = 1.3
"""Products in bfloat16 have to be so many times as fast to be worth their rounding."""
_SIDE = 1024
_ROUNDS = 5


class Rates(NamedTuple):
    """Rates of a square product on one thread, or on the GPU.

    Attributes:
        float32: in GFLOP/s.
        bfloat16: in GFLOP/s.
    """

    float32: float
    bfloat16: float

    @property
    def gain(self) -> float:
        """How many times as fast bfloat16 is."""
        return self.bfloat16 / self.float32

    @property
    def choice(self) -> Literal["float32", "bfloat16"]:
        """What `auto` becomes."""
        return "bfloat16" if self.gain >= LEAST_GAIN else "float32"

    def __str__(self) -> str:
        return (
            f"auto: {self.choice}, because products in bfloat16 are {self.gain:.1f} times as fast as in float32 here "
            f"({self.bfloat16:,.0f} and {self.float32:,.0f} GFLOP/s)"
        )


@cache
def rates() -> Rates:
    """Of this machine, measured once a process in about a tenth of a second.

    Both precisions in turns, the best of each counts.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        kinds = (torch.float32, torch.bfloat16)
        sides = {kind: torch.randn(_SIDE, _SIDE, device=device).to(kind) for kind in kinds}
        best = dict.fromkeys(kinds, float("inf"))
        for _ in range(1 + _ROUNDS):  # the first loads the kernels; being slow, it counts for nothing
            for kind, side in sides.items():
                best[kind] = min(best[kind], _product_s(side))
    finally:
        torch.set_num_threads(threads)
    return Rates(*(2 * _SIDE**3 / best[kind] / 1e9 for kind in kinds))


def _product_s(side: torch.Tensor) -> float:
    """Seconds of the GPU, or of this thread alone, which other processes do not lengthen."""
    clock = time.perf_counter if side.is_cuda else time.thread_time
    if side.is_cuda:
        torch.cuda.synchronize()
    start = clock()
    torch.matmul(side, side)
    if side.is_cuda:
        torch.cuda.synchronize()
    return clock() - start


def measured() -> Rates | None:
    """The rates, if something asked for them."""
    return rates() if rates.cache_info().currsize else None
