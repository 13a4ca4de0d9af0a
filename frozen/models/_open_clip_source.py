"""Which model of open_clip a source names: the library's settings of it, or those of a folder."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from frozen.models._base import BackboneError
from frozen.models._config import BackboneConfig
from frozen.models._torchvision_ops import declare_missing_operators
from frozen.models._vision import Pixels

INSTALL = "pip install 'binding-sweep[open_clip]'"
SETTINGS = "open_clip_config.json"


class Source(NamedTuple):
    """Which model of open_clip a source names.

    Attributes:
        name: of one of the library's settings, or `local-dir:FOLDER`.
        tag: of its weights; empty where a file or a folder has them, or chance.
        settings: of the model.
        pixels: what its images are normalised with.
        folder: where it lies; None for the library's own.
    """

    name: str
    tag: str
    settings: dict[str, Any]
    pixels: Pixels
    folder: Path | None

    @property
    def vision(self) -> dict[str, Any]:
        """Settings of the image tower."""
        return self.settings["vision_cfg"]

    @property
    def writes_captions(self) -> bool:
        """Whether it is a CoCa whose image tower ends in one attentional pooler."""
        return "multimodal_cfg" in self.settings and self.vision.get("attentional_pool") is True


def library(source: str) -> Any:
    """The module.

    Raises:
        BackboneError: it is not installed.
    """
    if find_spec("open_clip") is None:
        raise BackboneError(f"{source} needs the library open_clip; {INSTALL}")
    declare_missing_operators()
    import open_clip  # pyright: ignore[reportMissingImports], an extra

    return open_clip


def source_of(config: BackboneConfig) -> Source:
    """What a source names, from settings alone.

    Raises:
        BackboneError: no such model, folder or weights.
    """
    name = config.architecture
    open_clip = library(config.source)
    if name.startswith((".", "/", "~")):
        folder = Path(name).expanduser()
        try:
            content = json.loads((folder / SETTINGS).read_text())
            settings, pixels = content["model_cfg"], content.get("preprocess_cfg", {})
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise BackboneError(f"{config.source}: {folder / SETTINGS} cannot be read: {error!r}") from error
        return Source(f"local-dir:{folder}", "", settings, _pixels(open_clip, pixels), folder)
    name, _, tag = name.partition("/")
    settings = open_clip.get_model_config(name)
    if settings is None:
        from difflib import get_close_matches

        near = get_close_matches(name, open_clip.list_models(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise BackboneError(f"open_clip has no model {name!r}{hint}")
    tags = open_clip.list_pretrained_tags_by_model(name)
    if tag and tag not in tags:
        raise BackboneError(f"open_clip has no weights {tag!r} of {name}; there are {', '.join(tags) or 'none'}")
    if not tag and config.kind != "random" and config.weights_file is None:
        there = f"{name}/{tags[-1]}" if tags else "a file, `weights: FILE`"
        raise BackboneError(f"{config.source} names no weights; write open_clip:NAME/TAG, such as {there}")
    chosen = open_clip.get_pretrained_cfg(name, tag) if tag else {}
    return Source(name, tag, settings, _pixels(open_clip, chosen), None)


def _pixels(open_clip: Any, settings: dict[str, Any]) -> Pixels:
    mean = settings.get("mean") or open_clip.OPENAI_DATASET_MEAN
    std = settings.get("std") or open_clip.OPENAI_DATASET_STD
    return Pixels(tuple(mean), tuple(std))
