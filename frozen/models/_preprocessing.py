"""What the settings of an image processor ask for: its normalisation is honoured, another way to resize is said."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from frozen.models._base import BackboneError
from frozen.models._vision import ADVICE, Pixels
from frozen.problems import show

_PLAIN_FACTOR = 1 / 255
_LARGEST = 1e30
_RESAMPLING = {0: "nearest", 1: "Lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "Hamming"}
_BILINEAR = 2
_REFUSED = {
    "rescale_offset": "shifts its pixels after scaling them",
    "do_flip_channel_order": "reads blue, green and red in this order",
    "do_grayscale": "reads grey images",
}


class Preprocessing(NamedTuple):
    """How a model's input is made.

    Attributes:
        pixels: normalisation.
        notes: in what the images that it gets differ from those its settings ask for.
    """

    pixels: Pixels
    notes: tuple[str, ...] = ()


def read_preprocessing(path: Path | None, source: str, image_size: int) -> Preprocessing:
    """What the settings of an image processor say.

    Args:
        path: of the settings; None where the model has none.
        source: of the model.
        image_size: pixels a side that its images are resized to.

    Raises:
        BackboneError: settings that are no settings, say nothing of the normalisation, or ask for what is not done.
    """
    settings = {} if path is None else _settings(path)
    flags = {name: _flag(path, settings, name) for name in ("do_rescale", "do_normalize", "do_center_crop")}
    for name, what in _REFUSED.items():
        if _flag(path, settings, name, otherwise=False):
            raise BackboneError(f"{source} {what} ({path}: {name}), which is not done here; {ADVICE}")
    factor = 1.0
    if flags["do_rescale"]:
        factor = _number(path, "rescale_factor", settings.get("rescale_factor", _PLAIN_FACTOR), above=0.0)
    scale = 1 / (255 * factor)
    if math.isclose(scale, 1, rel_tol=1e-6):
        scale = 1.0  # as nearly every model has it, whatever its digits
    mean = std = None
    if not flags["do_normalize"]:
        mean, std = (0.0,) * 3, (1.0,) * 3
    elif settings.get("image_mean") is None or settings.get("image_std") is None:
        raise BackboneError(
            f"{source} does not say how its pixels are normalised (preprocessor_config.json with image_mean and "
            f"image_std); {ADVICE}"
        )
    else:
        mean = _channels(path, "image_mean", settings["image_mean"], above=-math.inf)
        std = _channels(path, "image_std", settings["image_std"], above=0.0)
    note = "" if scale == 1 else f" pixels x {1 / scale:.9g}"
    pixels = Pixels(tuple(value * scale for value in mean), tuple(value * scale for value in std), note)
    return Preprocessing(pixels, tuple(_notes(settings, image_size)))


def _settings(path: Path) -> dict[str, Any]:
    try:
        settings = json.loads(path.read_bytes())
        settings = settings.get("image_processor", settings)
        if not isinstance(settings, dict):
            raise TypeError(f"image_processor must be a mapping, got {show(settings)}")
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise BackboneError(f"{path}: holds no settings of an image processor ({error}); get it again") from error
    return settings


def _flag(path: Path | None, settings: Mapping[str, Any], name: str, *, otherwise: bool = True) -> bool:
    value = settings.get(name)
    if value is not None and not isinstance(value, bool):
        raise BackboneError(f"{path}: {name} must be true or false, got {show(value)}")
    return otherwise if value is None else value


def _number(path: Path | None, name: str, value: object, *, above: float) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    number = float(value) if isinstance(value, int | float) and abs(value) < _LARGEST else math.nan
    if not is_number or not number > above:
        limit = f" > {above:g}" if math.isfinite(above) else ""
        raise BackboneError(f"{path}: {name} must be a number{limit}, got {show(value)}")
    return number


def _channels(path: Path | None, name: str, value: object, *, above: float) -> tuple[float, ...]:
    """One number for all channels, or one for each of red, green and blue."""
    if not isinstance(value, list):
        value = [value] * 3
    if len(value) != 3:
        raise BackboneError(f"{path}: {name} must be one number, or one for each of 3 channels; got {len(value)}")
    return tuple(_number(path, name, item, above=above) for item in value)


def _notes(settings: Mapping[str, Any], image_size: int) -> Iterator[str]:
    """What the settings ask for beside normalisation."""
    if settings.get("do_resize") is False:
        return
    asked: list[str] = []
    resample, size = settings.get("resample"), settings.get("size")
    if resample not in (None, _BILINEAR):
        asked.append(f"{_RESAMPLING.get(resample, show(resample))} resizing" if isinstance(resample, int) else "")
    if edge := _shortest_edge(size):
        asked.append(f"a shortest edge of {edge} px")
    if settings.get("do_center_crop"):
        asked.append("a crop of the middle")
    if asked := [part for part in asked if part]:
        yield (
            f"its image processor asks for {', '.join(asked)}; images are resized bilinearly to "
            f"{image_size} x {image_size} px and not cropped, as for every backbone"
        )


def _shortest_edge(size: object) -> object:
    if isinstance(size, Mapping):
        return size.get("shortest_edge")
    return size if isinstance(size, int) and not isinstance(size, bool) else None
