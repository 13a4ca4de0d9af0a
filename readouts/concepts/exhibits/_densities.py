"""How often atoms fire."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from frozen.readout.exhibit import Exhibit
from readouts.concepts.exhibits._base import StudyResults, coloured, logarithmic, panels

_BINS_A_DECADE = 4


def densities(source: StudyResults) -> Iterator[Exhibit]:
    """A histogram of the atoms of every dictionary by the share of test rows that they fire on."""
    values = [value for row in source.firsts("dictionary") for value in _bins(source, row)]
    if values:
        yield Exhibit(
            "How often atoms fire",
            "Atoms by the share of test rows that they are active in, on a logarithmic scale; those that never fire "
            "stand at the left end. Many atoms at the right end are dense, and mean little by themselves.",
            "Histograms of atoms by density, by backbone.",
            partial(draw, values),
        )


def _bins(source: StudyResults, row: Any) -> Iterator[dict[str, Any]]:
    table = source.table(row, "densities") or []
    found = np.array([one["density"] for one in table])
    if not len(found):
        return
    least = min(float(found[found > 0].min(initial=1.0)), 1e-3)
    start = math.floor(math.log10(least) * _BINS_A_DECADE)
    place = np.where(found > 0, np.floor(np.log10(found.clip(1e-12)) * _BINS_A_DECADE), start - 1).astype(int)
    for bin_number in range(start - 1, 1):
        yield {
            "dataset": row["dataset"],
            "backbone": row["backbone"],
            "site": row["site"],
            "of": f"{row['backbone']} · {row['site']}",
            "dictionary": row["dictionary"],
            "density": 10 ** ((bin_number + 0.5) / _BINS_A_DECADE),
            "atoms": int((place == min(bin_number, -1)).sum()) if bin_number < 0 else int((place >= 0).sum()),
        }


def draw(values: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A Vega-Lite specification."""
    encoding = {
        "x": logarithmic("density", "share of test rows"),
        "y": {"field": "atoms", "type": "quantitative", "title": "atoms"},
        "color": {**coloured("dictionary"), "sort": None},
        "tooltip": [{"field": name} for name in ("dictionary", "density", "atoms")],
    }
    mark = {"type": "line", "interpolate": "step", "strokeWidth": 1.6}
    return panels(values, {"height": 180, "mark": mark, "encoding": encoding})
