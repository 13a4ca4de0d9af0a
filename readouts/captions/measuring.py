"""Makes a row of a cell: its captions, held against the truth of its images."""

from __future__ import annotations

import numpy as np
import torch

from frozen.readout.cells import Cell
from frozen.readout.needs import Columns, Inputs
from frozen.readout.outcome import Outcome
from readouts.captions.cells import CaptionCell
from readouts.captions.columns import COLUMNS
from readouts.captions.parsing import Parser
from readouts.captions.scoring import Written, sample_table
from readouts.captions.stored import recompute


def measured(cell: Cell, inputs: Inputs, device: torch.device) -> Outcome:
    """Measure one cell."""
    del device
    own: CaptionCell = cell.settings
    written = _permuted(cell, inputs) if cell.control == "permuted_layers" else _captured(cell, inputs)
    return outcome(cell, inputs, written, own)


def outcome(cell: Cell, inputs: Inputs, written: Written, own: CaptionCell) -> Outcome:
    """The row and the samples of captions."""
    true = None if own.grammar is None else inputs.array("labels", f"caption:{own.grammar}").tolist()
    samples = sample_table(
        written,
        inputs.array("labels", "unit"),
        inputs.array("labels", "object_codes"),
        Parser(cell.dataset.config.space),
        true,
        is_shuffled=cell.control == "shuffled",
    )
    row = dict.fromkeys(COLUMNS) | {
        "seed": own.seed,
        "interval_level": own.intervals.level,
        "interval_resamples": own.intervals.resamples,
        "candidates": own.choices and own.choices.n_others,
    }
    return Outcome(row=row | recompute(row, samples), samples=samples)


def _captured(cell: Cell, inputs: Inputs) -> Written:
    own: CaptionCell = cell.settings
    return written_of(inputs.columns[f"captions {own.layer}"])


def written_of(columns: Columns) -> Written:
    """Captions and likelihoods of a capture."""
    nats = columns["choice_nats"][:].astype(np.float64) if "choice_nats" in columns else None
    return Written(columns["caption"][:].tolist(), list(columns["step_bits"][:]), columns["ended"][:], nats)


def _permuted(cell: Cell, inputs: Inputs) -> Written:
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
    return Written(
        [layers[layer].captions[i] for i, layer in rows],
        [layers[layer].step_bits[i] for i, layer in rows],
        np.array([layers[layer].ended[i] for i, layer in rows]),
        nats,
    )
