"""What a study asks of one decomposition, question by question."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from frozen.intervals import IntervalConfig
from readouts.text_decomposition.keys import Means, TextDecompositionStudy
from readouts.text_decomposition.lens import Split
from readouts.text_decomposition.settings import (
    HeatmapConfig,
    JointConfig,
    NeighboursConfig,
    SpuriousConfig,
    TextSpanConfig,
)

MAP = "map"
"""The question of how well a backbone is mapped to a CLIP, and the product: the map."""
CLIP_FIT, CLIP_TEST = "clip_validation", "clip_test"
"""Needs of that question: the CLIP's own embeddings."""
SPACE = "space"
"""The product: weights between heads and joint space, texts and their vectors."""
MAPPED = "mapped embedding"
EMBEDDING, RECONSTRUCTION, UP_TO_HERE = "embedding", "reconstruction", "attention up to here"
HEADS, ALL_HEADS = "heads", "all heads"
MLPS, FIRST, BOTH = "mlps", "cls attention", "mlps and cls attention"
POLICIES = ("all terms", "without heads of the cue", "without heads that name the cue", "without random heads")
NAMED = "without the named terms"
HEAD_MAPS = ("text - other", "text - mean")
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
        files: lists of texts by their path, and the sha256 of each.
        joint: the CLIP whose joint space the backbone is mapped to; None for its own.
    """

    analysis: str
    layer: str
    term: str
    shared: Shared
    removed: tuple[str, ...] = ()
    config: TextSpanConfig | HeatmapConfig | NeighboursConfig | SpuriousConfig | JointConfig | None = None
    split_names: tuple[str, str] = ("validation", "test")
    files: tuple[tuple[str, str], ...] = ()
    joint: JointConfig | None = None

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


def left_out(asked: Asked, scene: Any) -> str | None:
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


def everything_asked(keys: TextDecompositionStudy, shared: Shared, n_blocks: int, n_heads: int) -> Iterator[Asked]:
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
        for layer in keys.heatmap.layers or ():
            _check(str(layer), n_blocks, n_heads)
        yield from (Asked("heatmap", "final", name, shared, (), keys.heatmap) for name in MAPS)
        for head in keys.heatmap.heads:
            _check(head, n_blocks, n_heads)
            layer, _, number = head.partition(".")
            for name in HEAD_MAPS:
                yield Asked("heatmap", layer, f"head {number}: {name}", shared, (head,), keys.heatmap)
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
