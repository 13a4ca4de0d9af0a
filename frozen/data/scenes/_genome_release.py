"""The public Visual Genome release: addresses and objects of its images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, Field, RootModel

from frozen.data.scenes._base import DataError
from frozen.data.scenes._disk import read_json
from frozen.data.scenes._genome_vocabulary import plain_name, read_aliases

_REMEDY = "give the file of the public release of Visual Genome"

Object = tuple[str, list[str]]
"""Class and attributes."""


class _Image(BaseModel):
    image_id: int
    url: str


class _Images(RootModel[list[_Image]]):
    pass


class _Object(BaseModel):
    names: list[str]
    attributes: list[str] | None = None


class _Annotation(BaseModel):
    image_id: int
    objects: list[_Object] = Field(validation_alias=AliasChoices("attributes", "objects"))


class _Annotations(RootModel[list[_Annotation]]):
    pass


def read_release(
    image_data: Path, objects: Path, object_aliases: Path | None, attribute_aliases: Path | None
) -> tuple[dict[int, str], dict[int, list[Object]]]:
    """Address and objects of every image, names in lower case with aliases resolved.

    Raises:
        DataError: files that are missing or of another shape, an image listed twice or without an address.
    """
    names, values = read_aliases(object_aliases), read_aliases(attribute_aliases)
    images = _by_id(
        image_data, ((image.image_id, image.url) for image in read_json(image_data, _Images, _REMEDY).root)
    )
    annotations = read_json(objects, _Annotations, _REMEDY).root
    found = _by_id(
        objects,
        ((one.image_id, [_object(item, names, values) for item in one.objects if item.names]) for one in annotations),
    )
    if unknown := sorted(set(found) - set(images)):
        raise DataError(f"{objects}: image {unknown[0]} is not in {image_data} ({len(unknown)} are not); {_REMEDY}")
    return images, found


def _object(item: _Object, names: Mapping[str, str], values: Mapping[str, str]) -> Object:
    name = plain_name(item.names[0])
    attributes = [plain_name(value) for value in item.attributes or ()]
    return names.get(name, name), list(dict.fromkeys(values.get(value, value) for value in attributes))


def _by_id(path: Path, pairs: Iterable[tuple[int, Any]]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for number, value in pairs:
        if number in found:
            raise DataError(f"{path}: image_id {number} occurs twice; {_REMEDY}")
        found[number] = value
    return found
