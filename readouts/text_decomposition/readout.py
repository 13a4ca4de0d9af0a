"""The read-out `text_decomposition`; it fulfils the contract `frozen.readout.readout.Readout`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pyarrow as pa
import torch

from frozen.data.scenes import Scene
from frozen.data.spec import AnySplit
from frozen.intervals import IntervalConfig
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.defaults import ReadoutDefaults
from frozen.readout.measures import DepthColumn, DepthCurve, Headline
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome, PerImage
from frozen.readout.readout import Difference, Method, StudyReader
from frozen.readout.study import Study
from readouts.text_decomposition.asked import EMBEDDING, MAP, SPACE, Asked
from readouts.text_decomposition.cells import VERSION, cells
from readouts.text_decomposition.columns import (
    COLUMN_KINDS,
    COLUMNS,
    CONTROLS,
    DIMENSIONS,
    EXPECTATIONS,
    EXTRA_MEASURES,
    FLAGS,
    GRID_COLUMN_KINDS,
    GRID_COLUMNS,
    MEASURES,
)
from readouts.text_decomposition.estimates import caption_bits, differences, estimate, estimate_columns
from readouts.text_decomposition.given import LABEL, numbered_labels
from readouts.text_decomposition.keys import TextDecompositionKeys, TextDecompositionStudy, read_keys
from readouts.text_decomposition.measuring import measured
from readouts.text_decomposition.method import method

_SECONDS = {"decomposition": 2e-4, "removal": 1e-4, "textspan": 1e-4, "heatmap": 3e-3, "forced_choice": 5e-5}
"""Of one image on one core of 2024, in a bundle of the shipped models' size."""


class TextDecomposition(ReadoutDefaults):
    """Splits a CLIP's image embedding among heads and MLPs, and reads the parts in words."""

    version = VERSION
    keys = TextDecompositionKeys
    dimensions = DIMENSIONS
    measures = MEASURES
    depth_curves = (
        DepthCurve(
            name="words", column="alone_percent", none=50.0, full=100.0, where=(("analysis", "forced_choice"),)
        ),
    )
    depth_columns = (
        DepthColumn(name="caption bits of a term", column="caption_bits", where=(("analysis", "forced_choice"),)),
        DepthColumn(
            name="caption bits of the embedding",
            column="caption_bits",
            where=(("analysis", "forced_choice"), ("term", EMBEDDING)),
            bounds="I(O;Z|F)",
        ),
    )
    headline = Headline(column="accuracy_percent", where=(("analysis", "decomposition"),))
    extra_measures = EXTRA_MEASURES
    columns = COLUMNS
    grid_columns = GRID_COLUMNS
    products: ClassVar[Mapping[str, str]] = {
        MAP: "linear map from a backbone's embedding to the joint space of a CLIP (npz)",
        SPACE: "weights between the outputs of heads and the joint space, texts and their vectors (npz)",
    }
    flag_meanings = FLAGS
    mild_flags: ClassVar[frozenset[str]] = frozenset({"few_images", "no_heads"})
    control_meanings = CONTROLS
    expectations = EXPECTATIONS
    column_kinds: ClassVar[Mapping[str, str]] = {**GRID_COLUMN_KINDS, **COLUMN_KINDS}

    def read(self, reader: StudyReader) -> TextDecompositionStudy | None:
        """The read-out's keys of a study."""
        return read_keys(reader)

    def cells(self, study: Study) -> Iterator[Cell | LeftOut | Mistake]:
        """Data sets and backbones, then analyses, layers and terms."""
        return cells(study)

    def bundle(self, cell: Cell) -> Hashable:
        """All terms of one analysis of a backbone on a data set."""
        asked: Asked = cell.settings
        return (cell.dataset, cell.backbone, cell.control, asked.bundle)

    def labels(self, split: AnySplit) -> dict[str, np.ndarray]:
        """Object codes of scenes, and which are twins; of other images, every label that is a number."""
        rows, known = np.arange(len(split)), cast("Any", split)
        if not hasattr(split, "object_codes"):
            return {f"{LABEL}{name}": known.labels(name, rows) for name in numbered_labels(known)}
        labels = {"object_codes": known.object_codes}
        twins = getattr(split, "twins", None)
        if twins is None:
            return labels
        return labels | {"pair": np.minimum(rows, twins(rows)).astype(np.int32)}

    def cost(self, cell: Cell, sizes: Mapping[str, int]) -> float:
        """Images times terms times width."""
        return float(sum(sizes.values())) * cell.description.layout.width * len(cell.description.layers)

    def forecast_key(self, cell: Cell) -> Hashable:
        """The analysis."""
        return (cell.settings.bundle, cell.description)

    def forecast_s(self, cell: Cell, sizes: Mapping[str, int], device: torch.device) -> float:
        """From the sizes alone: the work is linear algebra on what is stored."""
        del device
        asked: Asked = cell.settings
        size = cell.description.layout.width * len(cell.description.layers) / 1024
        return _SECONDS.get(str(asked.bundle[0]), 1e-4) * sizes.get("test", 0) * size

    def measure(self, cells: Mapping[Cell, Inputs], device: torch.device) -> Iterator[tuple[Cell, Outcome]]:
        """Measure the cells of a bundle."""
        del device
        return measured(cells)

    def per_image(self, column: str, samples: pa.Table) -> PerImage | None:
        """Caption bits of every image, of scenes that all have a twin."""
        return caption_bits(samples) if column == "caption_bits" else None

    def recompute(self, row: Mapping[str, Any], samples: pa.Table) -> dict[str, object]:
        """The estimates and their intervals."""
        config = IntervalConfig(level=row["interval_level"], resamples=int(row["interval_resamples"]))
        return dict(estimate_columns(estimate({"cell": samples}, config, seed=int(row["seed"]))["cell"]))

    def compare(
        self,
        cells: Mapping[str, tuple[Mapping[str, Any], pa.Table]],
        pairs: Iterable[tuple[str, str]],
        columns: Iterable[str],
        config: IntervalConfig,
        *,
        seed: int,
    ) -> list[Difference]:
        """Paired differences between cells measured on the same images."""
        return differences(cells, pairs, columns, config, seed=seed)

    def exhibits(
        self, results: Path, rows: Sequence[Mapping[str, Any]], datasets: Mapping[str, Scene]
    ) -> Iterable[Any]:
        """Drawings for the report."""
        from readouts.text_decomposition.exhibits import exhibits  # brings matplotlib, which measuring does without

        return exhibits(results, rows, datasets)

    def method(self, study: Study, rows: Sequence[Mapping[str, Any]]) -> Method:
        """What a paper says of the measurement, and cites."""
        return method(study, rows)
