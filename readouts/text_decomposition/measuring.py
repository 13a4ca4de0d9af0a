"""From what a bundle asks to rows: samples first, from which every aggregate follows."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from torch import Tensor

from frozen.data.spec import open_split
from frozen.readout.cells import Cell
from frozen.readout.needs import Inputs
from frozen.readout.outcome import Outcome
from readouts.text_decomposition.asked import EMBEDDING, MAP, RECONSTRUCTION, SPACE, Asked, Shared
from readouts.text_decomposition.choice import choices, preferred
from readouts.text_decomposition.columns import COLUMNS
from readouts.text_decomposition.estimates import (
    IN_GROUP,
    RIGHT_IN,
    estimate,
    estimate_columns,
    group_estimates,
    table,
)
from readouts.text_decomposition.given import Given
from readouts.text_decomposition.heatmaps import map_of, mapped, squashed
from readouts.text_decomposition.lens import SPLITS, pack
from readouts.text_decomposition.mapping import fitted, packed
from readouts.text_decomposition.neighbours import retrieved
from readouts.text_decomposition.orthogonality import by_chance, orthogonality
from readouts.text_decomposition.removal import factors, members, removed
from readouts.text_decomposition.settings import HeatmapConfig, JointConfig, TextSpanConfig
from readouts.text_decomposition.spans import described
from readouts.text_decomposition.spurious import ALL, without_cue
from readouts.text_decomposition.texts import best_guess, credit


class Part(NamedTuple):
    """One measured cell.

    Attributes:
        cell: which.
        samples: results image by image.
        columns: what does not follow from these.
        files: pictures to come, by folder and suffix.
    """

    cell: Cell
    samples: pa.Table
    columns: Mapping[str, object]
    files: Mapping[str, bytes] = {}


Found = Iterator[Part]
_FEW = 100
_EXACT = 1e-3
_SHOWN = 6
"""Maps of so many images are kept for the report."""


def measured(cells: Mapping[Cell, Inputs]) -> Iterator[tuple[Cell, Outcome]]:
    """Measure the cells of a bundle: what they share once, and the resamples of their intervals together."""
    first, inputs = next(iter(cells.items()))
    asked: Asked = first.settings
    given: Given | None = None
    products: dict[str, bytes] = {}
    if asked.analysis == MAP:
        found, products = _map(inputs, first)
    elif asked.analysis == "decomposition":
        given = Given.opened(first, inputs)
        found = [_decomposition(given, first)]
        products = {SPACE: given.packed()}
    else:
        given = Given.of(first, inputs)
        found = list(_ANALYSES[asked.bundle[0]](given, list(cells)))
    shared = asked.shared
    estimates = estimate({part.cell: part.samples for part in found}, shared.intervals, seed=shared.seed)
    for cell, samples, own, files in found:
        of_classes = {} if given is None else _of_classes(given)
        common = {**_common(shared, samples), **of_classes}
        row = {**dict.fromkeys(COLUMNS), **estimate_columns(estimates[cell]), **common, **own}
        row["flags"] = _flags(row, cell.settings)
        yield cell, Outcome(row=row, samples=samples, files=files, products=products)


def _of_classes(given: Given) -> dict[str, object]:
    return {"n_classes": len(given.classes.texts), "n_class_texts": len(given.class_vectors)}


def _common(shared: Shared, samples: pa.Table) -> dict[str, object]:
    return {
        "n_images": len(samples),
        "means": shared.means,
        "norm_split": shared.norm_split,
        "seed": shared.seed,
        "interval_level": shared.intervals.level,
        "interval_resamples": shared.intervals.resamples,
    }


def _flags(row: Mapping[str, Any], asked: Asked) -> list[str]:
    found = []
    if (row["sum_error"] or 0) > _EXACT:
        found.append("inexact_sum")
    if row["n_images"] < _FEW:
        found.append("few_images")
    explained, chance = row["explained_ratio"], row["explained_by_chance_high_ratio"]
    if explained is not None and chance is not None and explained <= chance:
        found.append("no_better_than_chance")
    if asked.analysis == "spurious" and asked.term != ALL and row["n_terms"] == 0:
        found.append("no_heads")
    if row["accuracy_percent"] is not None and row["change_percent"] is None and row["mean_margin"] is None:
        found += ["equal_texts"] * (row["n_class_texts"] < row["n_classes"])
    return found


def _map(inputs: Inputs, cell: Cell) -> tuple[list[Part], dict[str, bytes]]:
    """The map from a backbone's embedding to a CLIP's joint space, and its R² on the test images."""
    asked: Asked = cell.settings
    assert isinstance(asked.config, JointConfig)
    found = fitted(inputs, asked.config)
    labels = inputs.columns["test_labels"]
    pair = labels["pair"][:] if "pair" in labels else None
    samples = table(pair, missed=found.missed, map_total=found.total)
    return [Part(cell, samples, {"n_fitted": len(inputs.array("validation", "mean"))})], {MAP: packed(found.linear)}


def _decomposition(given: Given, cell: Cell) -> Part:
    """Zero-shot accuracy of the model's own embedding, how exactly terms sum to it, and how alike heads are."""
    difference = Tensor()
    errors: dict[str, float] = dict.fromkeys(SPLITS, 0.0)
    right, error = [], []
    for rows, stored in given.chunks("test"):
        own = given.lens.embeddings(stored)
        for split in SPLITS:
            difference = given.lens.all_terms(stored, split).sum(1) - own  # of the last split, image by image
            errors[split] = max(errors[split], float(difference.norm(dim=1).max()))
        error.append(difference.norm(dim=1).numpy())
        if len(given.classes.labels):
            right.append(credit(given.scores(own.numpy()), given.text_of_class, given.classes.labels[rows]))
    known = {"right": np.concatenate(right)} if right else {}
    if right:
        known["guess"] = best_guess(given.text_of_class, given.classes.labels)
    samples = table(given.pair("test"), error=np.concatenate(error), **known)
    cosines = _cosines(given)
    apart = ~np.eye(len(cosines), dtype=bool)
    columns: dict[str, object] = {"sum_error": errors["uniform"], "sum_error_own_mean": errors["own_mean"]}
    columns |= {"n_terms": len(given.lens.terms), "mean_head_cosine": float(cosines[apart].mean())}
    columns["chance_head_cosine"] = by_chance(len(given.lens.project))
    return Part(cell, samples, columns, {"cosines.npz": pack({"cosines": cosines})})


def _cosines(given: Given) -> np.ndarray:
    """Mean absolute cosine of every pair of heads, float32 [heads heads]."""
    split = given.asked.shared.norm_split
    n_heads = given.lens.n_blocks * given.lens.n_heads
    total = sum(given.lens.of_heads(stored, split).flatten(1, 2).sum(0) for _, stored in given.chunks("test"))
    assert isinstance(total, Tensor)
    parts = (given.lens.of_heads(stored, split).flatten(1, 2) for _, stored in given.chunks("test"))
    found = orthogonality(parts, total / given.n_images).numpy()
    assert found.shape == (n_heads, n_heads)
    return found


def _removal(given: Given, cells: list[Cell]) -> Found:
    asked: list[Asked] = [cell.settings for cell in cells]
    found = removed(given, [one.removed for one in asked])
    pair = given.pair("test")
    is_alone = [one.analysis == "heads" for one in asked]
    told = factors(given) if any(is_alone) else None
    names = list(told.fitted) if told else []
    whole = told.total.mean(axis=0).sum() if told else 0.0
    for number, cell in enumerate(cells):
        columns: dict[str, Any] = {"right": found.right[number], "baseline": found.baseline}
        own: dict[str, object] = {"n_terms": found.n_terms[number]}
        if told is not None and is_alone[number]:
            [position] = members(asked[number].removed[0], given.lens)
            fitted = {name: float(told.fitted[name][position]) for name in names}
            factor = max(names, key=fitted.__getitem__)
            columns["between"] = told.between[names.index(factor), :, position]
            columns["total"] = told.total[:, position]
            own |= {"factor": factor, "factor_ratios": _rounded(fitted)}
            own["variance_share_ratio"] = float(told.total[:, position].mean() / max(whole, 1e-30))
        yield Part(cell, table(pair, **columns), own)


def _rounded(values: Mapping[str, float]) -> str:
    return json.dumps({name: round(value, 5) for name, value in values.items()})


def _textspan(given: Given, cells: list[Cell]) -> Found:
    config = cells[0].settings.config
    assert isinstance(config, TextSpanConfig)
    found = described(given, config)
    pair = given.pair("test")
    heads = members_of_last(given, config)
    for cell in cells:
        asked: Asked = cell.settings
        if asked.term == RECONSTRUCTION:
            own: dict[str, object] = {"n_distinct_texts": found.distinct, "n_terms": len(heads)}
            own["chance_percent"] = 100.0 * float(found.right_permuted.mean())
            yield Part(cell, table(pair, right=found.right, baseline=found.baseline), own)
            continue
        [position] = members(asked.removed[0], given.lens)
        number = heads.index(position)
        own = {
            "texts": found.texts[number],
            "explained_by_chance_ratio": float(found.chance[:, number].mean()),
            "explained_by_chance_high_ratio": float(found.chance[:, number].max()),
            "explained_by_permuted_ratio": float(found.permuted[number]),
            "n_distinct_texts": len({text for text, *_ in json.loads(found.texts[number])}),
        }
        yield Part(cell, table(pair, explained=found.explained[:, number], total=found.total[:, number]), own)


def members_of_last(given: Given, config: TextSpanConfig) -> list[int]:
    """Positions of the heads that are described among the terms."""
    first = max(given.lens.n_blocks - config.last_layers, 0)
    return [p for p, term in enumerate(given.lens.terms) if term.kind == "head" and term.layer >= first]


def _heatmap(given: Given, cells: list[Cell]) -> Found:
    config = cells[0].settings.config
    assert isinstance(config, HeatmapConfig)
    split = open_split(cells[0].dataset.config, given.asked.splits["test"])
    masks = squashed(cells[0].dataset.config, split) if config.masks == "squashed" else split
    found = mapped(given, split, config, cells[0].description.layout, masks)
    pair = given.pair("test")
    for cell in cells:
        asked: Asked = cell.settings
        term = asked.term.rpartition(": ")[2]
        term = map_of(asked.removed[0], term) if asked.removed else term
        if term not in found.is_used:
            raise ValueError(f"the map {asked.term!r} needs scenes of two objects")
        is_used, columns = found.is_used[term], dict(found.columns[term])
        if not is_used.any():
            raise ValueError(f"the map {asked.term!r} needs scenes of two objects, there is none")
        chance = 100.0 * float(columns.pop("touched").mean())
        samples = table(None if pair is None else pair[is_used], **columns)
        shown = np.flatnonzero(is_used)[:_SHOWN]
        kept = {"images": shown, "maps": found.first[term][shown].astype(np.float32)}
        kept |= {"split": np.array(given.asked.splits["test"])}
        if found.named:
            kept["named"] = np.array([found.named[number] for number in shown])
        files = {"maps.npz": pack(kept)}
        yield Part(cell, samples, {"chance_percent": chance}, files)


def _forced_choice(given: Given, cells: list[Cell]) -> Found:
    found = choices(given)
    whole, whole_bits = found.test[:, -1], found.bits(found.of_all)
    for cell in cells:
        asked: Asked = cell.settings
        if asked.term == EMBEDDING:
            margin, bits = whole, whole_bits
            columns: dict[str, Any] = {"right": preferred(whole)}
        else:
            terms = [position for name in asked.removed for position in members(name, given.lens)]
            of_terms = found.of(terms)
            margin, bits = of_terms.test, found.bits(of_terms)
            columns = {"right": preferred(whole - margin), "baseline": preferred(whole)}
            columns["bits_lost"] = whole_bits - found.bits(found.of_all - of_terms)
        columns |= {"margin": margin, "whole_margin": whole, "bits": bits, "right_alone": preferred(margin)}
        yield Part(cell, table(found.pair, **columns), {})


def _neighbours(given: Given, cells: list[Cell]) -> Found:
    by_layer: dict[int, list[Cell]] = {}
    for cell in cells:
        by_layer.setdefault(given.lens.layers.index(cell.settings.layer), []).append(cell)
    pair = given.pair("test")
    for layer, own in by_layer.items():
        heads = {cell: int(cell.settings.removed[0].partition(".")[2]) for cell in own}
        found = retrieved(given, layer, list(heads.values()))
        for cell, head in heads.items():
            one = found[head]
            columns: dict[str, object] = {"factor": one.factor, "factor_ratios": json.dumps(one.ratios)}
            columns["chance_percent"] = 100 * one.chance
            split = np.array(given.asked.splits["test"])
            files = {"neighbours.npz": pack({"nearest": one.nearest, "split": split})}
            yield Part(cell, table(pair, retrieved=one.shares), columns, files)


def _spurious(given: Given, cells: list[Cell]) -> Found:
    found = without_cue(given, [cell.settings.term for cell in cells])
    for cell in cells:
        one = found[cell.settings.term]
        columns = {"right": one.right, "baseline": one.baseline}
        columns |= {"cue_right": one.cue_right} if len(one.cue_right) else {}
        for group in range(one.n_groups):
            is_in = one.groups == group
            columns |= {f"{IN_GROUP}{group}": is_in, f"{RIGHT_IN}{group}": is_in * one.right}
        own: dict[str, object] = {"removed": json.dumps(one.removed), "n_terms": len(one.removed[0])}
        samples, shared = table(given.pair("test"), **columns), given.asked.shared
        estimates = group_estimates(samples, shared.intervals, seed=shared.seed)
        percents = {name: round(100 * float(one.right[one.groups == g].mean()), 2) for g, name in one.names.items()}
        ends = {name: [round(end, 2) for end in estimates[g][1:]] for g, name in one.names.items()}
        for name, values in (("group_percents", percents), ("group_intervals", ends)):
            own[name] = json.dumps(values, ensure_ascii=False)
        yield Part(cell, samples, own)


_ANALYSES: dict[Any, Any] = {
    "removal": _removal,
    "textspan": _textspan,
    "heatmap": _heatmap,
    "forced_choice": _forced_choice,
    "neighbours": _neighbours,
    "spurious": _spurious,
}
