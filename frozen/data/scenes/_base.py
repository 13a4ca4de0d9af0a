"""What every data set offers: three splits of images with known object codes."""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, get_args, runtime_checkable

import numpy as np
from jaxtyping import Float64, Int, UInt8

from frozen.data.dataset import DataError, Missing, fingerprint
from frozen.data.scenes.codes import FeatureSpace
from frozen.data.scenes.priors import PriorSource
from frozen.registry import frozen_dataclass_problem

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = get_args(SplitName)

__all__ = [
    "SPLITS",
    "DataError",
    "Entropies",
    "Missing",
    "Scene",
    "Split",
    "SplitName",
    "fingerprint",
    "prior_source",
    "scene_problem",
]


class Entropies(NamedTuple):
    """Exact entropies in bits of one split's distribution of codes."""

    feature_bits: float
    """H(F) over the feature codes that the split admits."""
    conditional_bits: float
    """H(O|F), the expectation over those codes."""

    @property
    def object_bits(self) -> float:
        """H(O) = H(F) + H(O|F)."""
        return self.feature_bits + self.conditional_bits


@runtime_checkable
class Split(Protocol):
    """One split of a scene; sample i never depends on which other samples are asked for."""

    @property
    def name(self) -> SplitName: ...

    @property
    def fingerprint(self) -> str:
        """Hash of everything the split's content depends on."""
        ...

    @property
    def space(self) -> FeatureSpace: ...

    @property
    def object_codes(self) -> UInt8[np.ndarray, "samples objects"]: ...

    @property
    def entropies(self) -> Entropies | None:
        """Exact entropies, or None where the prior has no such form."""
        ...

    def conditional_entropy_bits(self) -> Float64[np.ndarray, " samples"]:
        """H(O | F = f_i) in bits of every sample."""
        ...

    def prior_log_odds(self) -> Float64[np.ndarray, "samples objects"] | None:
        """Exact log-odds (nats) of o_k given o_<k and F, infinite where certain; None where unknown."""
        ...

    def images(self, indices: Int[np.ndarray, " batch"]) -> UInt8[np.ndarray, "batch height width 3"]:
        """The images of the given samples."""
        ...

    @property
    def n_skipped(self) -> int:
        """Samples that were left out, because their image cannot be read or their prior cannot be computed."""
        ...

    def __len__(self) -> int: ...


@runtime_checkable
class Scene(Protocol):
    """A data set: a configuration from which the three splits follow.

    A study is planned before its data is there: everything but `open` works without it.
    """

    @property
    def space(self) -> FeatureSpace:
        """Feature groups; while a vocabulary that the data would tell is unknown, a group has the one value `?`."""
        ...

    @property
    def image_size(self) -> int:
        """Pixels a side."""
        ...

    def limited(self, n_samples: int) -> Scene:
        """The same data set with only the first `n_samples` of each split."""
        ...

    def missing(self) -> Missing | None:
        """What has to be there before a split can be opened, or None; a quick look, not a full check."""
        ...

    def size(self, name: SplitName) -> int | None:
        """Samples of a split as far as known without opening it, or None."""
        ...

    def open(self, name: SplitName) -> Split:
        """One of the splits; drawing or reading begins here, not in the constructor.

        Raises:
            DataError: data that is not there or not as it must be.
        """
        ...


_MEMBERS = ("space", "image_size", "limited", "missing", "size", "open")


def prior_source(split: Split) -> PriorSource:
    """How a split's prior is known; a split that does not say, by `prior_source`, has declared it."""
    return getattr(split, "prior_source", "declared")


def scene_problem(name: str, part: object) -> str | None:
    """Why a class of another package is no data set, or None."""
    del name
    if problem := frozen_dataclass_problem(part):
        return problem
    known = {*dir(part), *getattr(part, "__dataclass_fields__", ())}
    missing = [member for member in _MEMBERS if member not in known]
    return f"a scene needs {', '.join(missing)}" if missing else None
