"""Makes a row of a cell: its captions, held against the truth of its images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch

from frozen.capture.capture import capture
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from frozen.data.spec import has_object_codes, open_split
from frozen.models import load
from frozen.models.decoding import LayerDecoder
from frozen.readout.cells import Cell
from frozen.readout.needs import Columns, Inputs
from frozen.readout.outcome import Outcome
from readouts.captions.categories.lexicon import unknown_words
from readouts.captions.categories.models import CategoriesConfig, Categoriser
from readouts.captions.categories.shares import caption_shares
from readouts.captions.cells import CaptionCell
from readouts.captions.columns import COLUMNS
from readouts.captions.decode import decoded, draw_keys
from readouts.captions.object_words import ObjectWords, object_word_columns
from readouts.captions.parsing import Parser
from readouts.captions.scoring import WrittenCaptions, sample_table
from readouts.captions.stored import recompute
from readouts.captions.translating import fit
from readouts.captions.truth import truth_columns

_IMAGES_AT_ONCE = 256


@lru_cache(maxsize=1)
def _categoriser(config: CategoriesConfig) -> Categoriser:
    """Kept for the cells of a bundle: it may hold a language model."""
    return config.make()


class Targets(NamedTuple):
    """What translators of one model are fitted to.

    Attributes:
        decoder: reads translated tokens.
        tokens: of the last layer of the decoder's own image tower, of the training images [images tokens width].
    """

    decoder: LayerDecoder
    tokens: np.ndarray

    @classmethod
    def of(cls, cell: Cell, device: torch.device) -> Targets:
        """Run the training images through the decoder's own image tower."""
        own: CaptionCell = cell.settings
        assert own.decoder is not None
        scene = cell.dataset.config
        model = load(own.decoder, scene, device, decoder=True)
        assert model.decoder is not None
        [table] = capture(model, open_split(scene, "train"), [WholeSite(Site("final"))]).values()
        column: Any = table["activations"].combine_chunks()
        return cls(model.decoder, column.to_numpy_ndarray())


def measure(cells: Mapping[Cell, Inputs], device: torch.device) -> Iterator[tuple[Cell, Outcome]]:
    """Measure the cells of a bundle: captions that are there, or captions of translated tokens, written here."""
    targets: Targets | None = None
    for cell, inputs in cells.items():
        own: CaptionCell = cell.settings
        if own.translator == "affine":
            targets = targets or Targets.of(cell, device)
            yield cell, _translated(cell, inputs, targets, device)
        else:
            written = _permuted(cell, inputs) if cell.control == "permuted_layers" else _captured(cell, inputs)
            yield cell, outcome(cell, inputs, written, own)


def _translated(cell: Cell, inputs: Inputs, targets: Targets, device: torch.device) -> Outcome:
    own: CaptionCell = cell.settings
    assert own.ridge is not None
    fitted = inputs.columns["fit"]["activations"]
    translator, explained = fit(fitted, targets.tokens, ridge=own.ridge)
    tokens = inputs.columns["tokens"]["activations"]
    rows = np.arange(len(tokens))
    split: Any = open_split(cell.dataset.config, own.split)
    names = own.choices.labels if own.choices else ()
    texts = {name: split.labels(name, rows).tolist() for name in names}
    parts = []
    for start in range(0, len(rows), _IMAGES_AT_ONCE):
        here = rows[start : start + _IMAGES_AT_ONCE]
        memory = targets.decoder.memory(
            translator.apply(torch.from_numpy(tokens[here].astype(np.float32)).to(device))
        )
        chosen = [[texts[name][i] for i in here] for name in names]
        parts.append(decoded(targets.decoder, memory, own.decode, chosen, draw_keys(here, Site(own.layer))))
    nats = np.concatenate([part["choice_nats"] for part in parts]).astype(np.float64) if names else None
    written = WrittenCaptions(
        [text for part in parts for text in part["caption"]],
        [bits for part in parts for bits in part["step_bits"]],
        np.concatenate([part["ended"] for part in parts]),
        nats,
    )
    found = outcome(cell, inputs, written, own)
    row = {**found.row, "translator_r2": explained, "n_fit": len(fitted)}
    return replace(found, row=row, products={"translator": translator.to_bytes()})


def outcome(cell: Cell, inputs: Inputs, written: WrittenCaptions, own: CaptionCell) -> Outcome:
    """The row and the samples of captions."""
    true = None if own.grammar is None else inputs.array("labels", f"caption:{own.grammar}").tolist()
    samples = sample_table(
        written,
        inputs.array("labels", "unit"),
        _truth(cell, inputs, written.captions),
        true,
        choices=own.choices,
        is_shuffled=cell.control == "shuffled",
    )
    if own.grammar is None and "caption" in inputs.columns["labels"]:
        texts = inputs.array("labels", "caption").tolist()
        samples = samples.append_column("true_caption", pa.array(texts, pa.string()))
    parts = _categoriser(own.categories).categorise(list(written.captions))
    shares = caption_shares(parts)
    samples = samples.append_column("shares", pa.FixedShapeTensorArray.from_numpy_ndarray(shares))
    unknown, words = np.sum([unknown_words(text) for text in written.captions], axis=0)
    row = dict.fromkeys(COLUMNS) | {
        "unparsed": sum(one is None for one in parts),
        "unknown_words_percent": 100.0 * float(unknown) / float(max(words, 1)),
        "seed": own.seed,
        "interval_level": own.intervals.level,
        "interval_resamples": own.intervals.resamples,
        "candidates": own.choices and own.choices.n_others,
    }
    return Outcome(row=row | recompute(row, samples), samples=samples)


def _truth(cell: Cell, inputs: Inputs, captions: Sequence[str]) -> dict[str, np.ndarray]:
    """What captions get right: objects of scenes; object words of photos with instance labels."""
    if has_object_codes(cell.dataset.config):
        return truth_columns(captions, inputs.array("labels", "object_codes"), Parser(cell.dataset.config.space))
    if "instances" not in inputs.columns["labels"]:
        return {}
    split: Any = open_split(cell.dataset.config, cell.settings.split)
    words = ObjectWords(split.value_names("instances"))
    return object_word_columns(captions, inputs.array("labels", "instances"), words)


def _captured(cell: Cell, inputs: Inputs) -> WrittenCaptions:
    own: CaptionCell = cell.settings
    return written_of(inputs.columns[f"captions {own.layer}"])


def written_of(columns: Columns) -> WrittenCaptions:
    """Captions and likelihoods of a capture."""
    nats = columns["choice_nats"][:].astype(np.float64) if "choice_nats" in columns else None
    return WrittenCaptions(columns["caption"][:].tolist(), list(columns["step_bits"][:]), columns["ended"][:], nats)


def _permuted(cell: Cell, inputs: Inputs) -> WrittenCaptions:
    """Captions of each image from its layers in an order of its own: the cell's layer stands for a place in it."""
    own: CaptionCell = cell.settings
    names = [name for name in inputs.columns if name.startswith("captions ")]
    layers = [written_of(inputs.columns[name]) for name in names]
    place = names.index(f"captions {own.layer}")
    n = len(layers[0].captions)
    ranks = np.random.default_rng([own.seed, 7]).random((n, len(layers)))
    chosen = ranks.argsort(axis=1)[:, place]
    rows = list(enumerate(chosen.tolist()))
    nats = None
    if layers[0].nats is not None:
        nats = np.stack([np.asarray(layer.nats) for layer in layers])[chosen, np.arange(n)]
    return WrittenCaptions(
        [layers[layer].captions[i] for i, layer in rows],
        [layers[layer].step_bits[i] for i, layer in rows],
        np.array([layers[layer].ended[i] for i, layer in rows]),
        nats,
    )
