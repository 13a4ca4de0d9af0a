"""What all drawings of this read-out share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

Row = Mapping[str, Any]
COLOURS = {
    "cls": "#0072B2",
    "image": "#D55E00",
    "class": "#009E73",
    "context": "#CC79A7",
    "register": "#E69F00",
    "all": "#444444",
    "relevancy": "#D55E00",
    "chefer": "#0072B2",
    "mask": "#009E73",
    "random": "#777777",
    "logit": "#E69F00",
    "other_class": "#CC79A7",
    "probe": "#56B4E9",
    "object": "#009E73",
    "other": "#CC79A7",
    "background": "#D55E00",
}
"""Of kinds of tokens, and of orders in which they are removed; Okabe and Ito's."""


def pairs(rows: Sequence[Row]) -> Iterator[tuple[str, str, list[Row]]]:
    """Each data set and backbone, with its own rows and those of its controls."""
    done = [row for row in rows if row.get("status") == "done"]
    for dataset, backbone in dict.fromkeys((r["dataset"], r["backbone"]) for r in done if not r.get("is_control")):
        own = [r for r in done if r["dataset"] == dataset and backbone in (r["backbone"], r.get("control_of"))]
        yield str(dataset), str(backbone), own


def chosen(rows: Sequence[Row], **values: object) -> list[Row]:
    """Rows with these values, by depth."""
    found = [row for row in rows if all(row.get(name) == value for name, value in values.items())]
    return sorted(found, key=lambda row: float(row["layer_index"]))


def is_there(row: Row, column: str) -> bool:
    """Whether a row has a number in a column."""
    value = row.get(column)
    return value is not None and not np.isnan(float(value))


def draw_line(axes: Axes, rows: Sequence[Row], column: str, *, label: str, colour: str, dashed: bool = False) -> bool:
    """A measure over depth with its interval; whether there was one."""
    rows = [row for row in rows if is_there(row, column)]
    if not rows:
        return False
    depth = [float(row["layer_index"]) for row in rows]
    value, low, high = ([float(row[f"{column}{end}"]) for row in rows] for end in ("", "_low", "_high"))
    style = {"linestyle": "--", "linewidth": 1.0} if dashed else {"marker": "o", "markersize": 3.5, "linewidth": 1.5}
    axes.plot(depth, value, color=colour, label=None if dashed else label, **style)
    axes.fill_between(depth, low, high, color=colour, alpha=0.08 if dashed else 0.18, linewidth=0)
    return True


def dress(axes: Axes, rows: Sequence[Row], *, title: str = "", label: str = "") -> None:
    """Ticks at the blocks, named as the study names them."""
    numbers = sorted({int(float(row["layer_index"])) for row in rows if str(row["layer"]) != "logits"})
    step = max(1, len(numbers) // 8)
    axes.set_xticks(numbers[::step], ["embed" if n < 0 else str(n) for n in numbers[::step]])
    axes.set_title(title, fontsize=9)
    axes.set_ylabel(label, fontsize=9)
    axes.set_xlabel("block", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
