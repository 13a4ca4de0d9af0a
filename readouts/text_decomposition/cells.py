"""The read-out's grid: data sets and backbones, then what is asked of each decomposition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from frozen.capture.capture import Capture
from frozen.capture.conditions import PLAIN
from frozen.data.scenes import SPLITS
from frozen.intervals import IntervalConfig
from frozen.models.joint import joint_refusal
from frozen.paths import written
from frozen.problems import did_you_mean
from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.grid import Reading, dataset_path, readings
from frozen.readout.needs import Labels, Product
from frozen.readout.study import Study
from readouts.text_decomposition.capture import ImageTerms
from readouts.text_decomposition.keys import (
    HeatmapConfig,
    Means,
    NeighboursConfig,
    SpuriousConfig,
    TextDecompositionStudy,
    TextSpanConfig,
)
from readouts.text_decomposition.lens import Split

VERSION = 1
"""Raised when equal inputs give other numbers; part of every cell's identity."""
SPACE = "space"
"""The product: weights between heads and joint space, texts and their vectors."""
EMBEDDING, RECONSTRUCTION, UP_TO_HERE = "embedding", "reconstruction", "attention up to here"
HEADS, ALL_HEADS = "heads", "all heads"
MLPS, FIRST, BOTH = "mlps", "cls attention", "mlps and cls attention"
POLICIES = ("all terms", "without heads of the cue", "without heads that name the cue", "without random heads")
NAMED = "without the named terms"
MAPS = ("text", "text - other", "other - text", "text - mean")


@dataclass(frozen=True)
class Shared:
    """What all cells of a study share."""

    means: Means
    norm_split: Split
    templates: tuple[str, ...]
    classes: str | None
    pools: tuple[str, ...]
    intervals: IntervalConfig
    seed: int


@dataclass(frozen=True)
class Asked:
    """What one cell asks.

    Attributes:
        analysis: decomposition, or one of the study's.
        layer: as its column has it.
        term: as its column has it.
        removed: names of terms that are removed, as a study names them.
        config: settings of the analysis, if it has some.
        split_names: splits that means come from, and that is measured.
        shared: with all cells.
    """

    analysis: str
    layer: str
    term: str
    shared: Shared
    removed: tuple[str, ...] = ()
    config: TextSpanConfig | HeatmapConfig | NeighboursConfig | SpuriousConfig | None = None
    split_names: tuple[str, str] = ("validation", "test")

    @property
    def splits(self) -> dict[str, str]:
        """Names of the splits in the roles validation (means come from it) and test (it is measured)."""
        return dict(zip(("validation", "test"), self.split_names, strict=True))

    @property
    def setting(self) -> str:
        """Of the analysis, where it has several."""
        return self.config.label if isinstance(self.config, TextSpanConfig) else ""

    @property
    def bundle(self) -> tuple[object, ...]:
        """What is measured together."""
        group = "removal" if self.analysis in ("ablation", "heads") else self.analysis
        return (group, self.config)


def cells(study: Study) -> Iterator[Cell | LeftOut | Mistake]:
    """Every cell of a study, and what is left out of the grid."""
    keys: TextDecompositionStudy = study.keys
    pools = tuple(dict.fromkeys(config.pool for config in keys.textspan))
    shared = Shared(keys.means, keys.norm_split, keys.templates, keys.classes, pools, study.intervals, study.seed)
    for reading in readings(study, ("all",)):
        if isinstance(reading, Mistake):
            yield reading
        elif reason := _refusal(reading):
            yield LeftOut(f"{reading.dataset.name} · {written(reading.backbone.source)}", reason)
        else:
            yield from _of_reading(study, keys, reading, shared)


def _refusal(reading: Reading) -> str | None:
    """Why a backbone cannot be decomposed, as far as known without its weights."""
    if reason := joint_refusal(reading.backbone):
        return reason
    try:
        ImageTerms(_n_blocks(reading)).columns(reading.description, PLAIN)
    except ValueError as error:
        return str(error)
    return None


def _n_blocks(reading: Reading) -> int:
    return sum(layer.isdigit() for layer in reading.description.layers)


def _of_reading(
    study: Study, keys: TextDecompositionStudy, reading: Reading, shared: Shared
) -> Iterator[Cell | LeftOut | Mistake]:
    tokens = "heatmap" in keys.analyses
    try:
        names = split_names(keys, reading.dataset.config)
    except ValueError as error:
        yield Mistake(dataset_path(study, reading.dataset), str(error))
        return
    captures = {
        role: Capture(
            reading.dataset,
            split,
            reading.backbone,
            ImageTerms(_n_blocks(reading), tokens and role == "test"),
            dtype=study.store.dtype,
        )
        for role, split in zip(("validation", "test"), names, strict=True)
    }
    first = Asked("decomposition", "final", EMBEDDING, shared, split_names=names)
    giver = _cell(study, reading, captures, first, None)
    yield giver
    if reading.description.is_control or reading.control is not None:
        return  # accuracies at chance: there is nothing to decompose
    heads = reading.description.part("heads")
    assert not isinstance(heads, str)
    try:
        asked = list(_asked(keys, shared, _n_blocks(reading), heads[0]))
    except ValueError as error:
        yield Mistake(("sets",) if keys.sets else ("spurious",), f"{written(reading.backbone.source)}: {error}")
        return
    for one in asked:
        if reason := _left_out(one, reading.dataset.config):
            yield LeftOut(f"{reading.dataset.name} · {one.analysis} · {one.term}", reason)
        else:
            yield _cell(study, reading, captures, replace(one, split_names=names), giver)


def split_names(keys: TextDecompositionStudy, config: Any) -> tuple[str, str]:
    """The split that means come from, and the one that is measured.

    Raises:
        ValueError: a split that the data set does not have.
    """
    known: tuple[str, ...] = tuple(getattr(config, "splits", SPLITS))
    for name in (keys.fit_split, keys.test_split):
        if name is not None and name not in known:
            raise ValueError(f"there is no split {name}; {did_you_mean(name, known)}")
    test = keys.test_split or next((name for name in ("test", "val", "validation") if name in known), known[-1])
    others = [name for name in ("validation", "val", "train") if name in known and name != test]
    return keys.fit_split or (others[0] if others else test), test


def _left_out(asked: Asked, scene: Any) -> str | None:
    """Why a data set has nothing to ask this of, or None."""
    if getattr(scene, "space", None) is None:
        return _left_out_of_photos(asked, tuple(scene.label_names))
    needs_two = asked.analysis == "forced_choice" or "other" in asked.term
    counts = [getattr(scene, name, None) for name in ("min_objects", "max_objects")]
    if needs_two and isinstance(counts[1], int) and (counts[1] < 2 or (counts[0] or 0) > 2):
        return "its scenes never have two objects"
    if asked.analysis == "spurious" and counts[1] != 1:
        return "classes and cue are features of one object; its scenes may have several"
    return None


def _asked(keys: TextDecompositionStudy, shared: Shared, n_blocks: int, n_heads: int) -> Iterator[Asked]:
    """Everything a study asks of one decomposition."""
    blocks = range(n_blocks)
    terms = [*_heads(blocks, n_heads), ("embed", "init", "init")]
    terms += [(str(block), "mlp", f"mlp.{block}") for block in blocks]
    if "ablation" in keys.analyses:
        yield from _ablations(keys, shared, n_blocks, n_heads)
    if "heads" in keys.analyses:
        yield from (Asked("heads", layer, term, shared, (name,)) for layer, term, name in terms)
    if "textspan" in keys.analyses:
        for config in keys.textspan:
            yield Asked("textspan", "final", RECONSTRUCTION, shared, (), config)
            for layer, term, name in _heads(blocks[-config.last_layers :], n_heads):
                yield Asked("textspan", layer, term, shared, (name,), config)
    if "heatmap" in keys.analyses:
        yield from (Asked("heatmap", "final", name, shared, (), keys.heatmap) for name in MAPS)
    if "forced_choice" in keys.analyses:
        yield Asked("forced_choice", "final", EMBEDDING, shared)
        layers = tuple(map(str, blocks))
        yield Asked("forced_choice", "final", ALL_HEADS, shared, layers)
        yield Asked("forced_choice", "final", MLPS, shared, ("mlps",))
        yield from (Asked("forced_choice", layer, HEADS, shared, (layer,)) for layer in layers)
        yield from (Asked("forced_choice", layer, term, shared, (name,)) for layer, term, name in terms)
    if "neighbours" in keys.analyses:
        for layer, term, name in _heads(blocks[-4:], n_heads):
            yield Asked("neighbours", layer, term, shared, (name,), keys.neighbours)
    if "spurious" in keys.analyses:
        for member in keys.spurious.named:
            _check(member, n_blocks, n_heads)
        policies = (*POLICIES, NAMED) if keys.spurious.named else POLICIES
        yield from (Asked("spurious", "final", name, shared, (), keys.spurious) for name in policies)


def _left_out_of_photos(asked: Asked, labels: tuple[str, ...]) -> str | None:
    if asked.analysis == "forced_choice" or "other" in asked.term:
        return "labelled images do not tell which objects they show"
    if asked.analysis == "heatmap":
        return None if "class_mask" in labels else "the data set has no class_mask"
    if asked.analysis == "spurious" and len({*labels} - {"class", "group", "mask", "class_mask"}) == 0:
        return "the data set has no label beside the class"
    return None if "class" in labels else "the data set has no classes"


def _heads(blocks: range, n_heads: int) -> list[tuple[str, str, str]]:
    return [(str(block), f"head {head}", f"{block}.{head}") for block in blocks for head in range(n_heads)]


def _ablations(keys: TextDecompositionStudy, shared: Shared, n_blocks: int, n_heads: int) -> Iterator[Asked]:
    yield Asked("ablation", "final", MLPS, shared, ("mlps",))
    yield Asked("ablation", "final", FIRST, shared, ("cls",))
    yield Asked("ablation", "final", BOTH, shared, ("mlps", "cls"))
    for block in range(n_blocks):
        yield Asked("ablation", str(block), UP_TO_HERE, shared, tuple(map(str, range(block + 1))))
    for name, members in keys.sets:
        for member in members:
            _check(member, n_blocks, n_heads)
        yield Asked("ablation", "final", name, shared, members)


def _check(member: str, n_blocks: int, n_heads: int) -> None:
    """Refuse terms that a model does not have.

    Raises:
        ValueError: a block or a head beyond the last one.
    """
    numbers = [int(part) for part in member.removeprefix("mlp.").split(".") if part.isdigit()]
    for number, most, what in zip(numbers, (n_blocks, n_heads), ("block", "head"), strict=False):
        if number >= most:
            raise ValueError(f"{member}: its {what}s are numbered 0 to {most - 1}")


def _cell(study: Study, reading: Reading, captures: dict[str, Capture], asked: Asked, giver: Cell | None) -> Cell:
    description, shared = reading.description, asked.shared
    needs: list[tuple[str, object]] = list(captures.items())
    needs += [(f"{role}_labels", Labels(reading.dataset, capture.split)) for role, capture in captures.items()]
    if giver is not None:
        needs.append((SPACE, Product(giver.cell_id, SPACE)))
    return Cell(
        readout=study.readout,
        dataset=reading.dataset,
        backbone=reading.backbone,
        description=description,
        columns=(
            ("analysis", asked.analysis),
            ("layer", asked.layer),
            ("layer_index", description.layer_number(asked.layer)),
            ("term", asked.term),
            ("setting", asked.setting),
        ),
        names=tuple(name for name in (asked.analysis, asked.layer, asked.term, asked.setting) if name),
        settings=asked,
        identity=(
            ("readout", f"{study.readout} {VERSION}"),
            ("dataset", reading.dataset),
            ("backbone", reading.backbone),
            ("analysis", asked.analysis),
            ("layer", asked.layer),
            ("term", asked.term),
            ("removed", asked.removed),
            ("splits", asked.split_names),
            ("config", asked.config),
            ("shared", shared),
            ("dtype", study.store.dtype),
        ),
        needs=tuple(needs),  # pyright: ignore[reportArgumentType]
        gives=() if giver else (SPACE,),
        control=reading.control,
        control_of=reading.control_of,
        seed=study.seed,
    )
