"""The read-out's own exhibits, drawn; what cannot be drawn becomes a note."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from frozen.readout.exhibit import Exhibit

DOTS_AN_INCH = 200


@dataclass(frozen=True)
class Shown:
    """An exhibit on the page: a specification, a picture as a data address, or a note on what went wrong."""

    title: str
    caption: str
    alternative: str
    specification: Mapping[str, Any] | None = None
    picture: str = ""
    note: str = ""


def shown(find: Callable[[], Iterable[Exhibit]]) -> list[Shown]:
    """Draw all exhibits.

    Args:
        find: finds them; what it raises becomes a note in the place of those that it did not get to.
    """
    drawn: list[Shown] = []
    try:
        for exhibit in find():
            drawn.append(_drawn(exhibit))  # noqa: PERF401 - those before a failure are kept
    except Exception as error:  # noqa: BLE001 - a report without one drawing is better than none
        drawn.append(Shown("Exhibits of the read-out", "", "", note=_note(error)))
    return drawn


def _drawn(exhibit: Exhibit) -> Shown:
    texts = (exhibit.title, exhibit.caption, exhibit.alternative)
    try:
        drawing = exhibit.draw()
        if isinstance(drawing, Mapping):
            return Shown(*texts, specification=drawing)
        png = drawing if isinstance(drawing, bytes) else _png(drawing)
        return Shown(*texts, picture=f"data:image/png;base64,{base64.b64encode(png).decode()}")
    except Exception as error:  # noqa: BLE001 - the others are still worth seeing
        return Shown(*texts, note=_note(error))


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_AN_INCH, metadata={"Software": None})
    return buffer.getvalue()


def _note(error: Exception) -> str:
    return f"could not be drawn: {type(error).__name__}: {error}"
