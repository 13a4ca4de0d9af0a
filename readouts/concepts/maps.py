"""Dictionaries as maps of activations, for other read-outs: from a vector to the strengths of its atoms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32

from frozen.capture.capture import Capture
from frozen.readout.cells import Cell
from frozen.readout.maps import OfferedMap
from frozen.readout.needs import Product
from readouts.concepts import naming
from readouts.concepts.checkpoints import content_digest, read_dictionary
from readouts.concepts.dictionary import Dictionary
from readouts.concepts.sites import JOINT

KIND = "dictionary"
"""Its name among the kinds of maps."""
SELECTIONS = ("conjunction", "feature")
"""Kinds of atoms that can be read alone."""


class CodeMap:
    """The code f(x) of a vector, an atom a number; fulfils `ActivationMap`."""

    def __init__(self, dictionary: Dictionary) -> None:
        self._dictionary = dictionary

    @property
    def width(self) -> int:
        return self._dictionary.width

    @property
    def out_width(self) -> int:
        return self._dictionary.n_atoms

    @torch.inference_mode()
    def __call__(self, x: Float32[np.ndarray, "rows width"]) -> Float32[np.ndarray, "rows latents"]:
        return self._dictionary.encode(torch.from_numpy(x)).numpy()


def opened(path: Path) -> CodeMap:
    """The dictionary of a file or a folder of sae-lens, see `read_dictionary`.

    Raises:
        DictionaryError: nothing of these.
    """
    return CodeMap(read_dictionary(path))


def digest(path: Path) -> str:
    """sha256 of its weights."""
    return content_digest(path)


def from_bytes(content: bytes) -> CodeMap:
    """The product of a cell.

    Raises:
        DictionaryError: other bytes.
    """
    return CodeMap(Dictionary.from_bytes(content))


def selected(content: bytes, selection: str) -> Bool[np.ndarray, " latents"]:
    """Which atoms are of a kind, as the stage `binding` found it.

    Args:
        content: its product `selectivity`.
        selection: of SELECTIONS.
    """
    return np.array(naming.from_bytes(content)["kind"].to_pylist()) == selection


def _told_apart(cells: Sequence[Cell]) -> dict[str, Product]:
    """By dictionary, the product that says what its atoms stand for: on the images that it was trained on, if it can.

    On others, where that data set shows one object an image.
    """
    dictionary_of = {
        cell.cell_id: dict(cell.needs_of(Product))["dictionary"].giver
        for cell in cells
        if cell.settings.name == "codes"
    }
    found: dict[str, Product] = {}
    for cell in cells:
        if cell.settings.name != "binding":
            continue
        dictionary = dictionary_of[dict(cell.needs_of(Product))["codes_test"].giver]
        if dictionary not in found or cell.dataset == cell.settings.corpus:
            found[dictionary] = Product(cell.cell_id, "selectivity")
    return found


def offered(cells: Sequence[Cell]) -> Iterator[OfferedMap]:
    """The dictionaries that some cells give."""
    told_apart = _told_apart(cells)
    for cell in cells:
        stage = cell.settings
        if stage.name != KIND:
            continue
        capture = next(need for _, need in cell.needs_of(Capture))
        [column] = capture.columns()
        assert column.shape is not None
        width = column.shape[-1]  # of a joint space, which is about as wide, it is not known before it is opened
        yield OfferedMap(
            kind=KIND,
            name=f"{stage.label} #{stage.number}" if stage.number else stage.label,
            product=Product(cell.cell_id, KIND),
            dataset=cell.dataset,
            backbone=cell.backbone,
            control=cell.control,
            reads=capture.reduction,
            is_joint=stage.site == JOINT,
            out_width=stage.dictionary.n_atoms(width),
            selections=tuple((name, told_apart[cell.cell_id]) for name in SELECTIONS if cell.cell_id in told_apart),
        )
