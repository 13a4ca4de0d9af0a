"""COCO in the Karpathy splits, as shards of tar archives: captions, and how many of each thing there are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, ValidationError

from frozen.data.dataset import DataError, Missing
from frozen.data.readers._base import IS_PATH, Listing
from frozen.data.readers._tars import Sample
from frozen.data.readers._webdataset import WebDataset, as_labels, json_of_member, text_of

_NUMBER = re.compile(r"(\d+)$")


@dataclass(frozen=True, kw_only=True)
class CocoCaptions(WebDataset):
    """COCO with the Karpathy splits: shards with KEY.jpg and its annotation in KEY.json or KEY.txt."""

    shards: tuple[str, ...] = ("test={000000..000004}.tar",)
    """Splits, NAME=PATTERN."""
    captions: str | None = field(default=None, metadata=IS_PATH)
    """Karpathy's dataset_coco.json, or COCO's captions_val2014.json; null takes the captions in the shards:
    sentences, captions or caption in JSON, or the lines of the text."""
    instances: str | None = field(default=None, metadata=IS_PATH)
    """COCO's instances_val2014.json, for the label instances; null has no such label."""

    label_meanings: ClassVar[Mapping[str, str]] = {
        "caption": "the first caption",
        "captions": "all captions",
        "image_id": "COCO's number of the image",
        "instances": "how many instances of each category, where `instances` is given",
    }

    @property
    def label_names(self) -> tuple[str, ...]:
        """Captions and number; instances where they are given; members that the study names."""
        own = [name for name in self.label_meanings if name != "instances" or self.instances is not None]
        return tuple(dict.fromkeys([*own, *super().label_names]))

    @property
    def remedy(self) -> str:
        return (
            "make webdataset shards of the Karpathy split (images of val2014, dataset_coco.json beside them), or "
            "change `root` and `shards`"
        )

    def missing(self) -> Missing | None:
        for path in (self.captions, self.instances):
            if path and not Path(path).exists():
                return Missing(f"{path} is not there", "get it from https://cocodataset.org, or leave it out")
        return super().missing()

    def listing(self, name: str) -> Listing:
        found = super().listing(name)
        names = {} if self.instances is None else {"instances": _instances(Path(self.instances)).names}
        return found._replace(names={**found.names, **names})

    def own_labels(self, samples: Sequence[Sample]) -> dict[str, np.ndarray]:
        """Captions, numbers of images, and instances."""
        annotations = [json_of_member(sample) for sample in samples]
        given = None if self.captions is None else _captions(Path(self.captions))
        ids = [_image_id(note, sample.key) for note, sample in zip(annotations, samples, strict=True)]
        texts = list[list[str]]()
        for sample, note, number in zip(samples, annotations, ids, strict=True):
            own = given.get(number, []) if given is not None else _texts(note) or text_of(sample, "txt").splitlines()
            if not own:
                where = self.captions or sample.members.get("json") or sample.key
                raise DataError(f"{sample.key}: has no caption in {where}; give `captions: dataset_coco.json`")
            texts.append([text.strip() for text in own])
        found = {
            "caption": as_labels("caption", [own[0] for own in texts], samples),
            "captions": as_labels("captions", texts, samples),
            "image_id": np.array(ids, dtype=np.int64),
        }
        if self.instances is not None:
            known = _instances(Path(self.instances))
            found["instances"] = np.stack([known.counts(number) for number in ids])
        return {**found, **super().own_labels(samples)}


def _image_id(note: Any, key: str) -> int:
    """COCO's number of an image: from its annotation, else the digits at the end of its file's name or key."""
    notes = note if isinstance(note, list) else [note]
    for one in notes:
        for name in ("cocoid", "image_id", "id"):
            if isinstance(one, dict) and isinstance(one.get(name), int):
                return one[name]
        for name in ("filename", "file_name"):
            if isinstance(one, dict) and (match := _NUMBER.search(Path(str(one.get(name, ""))).stem)):
                return int(match[1])
    match = _NUMBER.search(key)
    return int(match[1]) if match else -1


def _texts(note: Any) -> list[str]:
    """Captions in the annotation of an image, whichever of the usual forms it has."""
    if isinstance(note, str):
        return [note]
    if isinstance(note, list):
        return [text for one in note for text in _texts(one)]
    if isinstance(note, dict):
        for name in ("sentences", "captions", "caption", "raw"):
            if found := _texts(note.get(name)):
                return found
    return []


class _Annotation(BaseModel):
    image_id: int
    caption: str = ""
    category_id: int = 0


class _Sentence(BaseModel):
    raw: str


class _Image(BaseModel):
    cocoid: int = -1
    sentences: list[_Sentence] = []


class _Category(BaseModel):
    id: int
    name: str


class _Release(BaseModel):
    """What is read of the JSON files of COCO and Karpathy."""

    images: list[_Image] = []
    annotations: list[_Annotation] = []
    categories: list[_Category] = []


class _Instances:
    """How many instances of each category images show."""

    def __init__(self, release: _Release) -> None:
        categories = sorted(release.categories, key=lambda category: category.id)
        self.names = tuple(category.name for category in categories)
        place = {category.id: number for number, category in enumerate(categories)}
        self._counts: dict[int, Counter[int]] = {}
        for one in release.annotations:
            self._counts.setdefault(one.image_id, Counter())[place[one.category_id]] += 1

    def counts(self, image_id: int) -> np.ndarray:
        """Of one image, int64 [categories]; zeros where it has none."""
        found = np.zeros(len(self.names), dtype=np.int64)
        for place, count in self._counts.get(image_id, {}).items():
            found[place] = count
        return found


def _instances(path: Path) -> _Instances:
    return _read_instances(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read_instances(path: Path, changed_at: int) -> _Instances:
    del changed_at
    try:
        return _Instances(_release(path))
    except KeyError as error:
        raise DataError(f"{path}: has an annotation of category {error}, which it does not list") from error


def _captions(path: Path) -> dict[int, list[str]]:
    return _read_captions(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _read_captions(path: Path, changed_at: int) -> dict[int, list[str]]:
    del changed_at
    release = _release(path)
    found = {image.cocoid: [s.raw for s in image.sentences] for image in release.images if image.sentences}
    for one in release.annotations:
        found.setdefault(one.image_id, []).append(one.caption)
    return found


def _release(path: Path) -> _Release:
    try:
        return _Release.model_validate_json(path.read_bytes())
    except ValidationError as error:
        details: Any = error.errors(include_url=False)[0]
        place = ".".join(map(str, details["loc"])) or "the file"
        raise DataError(f"{path}: not of the shape of COCO's annotations, at {place}: {details['msg']}") from error
