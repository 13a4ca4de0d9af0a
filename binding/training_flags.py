"""Whether the probes behind a cell were trained adequately: what their learning curves and losses say of it.

What is much and what is little is a share of CE(O|F), the loss without activations, which is H(O|F) but for the
error of a probe: a loss that is off by a hundredth of it moves the ratios by 0.01.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate

from binding._trainer import TargetResult
from binding.fit import FitConfig, Fitted, Schedule
from binding.probes import Target

_LAST_EPOCH_SHARE = 0.001
_FALLING_SHARE = 0.05
_WIDE_GAP_SHARE = 0.05
_LEAST_BITS = 0.01  # shares of less than this are nothing


def training_flags(
    targets: Mapping[Target, TargetResult], config: FitConfig, n_train: int, n_seeds: int
) -> list[str]:
    """Names of `binding.information.FLAGS` that tell of training.

    Args:
        targets: what came of each target.
        config: how they were trained.
        n_train: on how many samples.
        n_seeds: how often.
    """
    scale_bits = float(targets["given"].test_bits.mean())
    tuned = [result for name, result in targets.items() if name != "given"]
    schedule = config.schedule(n_train)
    if config.schedule_factor == 1:
        schedule = schedule._replace(step=schedule.epochs)  # no cut before the end
    return list(_flags(tuned, schedule, n_seeds, scale_bits))


def _flags(tuned: list[TargetResult], schedule: Schedule, n_seeds: int, scale_bits: float) -> Iterator[str]:
    fits = [fitted for result in tuned for fitted in result.fits]
    if any(_last_is_best(fitted, schedule.epochs, _share(_LAST_EPOCH_SHARE, scale_bits)) for fitted in fits):
        yield "last_epoch"
    if any(_still_falling(fitted, schedule, _share(_FALLING_SHARE, scale_bits)) for fitted in fits):
        yield "still_falling"
    if any(result.gap_bits > _share(_WIDE_GAP_SHARE, scale_bits) for result in tuned):
        yield "wide_gap"
    if any(result.on_edge for result in tuned):
        yield "range_edge"
    if any(len(result.fits) < n_seeds for result in tuned):
        yield "diverged"


def _share(share: float, scale_bits: float) -> float:
    return max(share * scale_bits, _LEAST_BITS)


def _last_is_best(fitted: Fitted, epochs: int, little_bits: float) -> bool:
    """Whether the last epoch is the best by more than the hair that a learning rate near 0 still gives."""
    earlier = _lowest(fitted)[: epochs - 1]
    return fitted.best_epoch == epochs and (not earlier or earlier[-1] - fitted.validation_bits > little_bits)


def _still_falling(fitted: Fitted, schedule: Schedule, much_bits: float) -> bool:
    """Whether the loss fell much in the second half of the epochs before a cut of the learning rate, or the end.

    Each cut freezes what is not yet learnt, so that the last epochs look flat however short the training was.
    """
    lowest = _lowest(fitted)[: fitted.best_epoch]
    ends = [min(start + schedule.step, len(lowest)) for start in range(0, len(lowest), schedule.step)]
    halves = [(start + (end - start) // 2, end) for start, end in zip([0, *ends], ends, strict=False)]
    return any(lowest[middle - 1] - lowest[end - 1] > much_bits for middle, end in halves if middle > 0)


def _lowest(fitted: Fitted) -> list[float]:
    """Lowest validation loss until each epoch, in bits."""
    return list(accumulate((point.validation_bits for point in fitted.curve), min))
