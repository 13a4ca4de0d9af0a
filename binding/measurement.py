"""Measures binding information in activations: the library's entry point, and what a cell of a sweep runs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, UInt8

from binding.activations import ArrayRows, Rows, Standardizer
from binding.codes import FeatureSpace
from binding.fit import Examples, FitConfig, Fitted, OnEpoch, fit
from binding.information import Estimate, IntervalConfig, TestLosses, measures
from binding.priors import UniformPrior
from binding.probes import FAMILIES, HeadShape, Probe, Target
from binding.scenes import Entropies
from binding.search import ProbeSpace, SearchConfig
from binding.tuning import NothingTrainedError, Suggestion, Tuned, tune

_FALLING_BITS = 0.01


class Samples(NamedTuple):
    """One split: activations and what is known of its scenes."""

    activations: ArrayRows
    """[samples dim], or [samples token dim] for attention probes."""
    object_codes: UInt8[np.ndarray, "samples objects"]
    conditional_entropy_bits: Float64[np.ndarray, " samples"]
    """H(O | F = f_i) of every sample."""
    prior_log_odds: Float64[np.ndarray, "samples objects"] | None = None
    """Exact prior log-odds (nats) of o_k given o_<k and F; None where the prior is unknown."""


class SplitSamples(NamedTuple):
    """The three splits of a data set, seen through one layer and mode."""

    space: FeatureSpace
    train: Samples
    validation: Samples
    test: Samples
    entropies: Entropies | None = None
    """Exact entropies of the test split; None leaves B_O, B_F and β_O empty."""
    has_cls: bool = True
    """Whether token 0 is a CLS token, where activations have tokens."""


@dataclass(frozen=True, kw_only=True)
class MeasureConfig:
    """How a measurement is made: training, tuning, seeds and intervals."""

    fit: FitConfig = field(default_factory=FitConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    intervals: IntervalConfig = field(default_factory=IntervalConfig)
    seed: int = 0
    """Seed of the search and of the first refit; the others count up from it."""
    n_seeds: int = 2
    """How many times the tuned probe of each target is trained."""


Progress = Callable[[str], None]


@dataclass(frozen=True)
class TargetResult:
    """What came of one target: tuned probe, its trainings with every seed, and their test losses."""

    suggestions: list[Suggestion]
    fits: list[Fitted]
    test_bits: Float64[np.ndarray, "seeds samples"]
    accuracy: float
    on_edge: list[str]

    @property
    def probe(self) -> Probe:
        """The winner's hyper-parameters."""
        return self.fits[0].probe

    @property
    def best_epochs(self) -> list[int]:
        """Best epoch of every seed; 0 is the untrained state."""
        return [result.best_epoch for result in self.fits]


@dataclass(frozen=True)
class Measurement:
    """Binding information of one set of activations as one probe family reads it.

    Attributes:
        estimates: value and interval by column name; None where undefined.
        flags: names from `binding.information.FLAGS`.
        conditional_entropy_bits: H(O|F), mean over the test samples.
        entropies: exact entropies of the test split.
        seed_spread_bits: standard deviation of B* between seeds.
        targets: everything behind the numbers, by target.
        losses: test losses in bits.
    """

    estimates: dict[str, Estimate | None]
    flags: list[str]
    conditional_entropy_bits: float
    entropies: Entropies | None
    seed_spread_bits: float | None
    targets: dict[Target, TargetResult]
    losses: TestLosses

    def __getattr__(self, name: str) -> Estimate | None:
        """Estimates by name: `measurement.binding_ratio`."""
        estimates = self.__dict__.get("estimates", {})
        if name in estimates:
            return estimates[name]
        raise AttributeError(name)


def measure(
    activations: Float[np.ndarray, "samples *tokens dim"],
    object_codes: UInt8[np.ndarray, "samples objects"],
    space: FeatureSpace,
    *,
    prior: UniformPrior | None = None,
    entropies: Entropies | None = None,
    probe: str | ProbeSpace = "quadratic_concat",
    splits: Sequence[Int[np.ndarray, " split"]] | None = None,
    config: MeasureConfig | None = None,
    has_cls: bool = True,
) -> Measurement:
    """Measure binding information in any model's activations.

    Args:
        activations: one vector a sample, or tokens a sample (attention probes), any float dtype.
        object_codes: which objects each sample shows, uint8.
        space: the feature groups whose product the objects are.
        prior: distribution of object codes given features; by default uniform over all sizes.
        entropies: exact entropies of the test samples' distribution; without them B_O and β_O are empty.
        probe: family, or family with settings and ranges.
        splits: indices of training, validation and test samples; by default 64%, 16% and 20%, in order.
        config: training, tuning, seeds and intervals.
        has_cls: whether token 0 is a CLS token.

    Returns:
        The measurement, with an interval for every number.

    Raises:
        ValueError: shapes that do not fit together, or a family that cannot read these activations.

    >>> import numpy as np
    >>> space = FeatureSpace.of(color=2, shape=2)
    >>> codes = np.random.default_rng(0).integers(2, size=(500, 4), dtype=np.uint8)
    >>> quick = MeasureConfig(fit=FitConfig(epochs=2), search=SearchConfig(suggestions=1), n_seeds=1)
    >>> measure(codes.astype(np.float32), codes, space, probe="linear", config=quick).binding_ratio.high <= 1
    True
    """
    _check(activations, object_codes, space)
    prior = prior or UniformPrior(space, 0, space.n_objects)
    if splits is None:
        splits = np.split(np.arange(len(object_codes)), [int(0.64 * len(object_codes)), int(0.8 * len(object_codes))])
    entropy = prior.conditional_entropy_bits(space.feature_codes(object_codes))
    parts = [
        Samples(activations[part], object_codes[part], entropy[part], prior.log_odds(object_codes[part]))
        for part in splits
    ]
    samples = SplitSamples(space, *parts, entropies=entropies, has_cls=has_cls)
    chosen = ProbeSpace.of(probe) if isinstance(probe, str) else probe
    return measure_samples(samples, chosen, config or MeasureConfig())


def _check(activations: np.ndarray, object_codes: np.ndarray, space: FeatureSpace) -> None:
    if activations.ndim not in (2, 3):
        raise ValueError(f"activations must be [samples dim] or [samples token dim], got shape {activations.shape}")
    if object_codes.shape != (len(activations), space.n_objects):
        raise ValueError(
            f"object_codes must be [{len(activations)} samples, {space.n_objects} objects], got {object_codes.shape}"
        )


def measure_samples(
    samples: SplitSamples,
    probe: ProbeSpace,
    config: MeasureConfig,
    *,
    feature_probe: ProbeSpace | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> Measurement:
    """Measure one cell.

    Args:
        samples: the three splits.
        probe: the family with its settings and ranges.
        config: training, tuning, seeds and intervals.
        feature_probe: the family of the F probe; by default the same, or quadratic_concat where the family
            has no F probe.
        device: where to train; the CPU by default.
        progress: told what is being trained.

    Raises:
        ValueError: a family that cannot read these activations.
        NothingTrainedError: all suggestions of a target diverged.
    """
    feature_probe = feature_probe or default_feature_probe(probe)
    mode = "all" if len(samples.train.activations.shape) == 3 else "vector"
    readers: tuple[tuple[ProbeSpace, Target], ...] = ((probe, "objects"), (feature_probe, "features"))
    for space, target in readers:
        reason = FAMILIES[space.family].refuses(mode, target, len(samples.space.groups))
        if reason:
            raise ValueError(reason)
    trainer = _Trainer(samples, config, device or torch.device("cpu"), progress or _silent)
    targets: dict[Target, TargetResult] = {
        "objects": trainer.tuned("objects", probe),
        "features": trainer.tuned("features", feature_probe),
        "direct": trainer.tuned("direct", probe),
    }
    targets["given"] = trainer.refitted("given", targets["direct"].probe.without_activations())
    losses = TestLosses(**{name: result.test_bits for name, result in targets.items()})
    entropy = samples.test.conditional_entropy_bits
    found = measures(losses, entropy, samples.entropies, config.intervals, seed=config.seed)
    return Measurement(
        estimates=found.estimates,
        flags=found.flags + _training_flags(targets, config),
        conditional_entropy_bits=float(entropy.mean()),
        entropies=samples.entropies,
        seed_spread_bits=found.seed_spread_bits,
        targets=targets,
        losses=losses,
    )


def default_feature_probe(probe: ProbeSpace) -> ProbeSpace:
    """The same family, or quadratic_concat with the settings it shares where the family reads objects only."""
    if not FAMILIES[probe.family].objects_only:
        return probe
    return ProbeSpace("quadratic_concat", probe.settings)


def _training_flags(targets: dict[Target, TargetResult], config: MeasureConfig) -> list[str]:
    tuned = [result for name, result in targets.items() if name != "given"]
    flags = []
    if any(_still_falling(fitted, config.fit.epochs) for result in tuned for fitted in result.fits):
        flags.append("last_epoch")
    if any(result.on_edge for result in tuned):
        flags.append("range_edge")
    if any(len(result.fits) < config.n_seeds for result in tuned):
        flags.append("diverged")
    return flags


def _still_falling(fitted: Fitted, epochs: int) -> bool:
    """Whether the last epoch is the best, and clearly better than the best of nine tenths of the epochs."""
    if fitted.best_epoch < epochs:
        return False
    earlier = [point.validation_bits for point in fitted.curve[: max(1, int(0.9 * epochs))]]
    return min(earlier) - fitted.validation_bits > _FALLING_BITS


def _silent(message: str) -> None:
    del message


class _Trainer:
    """Trains probes of any target on one set of samples."""

    def __init__(
        self, samples: SplitSamples, config: MeasureConfig, device: torch.device, progress: Progress
    ) -> None:
        self._samples = samples
        self._config = config
        self._device = device
        self._progress = progress
        standardizer = Standardizer.of(samples.train.activations) if config.fit.standardize else None
        self._rows = [
            Rows(split.activations, standardizer, device)
            for split in (samples.train, samples.validation, samples.test)
        ]

    def tuned(self, target: Target, space: ProbeSpace) -> TargetResult:
        """Tune the family for a target, then train the winner with every seed."""
        shape, examples = self._shape(target), self._examples(target)
        seed = self._config.seed

        def together(probes: list[Probe], on_epoch: OnEpoch | None) -> list[Fitted]:
            self._progress(f"{target}: {len(probes)} suggestions")
            return self._fit(probes, target, shape, examples, seed, on_epoch)

        tuned = tune(space, self._config.search, together, _stable(seed, target))
        return self._finish(target, tuned, space, shape, examples)

    def refitted(self, target: Target, probe: Probe) -> TargetResult:
        """Train a probe with every seed, without tuning."""
        shape, examples = self._shape(target), self._examples(target)
        [first] = self._fit([probe], target, shape, examples, self._config.seed)
        return self._finish(target, Tuned(first, []), None, shape, examples)

    def _finish(
        self, target: Target, tuned: Tuned, space: ProbeSpace | None, shape: HeadShape, examples: list[Examples]
    ) -> TargetResult:
        """The search trained the winner with the first seed, so only the other seeds are left to train."""
        self._progress(f"{target}: {self._config.n_seeds} seeds")
        seeds = range(self._config.seed, self._config.seed + self._config.n_seeds)
        kept = [] if tuned.best.status == "pruned" else [tuned.best]
        fits = kept + [
            fitted
            for seed in seeds[len(kept) :]
            for fitted in self._fit([tuned.best.probe], target, shape, examples, seed)
        ]
        finite = [fitted for fitted in fits if np.isfinite(fitted.validation_bits)]
        if not finite:
            raise NothingTrainedError(f"the {target} probe diverged with every seed")
        evaluated = [fitted.evaluate(examples[2]) for fitted in finite]
        return TargetResult(
            suggestions=tuned.suggestions,
            fits=finite,
            test_bits=np.stack([bits for bits, _ in evaluated]),
            accuracy=float(np.mean([accuracy for _, accuracy in evaluated])),
            on_edge=space.on_edge(tuned.best.probe) if space else [],
        )

    def _fit(
        self,
        probes: list[Probe],
        target: Target,
        shape: HeadShape,
        examples: list[Examples],
        seed: int,
        on_epoch: OnEpoch | None = None,
    ) -> list[Fitted]:
        untrained = target in ("direct", "given")
        train, validation, _ = examples
        config = self._config.fit
        return fit(probes, shape, train, validation, config, seed=seed, untrained=untrained, on_epoch=on_epoch)

    def _shape(self, target: Target) -> HeadShape:
        space = self._samples.space
        width = 0 if target == "given" else self._samples.train.activations.shape[-1]
        if target == "features":
            return HeadShape(width, space.n_features, has_cls=self._samples.has_cls)
        given = 0 if target == "objects" else space.n_features
        return HeadShape(width, space.n_objects, given, space.sizes, self._samples.has_cls)

    def _examples(self, target: Target) -> list[Examples]:
        """Training, validation and test examples of a target."""
        splits = (self._samples.train, self._samples.validation, self._samples.test)
        return [self._example(target, split, rows) for split, rows in zip(splits, self._rows, strict=True)]

    def _example(self, target: Target, split: Samples, rows: Rows) -> Examples:
        features = self._samples.space.feature_codes(split.object_codes)
        if target == "given":
            rows = Rows(np.zeros((len(features), 0), dtype=np.float32), None, self._device)
        bits = {"objects": split.object_codes, "features": features}.get(
            target, np.concatenate([split.object_codes, features], axis=1)
        )
        odds = split.prior_log_odds if target in ("direct", "given") else None
        return Examples.of(rows, bits, odds, self._device)


def _stable(seed: int, target: Target) -> int:
    """A sampler seed that differs between targets and is the same in every process."""
    return int.from_bytes(hashlib.sha256(f"{seed} {target}".encode()).digest()[:4], "big")
