"""Where the numbers of an exhibit lie."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow.parquet as pq
from matplotlib.axes import Axes

from frozen.data.spec import AnyDataset, open_split
from readouts.concepts.roles import SplitRoles, class_names

Row: TypeAlias = Mapping[str, Any]
_NOTHING = 0.01
"""Share of the longest bar below which a bar would not be seen."""
_OF_DICTIONARY = ("backbone", "site", "dictionary", "training_number")


class StudyResults(NamedTuple):
    """Results of a study.

    Attributes:
        results: their folder; `names/`, `strongest/`, ... hold a file a cell.
        rows: result rows.
        scenes: data sets by name.
    """

    results: Path
    rows: Sequence[Row]
    scenes: Mapping[str, AnyDataset]

    def of(self, stage: str, *, controls: bool = False) -> Iterator[Row]:
        """Measured rows of a stage."""
        for row in self.rows:
            is_control = bool(row.get("is_control") or row.get("control"))
            if row.get("stage") == stage and row.get("status") == "done" and (controls or not is_control):
                yield row

    def firsts(self, stage: str) -> Iterator[Row]:
        """Those of the first training of each dictionary."""
        return (row for row in self.of(stage) if row["training_number"] == 0)

    def table(self, row: Row, folder: str) -> list[dict[str, Any]] | None:
        """The records of a cell's file, if there is one."""
        path = self.results / folder / f"{row['cell_id']}.parquet"
        return pq.read_table(path).to_pylist() if path.is_file() else None

    def names(self, row: Row) -> list[dict[str, Any]] | None:
        """Names of the atoms of a row's dictionary, by the first vocabulary."""
        for other in self.of("names"):
            if all(other[name] == row[name] for name in _OF_DICTIONARY):
                return self.table(other, "names")
        return None

    def word(self, names: list[dict[str, Any]] | None, atom: int) -> str:
        """An atom as pictures call it: its name and number, two atoms of one name apart."""
        if names is None or atom >= len(names):
            return f"atom {atom}"
        one = names[atom]
        return f"{one['name']} ({atom})" if one["name"] == one["text"] else f"{one['text']}? ({atom})"

    def images(self, dataset: str, numbers: Sequence[int]) -> np.ndarray:
        """Test images of a data set."""
        config = self.scenes[dataset]
        split = open_split(config, SplitRoles.of(config).test or "test")
        return split.images(np.asarray(numbers, dtype=np.int64))

    def class_of(self, dataset: str, task: str, number: int) -> str:
        """What a class is called."""
        names = class_names(self.scenes[dataset], task)
        return names[number].removeprefix("a ") if number < len(names) else f"class {number}"


def about(row: Row) -> str:
    """Which dictionary a picture is of."""
    return f"{row['backbone']} · {row['site']} · {row['dictionary']}"


def panels(values: Sequence[Row], spec: Row, *, by: str = "of") -> dict[str, Any]:
    """A Vega-Lite specification: a panel for each value of a field, two side by side."""
    facet = {"field": by, "type": "nominal", "title": None, "sort": None}
    facet["header"] = {"labelLimit": 520, "title": None}
    return {"data": {"values": list(values)}, "facet": facet, "columns": 2, "spec": {"width": 300, **spec}}


def logarithmic(field: str, title: str) -> dict[str, Any]:
    """An axis of Vega-Lite."""
    scale, axis = {"type": "log", "nice": False}, {"format": "~g", "tickCount": 6}
    return {"field": field, "type": "quantitative", "title": title, "scale": scale, "axis": axis}


def coloured(field: str) -> dict[str, Any]:
    """Colours of Vega-Lite with their legend below."""
    legend = {"orient": "bottom", "columns": 1, "labelLimit": 420, "title": None}
    return {"field": field, "type": "nominal", "legend": legend}


def picture(axes: Axes, image: np.ndarray | None) -> None:
    """An image in a thin frame; without one, an empty place."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set(color="#c8ced6", linewidth=0.8)
    if image is None:
        axes.set_visible(False)
    else:
        axes.imshow(image, interpolation="nearest")


def bars(axes: Axes, words: Sequence[str], values: Sequence[float]) -> None:
    """Horizontal bars with words at their left, the first on top; atoms of one name are two bars, next to 0 none."""
    n_places = len(words)
    least = _NOTHING * max(map(abs, values), default=0.0)
    shown = [(word, value) for word, value in zip(words, values, strict=True) if abs(value) > least]
    words, values = [word for word, _ in shown], [value for _, value in shown]
    places = np.arange(n_places)[::-1][: len(words)]
    colours = ["#0072B2" if value >= 0 else "#D55E00" for value in values]
    axes.barh(places, values, color=colours, height=0.7)
    axes.set_yticks(places, words, fontsize=7)
    axes.tick_params(axis="x", labelsize=6, length=2)
    axes.tick_params(axis="y", length=0)
    axes.axvline(0, color="#3d4650", linewidth=0.6)
    axes.margins(x=0.08)
    axes.set_ylim(-0.6, n_places - 0.4)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
