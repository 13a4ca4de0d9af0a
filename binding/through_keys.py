"""The key `through` of a study: which maps activations are read through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Discriminator, Tag, WrapValidator

from frozen.capture.views import MODES, Mode
from frozen.paths import StudyPath
from frozen.problems import did_you_mean, show
from frozen.readout.forms import Border, TypeForm, complaint, list_of, literal
from frozen.readout.maps import MAPS

CLASS_LOGITS, JOINT = "class_logits", "joint"


@dataclass(frozen=True)
class MapFile:
    """A map of activations that lies in a file."""

    map: str
    """Kind of map, such as dictionary."""
    file: StudyPath
    """The file, relative to the study."""
    layer: int | str
    """The layer whose activations it reads, or a part of one, as `layers` names them."""
    modes: tuple[Mode, ...] = MODES
    """The modes in which it reads them."""
    backbone: str | None = None
    """Source of the backbone that it belongs to; null for every one."""


Through = str | MapFile
"""class_logits, joint, the kind of the maps that other read-outs of the file give, alone or with a sort of their
coordinates behind a dot, or a file."""


class MapFileForm(Border):
    """A map of activations that lies in a file."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    map: str
    """Kind of map, such as dictionary."""
    file: str
    """The file or folder, relative to the study."""
    layer: int | str
    """The layer whose activations it reads, or a part of one, as `layers` names them."""
    modes: list_of(literal(MODES)) = MODES  # pyright: ignore[reportInvalidTypeForm]
    """The modes in which it reads them."""
    backbone: str | None = None
    """Source of the backbone that it belongs to; by default every one."""


def _named(value: object, inner: Any) -> str:
    text = inner(value)
    kind, dot, selection = text.partition(".")
    if text in (CLASS_LOGITS, JOINT) or (kind in MAPS and bool(dot) == bool(selection)):
        return text
    known = (CLASS_LOGITS, JOINT, *MAPS)
    raise complaint(f"unknown map {show(text)}; {MAPS.fault(text) or did_you_mean(text, known)}")


def _tag(value: object) -> str:
    return "<file>" if isinstance(value, dict | MapFileForm) else "<name>"


ThroughForm: TypeForm = Annotated[
    Annotated[Annotated[str, WrapValidator(_named)], Tag("<name>")] | Annotated[MapFileForm, Tag("<file>")],
    Discriminator(_tag),
]
"""The form of an entry of `through` in a study file."""


def read_through(entries: tuple[Any, ...]) -> tuple[Through, ...]:
    """Entries of a study as frozen values."""
    return tuple(one if isinstance(one, str) else _file(one.given()) for one in entries)


def _file(given: dict[str, Any]) -> MapFile:
    return MapFile(**{**given, "file": StudyPath(given["file"], given["file"])})
