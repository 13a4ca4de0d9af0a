"""Which images can be read at all: every one is decoded once, and what was found is kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from frozen.data.pixels import UnreadableImageError
from frozen.data.rasters import Rasters
from frozen.whole_files import write_whole

_CHUNK = 1024
_VERSION = 3
"""Of what is read from a file; what an older one found out is not asked."""


def cache_folder(name: str) -> Path:
    """A folder of what can be found out again."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "binding-sweep" / name


def keep(path: Path, text: str) -> None:
    """Write a file of the cache; without one, the work is done once more."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, text)


def readable(rasters: Rasters, indices: Sequence[int]) -> Iterator[bool]:
    """Whether each of some images or masks can be decoded to its end, in order."""
    for start in range(0, len(indices), _CHUNK):
        yield from _chunk(rasters, indices[start : start + _CHUNK])


def _chunk(rasters: Rasters, indices: Sequence[int]) -> list[bool]:
    total = hashlib.sha256(f"{_VERSION}\n".encode())
    for i in indices:
        total.update(f"{rasters.state(i)}\n".encode())
    cached = cache_folder("rasters") / f"{total.hexdigest()}.json"
    try:
        bad = set(json.loads(cached.read_text()))
    except (OSError, ValueError):
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            sound = list(pool.map(lambda i: _can_be_read(rasters, i), indices))
        keep(cached, json.dumps([place for place, is_sound in enumerate(sound) if not is_sound]))
        return sound
    return [place not in bad for place in range(len(indices))]


def _can_be_read(rasters: Rasters, i: int) -> bool:
    try:
        rasters.read(i)
    except (FileNotFoundError, UnreadableImageError):
        return False
    return True
