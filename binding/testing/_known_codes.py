"""Codes whose information is known exactly: what any probe and estimator may, must and must not read of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Float64, UInt8

from binding.samples import Samples, SplitSamples
from frozen.data.scenes import Entropies
from frozen.data.scenes.codes import FeatureSpace
from frozen.data.scenes.priors import FeatureDistribution, UniformPrior

SPACE = FeatureSpace.of(color=2, shape=2)
PRIOR = UniformPrior(SPACE, 0, SPACE.n_objects)
"""All sixteen object codes are equally likely."""

_ERASURE_RATE = 0.4
_GAUSSIAN_DEVIATION = 0.6
_QUADRATURE_ORDER = 10

Codes = UInt8[np.ndarray, "samples objects"]
MakeActivations = Callable[[Codes, np.random.Generator], np.ndarray]


class Truth(NamedTuple):
    """Information in bits: I(O;Z), I(F;Z) and I(O;Z|F)."""

    objects: float
    features: float
    binding: float


@dataclass(frozen=True)
class KnownCode:
    """Activations of which the information is known.

    Attributes:
        name: of the code.
        activations: makes [samples dim] from object codes.
        truth: what they tell.
    """

    name: str
    activations: MakeActivations
    truth: Truth

    def samples(
        self, train: int = 2000, validation: int = 600, test: int = 1000, seed: int = 0, *, as_tokens: bool = False
    ) -> SplitSamples:
        """Three splits of independent samples.

        Args:
            train: training samples.
            validation: validation samples.
            test: test samples.
            seed: of their chance.
            as_tokens: whether activations are [samples token dim]: a CLS token of zeros, and two spatial tokens, each
                with one half of the vector and zeros in the place of the other.
        """
        rng = np.random.default_rng(seed)
        splits = [self._split(size, rng) for size in (train, validation, test)]
        if as_tokens:
            splits = [split._replace(activations=_tokens(np.asarray(split.activations[:]))) for split in splits]
        return SplitSamples(SPACE, *splits, entropies=entropies(), prior="exact")

    def _split(self, size: int, rng: np.random.Generator) -> Samples:
        codes = rng.integers(2, size=(size, SPACE.n_objects), dtype=np.uint8)
        z = self.activations(codes, rng).astype(np.float32)
        entropy = PRIOR.conditional_entropy_bits(SPACE.feature_codes(codes))
        return Samples(z, codes, entropy, PRIOR.log_odds(codes))


def _tokens(z: Float32[np.ndarray, "samples dim"]) -> Float32[np.ndarray, "samples 3 dim"]:
    half = np.arange(z.shape[1]) < z.shape[1] // 2
    return np.stack([np.zeros_like(z), z * half, z * ~half], axis=1)


@cache
def entropies() -> Entropies:
    """Exact entropies of the sixteen codes: H(O) is 4 bits."""
    exact = FeatureDistribution.over_all(PRIOR)
    return Entropies(exact.feature_entropy_bits, exact.conditional_entropy_bits)


class GaussianCode(NamedTuple):
    """Z = O + normal noise of one deviation in every direction."""

    deviation: float

    def draw(self, codes: Codes, rng: np.random.Generator) -> Float64[np.ndarray, "samples objects"]:
        """Activations of some codes."""
        return codes + self.deviation * rng.standard_normal(codes.shape)

    def bayes_losses(
        self, codes: Codes, z: Float64[np.ndarray, "samples objects"]
    ) -> tuple[Float64[np.ndarray, " samples"], Float64[np.ndarray, " samples"], Float64[np.ndarray, " samples"]]:
        """Losses of the best possible predictors in bits: -log2 of P(o|z), P(f|z) and P(o|z,f)."""
        every = _all_codes()
        log_likelihood = -((z[:, None] - every) ** 2).sum(-1) / (2 * self.deviation**2)
        features = SPACE.feature_codes(every)
        alike = (SPACE.feature_codes(codes)[:, None] == features).all(-1)
        own = -((z - codes) ** 2).sum(-1) / (2 * self.deviation**2)
        of_all = _log_sum(log_likelihood)
        of_feature = _log_sum(np.where(alike, log_likelihood, -np.inf))
        nats = (of_all - own, of_all - of_feature, of_feature - own)
        return nats[0] / np.log(2), nats[1] / np.log(2), nats[2] / np.log(2)

    def truth(self, order: int = _QUADRATURE_ORDER) -> Truth:
        """Information by numerical integration: Gauss and Hermite, `order` nodes in each of the four directions."""
        nodes, weights = np.polynomial.hermite_e.hermegauss(order)
        directions = SPACE.n_objects
        noise = self.deviation * np.array(list(product(nodes, repeat=directions)))
        weight = np.prod(np.array(list(product(weights / weights.sum(), repeat=directions))), axis=1)
        expected = np.zeros(3)
        for code in _all_codes():
            losses = self.bayes_losses(np.tile(code, (len(noise), 1)), code + noise)
            expected += [weight @ loss / len(_all_codes()) for loss in losses]
        exact = entropies()
        return Truth(*(np.array([exact.object_bits, exact.feature_bits, exact.conditional_bits]) - expected).tolist())


@cache
def _all_codes() -> Codes:
    return np.array(list(product((0, 1), repeat=SPACE.n_objects)), dtype=np.uint8)


def _log_sum(values: Float64[np.ndarray, "samples codes"]) -> Float64[np.ndarray, " samples"]:
    return np.logaddexp.reduce(values, axis=1)


def _erased(codes: Codes, rng: np.random.Generator) -> np.ndarray:
    blank = rng.random(len(codes))[:, None] < _ERASURE_RATE
    return np.concatenate([np.where(blank, 0.0, codes - 0.5), blank], axis=1)


def _linear(codes: Codes, rng: np.random.Generator) -> np.ndarray:
    del rng  # the same matrix in every split
    return codes @ np.random.default_rng(1).standard_normal((SPACE.n_objects, SPACE.n_objects + 2))


def _bilinear(codes: Codes, rng: np.random.Generator) -> np.ndarray:
    """Each bit hidden as the product of two numbers that say nothing alone: an exclusive or."""
    key = rng.choice([-1.0, 1.0], size=codes.shape)
    return np.concatenate([key * (2.0 * codes - 1), key], axis=1)


@cache
def known_codes() -> tuple[KnownCode, ...]:
    """Every known code; the names are what a conformance test says a probe must or cannot read."""
    exact = entropies()
    everything = Truth(exact.object_bits, exact.feature_bits, exact.conditional_bits)
    gaussian = GaussianCode(_GAUSSIAN_DEVIATION)
    return (
        KnownCode("objects", lambda codes, _: codes.astype(float), everything),
        KnownCode(
            "features",
            lambda codes, _: SPACE.feature_codes(codes).astype(float),
            Truth(exact.feature_bits, exact.feature_bits, 0.0),
        ),
        KnownCode("noise", lambda codes, rng: rng.standard_normal((len(codes), 8)), Truth(0.0, 0.0, 0.0)),
        KnownCode("erased", _erased, Truth(*((1 - _ERASURE_RATE) * value for value in everything))),
        KnownCode("linear", _linear, everything),
        KnownCode("bilinear", _bilinear, everything),
        KnownCode("gaussian", gaussian.draw, gaussian.truth()),
    )


def known_code(name: str) -> KnownCode:
    """A known code by its name."""
    return next(code for code in known_codes() if code.name == name)
