"""Settings of single analyses, as frozen values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from frozen.paths import written
from frozen.problems import Problem, at_least, refuse
from readouts.text_decomposition.lens import POOLING, Split

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class TextSpanConfig:
    """Texts that span the output of each head (paper, algorithm 1)."""

    texts: int = 5
    """Texts a head."""
    last_layers: int = 4
    """Heads of so many last layers are described."""
    rank: int | None = None
    """Singular vectors to which texts are projected; null for all that a head has, the paper has 80."""
    norm_split: Split = "uniform"
    """How the mean of the final norm is shared among terms: uniform (paper), or own_mean."""
    pool: str = AUTO
    """File with a description a line, relative to the study; auto for words and phrases of the data set."""
    rotations: int = 20
    """Random rotations of the pool, by which what is explained by chance is known."""

    def __post_init__(self) -> None:
        refuse("textspan", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from at_least("texts", self.texts, 1)
        yield from at_least("last_layers", self.last_layers, 1)
        yield from at_least("rank", 1 if self.rank is None else self.rank, 1)
        yield from at_least("rotations", self.rotations, 1)

    @property
    def label(self) -> str:
        """What tells it apart from others in a table."""
        rank = "" if self.rank is None else f", rank {self.rank}"
        split = "" if self.norm_split == "uniform" else ", own mean"
        pool = "" if self.pool == AUTO else f", {written(self.pool)}"
        return f"{self.texts} texts{rank}{split}{pool}"


@dataclass(frozen=True, kw_only=True)
class HeatmapConfig:
    """Maps of what heads read from each token, along a text."""

    threshold: float | None = None
    """Foreground is where the map, scaled to 0..1, is larger; null for its mean (paper)."""
    layers: tuple[int, ...] | None = None
    """Blocks whose heads are read; null for all (paper)."""
    heads: tuple[str, ...] = ()
    """Heads that have maps of their own, such as 11.3 for head 3 of block 11, or final.3 of an attention that
    pools."""
    masks: Literal["aligned", "squashed"] = "aligned"
    """Masks of labelled images: through the same transform as the image, or squashed to a square (paper), whatever
    was cut off the image."""

    def __post_init__(self) -> None:
        refuse("heatmap", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        if self.threshold is not None and not 0 <= self.threshold < 1:
            yield Problem("threshold", f"must lie in 0..1, got {self.threshold}")
        if self.layers is not None and (not self.layers or min(self.layers) < 0):
            yield Problem("layers", f"must be numbers of blocks from 0, got {list(self.layers)}")
        for name in self.heads:
            if not is_member(name) or name.partition(".")[0] == "mlp" or "." not in name:
                yield Problem("heads", f"{name!r} is no head; write 11.3 for head 3 of block 11")


@dataclass(frozen=True, kw_only=True)
class NeighboursConfig:
    """Nearest images by the term of one head."""

    count: int = 15
    """Neighbours an image."""
    metric: Literal["centred_cosine", "cosine", "dot"] = "centred_cosine"
    """How near images are: the cosine of what in a head's terms differs from their mean, that of the terms, or their
    dot product (published; long terms are near everything)."""

    def __post_init__(self) -> None:
        refuse("neighbours", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        yield from at_least("count", self.count, 1)


@dataclass(frozen=True, kw_only=True)
class SpuriousConfig:
    """Heads that tell a cue apart which goes along with the classes without being meant (paper, section 4.2)."""

    target: str = ""
    """Feature whose values are the classes; by default the last one."""
    cue: str = ""
    """Feature that is not meant; by default the first one."""
    share: float = 0.5
    """Heads go whose variance the cue tells by so much more than the target does, on validation images."""
    keywords: tuple[str, ...] = ()
    """Words of the cue: heads go most of whose explained variance is that of texts with one of them and no class; by
    default the cue's values."""
    named: tuple[str, ...] = ()
    """Terms that go together, named as in `sets`: the paper's lists of heads, with all MLPs and early layers."""
    draws: int = 5
    """Random sets of equally many heads of the same layers, as a control."""

    def __post_init__(self) -> None:
        refuse("spurious", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        if not -1 <= self.share <= 1:
            yield Problem("share", f"must lie in -1..1, got {self.share}")
        if self.target and self.target == self.cue:
            yield Problem("cue", f"must be another feature than the target, both are {self.cue!r}")
        for name in self.named:
            if not is_member(name):
                yield Problem("named", f"{name!r} is no term; write 11.3, 11, mlp.11, init or mlps")
        yield from at_least("draws", self.draws, 1)


@dataclass(frozen=True, kw_only=True)
class JointConfig:
    """A map into the joint space of a CLIP, for backbones that have no texts."""

    clip: str = ""
    """The CLIP, such as shipped:shapes_clip_objects; by default backbones without texts are left out."""
    ridge: float = 1e-3
    """Penalty of the linear map, as a share of the mean variance of a coordinate."""

    def __post_init__(self) -> None:
        refuse("joint", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        if not self.ridge > 0:
            yield Problem("ridge", f"must be above 0, got {self.ridge:g}")


def is_member(text: str) -> bool:
    """Whether a text names a term, or several."""
    if text in ("init", "mlps"):
        return True
    parts = text.removeprefix("mlp.").split(".")
    parts[0] = "0" if parts[0] == POOLING else parts[0]
    return all(part.isdigit() for part in parts) and len(parts) <= (1 if text.startswith("mlp.") else 2)
