"""The binding read-out: what a sweep measures in each cell when its study says `readout: binding`.

It fulfils the contract `frozen.readout.readout.Readout`, and knows nothing of the engine.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import torch

from binding._cell_measuring import config_of, left_out_losses, measured
from binding._pack_memory import multiplications
from binding._together import together
from binding._trainer import N_NARROWER
from binding.cells import DIMENSIONS, GRID_COLUMN_KINDS, GRID_COLUMNS, VERSION, BindingCell, Shared, cells
from binding.columns import CHOICES, COLUMN_KINDS, COLUMNS, EXTRA_MEASURES, FILES, MEASURES
from binding.controls import CONTROL_ALIASES, CONTROL_MEANINGS, EXPECTATIONS
from binding.forecast import forecast_s
from binding.information import FLAGS, MILD_FLAGS
from binding.keys import BindingKeys, BindingStudy, read_keys
from binding.method import method
from binding.paired import LOSSES
from binding.parts import probes
from binding.probes import FAMILIES, HeadShape
from binding.stored import Stored, compare, direct_bits, recompute
from binding.through_keys import CLASS_LOGITS, JOINT
from binding.warnings import few_steps, little_to_bind, shared_scenes, training_lengths
from frozen.capture.sites import Site
from frozen.data.scenes import SPLITS, Scene, Split
from frozen.intervals import IntervalConfig
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.defaults import ReadoutDefaults
from frozen.readout.exhibit import ShownSample
from frozen.readout.measures import DepthColumn, DepthCurve, Headline
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome, PerImage
from frozen.readout.readout import Difference, Method, StudyReader
from frozen.readout.study import Study


def _curve(name: str, through: str) -> DepthCurve:
    where = (("through", through),)
    return DepthCurve(name=name, column="direct_binding_ratio", none=0.0, full=1.0, where=where)


def _direct_bits(name: str, through: str) -> DepthColumn:
    column = "direct_binding_information_bits"
    return DepthColumn(name=name, column=column, where=(("through", through),), bounds="I(O;Z|F)")


def _kept_by(sort: str) -> DepthColumn:
    through = (("through", f"dictionary.{sort}"),)
    return DepthColumn(name=f"kept by its {sort} atoms", column="kept_share", where=through)


class BindingReadout(ReadoutDefaults):
    """Measures binding information."""

    version = VERSION
    keys = BindingKeys
    dimensions = DIMENSIONS
    measures = MEASURES
    depth_curves = (
        _curve("binding", ""),
        _curve("binding in class logits", CLASS_LOGITS),
        _curve("binding in dictionaries", "dictionary"),
    )
    depth_columns = (
        _direct_bits("B*_direct", ""),
        _direct_bits("B*_direct in the joint space", JOINT),
        DepthColumn(name="lost without its best head", column="leave_one_out_bits"),
        DepthColumn(name="kept by class logits", column="kept_share", where=(("through", CLASS_LOGITS),)),
        DepthColumn(name="kept by the joint space", column="kept_share", where=(("through", JOINT),)),
        DepthColumn(name="kept by a dictionary", column="kept_share", where=(("through", "dictionary"),)),
        *(
            DepthColumn(
                name=f"kept by its {sort} atoms", column="kept_share", where=(("through", f"dictionary.{sort}"),)
            )
            for sort in ("conjunction", "feature")
        ),
    )
    reads_maps = True
    headline = Headline(column="cautious_binding_ratio", beside="binding_ratio")
    extra_measures = EXTRA_MEASURES
    columns = COLUMNS
    grid_columns = GRID_COLUMNS
    products: ClassVar[Mapping[str, str]] = {LOSSES: "direct test losses in bits, a column a seed; parquet"}
    choices = CHOICES
    files = FILES
    flag_meanings = FLAGS
    mild_flags = MILD_FLAGS
    control_meanings = CONTROL_MEANINGS
    expectations = EXPECTATIONS
    control_aliases = CONTROL_ALIASES
    column_kinds: ClassVar[Mapping[str, str]] = {**GRID_COLUMN_KINDS, **COLUMN_KINDS}
    parts: ClassVar[Mapping[str, Any]] = {"probes": probes}

    def read(self, reader: StudyReader) -> BindingStudy | None:
        """The read-out's keys of a study."""
        return read_keys(reader)

    def cells(self, study: Study) -> Iterator[Cell | LeftOut | Mistake]:
        """Data sets, backbones, layers, modes and probe families."""
        return cells(study)

    def resolved(self, cells: Sequence[Cell]) -> Iterator[str]:
        """Steps a training on each data set."""
        return training_lengths(cells)

    def warnings(self, cells: Sequence[Cell]) -> Iterator[str]:
        """Data sets with next to nothing to bind, trainings with few steps, data sets that share scenes."""
        return chain(little_to_bind(cells), few_steps(cells), shared_scenes(cells))

    def labels(self, split: Split) -> dict[str, np.ndarray]:
        """Object codes, H(O | F = f_i) and, where the prior is known, its log-odds."""
        labels = {
            "object_codes": split.object_codes,
            "conditional_entropy_bits": split.conditional_entropy_bits(),
        }
        odds = split.prior_log_odds()
        return labels if odds is None else labels | {"prior_log_odds": odds}

    def cost(self, cell: Cell, sizes: Mapping[str, int]) -> float:
        """About how many multiplications the cell's training takes: good enough to begin with the longest cells.

        A setting that is tuned counts with the family's default, the three targets count alike.
        """
        own: BindingCell = cell.settings
        probe, space, shared = own.probe.space.probe({}), cell.dataset.config.space, own.shared
        sample_shape = own.sample_shape(cell.description)
        head = HeadShape(sample_shape[-1], space.n_objects, group_sizes=space.sizes)
        each = multiplications(probe, head, sample_shape[0] if len(sample_shape) > 1 else 1)
        trainings = (shared.search.suggestions if own.probe.space.ranges else 1) + shared.n_seeds - 1
        trained = each * trainings
        if (all_heads := own.all_heads_shape(cell.description)) is not None:
            wide = replace(head, z_dim=all_heads[-1])
            trained += multiplications(probe, wide, 1) * 2 * (shared.n_seeds + N_NARROWER)
        return trained * shared.fit.schedule(sizes["train"]).epochs * sizes["train"]

    def forecast_key(self, cell: Cell) -> Hashable:
        """Shape of the activations, codes, probe and settings."""
        own: BindingCell = cell.settings
        return (
            own.sample_shape(cell.description),
            own.all_heads_shape(cell.description),
            cell.dataset.config.space,
            own.probe,
            own.shared,
        )

    def forecast_s(self, cell: Cell, sizes: Mapping[str, int], device: torch.device) -> float:
        """Seconds that a cell will take on this device, after timing two batches of each training."""
        own: BindingCell = cell.settings
        return forecast_s(
            {name: sizes[name] for name in SPLITS},
            own.sample_shape(cell.description),
            cell.dataset.config.space,
            own.probe.space,
            config_of(own.shared),
            feature_probe=own.probe.feature_probe,
            all_heads_shape=own.all_heads_shape(cell.description),
            has_cls=cell.description.layout.has_cls,
            device=device,
        )

    def is_upper_bound(self, cell: Cell) -> bool:
        """Whether patience or a pruner may end trainings before their last epoch."""
        shared: Shared = cell.settings.shared
        return shared.fit.patience is not None or shared.search.pruner != "none"

    def bundle(self, cell: Cell) -> Hashable:
        """Heads of one block share a trial, and train together; every other cell is a trial of its own."""
        own: BindingCell = cell.settings
        site = Site.parse(own.layer)
        if site.head is None or own.passage is not None or cell.gives:
            return None
        if own.view_of_all_heads() is None and not FAMILIES[own.probe.family].reads_several:
            return None
        return (cell.dataset, cell.backbone, cell.control, site.layer, site.part, own.mode, own.probe)

    def in_half_precision(self, cell: Cell) -> Cell:
        """With the products of its training steps in bfloat16."""
        settings: BindingCell = cell.settings
        fit = replace(settings.shared.fit, products="bfloat16")
        return replace(cell, settings=replace(settings, shared=replace(settings.shared, fit=fit)))

    def measure(self, cells: Mapping[Cell, Inputs], device: torch.device) -> Iterator[tuple[Cell, Outcome]]:
        """Measure the cells; those of a bundle train together."""
        of_heads = left_out_losses(cells, device)
        found = together({cell: measured(cell, inputs, device, of_heads.get(cell)) for cell, inputs in cells.items()})
        yield from ((cell, one) for cell, one in found.items() if isinstance(one, Outcome))
        for one in found.values():
            if isinstance(one, Exception):
                raise one

    def per_image(self, column: str, samples: pa.Table) -> PerImage | None:
        """B*_direct of every test image."""
        return direct_bits(samples) if column == "direct_binding_information_bits" else None

    def recompute(self, row: Mapping[str, Any], samples: pa.Table) -> dict[str, object]:
        """The columns that follow from stored losses."""
        return recompute(Stored(row, samples))

    def compare(
        self,
        cells: Mapping[str, tuple[Mapping[str, Any], pa.Table]],
        pairs: Iterable[tuple[str, str]],
        columns: Iterable[str],
        config: IntervalConfig,
        *,
        seed: int,
    ) -> list[Difference]:
        """Paired differences of measures between cells on the same test samples."""
        return compare({name: Stored(*cell) for name, cell in cells.items()}, pairs, columns, config, seed=seed)

    def exhibits(
        self, results: Path, rows: Sequence[Mapping[str, Any]], datasets: Mapping[str, Scene]
    ) -> Iterable[Any]:
        """Drawings for the report, see `binding.exhibits`."""
        from binding.exhibits import exhibits  # brings matplotlib, which measuring does without

        return exhibits(results, rows, datasets)

    def shown_samples(
        self, results: Path, row: Mapping[str, Any], datasets: Mapping[str, Scene]
    ) -> Iterable[ShownSample]:
        """Test images by the loss of the direct probe, with true and read objects."""
        from binding.exhibits import shown_samples

        return shown_samples(results, row, datasets)

    def method(self, study: Study, rows: Sequence[Mapping[str, Any]]) -> Method:
        """What a paper says of the measurement, and cites."""
        return method(study, rows)
