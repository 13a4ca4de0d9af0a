"""The read-out's grid: data sets, backbones, layers, modes and probe families."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from binding.extras import LEAVE_ONE_OUT, Extra
from binding.fit import FitConfig
from binding.keys import BindingStudy
from binding.paired import LOSSES, RANDOM
from binding.probes import FAMILIES
from binding.search import ProbeSpec, SearchConfig
from binding.through import Passage, passages, unread
from binding.through_keys import JOINT
from frozen.capture.capture import Capture
from frozen.capture.conditions import PLAIN
from frozen.capture.reductions import View
from frozen.capture.sites import Site
from frozen.capture.views import MODES, Mode, refuses
from frozen.data.scenes import SPLITS, Scene
from frozen.intervals import IntervalConfig
from frozen.models import Description
from frozen.paths import written
from frozen.plain import Plain, plain
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.grid import Reading, readings, without_object_codes
from frozen.readout.measures import Dimension
from frozen.readout.needs import Labels, Need, Product
from frozen.readout.study import Study

SCHEMA_VERSION = 2
"""Of a cell's identity."""
VERSION = 3
"""Raised when equal inputs give other numbers; part of every cell's identity."""

_MODE = "what of the layer's tokens the probe sees and, after >, the map that it sees it through"
DIMENSIONS = (
    Dimension("layer", "layer", "embed, number of a block, or final", "depth", order="layer_index"),
    Dimension("mode", "mode", _MODE, "panel"),
    Dimension("probe", "probe", "probe family", "line"),
)
GRID_COLUMNS = {
    "layer": "embed, number of a block, or final",
    "layer_index": "position in depth: embed is -1",
    "depth_fraction": "0 at embed, 1 at final",
    "mode": _MODE,
    "probe": "probe family",
    "feature_probe": "family of the features probe",
}
GRID_COLUMN_KINDS = {**dict.fromkeys(GRID_COLUMNS, "text"), "layer_index": "whole", "depth_fraction": "number?"}


@dataclass(frozen=True)
class Shared:
    """What all cells of a study share."""

    readout: str
    readout_version: int
    fit: FitConfig
    search: SearchConfig
    seed: int
    n_seeds: int
    intervals: IntervalConfig
    store_dtype: str
    extras: tuple[Extra, ...] = ()

    def content(self) -> dict[str, Plain]:
        """What of them is part of identities: extras only where there are some, so that other cells keep theirs."""
        content = plain(self)
        assert isinstance(content, dict)
        return content if self.extras else {name: value for name, value in content.items() if name != "extras"}


@dataclass(frozen=True)
class BindingCell:
    """How one cell is measured."""

    layer: str
    mode: Mode
    probe: ProbeSpec
    shared: Shared
    keep_probes_bytes: int
    """Most bytes of tuned probes kept; no part of the identity."""
    passage: Passage | None = None
    """What the activations pass before the probe sees them."""

    def view(self) -> View:
        """What of the layer is read."""
        return View(Site.parse(self.layer), self.mode)

    def view_of_all_heads(self) -> View | None:
        """Of a head that is to be left out, all heads of its block; None of other cells."""
        site = Site.parse(self.layer)
        if site.head is None or self.passage is not None or LEAVE_ONE_OUT not in self.shared.extras:
            return None
        return View(replace(site, head=None), self.mode)

    def sample_shape(self, description: Description) -> tuple[int, ...]:
        """Of what the probe sees of one sample: [dim], or [token dim] for all tokens."""
        return _shape(self.view(), description) if self.passage is None else self.passage.sample_shape

    def all_heads_shape(self, description: Description) -> tuple[int, ...] | None:
        """The same of all heads of the block, of a head that is to be left out."""
        view = self.view_of_all_heads()
        return None if view is None else _shape(view, description)


def _shape(view: View, description: Description) -> tuple[int, ...]:
    [column] = view.columns(description, PLAIN)
    assert column.shape is not None
    return column.shape


class _Common(NamedTuple):
    """What the cells of a study share: an extra of heads is part of the identity of heads alone.

    Attributes:
        heads: of cells of a head.
        others: of all other cells.
        content: of each what is in identities, one object for all cells: it is hashed once.
    """

    heads: Shared
    others: Shared
    content: dict[Shared, dict[str, Plain]]

    @classmethod
    def of(cls, study: Study, keys: BindingStudy) -> _Common:
        heads = Shared(
            study.readout,
            VERSION,
            keys.fit,
            keys.search,
            study.seed,
            keys.seeds,
            study.intervals,
            study.store.dtype,
            keys.extras,
        )
        others = replace(heads, extras=tuple(extra for extra in keys.extras if extra != LEAVE_ONE_OUT))
        return cls(heads, others, {shared: shared.content() for shared in (heads, others)})


def cells(study: Study) -> Iterator[Cell | LeftOut | Mistake]:
    """Every possible cell of a study, and what is left out of the grid."""
    keys: BindingStudy = study.keys
    common = _Common.of(study, keys)
    if refused := list(without_object_codes(study)):
        yield from refused
        return
    places: list[tuple[Reading, str, Mode]] = []
    all_read = True
    for reading in readings(study, keys.layers):
        if isinstance(reading, Mistake):
            all_read = False
            yield reading
            continue
        # controls that are no backbone's have one layer and one vector
        modes: tuple[Mode, ...] = tuple(mode for mode in MODES if mode in keys.modes)
        if reading.backbone.kind == "control":
            modes = ("cls",)
        for mode in modes:
            places.extend((reading, layer, mode) for layer in reading.layers)
            yield from _of_mode(study, keys, reading, mode, common)
    yield from unread(study, places)
    if LEAVE_ONE_OUT in keys.extras and all_read and all(Site.parse(layer).head is None for _, layer, _ in places):
        yield Mistake(
            ("extras",),
            "leave_one_out is measured of single heads, and `layers` names none; add all.heads.all, or 3.heads.all",
        )


def _of_mode(
    study: Study, keys: BindingStudy, reading: Reading, mode: Mode, common: _Common
) -> Iterator[Cell | LeftOut | Mistake]:
    if reason := refuses(mode, reading.description.layout):
        yield LeftOut(f"{written(reading.backbone.source)} · {mode}", reason)
        return
    for probe in keys.probes:
        if reason := _refuses(probe, mode, reading.dataset.config):
            if not reading.description.is_control or not study.backbones:
                yield LeftOut(f"{reading.dataset.name} · {mode} · {probe.family}", reason)
            continue
        # permuted samples tell nothing at any depth: one layer is enough
        for layer in reading.layers[-1:] if reading.control == "shuffled" else reading.layers:
            shared = common.heads if Site.parse(layer).head is not None else common.others
            settings = BindingCell(layer, mode, probe, shared, keys.keep_probes_bytes)
            yield from _with_passages(study, reading, settings, common.content[shared])


def _with_passages(
    study: Study, reading: Reading, settings: BindingCell, content: dict[str, Plain]
) -> Iterator[Cell | LeftOut | Mistake]:
    """A cell, and the same through every map that reads its place; the losses of the first are a product then."""
    found = list(passages(study, reading, settings.layer, settings.mode))
    used = [one for one in found if isinstance(one, Passage)]
    whole = _cell(reading, settings, content, gives=any(one.is_kept_from is None for one in used))
    yield whole
    yield from (one for one in found if not isinstance(one, Passage))
    joint = None
    for passage in sorted(used, key=lambda one: one.is_kept_from is not None):
        before = whole if passage.is_kept_from is None else joint
        gives = passage.through == JOINT and any(one.is_kept_from for one in used)
        random = None
        if passage.control is not None:
            random = _cell(reading, replace(settings, passage=passage.control), content, before, gives=True)
            yield random
        cell = _cell(reading, replace(settings, passage=passage), content, before, random, gives=gives)
        joint = cell if passage.through == JOINT else joint
        yield cell


def _refuses(probe: ProbeSpec, mode: Mode, scene: Scene) -> str | None:
    """Why a probe cannot read a mode of a data set, or None."""
    n_groups = len(scene.space.groups)
    refused = FAMILIES[probe.space.family].refuses(mode, "objects", n_groups)
    if refused or probe.feature_probe is None:
        return refused
    return FAMILIES[probe.feature_probe.family].refuses(mode, "features", n_groups)


def _cell(
    reading: Reading,
    settings: BindingCell,
    content: dict[str, Plain],
    before: Cell | None = None,
    random: Cell | None = None,
    *,
    gives: bool = False,
) -> Cell:
    """A cell.

    Args:
        reading: the backbone on the data set.
        settings: what is measured and how.
        content: what all cells of the study have in their identities.
        before: the cell with which one through a map is compared.
        random: the one through as many random coordinates of the map.
        gives: whether its losses are a product.
    """
    dataset, backbone, description = reading.dataset, reading.backbone, reading.description
    layer, probe, passage = settings.layer, settings.probe, settings.passage
    dtype = settings.shared.store_dtype
    view = settings.view() if passage is None else passage.reads
    mode = settings.mode if passage is None else f"{settings.mode} > {passage.name}"
    needs: list[tuple[str, Need]] = [
        *((name, Capture(dataset, name, backbone, view, dtype=dtype)) for name in SPLITS),
        *((f"{name}_labels", Labels(dataset, name)) for name in SPLITS),
    ]
    if (all_heads := settings.view_of_all_heads()) is not None:
        needs += [(f"{name}_heads", Capture(dataset, name, backbone, all_heads, dtype=dtype)) for name in SPLITS]
    if passage is not None and passage.product is not None:
        needs.append(("map", passage.product))
    if passage is not None and passage.chooser is not None:
        needs.append(("chooser", passage.chooser))
    if before is not None:
        needs.append((LOSSES, Product(before.cell_id, LOSSES)))
    if random is not None:
        needs.append((RANDOM, Product(random.cell_id, LOSSES)))
    return Cell(
        readout=settings.shared.readout,
        dataset=dataset,
        backbone=backbone,
        description=description,
        columns=(
            ("layer", layer),
            ("layer_index", description.layer_number(layer)),
            ("depth_fraction", description.depth_fraction(layer)),
            ("mode", mode),
            ("probe", probe.family),
            ("feature_probe", (probe.feature_probe or probe.space).family),
        ),
        names=(layer, mode, probe.family),
        settings=settings,
        identity=(
            ("schema", SCHEMA_VERSION),
            ("dataset", dataset),
            ("backbone", backbone),
            ("layer", layer),
            ("mode", settings.mode),
            ("probe", probe),
            ("settings", content),
            *(() if passage is None else (("through", passage.identity),)),
        ),
        needs=tuple(needs),
        gives=(LOSSES,) if gives else (),
        control=reading.control,
        control_of=reading.control_of,
        seed=settings.shared.seed,
    )
