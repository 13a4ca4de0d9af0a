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

from jaxtyping import Float64
from numpy import ndarray

from binding.description_length import coding_blocks
from binding.intervals import Estimate, IntervalConfig, Losses, Means, interval, resample, spread
from binding.scenes import Entropies

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


def _selectivity(
    objects: Losses, control: Losses, entropies: Entropies | None, config: IntervalConfig, seed: int
) -> dict[str, Estimate | None]:
    """One draw of seeds and samples serves both losses, so that what the samples share leaves the difference."""
    drawn = resample({"objects": objects, "control": control}, resamples=config.resamples, seed=seed)
    entropy = math.nan if entropies is None else entropies.object_bits

    def of(means: Means) -> dict[str, ndarray]:
        return {
            "control_information_bits": entropy - means["control"],
            "selectivity_bits": means["control"] - means["objects"],
        }

    point = {"control": control.mean(keepdims=True)[0], "objects": objects.mean(keepdims=True)[0]}
    bounds = {"control_information_bits": (-math.inf, entropy)}
    both, seeds = of(drawn.both), of(drawn.seeds)
    found: dict[str, Estimate | None] = {}
    for name, (value,) in of(point).items():
        if math.isnan(value):
            found[name] = None
            continue
        varied = spread(float(value), both[name], [(seeds[name], drawn.n_seeds)], drawn.n_samples, seed=seed)
        found[name] = interval(float(value), varied, config.level, bounds.get(name, (-math.inf, math.inf)))
    return found


def _description_length(
    lengths: Float64[ndarray, " samples"], config: IntervalConfig, seed: int
) -> dict[str, Estimate | None]:
    """Samples are drawn within each block, whose sizes are no matter of chance."""
    blocks = coding_blocks(len(lengths), seed)
    uniform, value = float(lengths[blocks[0][0]]), float(lengths.mean())
    shares = (
        resample({"bits": lengths[block][None]}, resamples=config.resamples, seed=seed + number).both["bits"]
        * (len(block) / len(lengths))
        for number, block in enumerate(blocks)
    )
    drawn = sum(shares)
    assert isinstance(drawn, ndarray)
    at = {"description_length_bits": (value, drawn), "compression": (uniform / value, uniform / drawn)}
    return {
        name: interval(point, spread(point, both, [], len(lengths), seed=seed), config.level, (0.0, math.inf))
        for name, (point, both) in at.items()
    }
