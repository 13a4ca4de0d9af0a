"""Measures made on request beside those of binding: selectivity, and minimum description length.

Both look at the objects probe alone, with the hyper-parameters that its tuning chose.

    control_information_bits   H(O) - CE_control        what the same probe reads of a control code
    selectivity_bits           CE_control - CE_O        what it reads of O beyond that (Hewitt & Liang, 2019)
    description_length_bits    online code of O given Z, mean over the training samples (Voita & Titov, 2020)
    compression                K bits, the uniform code, over that length
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from jaxtyping import Float64
from numpy import ndarray

from binding.description_length import coding_blocks
from frozen.data.scenes import Entropies
from frozen.intervals import Estimate, IntervalConfig, Losses, Means, interval, resample, spread

Extra = Literal["selectivity", "mdl"]
EXTRAS: tuple[Extra, ...] = ("selectivity", "mdl")
"""Names by which a study asks for them, in order."""

EXTRA_ESTIMATES = {
    "control_information_bits": "H(O) - CE_control, what the objects probe reads of the control code; "
    "with `extras: [selectivity]`",
    "selectivity_bits": "CE_control - CE_O, information about O beyond that about the control code; "
    "with `extras: [selectivity]`",
    "description_length_bits": "online code of O given Z, bits a training sample; with `extras: [mdl]`",
    "compression": "uniform code of K bits over the online code; with `extras: [mdl]`",
}


def extra_estimates(
    values: Mapping[str, Losses], entropies: Entropies | None, config: IntervalConfig, *, seed: int
) -> dict[str, Estimate | None]:
    """The extras that follow from losses, with intervals; those that were not measured are missing.

    Args:
        values: bits by target: `objects` and `control` of the test samples, `code_length` of the training samples.
        entropies: exact entropies of the test split; None leaves the information about the control code empty.
        config: level and number of resamples.
        seed: seed of the bootstrap, and of the order in which the training samples were coded.
    """
    found: dict[str, Estimate | None] = {}
    if "control" in values:
        found |= _selectivity(values["objects"], values["control"], entropies, config, seed)
    if "code_length" in values:
        found |= _description_length(values["code_length"][0], config, seed)
    return found


def derived_extras(means: Means, entropies: Entropies | None) -> dict[str, ndarray | None]:
    """What follows from mean losses of the `objects` and the `control` probe; nothing where there is no control."""
    if "control" not in means:
        return {}
    return {
        "control_information_bits": None if entropies is None else entropies.object_bits - means["control"],
        "selectivity_bits": means["control"] - means["objects"],
    }


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


def _selectivity(
    objects: Losses, control: Losses, entropies: Entropies | None, config: IntervalConfig, seed: int
) -> dict[str, Estimate | None]:
    """One draw of seeds and samples serves both losses, so that what the samples share leaves the difference."""
    drawn = resample({"objects": objects, "control": control}, resamples=config.resamples, seed=seed)
    point = derived_extras({"control": np.array([control.mean()]), "objects": np.array([objects.mean()])}, entropies)
    both, seeds = derived_extras(drawn.both, entropies), derived_extras(drawn.seeds, entropies)
    bounds = {} if entropies is None else {"control_information_bits": (-math.inf, entropies.object_bits)}
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
