"""Tunes and trains the probes of one target on one set of samples."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, Float64, UInt8

from binding._together import FitRequest, Trainings
from binding.description_length import block_batch_size, coding_blocks
from binding.examples import Examples
from binding.fit import FitConfig, Fitted, OnEpoch, fit
from binding.probes import HeadShape, Probe, Target
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.search import ProbeSpace
from binding.tuning import NothingTrainedError, Suggestion, Tuned, tuning
from frozen.rows import HeldRows, Rows, Standardizer

View = Literal["features", "objects", "nothing", "objects_probe"]
"""What a direct probe sees beside z: the earlier objects and the features, the earlier objects only, or nothing; or
it is the objects probe as it stands. All have an expected loss of at least H(O|Z,F)."""


@dataclass(frozen=True)
class TargetResult:
    """What came of one target: tuned probe, its trainings with every seed, and their test losses."""

    suggestions: list[Suggestion]
    fits: list[Fitted]
    test_bits: Float64[np.ndarray, "seeds samples"]
    head_bits: Float32[np.ndarray, "seeds samples heads"]
    accuracy: float
    gap_bits: float
    """Test loss minus training loss of the kept parameters, mean over seeds; 0 for untrained states."""
    on_edge: list[str]
    tuned: Probe
    """What the search chose; of the direct target, while the probe saw everything."""
    view: View = "features"
    """What the direct probe was shown beside the activations."""

    @property
    def probe(self) -> Probe:
        """The winner's hyper-parameters."""
        return self.fits[0].probe

    @property
    def best_epochs(self) -> list[int]:
        """Best epoch of every seed; 0 is the untrained state."""
        return [result.best_epoch for result in self.fits]


class Trainer:
    """Trains probes of any target on one set of samples; what is trained is asked for, see `binding._together`."""

    def __init__(self, samples: SplitSamples, config: MeasureConfig, device: torch.device) -> None:
        self._samples = samples
        self._config = config
        self._device = device
        self.standardizer = Standardizer.of(samples.train.activations) if config.fit.standardize else None
        self._whole = [
            Rows(split.activations, self.standardizer, device)
            for split in (samples.train, samples.validation, samples.test)
        ]
        self._rows: Sequence[Rows | HeldRows] = self._whole

    def tuned(self, target: Target, space: ProbeSpace) -> Trainings[TargetResult]:
        """Tune the family for a target, then train the winner with every seed."""
        shape, examples = self._shape(target), self._examples(target)
        seed = self._config.seed
        steps = tuning(space, self._config.search, _stable(seed, target))
        asked = next(steps)
        while True:
            probes, on_epoch = asked
            fitted = yield self._request(probes, target, shape, examples, seed, on_epoch)
            try:
                asked = steps.send(fitted)
            except StopIteration as end:
                tuned: Tuned = end.value
                break
        return (yield from self._finish(target, tuned, space, shape, examples))

    def direct(self, space: ProbeSpace, objects: TargetResult) -> Trainings[TargetResult]:
        """The direct target: tuned as any, then seen with narrower inputs, of which validation data take the best.

        The prior's log-odds, to which a probe adds, know of the earlier objects and the features already. Where the
        activations change nothing in how these matter, their inputs are but something to over-fit.
        """
        result = yield from self.tuned("direct", space)
        result = yield from self._narrower(result, _distinct([result.tuned, objects.tuned]), space)
        return self._or_objects_probe(result, objects)

    def direct_again(self, direct: Probe, objects: Probe) -> Trainings[TargetResult]:
        """The direct target in the same way, with probes that are tuned already."""
        of_objects = yield from self.refitted("objects", [objects])
        result = yield from self.refitted("direct", [direct])
        result = yield from self._narrower(result, _distinct([direct, objects]), None)
        return self._or_objects_probe(result, of_objects)

    def _narrower(
        self, result: TargetResult, candidates: list[Probe], space: ProbeSpace | None
    ) -> Trainings[TargetResult]:
        """The best of a direct result and of what candidates make of narrower inputs, by validation loss."""
        best, seed, view = result.fits[0], self._config.seed, result.view
        for narrower in _NARROWER:
            if narrower == "nothing":
                candidates = _distinct([replace(probe, use_conditioned_query=False) for probe in candidates])
            elif not any(probe.use_conditioned_query for probe in candidates):
                continue
            examples, shape = self._examples("direct", narrower), self._shape("direct", narrower)
            for fitted in (yield self._request(candidates, "direct", shape, examples, seed)):
                if fitted.validation_bits < best.validation_bits:
                    best, view = fitted, narrower
        if view == "features":
            return result
        examples, shape = self._examples("direct", view), self._shape("direct", view)
        found = yield from self._finish("direct", Tuned(best, result.suggestions), space, shape, examples)
        return replace(found, tuned=result.tuned, view=view)

    def _or_objects_probe(self, direct: TargetResult, objects: TargetResult) -> TargetResult:
        """The objects probe in the place of a direct one that loses more: H(O|Z,F) ≤ H(O|Z) ≤ CE_O."""
        examples = self._examples("direct", "objects_probe")
        bits = objects.fits[0].evaluate(examples[1])[0].sum(axis=1).mean()
        if bits >= direct.fits[0].validation_bits:
            return direct
        found = self._tested("direct", objects.fits, examples)
        return replace(
            found,
            suggestions=direct.suggestions,
            on_edge=objects.on_edge,
            tuned=direct.tuned,
            view="objects_probe",
        )

    def refitted(self, target: Target, probes: Sequence[Probe]) -> Trainings[TargetResult]:
        """Train the best of some probes with every seed, without tuning."""
        shape, examples = self._shape(target), self._examples(target)
        fits = yield self._request(_distinct(probes), target, shape, examples, self._config.seed)
        best = min(fits, key=lambda fitted: fitted.validation_bits)
        return (yield from self._finish(target, Tuned(best, []), None, shape, examples))

    def recoded(self, codes: Sequence[UInt8[np.ndarray, "_ objects"]]) -> Trainer:
        """The same activations with other object codes for the training, validation and test samples."""
        train, validation, test = codes
        other, samples = copy(self), self._samples
        other._samples = samples._replace(
            train=samples.train._replace(object_codes=train),
            validation=samples.validation._replace(object_codes=validation),
            test=samples.test._replace(object_codes=test),
        )
        return other

    def holding(self, kept: Bool[np.ndarray, " dim"]) -> Trainer:
        """The same samples with the other channels held at 0, which is their mean where they are standardised."""
        other = copy(self)
        mask = torch.from_numpy(kept).to(self._device)
        other._rows = [HeldRows(rows, mask) for rows in self._whole]
        return other

    def online_code_bits(self, probe: Probe) -> Float64[np.ndarray, " samples"]:
        """Code length in bits of each training sample's object code (see `binding.description_length`).

        The untrained state stands for the uniform code, one bit a head: it codes the first block, and later ones
        where the validation loss prefers it.
        """
        shape, config, seed = self._shape("objects"), self._config.fit, self._config.seed
        train, validation, _ = self._examples("objects")
        first, *later = coding_blocks(len(train.codes), seed)
        whole = config.schedule(len(train.codes))
        config = replace(config, epochs=whole.epochs, schedule_step=whole.step)
        bits, known = np.full(len(train.codes), float(shape.n_heads)), first
        for block in later:
            shorter = replace(config, batch_size=block_batch_size(whole.batch_size, len(known), len(bits)))
            [fitted] = fit([probe], shape, train.some(known), validation, shorter, seed=seed, untrained=True)
            bits[block] = fitted.evaluate(train.some(block))[0].sum(axis=1)
            known = np.concatenate([known, block])
        return bits

    def rehearse(
        self, target: Target, probes: list[Probe], config: FitConfig, n_train: int, n_validation: int
    ) -> None:
        """Train on the first samples only, and forget it: for the time it takes (see `binding.forecast`)."""
        train, validation, _ = self._examples(target)
        train, validation = train.some(np.arange(n_train)), validation.some(np.arange(n_validation))
        fit(probes, self._shape(target), train, validation, config, seed=self._config.seed)

    def _finish(
        self, target: Target, tuned: Tuned, space: ProbeSpace | None, shape: HeadShape, examples: list[Examples]
    ) -> Trainings[TargetResult]:
        """The search trained the winner with the first seed, so only the other seeds are left to train."""
        seeds = range(self._config.seed, self._config.seed + self._config.n_seeds)
        fits = [] if tuned.best.status == "pruned" else [tuned.best]
        for seed in seeds[len(fits) :]:
            fits += yield self._request([tuned.best.probe], target, shape, examples, seed)
        found = self._tested(target, fits, examples)
        on_edge = space.on_edge(tuned.best.probe) if space else []
        return replace(found, suggestions=tuned.suggestions, on_edge=on_edge)

    def _tested(self, target: Target, fits: list[Fitted], examples: list[Examples]) -> TargetResult:
        """What trained probes lose on the test samples; those without a finite loss are left out."""
        tested = [(fitted, *fitted.evaluate(examples[2])) for fitted in fits if np.isfinite(fitted.validation_bits)]
        finite = [entry for entry in tested if np.isfinite(entry[1]).all()]
        if not finite:
            raise NothingTrainedError(f"the {target} probe diverged with every seed")
        return TargetResult(
            suggestions=[],
            fits=[fitted for fitted, _, _ in finite],
            test_bits=np.stack([bits.sum(axis=1) for _, bits, _ in finite]),
            head_bits=np.stack([bits for _, bits, _ in finite]).astype(np.float32),
            accuracy=float(np.mean([accuracy for _, _, accuracy in finite])),
            gap_bits=float(np.mean([_gap_bits(fitted, bits, examples[0]) for fitted, bits, _ in finite])),
            on_edge=[],
            tuned=finite[0][0].probe,
        )

    def _request(
        self,
        probes: Sequence[Probe],
        target: Target,
        shape: HeadShape,
        examples: list[Examples],
        seed: int,
        on_epoch: OnEpoch | None = None,
    ) -> FitRequest:
        untrained = target in ("direct", "given")
        train, validation, _ = examples
        return FitRequest(probes, shape, train, validation, self._config.fit, seed, untrained, on_epoch)

    def _shape(self, target: Target, view: View = "features") -> HeadShape:
        space = self._samples.space
        width = 0 if target == "given" else self._samples.train.activations.shape[-1]
        if target == "features":
            return HeadShape(width, space.n_features, has_cls=self._samples.has_cls)
        given = 0 if target == "objects" or view != "features" else space.n_features
        return HeadShape(width, space.n_objects, given, space.sizes, self._samples.has_cls)

    def _examples(self, target: Target, view: View = "features") -> list[Examples]:
        """Training, validation and test examples of a target."""
        splits = (self._samples.train, self._samples.validation, self._samples.test)
        return [self._example(target, view, split, rows) for split, rows in zip(splits, self._rows, strict=True)]

    def _example(self, target: Target, view: View, split: Samples, rows: Rows | HeldRows) -> Examples:
        features = self._samples.space.feature_codes(split.object_codes)
        if target == "given":
            rows = Rows(np.zeros((len(features), 0), dtype=np.float32), None, self._device)
        odds = split.prior_log_odds if target in ("direct", "given") else None
        if view == "objects_probe" and odds is not None:
            odds = np.where(np.isfinite(odds), 0.0, odds)  # it has learned what is likely, not what is certain
        if target == "features":
            return Examples.of(rows, features, odds, self._device)
        sees_features = target != "objects" and view == "features"
        bits = np.concatenate([split.object_codes, features], axis=1) if sees_features else split.object_codes
        return Examples.of(rows, bits, odds, self._device)


_NARROWER: tuple[View, ...] = ("objects", "nothing")
N_NARROWER = len(_NARROWER)
"""Trainings with narrower inputs of a direct probe."""


def _distinct(probes: Sequence[Probe]) -> list[Probe]:
    return list(dict.fromkeys(probes))


def _gap_bits(fitted: Fitted, test_bits: Float64[np.ndarray, "samples heads"], train: Examples) -> float:
    """The curve's training loss would not do: it is the mean over an epoch in which the parameters changed."""
    if fitted.parameters is None:
        return 0.0
    return float(test_bits.sum(axis=1).mean() - fitted.evaluate(train)[0].sum(axis=1).mean())


def _stable(seed: int, target: Target) -> int:
    """A sampler seed that differs between targets and is the same in every process."""
    return int.from_bytes(hashlib.sha256(f"{seed} {target}".encode()).digest()[:4], "big")
