"""Which activations a dictionary is made of."""

from __future__ import annotations

import numpy as np

from frozen.capture.reductions import Reduction, View, WholeSite
from frozen.capture.sites import Site
from frozen.capture.views import Mode, refuses
from frozen.models import BackboneConfig, Description
from frozen.models.joint import JointSpace, joint_refusal
from frozen.rows import ArrayRows

JOINT = "joint"
EMBEDDING = "embedding"
TOKENS = "tokens"
_MODES: dict[str, Mode] = {"cls": "cls", "mean_spatial": "mean_spatial", "cls_mean": "cls_mean", TOKENS: "all"}
_FORMS = f"{JOINT}, {EMBEDDING} or LAYER.MODE with a mode of {', '.join(_MODES)}"


def site_problem(text: str) -> str | None:
    """Why a text names no site of any model, or None."""
    if text in (JOINT, EMBEDDING):
        return None
    layer, dot, mode = text.rpartition(".")
    if not dot or mode not in _MODES:
        return f"expected {_FORMS}, got {text!r}"
    try:
        site = Site.parse(layer)
    except ValueError as error:
        return str(error)
    return None if site.has_tokens else f"{layer} has no tokens, of which a mode could choose; write {EMBEDDING}"


def site_refusal(text: str, backbone: BackboneConfig, description: Description) -> str | None:
    """Why a backbone does not have a site, or None."""
    if text == JOINT and (reason := joint_refusal(backbone)):
        return reason
    if text in (JOINT, EMBEDDING):
        return Site("final", "embedding").refusal(description)
    layer, _, mode = text.rpartition(".")
    try:
        site = Site.parse(layer).resolved(description)
    except ValueError as error:
        return str(error)
    return site.refusal(description) or refuses(_MODES[mode], description.layout)


def reduction(text: str, description: Description) -> Reduction:
    """What is captured of a site; of `joint`, the embedding that is projected later."""
    if text in (JOINT, EMBEDDING):
        return WholeSite(Site("final", "embedding"))
    layer, _, mode = text.rpartition(".")
    return View(Site.parse(layer).resolved(description), _MODES[mode])


def site_number(text: str, description: Description) -> float:
    """Position in depth; of the joint space, half a layer after the last."""
    if text in (JOINT, EMBEDDING):
        return description.layer_number("final") + 0.5 * (text == JOINT)
    site = Site.parse(text.rpartition(".")[0]).resolved(description)
    return float(description.layer_number(site.layer))


class Projected:
    """Rows of a capture in the joint space, projected as they are read; fulfils `ArrayRows`.

    Args:
        array: [samples width].
        space: the joint space.
    """

    itemsize = 4

    def __init__(self, array: ArrayRows, space: JointSpace) -> None:
        self._array, self._space = array, space

    @property
    def shape(self) -> tuple[int, ...]:
        """[samples joint]."""
        return (len(self._array), len(self._space.project))

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """The rows, float32."""
        return self._space.image_vectors(np.array(self._array[rows], dtype=np.float32))


class TokenMeans:
    """Means over the tokens of each image, made as they are read; fulfils `ArrayRows`.

    Args:
        array: [samples token dim].
    """

    itemsize = 4

    def __init__(self, array: ArrayRows) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, ...]:
        """[samples dim]."""
        return (len(self._array), self._array.shape[-1])

    def __len__(self) -> int:
        return len(self._array)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """The rows, float32."""
        return np.asarray(self._array[rows], dtype=np.float32).mean(1)


class SomeRows:
    """Some rows of an array, read when they are asked for; fulfils `ArrayRows`.

    Args:
        array: [samples dim].
        chosen: numbers of its rows, in their order.
    """

    def __init__(self, array: ArrayRows, chosen: np.ndarray) -> None:
        self._array, self._chosen = array, chosen
        self.itemsize = array.itemsize

    @property
    def shape(self) -> tuple[int, ...]:
        """[chosen dim]."""
        return (len(self._chosen), *self._array.shape[1:])

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, rows: slice | np.ndarray) -> np.ndarray:
        """The rows."""
        return self._array[self._chosen[rows]]
