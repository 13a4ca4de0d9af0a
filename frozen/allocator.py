"""How a process treats memory: kept once it was touched, and not searched for garbage all the time."""

from __future__ import annotations

import ctypes
import gc
import sys

_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_CONTAINERS = 100_000


def keep_freed_memory() -> bool:
    """Let large tensors reuse memory that this process already has; returns whether the C library can.

    By default glibc maps every large block anew and unmaps it when it is freed, so that each intermediate
    result of a training step is a run of page faults: elementwise operations then take two to three times
    as long. The process keeps its peak until it ends, so this is for workers, not for a user's notebook.

    Threads that exist by now may have an arena of their own, which gives large blocks back all the same: a process
    with such threads should be started with MALLOC_ARENA_MAX=1.
    """
    if sys.platform != "linux":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # another C library
        return False
    return bool(mallopt(_ARENA_MAX, 1) and mallopt(_MMAP_MAX, 0) and mallopt(_TRIM_THRESHOLD, -1))


def collect_rarely() -> None:
    """Let Python look for garbage after 100,000 new containers, instead of 700.

    Importing torch, Ray and pandas makes a million of them that all stay. Looking through them again and again is a
    quarter of the time in which a worker starts.
    """
    gc.set_threshold(_CONTAINERS, *gc.get_threshold()[1:])
