"""What a study asks of one decomposition, question by question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from frozen.data.dataset import DataError
from frozen.data.readers import PhotoDataset
from frozen.intervals import IntervalConfig
from frozen.problems import did_you_mean
from readouts.text_decomposition.keys import Means, TextDecompositionStudy
from readouts.text_decomposition.lens import POOLING, Split
from readouts.text_decomposition.settings import (
    HeatmapConfig,
    JointConfig,
    NeighboursConfig,
    SpuriousConfig,
    TextSpanConfig,
)

LabelValues = Mapping[str, tuple[str, ...] | None]
"""What the values of each label are called; None where they are no whole numbers."""
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
TWIN = "caption - twin"
"""The map of a scene's caption less that of its twin: where the binding is read."""
HEAD_MAPS = ("text - other", "text - mean", TWIN)
MAPS = ("text", "text - other", "other - text", "text - mean", TWIN)


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


def left_out(asked: Asked, scene: Any, values: LabelValues | None = None) -> str | None:
    """Why a data set has nothing to ask this of, or None.

    Args:
        asked: the question.
        scene: the data set.
        values: of its labels, where its files are there; see `label_values`.
    """
    if getattr(scene, "space", None) is None:
        return _left_out_of_photos(asked, tuple(scene.label_names), values)
    needs_two = asked.analysis == "forced_choice" or "other" in asked.term or TWIN in asked.term
    counts = [getattr(scene, name, None) for name in ("min_objects", "max_objects")]
    if needs_two and isinstance(counts[1], int) and (counts[1] < 2 or (counts[0] or 0) > 2):
        return "its scenes never have two objects"
    if asked.analysis == "spurious" and counts[1] != 1:
        return "classes and cue are features of one object; its scenes may have several"
    if isinstance(asked.config, SpuriousConfig):
        names = features_of(scene)
        return _no_pair(asked.config.target or names[-1], asked.config.cue or names[0], names)
    return None


def features_of(config: Any) -> tuple[str, ...]:
    """What target and cue may be, by its name: features of a scene's objects, or labels that are no masks."""
    space = getattr(config, "space", None)
    if space is not None:
        return tuple(group.name for group in space.groups)
    return tuple(name for name in config.label_names if "mask" not in name)


def label_values(config: Any, split: str) -> LabelValues | None:
    """Labels of images on disk by name, as far as known without reading an image; None where that is not known."""
    if not isinstance(config, PhotoDataset) or config.missing():
        return None
    try:
        listing = config.listing(split)
    except (DataError, OSError):
        return None  # who opens the split is told
    kinds = {name: (values.ndim, values.dtype.kind) for name, values in listing.labels.items()}
    return {
        name: tuple(listing.names.get(name, ())) if ndim == 1 and kind in "iu" else None
        for name, (ndim, kind) in kinds.items()
    }


class Heads(NamedTuple):
    """The heads of a model that are told apart.

    Attributes:
        layers: that have them: numbers of blocks, or final alone where an attention pools the tokens.
        n_heads: heads in each.
    """

    layers: tuple[str, ...]
    n_heads: int

    @property
    def are_pooling(self) -> bool:
        """Whether they are those of the attention that pools."""
        return self.layers == (POOLING,)

    def named(self, last: int | None = None) -> list[tuple[str, str, str]]:
        """Layer, term and name of every head of the last layers; by default of all."""
        layers = self.layers if last is None else self.layers[-last:]
        return [(layer, f"head {head}", f"{layer}.{head}") for layer in layers for head in range(self.n_heads)]

    def check(self, member: str) -> None:
        """Refuse terms that the model does not have.

        Raises:
            ValueError: a block or a head beyond the last one.
        """
        layer, _, head = member.removeprefix("mlp.").partition(".")
        if layer in ("init", "mlps"):
            return
        if self.are_pooling or layer == POOLING:
            if not self.are_pooling:
                raise ValueError(f"{member}: no attention pools its tokens; write the number of a block")
            if layer != POOLING:
                raise ValueError(f"{member}: an attention pools its tokens, whose heads are {self._first_to_last}")
        elif int(layer) >= len(self.layers):
            raise ValueError(f"{member}: its blocks are numbered 0 to {len(self.layers) - 1}")
        if head and int(head) >= self.n_heads:
            raise ValueError(f"{member}: its heads are numbered 0 to {self.n_heads - 1}")

    @property
    def _first_to_last(self) -> str:
        return f"{POOLING}.0 to {POOLING}.{self.n_heads - 1}"


def everything_asked(keys: TextDecompositionStudy, shared: Shared, heads: Heads) -> Iterator[Asked]:
    """Everything a study asks of one decomposition."""
    mlps = [(layer, "mlp", f"mlp.{layer}") for layer in heads.layers]
    enters = (POOLING, "bias", "init") if heads.are_pooling else ("embed", "init", "init")
    terms = [*heads.named(), enters, *mlps]
    if "ablation" in keys.analyses:
        yield from _ablations(keys, shared, heads)
    if "heads" in keys.analyses:  # the bias is the same for all images: without it nothing changes
        varied = [one for one in terms if one[1] != "bias"]
        yield from (Asked("heads", layer, term, shared, (name,)) for layer, term, name in varied)
    if "textspan" in keys.analyses:
        for config in keys.textspan:
            yield Asked("textspan", "final", RECONSTRUCTION, shared, (), config)
            for layer, term, name in heads.named(config.last_layers):
                yield Asked("textspan", layer, term, shared, (name,), config)
    if "heatmap" in keys.analyses:
        for layer in keys.heatmap.layers or ():
            heads.check(str(layer))
        yield from (Asked("heatmap", "final", name, shared, (), keys.heatmap) for name in MAPS)
        for head in keys.heatmap.heads:
            heads.check(head)
            layer, _, number = head.partition(".")
            for name in HEAD_MAPS:
                yield Asked("heatmap", layer, f"head {number}: {name}", shared, (head,), keys.heatmap)
    if "forced_choice" in keys.analyses:
        yield Asked("forced_choice", "final", EMBEDDING, shared)
        yield Asked("forced_choice", "final", ALL_HEADS, shared, heads.layers)
        yield Asked("forced_choice", "final", MLPS, shared, ("mlps",))
        apart = () if heads.are_pooling else heads.layers  # of one layer alone, its heads are all
        yield from (Asked("forced_choice", layer, HEADS, shared, (layer,)) for layer in apart)
        yield from (Asked("forced_choice", layer, term, shared, (name,)) for layer, term, name in terms)
    if "neighbours" in keys.analyses:
        for layer, term, name in heads.named(4):
            yield Asked("neighbours", layer, term, shared, (name,), keys.neighbours)
    if "spurious" in keys.analyses:
        for member in keys.spurious.named:
            heads.check(member)
        policies = (*POLICIES, NAMED) if keys.spurious.named else POLICIES
        yield from (Asked("spurious", "final", name, shared, (), keys.spurious) for name in policies)


def _left_out_of_photos(asked: Asked, labels: tuple[str, ...], values: LabelValues | None) -> str | None:
    if asked.analysis == "forced_choice" or "other" in asked.term or TWIN in asked.term:
        return "labelled images do not tell which objects they show"
    if asked.analysis == "heatmap":
        return None if "class_mask" in labels else "the data set has no class_mask"
    if "class" not in labels:
        return "the data set has no classes"
    return _left_out_of_labels(asked.config, labels, values) if isinstance(asked.config, SpuriousConfig) else None


def _left_out_of_labels(config: SpuriousConfig, labels: tuple[str, ...], values: LabelValues | None) -> str | None:
    """Why target and cue are no labels that can be told apart, or None."""
    names = tuple(name for name in labels if "mask" not in name)
    others = [name for name in names if name not in ("class", "group")]
    if not others and not config.cue:
        return "the data set has no label beside the class; groups may be named as the `cue`"
    known = values or {}
    counted = [name for name in others if known.get(name, ()) is not None]
    cue, target = config.cue or (counted or others)[0], config.target or "class"
    if reason := _no_pair(target, cue, names):
        return reason
    for name in (target, cue):
        if known.get(name, ()) is None:
            return (
                f"the values of {name} are no whole numbers; a column of texts can be the cue as the group: "
                "`labels: [.., group=COLUMN]` and `cue: group`"
            )
    if target != "class" and target in known and all(text.isdecimal() for text in known[target] or ()):
        return f"the values of {target} have no names, by which they could be classes"
    return None


def _no_pair(target: str, cue: str, names: tuple[str, ...]) -> str | None:
    """Why two names are not those of two features, or None."""
    for key, name in (("target", target), ("cue", cue)):
        if name not in names:
            return f"the data set has no feature {name!r} for the {key}; {did_you_mean(name, names)}"
    if target == cue:
        return f"target and cue are both {target}; name two features of {', '.join(names)}"
    return None


def _ablations(keys: TextDecompositionStudy, shared: Shared, heads: Heads) -> Iterator[Asked]:
    yield Asked("ablation", "final", MLPS, shared, ("mlps",))
    if not heads.are_pooling:
        yield Asked("ablation", "final", FIRST, shared, ("cls",))
        yield Asked("ablation", "final", BOTH, shared, ("mlps", "cls"))
    for number, layer in enumerate(heads.layers):
        yield Asked("ablation", layer, UP_TO_HERE, shared, heads.layers[: number + 1])
    for name, members in keys.sets:
        for member in members:
            heads.check(member)
        yield Asked("ablation", "final", name, shared, members)
