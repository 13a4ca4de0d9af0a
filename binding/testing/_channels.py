"""Channels from object codes to activations whose information is computed exactly, by enumerating all codes.

Scenes have 4 x 4 features and at most six objects, all 14,893 object codes equally likely, unless a channel says
otherwise. Nothing here is estimated: entropies of outputs are sums over all codes and all outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
from jaxtyping import Float64, UInt8

from binding.samples import Samples, SplitSamples
from binding.testing._known_codes import Codes, MakeActivations, Truth
from frozen.data.scenes import Entropies
from frozen.data.scenes.codes import FeatureSpace
from frozen.data.scenes.priors import FeatureDistribution, UniformPrior

_SPACE = FeatureSpace.of(color=4, shape=4)
_PRIOR = UniformPrior(_SPACE, 0, 6)
_ERASURE_RATE, _IMPOSTOR_RATE, _FLIP_RATE, _SEEN_RATE = 0.5, 0.3, 0.1, 0.5
_WIDTH = 32


@dataclass(frozen=True)
class Channel:
    """Activations whose information is known exactly.

    Attributes:
        name: of the channel.
        activations: makes [samples dim] from object codes.
        truth: what they tell, bits.
        prior: declared for the codes.
        probabilities: of all codes with at most `prior.max_objects` objects, in the order of `all_codes`; None where
            the declared prior is the true one.
    """

    name: str
    activations: MakeActivations
    truth: Truth
    prior: UniformPrior = _PRIOR
    probabilities: Callable[[], Float64[np.ndarray, " codes"]] | None = None

    def samples(self, train: int = 800, validation: int = 200, test: int = 4000, seed: int = 0) -> SplitSamples:
        """Three splits of independent samples."""
        rng = np.random.default_rng(seed)
        exact = FeatureDistribution.over_all(self.prior)
        entropies = Entropies(exact.feature_entropy_bits, exact.conditional_entropy_bits)
        splits = [self._split(size, rng) for size in (train, validation, test)]
        prior = "exact" if self.probabilities is None else "declared"
        return SplitSamples(self.prior.space, *splits, entropies=entropies, prior=prior)

    def _split(self, size: int, rng: np.random.Generator) -> Samples:
        codes = self.draw(size, rng)
        z = self.activations(codes, rng).astype(np.float32)
        entropy = self.prior.conditional_entropy_bits(self.prior.space.feature_codes(codes))
        return Samples(z, codes, entropy, self.prior.log_odds(codes))

    def draw(self, size: int, rng: np.random.Generator) -> Codes:
        """Independent object codes."""
        every = all_codes(self.prior.space.n_objects, self.prior.max_objects)
        return every[rng.choice(len(every), size=size, p=self.probabilities and self.probabilities())]


@cache
def all_codes(n_objects: int, most: int) -> UInt8[np.ndarray, "codes objects"]:
    """Every object code with at most `most` objects."""
    chosen = [subset for size in range(most + 1) for subset in combinations(range(n_objects), size)]
    codes = np.zeros((len(chosen), n_objects), dtype=np.uint8)
    for code, subset in zip(codes, chosen, strict=True):
        code[list(subset)] = 1
    return codes


def entropy_bits(probabilities: Float64[np.ndarray, "*shape"]) -> float:
    """Entropy of a distribution."""
    positive = probabilities[probabilities > 0]
    return float(-(positive * np.log2(positive)).sum())


def _feature_numbers(codes: Codes) -> np.ndarray:
    return np.unique(_SPACE.feature_codes(codes), axis=0, return_inverse=True)[1].reshape(-1)


def statistic_truth(statistic: Callable[[Codes], np.ndarray]) -> Truth:
    """Information of a function of the object code; rows of integers are its values."""
    codes = all_codes(_SPACE.n_objects, _PRIOR.max_objects)
    values = np.unique(statistic(codes), axis=0, return_inverse=True)[1].reshape(-1)
    features = _feature_numbers(codes)
    joint = np.zeros((features.max() + 1, values.max() + 1))
    np.add.at(joint, (features, values), 1 / len(codes))
    total, of_features = entropy_bits(joint.sum(axis=0)), entropy_bits(joint.sum(axis=1))
    binding = entropy_bits(joint) - of_features
    return Truth(total, total - binding, binding)


def bitwise_truth(transition: Float64[np.ndarray, "2 2"]) -> Truth:
    """Information of codes each bit of which went through the same channel, P(z | o) in row o."""
    codes = all_codes(_SPACE.n_objects, _PRIOR.max_objects)
    counts = _SPACE.present_counts(_SPACE.feature_codes(codes))
    features = _feature_numbers(codes)
    sizes = codes.sum(axis=1)
    noise = [entropy_bits(row) for row in transition]
    of_code = float((sizes * noise[1] + (_SPACE.n_objects - sizes) * noise[0]).mean())
    given_features = 0.0
    for vector in np.unique(counts, axis=0):  # codes with as many present values differ by names only
        alike = (counts == vector).all(axis=1)
        one = codes[features == features[np.flatnonzero(alike)[0]]]
        given_features += alike.mean() * entropy_bits(_output(one, transition))
    total = entropy_bits(_output(codes, transition))
    return Truth(total - of_code, total - given_features, given_features - of_code)


def _output(codes: Codes, transition: Float64[np.ndarray, "2 2"]) -> np.ndarray:
    """Distribution of the channel's output where these codes are equally likely."""
    n_bits = codes.shape[1]
    mass = np.zeros((2,) * n_bits)
    mass[tuple(codes.T)] = 1 / len(codes)
    for _ in range(n_bits):  # each turn takes the first axis, and puts what became of it last
        mass = np.tensordot(mass, transition, axes=(0, 0))
    return mass


def impostor_truth(rate: float) -> Truth:
    """Information of the own code, or with this probability that of another scene, drawn independently."""
    codes = all_codes(_SPACE.n_objects, _PRIOR.max_objects)
    n = len(codes)
    alike = np.bincount(_feature_numbers(codes))[_feature_numbers(codes)]
    other = rate / n

    surprise = -other * math.log2(other)
    own = 1 - rate + other
    of_code = -own * math.log2(own) + (n - 1) * surprise
    shared = (1 - rate) / alike + other
    given_features = float((-alike * shared * np.log2(shared) + (n - alike) * surprise).mean())
    return Truth(math.log2(n) - of_code, math.log2(n) - given_features, given_features - of_code)


def _erased(codes: Codes, rng: np.random.Generator) -> np.ndarray:
    blank = rng.random(len(codes))[:, None] < _ERASURE_RATE
    return np.concatenate([np.where(blank, 0.0, codes), blank], axis=1)


def _impostor(codes: Codes, rng: np.random.Generator) -> np.ndarray:
    every = all_codes(_SPACE.n_objects, _PRIOR.max_objects)
    other = every[rng.integers(len(every), size=len(codes))]
    return np.where(rng.random(len(codes))[:, None] < _IMPOSTOR_RATE, other, codes)


def _flipped(codes: Codes, rng: np.random.Generator) -> np.ndarray:
    return codes ^ (rng.random(codes.shape) < _FLIP_RATE)


def _thinned(codes: Codes, rng: np.random.Generator) -> np.ndarray:
    return codes * (rng.random(codes.shape) < _SEEN_RATE)


def _every_second(codes: Codes) -> np.ndarray:
    return codes[:, ::2]


def _colour_counts(codes: Codes) -> np.ndarray:
    return codes.reshape(-1, *_SPACE.sizes).sum(axis=2, dtype=np.int64)


def _sizes(codes: Codes) -> np.ndarray:
    return codes.sum(axis=1, keepdims=True, dtype=np.int64)


def _mixed(codes: Codes, rng: np.random.Generator) -> np.ndarray:
    """A sum over the objects, each the product of a vector of its colour with one of its shape, entry by entry."""
    del rng  # the same vectors in every split
    fixed = np.random.default_rng(2)
    colours, shapes = (fixed.standard_normal((size, _WIDTH)) for size in _SPACE.sizes)
    of_object = (colours[:, None] * shapes).reshape(-1, _WIDTH)
    return codes @ of_object


def _hidden(codes: Codes, rng: np.random.Generator) -> np.ndarray:
    """Each bit as the product of two signs that say nothing alone: an exclusive or."""
    key = rng.choice([-1.0, 1.0], size=codes.shape)
    return np.concatenate([key * (2.0 * codes - 1), key], axis=1)


def _noise(codes: Codes, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((len(codes), _WIDTH))


def _features(codes: Codes, rng: np.random.Generator) -> np.ndarray:
    del rng
    return _SPACE.feature_codes(codes).astype(float)


def _diagonal_probabilities() -> Float64[np.ndarray, " codes"]:
    """3 x 3 objects that occur independently, like with like in 0.6 of the scenes, the others in 0.12."""
    often = np.where(np.eye(3, dtype=bool).reshape(-1), 0.6, 0.12)
    codes = all_codes(9, 9)
    return np.where(codes, often, 1 - often).prod(axis=1)


def _of(statistic: Callable[[Codes], np.ndarray]) -> MakeActivations:
    return lambda codes, _: statistic(codes).astype(float)


@cache
def channels() -> dict[str, Channel]:
    """Every channel by name."""
    everything = statistic_truth(lambda codes: codes)
    nothing, flip, seen = Truth(0.0, 0.0, 0.0), _FLIP_RATE, _SEEN_RATE
    small = UniformPrior(FeatureSpace.of(color=3, shape=3), 0, 9)
    found = (
        Channel("erased", _erased, Truth(*((1 - _ERASURE_RATE) * bits for bits in everything))),
        Channel("impostor", _impostor, impostor_truth(_IMPOSTOR_RATE)),
        Channel("flipped", _flipped, bitwise_truth(np.array([[1 - flip, flip], [flip, 1 - flip]]))),
        Channel("thinned", _thinned, bitwise_truth(np.array([[1.0, 0.0], [1 - seen, seen]]))),
        Channel("half", _of(_every_second), statistic_truth(_every_second)),
        Channel("bilinear", _mixed, everything),
        Channel("xor", _hidden, everything),
        Channel("colour_counts", _of(_colour_counts), statistic_truth(_colour_counts)),
        Channel("sizes", _of(_sizes), statistic_truth(_sizes)),
        Channel("features", _features, Truth(everything.features, everything.features, 0.0)),
        Channel("noise", _noise, nothing),
        Channel("wrong_prior", _noise, nothing, small, _diagonal_probabilities),
    )
    return {channel.name: channel for channel in found}
