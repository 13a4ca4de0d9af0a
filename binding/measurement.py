"""Measures binding information in activations: the library's entry point, and what a cell of a sweep runs."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, UInt8

from binding._inputs import split_samples
from binding._progress import Stage, progress
from binding._summary import html_of, summary_of
from binding._together import Trainings, finished
from binding._trainer import TargetResult, Trainer
from binding.control_code import control_codes
from binding.extras import extra_estimates, other_orders
from binding.information import Estimate, TestLosses, measures
from binding.probes import FAMILIES, Probe, Target
from binding.samples import MeasureConfig, SplitSamples
from binding.search import ProbeSpace
from binding.training_flags import training_flags
from binding.tuning import NothingTrainedError
from frozen.data.scenes import Entropies
from frozen.data.scenes.codes import FeatureSpace
from frozen.data.scenes.priors import PriorSource, SizePrior
from frozen.intervals import Losses
from frozen.rows import Standardizer

N_STAGES = 5
"""Stages of a measurement, for a progress bar."""


@dataclass(frozen=True)
class Measurement:
    """Binding information of one set of activations as one probe family reads it.

    Attributes:
        estimates: value and interval by column name; None where undefined.
        flags: names from `binding.information.FLAGS`.
        conditional_entropy_bits: H(O|F), mean over the test samples.
        entropies: exact entropies of the test split.
        prior: how the prior is known.
        seed_spread_bits: standard deviation of B* between seeds.
        targets: everything behind the numbers, by target.
        losses: test losses in bits.
        sample_entropies_bits: H(O | F = f_i) of every test sample.
        standardizer: of the activations; None if they were read as they are.
        extra_bits: what extras were asked for: as `control` the test losses on the control code, as `code_length`
            the online code of every training sample.
        level: coverage that the intervals aim at.
    """

    estimates: dict[str, Estimate | None]
    flags: list[str]
    conditional_entropy_bits: float
    entropies: Entropies | None
    prior: PriorSource
    seed_spread_bits: float | None
    targets: dict[Target, TargetResult]
    losses: TestLosses
    sample_entropies_bits: Float64[np.ndarray, " samples"]
    standardizer: Standardizer | None
    extra_bits: dict[str, Losses]
    level: float

    def summary(self) -> str:
        """Every number with its interval, and what the flags mean, in lines of text."""
        return summary_of(self)

    def _repr_html_(self) -> str:
        """The summary, as a notebook shows it."""
        return html_of(self)

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
    prior: SizePrior | Literal["uniform", "estimated", "none"] = "uniform",
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
        prior: distribution of object codes given features. uniform: all codes of at most as many objects as occur are
            equally likely. estimated: those with as many objects are, and how many there are is counted in the
            training codes. none: it is not known; then V-information is what there is. A wrong prior is flagged.
        entropies: exact entropies of the test samples' distribution; without them B_O and β_O are empty.
        probe: family, for which `config.fit` may say the learning rate and weight decay, or family with settings and
            ranges, which are taken as they are.
        splits: indices of training, validation and test samples, no sample in two; by default 64%, 16% and 20%, in
            order.
        config: training, tuning, seeds and intervals.
        has_cls: whether token 0 is a CLS token.

    Returns:
        The measurement, with an interval for every number.

    Raises:
        ValueError: shapes that do not fit together, activations that are not finite, codes that are not 0 or 1 or
            that the prior excludes, splits that overlap, or a family that cannot read these activations.

    >>> import numpy as np
    >>> space = FeatureSpace.of(color=2, shape=2)
    >>> codes = np.random.default_rng(0).integers(2, size=(500, 4), dtype=np.uint8)
    >>> quick = MeasureConfig(fit=FitConfig(epochs=2), search=SearchConfig(suggestions=1), n_seeds=1)
    >>> measure(codes.astype(np.float32), codes, space, probe="linear", config=quick).binding_ratio.high <= 1
    True
    """
    config = config or MeasureConfig()
    chosen = config.fit.probe_space(probe, {}) if isinstance(probe, str) else probe
    samples = split_samples(activations, object_codes, space, prior, splits)
    samples = samples._replace(entropies=entropies, has_cls=has_cls)
    with progress(N_STAGES) as stage:
        return measure_samples(samples, chosen, config, stage=stage)


def measure_samples(
    samples: SplitSamples,
    probe: ProbeSpace,
    config: MeasureConfig,
    *,
    feature_probe: ProbeSpace | None = None,
    device: torch.device | None = None,
    stage: Stage = lambda _name: None,
) -> Measurement:
    """Measure one cell.

    Args:
        samples: the three splits.
        probe: the family with its settings and ranges.
        config: training, tuning, seeds and intervals.
        feature_probe: the family of the F probe; by default the same, or quadratic_concat where the family
            has no F probe.
        device: where to train; the CPU by default.
        stage: told `N_STAGES` times what begins.

    Raises:
        ValueError: a family that cannot read these activations.
        NothingTrainedError: all suggestions of a target diverged.
    """
    return finished(measuring(samples, probe, config, feature_probe=feature_probe, device=device, stage=stage))


def measuring(
    samples: SplitSamples,
    probe: ProbeSpace,
    config: MeasureConfig,
    *,
    feature_probe: ProbeSpace | None = None,
    device: torch.device | None = None,
    stage: Stage = lambda _name: None,
) -> Trainings[Measurement]:
    """The same step by step, so that several cells can train together; arguments and errors as above."""
    feature_probe = feature_probe or default_feature_probe(probe)
    mode = "all" if len(samples.train.activations.shape) == 3 else "vector"
    readers: tuple[tuple[ProbeSpace, Target], ...] = ((probe, "objects"), (feature_probe, "features"))
    for space, target in readers:
        reason = FAMILIES[space.family].refuses(mode, target, len(samples.space.groups))
        if reason:
            raise ValueError(reason)
    trainer = Trainer(samples, config, device or torch.device("cpu"))
    stage("objects probe")
    objects = yield from trainer.tuned("objects", probe)
    stage("features probe")
    features = yield from trainer.tuned("features", feature_probe)
    stage("direct probe")
    direct = yield from trainer.direct(probe, objects)
    stage("probe without activations")
    without = [one.without_activations() for one in (direct.tuned, objects.tuned, probe.probe(probe.first()))]
    given = yield from trainer.refitted("given", without)
    targets: dict[Target, TargetResult] = {
        "objects": objects,
        "features": features,
        "direct": direct,
        "given": given,
    }
    stage("intervals and extras")
    losses = TestLosses(**{name: result.test_bits for name, result in targets.items()})
    entropy = samples.test.conditional_entropy_bits
    found = measures(losses, entropy, samples.entropies, config.intervals, seed=config.seed, prior=samples.prior)
    extra_bits = yield from _extra_bits(trainer, samples, targets["objects"].probe, config)
    values = {**losses.named(), **extra_bits}
    extras = extra_estimates(values, samples.entropies, config.intervals, seed=config.seed)
    return Measurement(
        estimates=found.estimates | extras,
        flags=found.flags + training_flags(targets, config.fit, len(samples.train.object_codes), config.n_seeds),
        conditional_entropy_bits=float(entropy.mean()),
        entropies=samples.entropies,
        prior=samples.prior,
        seed_spread_bits=found.seed_spread_bits,
        targets=targets,
        losses=losses,
        sample_entropies_bits=entropy,
        standardizer=trainer.standardizer,
        extra_bits=extra_bits,
        level=config.intervals.level,
    )


def _extra_bits(
    trainer: Trainer, samples: SplitSamples, probe: Probe, config: MeasureConfig
) -> Trainings[dict[str, Losses]]:
    """The trainings that extras need, with the tuned objects probe; a training that diverged is left out."""
    found: dict[str, Losses] = {}
    if "selectivity" in config.extras:
        splits = (samples.train, samples.validation, samples.test)
        codes = control_codes([split.object_codes for split in splits], config.seed)
        with suppress(NothingTrainedError):
            found["control"] = (yield from trainer.recoded(codes).refitted("objects", [probe])).test_bits
    if "orders" in config.extras:
        for name, order in other_orders(samples.space.n_objects, config.seed):
            codes = [split.object_codes[:, order] for split in (samples.train, samples.validation, samples.test)]
            with suppress(NothingTrainedError):
                found[name] = (yield from trainer.recoded(codes).refitted("objects", [probe])).test_bits
    if "mdl" in config.extras:
        found["code_length"] = trainer.online_code_bits(probe)[None]
    return found


def default_feature_probe(probe: ProbeSpace) -> ProbeSpace:
    """The same family, or quadratic_concat with the settings it shares where the family reads objects only."""
    if not FAMILIES[probe.family].objects_only:
        return probe
    return ProbeSpace("quadratic_concat", probe.settings)
