"""The exhibits of the binding read-out, in the order in which a report shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from binding.exhibits._attention import attention_maps
from binding.exhibits._breakdown import breakdowns
from binding.exhibits._budget import bits_budgets
from binding.exhibits._heads import head_maps
from binding.exhibits._importance import importances
from binding.exhibits._scenes import scene_pictures
from frozen.data.scenes import Scene
from frozen.readout.exhibit import Exhibit


def exhibits(results: Path, rows: Sequence[Mapping[str, Any]], scenes: Mapping[str, Scene]) -> Iterator[Exhibit]:
    """What to show beside the tables and figures that every read-out has.

    Args:
        results: the folder of a study's results; `samples/`, `curves/` and `details/` hold a file a cell.
        rows: result rows, of done and failed cells.
        scenes: the data sets of the study, by name.
    """
    yield from scene_pictures(scenes)
    yield from bits_budgets(rows)
    yield from head_maps(rows)
    yield from attention_maps(results, rows, scenes)
    yield from breakdowns(results, rows)
    yield from importances(results, rows)
