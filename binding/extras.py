"""Measures made on request beside those of binding: selectivity, description length, spread over orders of objects.

These look at the objects probe alone, with the hyper-parameters that its tuning chose; what a head holds alone is in
`binding.leave_one_out`.

    control_information_bits   H(O) - CE_control        what the same probe reads of a control code
    selectivity_bits           CE_control - CE_O        what it reads of O beyond that (Hewitt & Liang, 2019)
    description_length_bits    online code of O given Z, mean over the training samples (Voita & Titov, 2020)
    compression                K bits, the uniform code, over that length
    order_spread_bits          max - min of CE_O over orders of the objects in the chain rule
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int
from numpy import ndarray

from binding.description_length import coding_blocks
from frozen.data.scenes import Entropies
from frozen.intervals import Estimate, IntervalConfig, Losses, Means, interval, resample, spread

Extra = Literal["selectivity", "mdl", "orders", "leave_one_out"]
LEAVE_ONE_OUT: Extra = "leave_one_out"
EXTRAS: tuple[Extra, ...] = ("selectivity", "mdl", "orders", LEAVE_ONE_OUT)
"""Names by which a study asks for them, in order."""

EXTRA_ESTIMATES = {
    "control_information_bits": "H(O) - CE_control, what the objects probe reads of the control code; "
    "with `extras: [selectivity]`",
    "selectivity_bits": "CE_control - CE_O, information about O beyond that about the control code; "
    "with `extras: [selectivity]`",
    "description_length_bits": "online code of O given Z, bits a training sample; with `extras: [mdl]`",
    "compression": "uniform code of K bits over the online code; with `extras: [mdl]`",
    "order_spread_bits": "largest less smallest CE_O over four orders of the objects, the given one among them; with "
    "`extras: [orders]`",
}
N_ORDERS = 3
"""Orders of the objects beside the given one."""
_ORDER = "order_"


def other_orders(n_objects: int, seed: int) -> Iterator[tuple[str, Int[np.ndarray, " objects"]]]:
    """Different random orders of the objects, by the name of their losses; cells of one seed have the same."""
    rng = np.random.default_rng([seed, n_objects])
    seen = {tuple(range(n_objects))}
    for number in range(min(N_ORDERS, math.factorial(n_objects) - 1)):
        while (order := tuple(rng.permutation(n_objects).tolist())) in seen:
            pass
        seen.add(order)
        yield f"{_ORDER}{number + 1}", np.array(order)


def of_test_samples(name: str) -> bool:
    """Whether losses of this name, which an extra brought, are of the test samples."""
    return name == "control" or name.startswith(_ORDER)


def extra_estimates(
    values: Mapping[str, Losses], entropies: Entropies | None, config: IntervalConfig, *, seed: int
) -> dict[str, Estimate | None]:
    """The extras that follow from losses, with intervals; those that were not measured are missing.

    Args:
        values: bits by target: `objects`, `control` and `order_*` of the test samples, `code_length` of the training
            samples.
        entropies: exact entropies of the test split; None leaves the information about the control code empty.
        config: level and number of resamples.
        seed: seed of the bootstrap, and of the order in which the training samples were coded.
    """
    found: dict[str, Estimate | None] = {}
    tested = {name: losses for name, losses in values.items() if of_test_samples(name)}
    if tested:
        found |= _of_losses({"objects": values["objects"], **tested}, entropies, config, seed)
    if "code_length" in values:
        found |= _description_length(values["code_length"][0], config, seed)
    return found


def derived_extras(means: Means, entropies: Entropies | None) -> dict[str, ndarray | None]:
    """What follows from mean losses of the objects probe on the object code, on `control`, and on other orders."""
    found: dict[str, ndarray | None] = {}
    if "control" in means:
        found["control_information_bits"] = None if entropies is None else entropies.object_bits - means["control"]
        found["selectivity_bits"] = means["control"] - means["objects"]
    if orders := [losses for name, losses in means.items() if name.startswith(_ORDER)]:
        found["order_spread_bits"] = np.ptp(np.stack([means["objects"], *orders]), axis=0)
    return found


def code_length_extras(
    lengths: Float64[ndarray, " samples"], *, order_seed: int, resamples: int, seed: int
) -> dict[str, tuple[float, ndarray]]:
    """Description length and compression, each with its values over resamples.

    Samples are drawn within each block, whose sizes are no matter of chance; equal seeds draw the same samples.

    Args:
        lengths: online code of every training sample, bits.
        order_seed: seed of the order in which they were coded.
        resamples: number of resamples.
        seed: seed of the resampling.
    """
    blocks = coding_blocks(len(lengths), order_seed)
    uniform, value = float(lengths[blocks[0][0]]), float(lengths.mean())
    shares = (
        resample({"bits": lengths[block][None]}, resamples=resamples, seed=seed + number).both["bits"]
        * (len(block) / len(lengths))
        for number, block in enumerate(blocks)
    )
    drawn = sum(shares)
    assert isinstance(drawn, ndarray)
    return {"description_length_bits": (value, drawn), "compression": (uniform / value, uniform / drawn)}


def _of_losses(
    losses: Mapping[str, Losses], entropies: Entropies | None, config: IntervalConfig, seed: int
) -> dict[str, Estimate | None]:
    """One draw of seeds and samples serves all losses, so that what the samples share leaves the differences."""
    drawn = resample(dict(losses), resamples=config.resamples, seed=seed)
    point = derived_extras({name: np.array([bits.mean()]) for name, bits in losses.items()}, entropies)
    both, seeds = derived_extras(drawn.both, entropies), derived_extras(drawn.seeds, entropies)
    bounds = {"order_spread_bits": (0.0, math.inf)}
    if entropies is not None:
        bounds["control_information_bits"] = (-math.inf, entropies.object_bits)
    found: dict[str, Estimate | None] = {}
    for name, value in point.items():
        drawn_both, between = both[name], seeds[name]
        if value is None or drawn_both is None or between is None:
            found[name] = None
            continue
        at = float(value[0])
        varied = spread(at, drawn_both, [(between, drawn.n_seeds)], drawn.n_samples, seed=seed)
        found[name] = interval(at, varied, config.level, bounds.get(name, (-math.inf, math.inf)))
    return found


def _description_length(
    lengths: Float64[ndarray, " samples"], config: IntervalConfig, seed: int
) -> dict[str, Estimate | None]:
    found = code_length_extras(lengths, order_seed=seed, resamples=config.resamples, seed=seed)
    return {
        name: interval(point, spread(point, drawn, [], len(lengths), seed=seed), config.level, (0.0, math.inf))
        for name, (point, drawn) in found.items()
    }
