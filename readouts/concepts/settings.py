"""What a study says of its dictionaries and of their training."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from frozen.paths import written
from frozen.problems import Problem, at_least, did_you_mean, refuse
from readouts.concepts.dictionary import KINDS, Kind

Dead = Literal["auxk", "resample", "none"]
TOPK_KINDS = ("topk", "batchtopk", "matryoshka")
PENALTIES = {"relu_l1": 0.1, "jumprelu": 0.02, "gated": 0.1}


@dataclass(frozen=True, kw_only=True)
class DictionaryConfig:
    """One dictionary."""

    kind: Kind
    """relu_l1 (the paper's), topk, batchtopk, jumprelu, gated or matryoshka."""
    expansion: float = 4.0
    """Atoms for each dimension of the site."""
    k: int = 8
    """Active atoms a row, of topk; on average, of batchtopk and matryoshka."""
    penalty: float | None = None
    """λ of the code's L1 norm (relu_l1, gated) or of its L0 norm (jumprelu), beside the mean squared error of scaled
    activations; null takes 0.1, 0.1 and 0.02."""
    learning_rate: float = 3e-3
    """Of Adam, at its highest."""
    weights: str | None = None
    """A dictionary that is trained already: a .pt file of the paper's code, a folder of sae-lens, or a .safetensors
    file of this read-out; it must be of the site's width, and of this kind."""
    dead: Dead | None = None
    """What brings silent atoms back: auxk (they model the residual), resample (they restart at badly modelled rows)
    or none; null takes auxk for the topk kinds and resample for the others."""

    def __post_init__(self) -> None:
        refuse("dictionaries", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        if self.kind not in KINDS:
            yield Problem("kind", f"no such kind {self.kind!r}; {did_you_mean(self.kind, KINDS)}")
        if not self.expansion > 0:
            yield Problem("expansion", f"must be > 0, got {self.expansion}")
        if not self.learning_rate > 0:
            yield Problem("learning_rate", f"must be > 0, got {self.learning_rate}")
        yield from at_least("k", self.k, 1)
        yield from at_least("penalty", 0 if self.penalty is None else self.penalty, 0)
        if self.dead == "auxk" and self.kind not in TOPK_KINDS:
            yield Problem("dead", f"auxk is for {', '.join(TOPK_KINDS)}; {self.kind} takes resample or none")

    @property
    def is_topk(self) -> bool:
        """Whether k, and not a penalty, says how sparse its codes are."""
        return self.kind in TOPK_KINDS

    @property
    def weight(self) -> float:
        """λ."""
        if self.is_topk:
            return 0.0
        return PENALTIES[self.kind] if self.penalty is None else self.penalty

    @property
    def revival(self) -> Dead:
        """What brings silent atoms back."""
        return self.dead or ("auxk" if self.is_topk else "resample")

    def n_atoms(self, width: int) -> int:
        """Atoms over activations of a width."""
        return max(1, round(self.expansion * width))

    @property
    def label(self) -> str:
        """For people: kind, sparsity and size; what else differs is in the cell's id."""
        sparsity = f"k={self.k}" if self.is_topk else f"λ={self.weight:g}"
        return f"{self.kind} {sparsity} ×{self.expansion:g}" if self.weights is None else written(self.weights)


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How dictionaries are trained."""

    steps: int = 4000
    """Optimiser steps."""
    batch_size: int = 512
    """Rows a step."""
    warm_up: float = 0.05
    """Share of the steps over which the learning rate rises; the penalty rises over twice as many."""
    decay: float = 0.2
    """Share of the steps, the last ones, over which the learning rate falls to zero."""
    centre: bool = True
    """Whether the mean of the activations is removed: it silences atoms, and most of CLIP's lies in it."""
    scale: bool = True
    """Whether activations are scaled to a mean squared norm of their width, so that λ means the same anywhere."""
    initialisation: Literal["tied", "paper"] = "tied"
    """tied: encoder rows are the decoder's; paper: Kaiming-uniform with the fan-in M·D of its code, whose rows are
    almost zero."""
    centred_resampling: bool = True
    """Whether restarted atoms point from the bias to the row that they restart at, and not from zero."""
    resample_every: int = 500
    """Steps between restarts of silent atoms; none in the last of them."""
    resample_batches: int = 1
    """Batches from which atoms that restart choose their rows."""
    dead_rows: int = 100_000
    """Rows without firing after which an atom of a topk kind counts as silent in training."""
    clip: float = 1.0
    """Largest norm of a dictionary's gradient; 0 for any."""

    def __post_init__(self) -> None:
        refuse("training", self.problems())

    def problems(self) -> Iterator[Problem]:
        """Every broken rule."""
        for name in ("steps", "batch_size", "resample_every", "resample_batches", "dead_rows"):
            yield from at_least(name, getattr(self, name), 1)
        for name in ("warm_up", "decay"):
            if not 0 <= getattr(self, name) <= 1:
                yield Problem(name, f"must lie in 0..1, got {getattr(self, name)}")
        yield from at_least("clip", self.clip, 0)

    def rate_factor(self, step: int) -> float:
        """Of the learning rate at a step: a linear rise, a plateau, a linear fall."""
        done, rise, fall = step + 1, self.warm_up * self.steps, self.decay * self.steps
        return min(1.0, done / rise if rise else 1.0, (self.steps - step) / fall if fall else 1.0)

    def penalty_factor(self, step: int) -> float:
        """Of the penalty at a step."""
        rise = 2 * self.warm_up * self.steps
        return min(1.0, (step + 1) / rise if rise else 1.0)
