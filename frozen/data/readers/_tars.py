"""Members of tar archives, found once and read where they lie."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np

from frozen.data.dataset import DataError
from frozen.data.pixels import UnreadableImageError, decode_rgb
from frozen.data.readable import cache_folder, keep
from frozen.git_lfs import lfs_pointer

_VERSION = 1
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")


def expand_braces(pattern: str) -> list[str]:
    """Names that a pattern stands for, in its order: {000..331} counts, with leading zeros; {a,b} lists.

    Raises:
        ValueError: braces that hold neither.
    """
    parts = _BRACES.split(pattern)
    choices = [[text] if number % 2 == 0 else _choices(text) for number, text in enumerate(parts)]
    return ["".join(chosen) for chosen in product(*choices)]


def _choices(text: str) -> list[str]:
    if match := _RANGE.fullmatch(text):
        first, last = match.groups()
        width = len(first) if first.startswith("0") or len(first) == len(last) else 0
        step = 1 if int(first) <= int(last) else -1
        return [f"{number:0{width}}" for number in range(int(first), int(last) + step, step)]
    if "," in text:
        return text.split(",")
    raise ValueError(f"{{{text}}} is neither a range such as {{000..331}} nor a list such as {{a,b}}")


class Member(NamedTuple):
    """A file in a tar archive."""

    tar: Path
    name: str
    offset: int
    size: int
    changed_at: int
    """When the archive was written, in nanoseconds."""

    def read(self) -> bytes:
        """Its bytes.

        Raises:
            UnreadableImageError: the archive ends before it.
        """
        with self.tar.open("rb") as file:
            file.seek(self.offset)
            content = file.read(self.size)
        if len(content) < self.size:
            raise UnreadableImageError("the archive ends in the middle of it")
        return content


class Sample(NamedTuple):
    """Members that share a key: their name up to its first dot."""

    key: str
    members: dict[str, Member]
    """By what follows the dot, in lower case."""


def samples_of(tar: Path) -> list[Sample]:
    """Samples of an archive, in its order; what was found is kept in the user's cache folder.

    Raises:
        DataError: an archive that is not there, compressed, or none.
    """
    try:
        state = tar.stat()
    except FileNotFoundError:
        raise DataError(f"{tar}: no such archive; put it there, or name fewer shards") from None
    return _samples_of(tar, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1024)
def _samples_of(tar: Path, size: int, changed_at: int) -> list[Sample]:
    name = hashlib.sha256(f"{_VERSION} {tar.absolute()} {size} {changed_at}".encode()).hexdigest()
    cached = cache_folder("tars") / f"{name}.json"
    try:
        found = json.loads(cached.read_text())
    except (OSError, ValueError):
        found = list(_members(tar))
        keep(cached, json.dumps(found))
    samples: dict[str, dict[str, Member]] = {}
    for path, offset, length in found:
        folder, slash, base = path.rpartition("/")
        stem, _, ending = base.partition(".")
        samples.setdefault(f"{folder}{slash}{stem}", {})[ending.lower()] = Member(
            tar, path, offset, length, changed_at
        )
    return [Sample(key, members) for key, members in samples.items()]


def _members(tar: Path) -> Iterator[tuple[str, int, int]]:
    """Name, place and size of the files of an archive, as far as it goes: what is cut off is read in vain later."""
    try:
        with tarfile.open(tar, "r:") as file:
            for member in file:
                if member.isfile() and not Path(member.name).name.startswith("."):
                    yield member.name, member.offset_data, member.size
    except tarfile.ReadError as error:
        if tar.stat().st_size and "unexpected end of data" in str(error):
            return
        raise DataError(f"{tar}: {lfs_pointer(tar) or f'cannot be read as a tar archive ({error})'}") from error


class TarRasters:
    """Images in tar archives.

    Args:
        members: one an image; None for a sample without an image.
        keys: of the samples, to name those without an image.
    """

    def __init__(self, members: Sequence[Member | None], keys: Sequence[str]) -> None:
        self._members, self._keys = members, keys

    def name(self, i: int) -> str:
        member = self._members[i]
        return f"{member.tar}/{member.name}" if member else f"{self._keys[i]} (without an image)"

    def identity(self, i: int) -> str:
        member = self._member(i)
        return f"{member.name} {member.size}"

    def state(self, i: int) -> str:
        member = self._members[i]
        if member is None:
            return f"{self._keys[i]} missing"
        return f"{member.tar.absolute()} {member.changed_at} {member.offset} {member.size}"

    def read(self, i: int) -> np.ndarray:
        return decode_rgb(io.BytesIO(self._member(i).read()))

    def _member(self, i: int) -> Member:
        member = self._members[i]
        if member is None:
            raise FileNotFoundError
        return member

    def __len__(self) -> int:
        return len(self._members)
