"""Webdataset: shards of tar archives, whose members of one key are a sample."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from frozen.data.dataset import DataError, Missing
from frozen.data.pixels import UnreadableImageError
from frozen.data.readers._base import IS_PATH, Listing, PhotoDataset, named_places, split_problems
from frozen.data.readers._tars import Sample, TarRasters, expand_braces, samples_of
from frozen.problems import Problem

_IMAGES = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True, kw_only=True)
class WebDataset(PhotoDataset):
    """Shards of uncompressed tar archives: KEY.jpg (or jpeg, png, webp) with KEY.txt, KEY.cls, KEY.json beside it."""

    root: str = field(metadata=IS_PATH)
    """Folder of the shards."""
    shards: tuple[str, ...]
    """Splits, NAME=PATTERN, such as ["train={00000..00299}.tar", "test={00300..00331}.tar"]."""
    members: tuple[str, ...] = ()
    """Labels, LABEL=MEMBER, such as [caption=txt, class=cls, width=json.width]: class is a whole number, captions the
    lines of a text or a list in JSON, others numbers where all their values are, else texts."""
    class_names: str | None = field(default=None, metadata=IS_PATH)
    """File with the name of a class a line, in the order of their numbers."""

    label_meanings: ClassVar[Mapping[str, str]] = {
        "class": "a member that is a whole number",
        "caption": "a member that is a text",
        "captions": "a member of several texts",
        "any member": "as numbers or texts",
    }

    def problems(self) -> Iterator[Problem]:
        yield from super().problems()
        yield from split_problems("shards", self.shards)
        if any("=" not in entry for entry in self.members):
            yield Problem("members", f"must each be LABEL=MEMBER, got {list(self.members)}")
        for pattern in named_places(self.shards).values():
            try:
                expand_braces(pattern)
            except ValueError as error:
                yield Problem("shards", str(error))

    @property
    def splits(self) -> tuple[str, ...]:
        return tuple(named_places(self.shards))

    @property
    def label_names(self) -> tuple[str, ...]:
        """The labels that the study names."""
        return tuple(named_places(self.members))

    @property
    def remedy(self) -> str:
        return "put the archives there, or change `root` and `shards`"

    def archives(self, name: str) -> list[Path]:
        """Shards of a split."""
        return [Path(self.root) / one for one in expand_braces(named_places(self.shards)[name])]

    def missing(self) -> Missing | None:
        absent = [path for name in self.splits for path in self.archives(name) if not path.exists()]
        if not absent:
            return None
        more = f" ({len(absent)} archives are not there)" if len(absent) > 1 else ""
        return Missing(f"{absent[0]} is not there{more}", self.remedy)

    def size(self, name: str) -> int | None:
        """Samples of a split; members that are labels are not read for it."""
        if self.missing() or self.per_class is not None:
            return super().size(name)
        size = len(self.samples(name))
        return size if self.most is None else min(size, self.most)

    def samples(self, name: str) -> list[Sample]:
        """Samples of a split, in the order of its shards."""
        return [sample for tar in self.archives(name) for sample in samples_of(tar)]

    def listing(self, name: str) -> Listing:
        samples = self.samples(name)
        images = [next((s.members[e] for e in _IMAGES if e in s.members), None) for s in samples]
        names = {"class": read_lines(Path(self.class_names))} if self.class_names else {}
        rasters = TarRasters(images, [sample.key for sample in samples])
        return Listing(rasters, self.own_labels(samples), names)

    def own_labels(self, samples: Sequence[Sample]) -> dict[str, np.ndarray]:
        """Labels of some samples.

        Raises:
            DataError: a class that is no whole number, JSON that is none.
        """
        return {
            label: as_labels(label, [_value(sample, member) for sample in samples], samples)
            for label, member in named_places(self.members).items()
        }


def as_labels(label: str, values: Sequence[Any], samples: Sequence[Sample]) -> np.ndarray:
    """Values of members as an array: by the label's name, else by what they are."""
    if label == "captions":
        found = np.empty(len(values), dtype=object)
        found[:] = [tuple(v) if isinstance(v, list) else tuple(_text(v).splitlines()) for v in values]
        return found
    texts = [_text(value) for value in values]
    if label == "class":
        for text, sample in zip(texts, samples, strict=True):
            if not text.isdecimal():
                raise DataError(f"{sample.key}: its class must be a whole number, got {text!r}")
        return np.array(list(map(int, texts)), dtype=np.int64)
    if values and all(isinstance(value, int) for value in values):
        return np.array(values, dtype=np.int64)
    if values and all(isinstance(value, int | float) for value in values):
        return np.array(values, dtype=np.float64)
    return np.array(texts, dtype=str)


def _text(value: object) -> str:
    return "" if value is None else str(value).strip()


def _value(sample: Sample, wanted: str) -> Any:
    """Text of a member, or a value of one in JSON; None where there is none."""
    ending, _, path = wanted.partition(".")
    if wanted in sample.members:
        return text_of(sample, wanted)
    value = json_of_member(sample, ending) if ending == "json" else None
    for step in path.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def text_of(sample: Sample, ending: str) -> str:
    """Text of a member; empty where there is none.

    Raises:
        DataError: the archive ends before it.
    """
    if ending not in sample.members:
        return ""
    try:
        return sample.members[ending].read().decode("utf-8", errors="replace")
    except UnreadableImageError as error:
        raise DataError(f"{sample.members[ending].tar}/{sample.members[ending].name}: {error}") from error


def json_of_member(sample: Sample, ending: str = "json") -> Any:
    """A member in JSON; None where there is none.

    Raises:
        DataError: it is no JSON.
    """
    text = text_of(sample, ending)
    try:
        return json.loads(text) if text else None
    except ValueError as error:
        raise DataError(f"{sample.members[ending].tar}/{sample.members[ending].name}: no JSON ({error})") from error


def read_lines(path: Path) -> tuple[str, ...]:
    """Lines of a text file that are not empty.

    Raises:
        DataError: no such file.
    """
    try:
        return tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip())
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); put the list there") from error
