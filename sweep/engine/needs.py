"""The graph of a study: what cells need, where it lies in the store, and who gives it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from frozen.capture.capture import Capture, Origin
from frozen.models import BackboneConfig
from frozen.readout.cells import Cell
from frozen.readout.needs import Labels, Need, Product
from frozen.readout.readout import Readouts
from sweep.store.disk import store_key


class Source(NamedTuple):
    """What a cell's captures are made of: content of its data and of its backbone's weights."""

    fingerprints: Mapping[str, str]
    """Of each split that it needs."""
    sizes: Mapping[str, int]
    """Samples of each of these splits."""
    backbone_identity: str
    weights_digest: str
    n_skipped: int = 0
    """Samples that these splits leave out."""
    head_digest: str = ""
    """Of the weights of the backbone's classifier, where a capture reads it."""
    decoder_digest: str = ""
    """Of the weights of the backbone's caption decoder, where a capture reads it."""
    others: tuple[tuple[BackboneConfig, Source], ...] = ()
    """The same of other backbones that the cell's captures read."""

    def of(self, backbone: BackboneConfig) -> Source:
        """What captures of a backbone are made of."""
        return dict(self.others).get(backbone, self)


def splits_of(cell: Cell) -> tuple[str, ...]:
    """The splits of its data set that a cell needs, in the order of its needs."""
    needs = (need for _, need in cell.needs if isinstance(need, Capture | Labels))
    return tuple(dict.fromkeys(need.split for need in needs))


def absent_files(cells: Iterable[Cell]) -> dict[str, None]:
    """Files that the keys of read-outs name and that are not there, each once."""
    return {str(missing): None for cell in cells for missing in cell.absent}


class Graph:
    """Cells with their needs.

    Args:
        cells: every cell of the grid, whether or not it is to be measured: any may be asked for a product.
        sources: content of their data and weights, of those that are opened.
        readouts: of these cells, by name; labels are stored for each.
    """

    def __init__(self, cells: Iterable[Cell], sources: Mapping[Cell, Source], readouts: Readouts) -> None:
        self.sources, self._readouts = sources, readouts
        self._cells = {cell.cell_id: cell for cell in cells}
        self._keys: dict[Cell, Mapping[str, str]] = {}

    def giver(self, need: Product) -> Cell:
        """The cell that gives a product."""
        return self._cells[need.giver]

    def givers(self, cell: Cell) -> Iterator[Cell]:
        """The cells whose products a cell reads."""
        return (self.giver(need) for _, need in cell.needs_of(Product))

    def keys(self, cell: Cell) -> Mapping[str, str]:
        """Keys of the store's entries that a cell reads, by the name of the need."""
        if cell not in self._keys:
            self._keys[cell] = {name: self._key(cell, need) for name, need in cell.needs}
        return self._keys[cell]

    def given(self, cell: Cell) -> Mapping[str, str]:
        """Keys of the store's entries that a cell gives, by the product's name."""
        inputs = dict(self.keys(cell))
        return {
            name: store_key(kind="product", giver=cell.cell_id, product=name, inputs=inputs) for name in cell.gives
        }

    def _key(self, cell: Cell, need: Need) -> str:
        if isinstance(need, Product):
            return self.given(self.giver(need))[need.name]
        content = self.sources[cell].fingerprints[need.split]
        if isinstance(need, Labels):
            version = self._readouts[cell.readout].version
            return store_key(kind="labels", readout=cell.readout, version=version, data=content)
        return self.capture_key(cell, need)

    def capture_key(self, cell: Cell, need: Capture) -> str:
        """Key of the entry of a capture."""
        if need.dataset != cell.dataset:
            raise ValueError(f"cell {cell.name} needs a capture of another data set, {need.dataset.name}")
        source = self.sources[cell].of(need.backbone)
        data = source.fingerprints[need.split]
        origin = Origin(
            data,
            source.backbone_identity,
            source.weights_digest,
            source.head_digest,
            decoder=source.decoder_digest,
        )
        return store_key(**need.content(origin))


def closed(cells: Iterable[Cell], giver_of: Mapping[str, Cell], is_there: Iterable[Cell]) -> list[Cell]:
    """Some cells, each after the cells whose products it needs, those that are there already left out.

    Args:
        cells: the cells wanted, in order.
        giver_of: cells by id.
        is_there: cells that need not be measured.
    """
    left, order = set(is_there), {}

    def add(cell: Cell) -> None:
        if cell in left or cell in order:
            return
        for _, need in cell.needs_of(Product):
            add(giver_of[need.giver])
        order[cell] = None

    for cell in cells:
        add(cell)
    return list(order)
