"""The read-out: what a study says with `readout: concepts`.

It fulfils the contract `frozen.readout.readout.Readout`, and knows nothing of the engine.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from frozen.data.scenes import Scene
from frozen.intervals import IntervalConfig
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.defaults import ReadoutDefaults
from frozen.readout.maps import OfferedMap
from frozen.readout.measures import DepthCurve, Headline
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome
from frozen.readout.readout import Difference, Method, StudyReader
from frozen.readout.study import Study
from readouts.concepts.cells import cells
from readouts.concepts.columns import (
    COLUMN_KINDS,
    COLUMNS,
    CONTROLS,
    EXPECTATIONS,
    EXTRA_MEASURES,
    FLAGS,
    MEASURES,
)
from readouts.concepts.conjunctions import binding_of
from readouts.concepts.keys import ConceptsKeys, ConceptsStudy, read_keys
from readouts.concepts.maps import offered
from readouts.concepts.measuring import codes_of, dictionaries, monosemanticity_of, names_of, stability_of
from readouts.concepts.method import method
from readouts.concepts.roles import stored_labels
from readouts.concepts.stages import DIMENSIONS, GRID_COLUMN_KINDS, GRID_COLUMNS, PRODUCTS, VERSION, Stage
from readouts.concepts.stored import compare, recompute
from readouts.concepts.using import classifier_of, fidelity_of, intervention_of

_MULTIPLICATIONS_A_SECOND = 2e10
"""That a core does in a dictionary's training, about."""


class ConceptsReadout(ReadoutDefaults):
    """Dictionaries of what a backbone uses, names of their atoms, and classifiers on top."""

    version = VERSION
    keys = ConceptsKeys
    dimensions = DIMENSIONS
    measures = MEASURES
    extra_measures = EXTRA_MEASURES
    depth_curves = (
        DepthCurve(name="concepts", column="bound_auc", none=0.5, full=1.0, where=(("stage", "binding"),)),
    )
    headline = Headline(column="bound_auc", where=(("stage", "binding"),))
    columns = COLUMNS
    grid_columns = GRID_COLUMNS
    products = PRODUCTS
    flag_meanings = FLAGS
    mild_flags: ClassVar[frozenset[str]] = frozenset({"many_dead", "poor_model", "nothing_to_bind"})
    control_meanings = CONTROLS
    expectations = EXPECTATIONS
    column_kinds: ClassVar[Mapping[str, str]] = {**GRID_COLUMN_KINDS, **COLUMN_KINDS}

    def read(self, reader: StudyReader) -> ConceptsStudy | None:
        """The read-out's keys of a study."""
        return read_keys(reader)

    def cells(self, study: Study) -> Iterator[Cell | LeftOut | Mistake]:
        """Sites and dictionaries, stage by stage."""
        return cells(study)

    def maps(self, cells: Sequence[Cell]) -> Iterator[OfferedMap]:
        """The dictionaries."""
        return offered(cells)

    def bundle(self, cell: Cell) -> Hashable:
        """All dictionaries of a site train on one stream; of the other stages, all cells of a site share a trial."""
        stage: Stage = cell.settings
        return (cell.dataset, cell.backbone, cell.control, stage.site, stage.name)

    def labels(self, split: Any) -> dict[str, np.ndarray]:
        """Object codes of scenes; of other images their class, and their group."""
        return stored_labels(split)

    def cost(self, cell: Cell, sizes: Mapping[str, int]) -> float:
        """About how many multiplications the cell takes."""
        stage: Stage = cell.settings
        width = _width(cell)
        if stage.dictionary is None or stage.training is None:
            return 2e4 * sum(sizes.values())
        n_atoms = stage.dictionary.n_atoms(width)
        if stage.name == "dictionary":
            return 6.0 * width * n_atoms * stage.training.batch_size * stage.training.steps
        return 2.0 * width * n_atoms * sum(sizes.values())

    def forecast_key(self, cell: Cell) -> Hashable:
        """Stage, dictionary and width."""
        stage: Stage = cell.settings
        return (stage.name, stage.dictionary, stage.training, _width(cell))

    def forecast_s(self, cell: Cell, sizes: Mapping[str, int], device: torch.device) -> float:
        """Seconds, by the number of multiplications."""
        faster = 100 if device.type == "cuda" else 1
        return 0.5 + self.cost(cell, sizes) / (_MULTIPLICATIONS_A_SECOND * faster)

    def measure(self, cells: Mapping[Cell, Inputs], device: torch.device) -> Iterator[tuple[Cell, Outcome]]:
        """Measure the cells of one stage."""
        if next(iter(cells)).settings.name == "dictionary":
            yield from dictionaries(cells, device)
            return
        for cell, inputs in cells.items():
            yield cell, _measured(cell, inputs, device)

    def recompute(self, row: Mapping[str, Any], samples: pa.Table) -> dict[str, object]:
        """The columns that follow from the samples."""
        return recompute(row, samples)

    def compare(
        self,
        cells: Mapping[str, tuple[Mapping[str, Any], pa.Table]],
        pairs: Iterable[tuple[str, str]],
        columns: Iterable[str],
        config: IntervalConfig,
        *,
        seed: int,
    ) -> list[Difference]:
        """Paired differences between cells of one stage."""
        return compare(cells, pairs, columns, config, seed=seed)

    def exhibits(
        self, results: Path, rows: Sequence[Mapping[str, Any]], datasets: Mapping[str, Scene]
    ) -> Iterable[Any]:
        """Drawings for the report."""
        from readouts.concepts.exhibits import exhibits  # brings matplotlib, which measuring does without

        return exhibits(results, rows, datasets)

    def method(self, study: Study, rows: Sequence[Mapping[str, Any]]) -> Method:
        """What a paper says of the measurement, and cites."""
        return method(study, rows)


def _measured(cell: Cell, inputs: Inputs, device: torch.device) -> Outcome:
    match cell.settings.name:
        case "codes":
            return codes_of(cell, inputs, device)
        case "names":
            return names_of(cell, inputs, device)
        case "monosemanticity":
            return monosemanticity_of(cell, inputs)
        case "stability":
            return stability_of(cell, inputs, device)
        case "binding":
            return binding_of(cell, inputs)
        case "classifier":
            return classifier_of(cell, inputs, device)
        case "fidelity":
            return fidelity_of(cell, inputs, device)
        case "intervention":
            return intervention_of(cell, inputs)
        case other:
            raise AssertionError(f"no stage {other}")


def _width(cell: Cell) -> int:
    """Width of the site that a dictionary is made of, of the embedding or of a layer; for estimates of time."""
    layer, dot, _ = str(cell.settings.site).rpartition(".")
    return cell.description.layout_of(layer).width if dot else cell.description.embedding_width
