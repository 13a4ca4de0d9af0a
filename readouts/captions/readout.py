"""The read-out `captions`: what a sweep measures in each cell when its study says `readout: captions`.

It fulfils the contract `frozen.readout.readout.Readout`, and knows nothing of the engine.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import pyarrow as pa
import torch

from frozen.data.scenes import GRAMMARS
from frozen.data.spec import AnyDataset, AnySplit, has_object_codes, label_names
from frozen.intervals import IntervalConfig
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.defaults import ReadoutDefaults
from frozen.readout.measures import DepthColumn, DepthCurve, Headline
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome, PerImage
from frozen.readout.readout import Difference, Method, StudyReader
from frozen.readout.study import Study
from readouts.captions.cells import CONTROL_MEANINGS, EXPECTATIONS, VERSION, CaptionCell, cells, grammar_of
from readouts.captions.columns import (
    COLUMN_KINDS,
    COLUMNS,
    DIMENSIONS,
    FLAGS,
    GRID_COLUMNS,
    MEASURES,
)
from readouts.captions.keys import CaptionKeys, CaptionStudy, read_keys
from readouts.captions.measuring import measure
from readouts.captions.method import method
from readouts.captions.stored import caption_bits, compare, recompute

_LACKING = {
    "caption": "images without captions: no retrieval and image specificity",
    "instances": "images without instance labels: object words are not held against what is there",
}
"""What cannot be measured of photos that lack a label."""
_DECODED_A_SECOND = {"cpu": 200.0, "cuda": 5000.0}


class CaptionsReadout(ReadoutDefaults):
    """Measures what layers say of images."""

    version = VERSION
    keys = CaptionKeys
    dimensions = DIMENSIONS
    measures = MEASURES
    depth_curves = (DepthCurve(name="captions", column="choice_accuracy_percent", none=50.0, full=100.0),)
    depth_columns = (DepthColumn(name="caption bits", column="caption_bits", bounds="I(O;Z|F)"),)
    headline = Headline(column="exact_percent", beside="choice_accuracy_percent")
    columns = COLUMNS
    grid_columns = GRID_COLUMNS
    products: ClassVar[Mapping[str, str]] = {"translator": "affine map of a layer's tokens to the last layer's"}
    flag_meanings = FLAGS
    control_meanings = CONTROL_MEANINGS
    expectations = EXPECTATIONS
    column_kinds = COLUMN_KINDS

    def read(self, reader: StudyReader) -> CaptionStudy | None:
        """The read-out's keys of a study."""
        return read_keys(reader)

    def cells(self, study: Study) -> Iterator[Cell | LeftOut | Mistake]:
        """Data sets, backbones, layers and translators."""
        return cells(study)

    def warnings(self, cells: Sequence[Cell]) -> Iterator[str]:
        """Data sets of which less can be measured, and why."""
        known: dict[str, str] = {}
        for cell in cells:
            own: CaptionCell = cell.settings
            data = cell.dataset.config
            if has_object_codes(data) and own.grammar is None:
                _, reason = grammar_of(data, "counted")
                known[cell.dataset.name] = f"{reason}: no exact captions, forced choice and retrieval"
            elif not has_object_codes(data):
                labels = label_names(data) or ()
                absent = [text for name, text in _LACKING.items() if name not in labels]
                known |= {cell.dataset.name: "; ".join(absent)} if absent else {}
        yield from (f"{name}: {text}" for name, text in known.items())

    def bundle(self, cell: Cell) -> Hashable:
        """All layers of a backbone or control are measured together: their captions are read at once."""
        own: CaptionCell = cell.settings
        return (cell.dataset.name, cell.backbone, cell.control, own.translator)

    def labels(self, split: AnySplit) -> dict[str, np.ndarray]:
        """What a caption is held against, and which images are resampled together.

        Of scenes, object codes and captions in every grammar that there is; of photos, captions and instances.
        """
        indices, known = np.arange(len(split)), cast("Any", split)
        if not hasattr(split, "object_codes"):
            names = [name for name in _LACKING if name in known.label_names]
            return {"unit": indices} | {name: known.labels(name, indices) for name in names}
        units = np.minimum(indices, known.twins(indices)) if hasattr(split, "twins") else indices
        labels = {"object_codes": known.object_codes, "unit": units}
        scene: Any = getattr(split, "scene", None)
        for grammar in GRAMMARS:
            if grammar != "partial" and scene is not None and grammar_of(scene, grammar)[0]:
                labels[f"caption:{grammar}"] = known.labels(f"caption:{grammar}", indices)
        return labels

    def cost(self, cell: Cell, sizes: Mapping[str, int]) -> float:
        """Images; those that a translator reads are decoded in the trial."""
        own: CaptionCell = cell.settings
        return sum(sizes.values()) * (1.0 if own.translator == "none" else 100.0)

    def forecast_key(self, cell: Cell) -> Hashable:
        """Layers cost the same."""
        own: CaptionCell = cell.settings
        return (own.translator, own.decode, own.choices, cell.backbone)

    def forecast_s(self, cell: Cell, sizes: Mapping[str, int], device: torch.device) -> float:
        """Seconds that a cell will take: decoding, where it decodes, and the bootstrap."""
        own: CaptionCell = cell.settings
        n_captions = sum(sizes.values()) if own.translator != "none" else 0
        per_caption = 1 + (len(own.choices.labels) if own.choices else 0) / 4
        return n_captions * per_caption / _DECODED_A_SECOND.get(device.type, 200.0) + 0.2

    def measure(self, cells: Mapping[Cell, Inputs], device: torch.device) -> Iterator[tuple[Cell, Outcome]]:
        """Measure the cells, one after another."""
        return measure(cells, device)

    def per_image(self, column: str, samples: pa.Table) -> PerImage | None:
        """Caption bits of every image."""
        return caption_bits(samples) if column == "caption_bits" else None

    def recompute(self, row: Mapping[str, Any], samples: pa.Table) -> dict[str, object]:
        """The columns that follow from stored captions."""
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
        """Paired differences of measures between cells on the same images."""
        return compare(cells, pairs, columns, config, seed=seed)

    def exhibits(
        self, results: Path, rows: Sequence[Mapping[str, Any]], datasets: Mapping[str, AnyDataset]
    ) -> Iterable[Any]:
        """Drawings for the report, see `readouts.captions.exhibits`."""
        from readouts.captions.exhibits import exhibits  # brings matplotlib, which measuring does without

        return exhibits(results, rows, datasets)

    def method(self, study: Study, rows: Sequence[Mapping[str, Any]]) -> Method:
        """What a paper says of the measurement, and cites."""
        return method(study, rows)
