"""Where binding information lies: per conjunction, per number of objects, and in codes seen in training or not.

By the chain rule a loss of object codes is a sum over heads, CE(O|Z,F) = Σ_k CE(o_k | o_<k, Z, F), and in the same
order H(O|F) = Σ_k H(o_k | o_<k, F). So B*_direct = Σ_k [H(o_k | o_<k, F) - CE(o_k | o_<k, Z, F)]: each term belongs
to one conjunction (such as red circle), given those before it, and the terms sum to the total. Samples grouped by
their number of objects, or by whether their object code occurs in training, give the total as the sum of their means,
each weighted with the share of its group.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float64, UInt8

from binding._trainer import TargetResult
from binding.probes import Target
from binding.samples import Samples
from frozen.data.scenes.codes import FeatureSpace
from frozen.intervals import Estimate, IntervalConfig, Losses, interval, resample, spread

_SCHEMA = pa.schema(
    [
        ("part", pa.string()),
        ("name", pa.string()),
        ("n_samples", pa.int64()),
        ("weight", pa.float64()),
        ("entropy_bits", pa.float64()),
        ("object_loss_bits", pa.float64()),
        ("feature_loss_bits", pa.float64()),
        ("direct_loss_bits", pa.float64()),
        ("given_loss_bits", pa.float64()),
        *((f"{name}{end}", pa.float64()) for name in ("direct_bits", "v_bits") for end in ("", "_low", "_high")),
    ]
)
_COLUMNS: dict[Target, str] = {
    "objects": "object_loss_bits",
    "features": "feature_loss_bits",
    "direct": "direct_loss_bits",
    "given": "given_loss_bits",
}
_Losses = Mapping[Target, Float64[np.ndarray, "seeds samples *heads"]]


def breakdown(
    targets: Mapping[Target, TargetResult],
    test: Samples,
    seen: Bool[np.ndarray, " samples"],
    space: FeatureSpace,
    config: IntervalConfig,
    *,
    seed: int,
) -> pa.Table:
    """Losses and information per conjunction, per number of objects, and of codes seen in training and others.

    Args:
        targets: the four targets with their test losses of every head.
        test: the test samples.
        seen: whether the object code of each also occurs in training.
        space: names the conjunctions.
        config: level and number of resamples of the intervals (seeds, then samples).
        seed: seed of the bootstrap.

    Returns:
        One row a part, `part` being conjunction, object_count or code (seen, unseen): n_samples (that show the
        conjunction, or that are of the group), weight (Σ weight · value is the total), entropy_bits (the head's
        H(o_k | o_<k, F), or the mean H(O|F); null where the prior is unknown), mean losses in bits, direct_bits
        (entropy_bits - direct_loss_bits) and v_bits (given_loss_bits - direct_loss_bits) with intervals.
    """
    losses: _Losses = {name: result.head_bits.astype(np.float64) for name, result in targets.items()}
    groups = {
        **{("object_count", str(count)): test.object_codes.sum(axis=1) == count for count in _counts(test)},
        **{("code", name): seen == known for name, known in (("seen", True), ("unseen", False))},
    }
    rows = [
        *_by_conjunction(losses, test, space, config, seed),
        *(_of_group(*name, here, losses, test, config, seed) for name, here in groups.items() if here.any()),
    ]
    return pa.Table.from_pylist(rows, _SCHEMA)


def _by_conjunction(
    losses: _Losses, test: Samples, space: FeatureSpace, config: IntervalConfig, seed: int
) -> Iterator[dict[str, object]]:
    entropy = None if test.prior_log_odds is None else prior_head_bits(test)
    names = space.object_names
    differences = _differences(losses, entropy)
    most = {} if entropy is None else dict(zip(names, entropy.mean(axis=0).tolist(), strict=True))
    bounds = {
        name: _estimates(
            dict(zip(names, np.moveaxis(values, 2, 0), strict=True)),
            config,
            seed,
            most if name == "direct_bits" else {},
        )
        for name, values in differences.items()
    }
    for k, conjunction in enumerate(names):
        yield {
            "part": "conjunction",
            "name": conjunction,
            "n_samples": int(test.object_codes[:, k].sum()),
            "weight": 1.0,
            "entropy_bits": None if entropy is None else float(entropy[:, k].mean()),
            **{_COLUMNS[name]: float(losses[name][:, :, k].mean()) for name in _COLUMNS if name != "features"},
            **_columns({name: found[conjunction] for name, found in bounds.items()}),
        }


def _counts(test: Samples) -> list[int]:
    return np.unique(test.object_codes.sum(axis=1)).tolist()


def _of_group(
    part: str,
    name: str,
    here: Bool[np.ndarray, " samples"],
    losses: _Losses,
    test: Samples,
    config: IntervalConfig,
    seed: int,
) -> dict[str, object]:
    totals: _Losses = {target: values[:, here].sum(axis=2) for target, values in losses.items()}
    entropy = test.conditional_entropy_bits[here]
    return {
        "part": part,
        "name": name,
        "n_samples": int(here.sum()),
        "weight": float(here.mean()),
        "entropy_bits": float(entropy.mean()),
        **{_COLUMNS[target]: float(values.mean()) for target, values in totals.items()},
        **_columns(_estimates(_differences(totals, entropy), config, seed, {"direct_bits": float(entropy.mean())})),
    }


def _differences(losses: _Losses, entropy: np.ndarray | None) -> dict[str, np.ndarray]:
    """Information of every sample; the mean over seeds stands for the probe that sees F alone."""
    found = {"v_bits": losses["given"].mean(axis=0) - losses["direct"]}
    return found if entropy is None else {"direct_bits": entropy - losses["direct"], **found}


def _estimates(
    values: Mapping[str, Losses], config: IntervalConfig, seed: int, most: Mapping[str, float]
) -> dict[str, Estimate]:
    """Means over seeds and samples with intervals, none above the `most` it can be; all are resampled alike."""
    drawn = resample(values, resamples=config.resamples, seed=seed)
    found = {}
    for name, value in values.items():
        mean = float(value.mean())
        between = [(drawn.seeds[name], len(value))]
        deviations = spread(mean, drawn.both[name], between, drawn.n_samples, seed=seed)
        found[name] = interval(mean, deviations, config.level, (-math.inf, most.get(name, math.inf)))
    return found


def _columns(estimates: Mapping[str, Estimate]) -> dict[str, float]:
    ends = ("", "_low", "_high")
    return {
        f"{name}{end}": value for name, found in estimates.items() for end, value in zip(ends, found, strict=True)
    }


def seen_in_training(
    train: UInt8[np.ndarray, "_train objects"], test: UInt8[np.ndarray, "_test objects"]
) -> Bool[np.ndarray, " _test"]:
    """Which test codes also occur in training."""
    known = {code.tobytes() for code in np.packbits(train, axis=1)}
    return np.array([code.tobytes() in known for code in np.packbits(test, axis=1)], dtype=bool)


def prior_head_bits(test: Samples) -> Float64[np.ndarray, "samples objects"]:
    """-log2 P(o_k | o_<k, F) under the prior: bits of every sample, whose sum over heads is H(O | F = f_i)."""
    assert test.prior_log_odds is not None
    return np.logaddexp(0, (1 - 2.0 * test.object_codes) * test.prior_log_odds) / math.log(2)
