"""The class-embedding read-out: what a sweep measures when its study says `readout: class_embedding`.

It fulfils the contract `frozen.readout.readout.Readout`, and knows nothing of the engine.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from frozen.data.scenes import Scene, Split
from frozen.intervals import IntervalConfig
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.defaults import ReadoutDefaults
from frozen.readout.exhibit import Exhibit
from frozen.readout.measures import DepthColumn, DepthCurve, Headline
from frozen.readout.needs import Inputs, Product
from frozen.readout.outcome import Outcome
from frozen.readout.readout import Difference, Method, StudyReader
from frozen.readout.study import Study
from readouts.class_embedding.aspects import BOUND_CLASS, VERSION
from readouts.class_embedding.cells import cells
from readouts.class_embedding.columns import (
    COLUMN_KINDS,
    COLUMNS,
    CONTROLS,
    DIMENSIONS,
    EXPECTATIONS,
    FLAGS,
    GRID_COLUMNS,
    MEASURES,
)
from readouts.class_embedding.estimates import config_of, differences, estimates
from readouts.class_embedding.keys import ClassKeys, ClassStudy, read_keys
from readouts.class_embedding.measuring import measure_cells
from readouts.class_embedding.method import method
from readouts.class_embedding.ranks import LABEL

_SECONDS_A_SAMPLE = 2e-5
"""Of one cell's aggregates: 40 ms for 2,000 images, most of it the bootstrap's draws."""


class ClassEmbedding(ReadoutDefaults):
    """Measures when a token becomes its class."""

    version = VERSION
    keys = ClassKeys
    dimensions = DIMENSIONS
    measures = MEASURES
    depth_curves = tuple(
        DepthCurve(
            name=name,
            column="identifiability",
            none=0.5,
            full=1.0,
            where=(("aspect", "projection"), ("part", "residual"), ("token", kind)),
        )
        for name, kind in (("class, CLS token", "cls"), ("class, image tokens", "image"))
    )
    depth_columns = tuple(
        DepthColumn(name=name, column=column, where=(("aspect", BOUND_CLASS), ("part", "residual"), ("token", kind)))
        for name, column, kind in (
            ("bound class, CLS token", "bound_percent", "cls"),
            ("bound class, object's tokens", "bound_percent", "object"),
            ("illusory, object's tokens", "illusory_percent", "object"),
        )
    )
    headline = Headline(
        column="identifiability", beside="rate_percent", where=(("aspect", "projection"), ("part", "residual"))
    )
    columns = COLUMNS
    grid_columns = GRID_COLUMNS
    products: ClassVar[Mapping[str, str]] = {
        "ranks": "twice the rank of the class by the probe of every position, uint16 [image position]"
    }
    column_kinds = COLUMN_KINDS
    flag_meanings = FLAGS
    mild_flags: ClassVar[frozenset[str]] = frozenset({"few_images"})
    control_meanings = CONTROLS
    expectations = EXPECTATIONS

    def read(self, reader: StudyReader) -> ClassStudy | None:
        """The read-out's keys of a study."""
        return read_keys(reader)

    def cells(self, study: Study) -> Iterator[Cell | LeftOut | Mistake]:
        """Data sets, backbones, sites, kinds of tokens, conditions."""
        return cells(study)

    def bundle(self, cell: Cell) -> Hashable:
        """All cells of one backbone on one data set share a trial: their captures are read once.

        What needs another cell's product comes in a trial of its own.
        """
        own = (cell.dataset, cell.backbone, cell.control)
        return (*own, "by probe") if any(True for _ in cell.needs_of(Product)) else own

    def labels(self, split: Split) -> dict[str, np.ndarray]:
        """Classes; what else is known of the samples goes into the captures."""
        known: Any = split
        return {"class": np.asarray(known.labels(LABEL, np.arange(len(split))), dtype=np.int64)}

    def cost(self, cell: Cell, sizes: Mapping[str, int]) -> float:
        """Samples that are read."""
        return float(sum(sizes.values())) * max(1, cell.description.layout.n_tokens)

    def forecast_key(self, cell: Cell) -> Hashable:
        """Its aspect."""
        return cell.settings.aspect

    def forecast_s(self, cell: Cell, sizes: Mapping[str, int], device: torch.device) -> float:
        """Seconds of the bootstrap, which is most of it."""
        del cell, device
        return _SECONDS_A_SAMPLE * sum(sizes.values())

    def measure(self, cells: Mapping[Cell, Inputs], device: torch.device) -> Iterator[tuple[Cell, Outcome]]:
        """Measure the cells, some at a time."""
        return measure_cells(cells, device)

    def recompute(self, row: Mapping[str, Any], samples: pa.Table) -> Mapping[str, object]:
        """All measures and their intervals; p-values need the tokens and stay as they are."""
        return estimates(samples, config_of(row), int(row["seed"]))

    def compare(
        self,
        cells: Mapping[str, tuple[Mapping[str, Any], pa.Table]],
        pairs: Iterable[tuple[str, str]],
        columns: Iterable[str],
        config: IntervalConfig,
        *,
        seed: int,
    ) -> list[Difference]:
        """Paired differences on the same images.

        Raises:
            ValueError: cells of other images.
        """
        return differences(cells, pairs, columns, config, seed=seed)

    def exhibits(
        self, results: Path, rows: Sequence[Mapping[str, Any]], datasets: Mapping[str, Scene]
    ) -> Iterable[Exhibit]:
        """Drawings of the report."""
        from readouts.class_embedding.exhibits import exhibits  # brings matplotlib, which measuring does without

        return exhibits(results, rows, datasets)

    def method(self, study: Study, rows: Sequence[Mapping[str, Any]]) -> Method:
        """What a paper says of the measurement."""
        return method(study, rows)
