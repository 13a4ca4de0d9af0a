"""The exhibits of the read-out, in the order in which a report shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from frozen.data.spec import AnyDataset
from frozen.readout.exhibit import Exhibit
from readouts.concepts.exhibits._atoms import atom_galleries, atom_tables
from readouts.concepts.exhibits._base import StudyResults
from readouts.concepts.exhibits._classes import accuracies, explanations
from readouts.concepts.exhibits._clusters import cluster_pictures
from readouts.concepts.exhibits._densities import densities
from readouts.concepts.exhibits._selectivity import selectivities


def exhibits(results: Path, rows: Sequence[Mapping[str, Any]], scenes: Mapping[str, AnyDataset]) -> Iterator[Exhibit]:
    """What to show beside the tables and figures that every read-out has.

    Args:
        results: the folder of a study's results.
        rows: result rows, of done and failed cells.
        scenes: the data sets of the study, by name.
    """
    source = StudyResults(results, rows, scenes)
    yield from selectivities(source)
    yield from densities(source)
    yield from atom_galleries(source)
    yield from atom_tables(source)
    yield from accuracies(source)
    yield from explanations(source)
    yield from cluster_pictures(source)
