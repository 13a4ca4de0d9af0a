"""A linear map from a backbone's embedding into the joint space of a CLIP.

A ViT that never saw a text is read in words through it: the map is linear, so that the sum of terms stays exact
(Balasubramanian et al., Decomposing and Interpreting Image Representations via Text in ViTs Beyond CLIP, NeurIPS
2024).
Its R² on held-out images says how much of the CLIP's embedding the backbone has at all.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from frozen.models import BackboneConfig
from frozen.models.joint import JointSpace, open_joint
from frozen.readout.needs import Inputs
from readouts.text_decomposition.asked import CLIP_FIT, CLIP_TEST
from readouts.text_decomposition.lens import pack, unpack
from readouts.text_decomposition.settings import JointConfig
from readouts.text_decomposition.texts import unit


class LinearMap(NamedTuple):
    """From embeddings to the joint space.

    Attributes:
        project: float32 [joint width].
        bias: float32 [joint].
    """

    project: Float32[np.ndarray, "joint width"]
    bias: Float32[np.ndarray, " joint"]

    def __call__(self, given: Float[np.ndarray, "image width"]) -> Float[np.ndarray, "image joint"]:
        """Mapped embeddings."""
        return given @ self.project.T + self.bias


class Fitted(NamedTuple):
    """A map, and how well it does on n test images.

    Attributes:
        linear: the map.
        missed: float32 [n], squared distance from the CLIP's embedding, which has length 1.
        total: float32 [n], that of the mean embedding of the images that the map was fitted to.
    """

    linear: LinearMap
    missed: Float32[np.ndarray, " images"]
    total: Float32[np.ndarray, " images"]


def fit_map(
    given: Float[np.ndarray, "image width"], wanted: Float[np.ndarray, "image joint"], ridge: float
) -> LinearMap:
    """Ridge regression with an intercept that is not penalised.

    Args:
        given: embeddings.
        wanted: what they are mapped to.
        ridge: penalty, as a share of the mean variance of a coordinate of `given`.
    """
    wide, target = given.astype(np.float64), wanted.astype(np.float64)
    means = wide.mean(axis=0), target.mean(axis=0)
    centred = wide - means[0]
    gram = centred.T @ centred
    penalty = ridge * max(float(np.trace(gram)) / len(gram), 1e-30)
    weight = np.linalg.solve(gram + penalty * np.eye(len(gram)), centred.T @ (target - means[1]))
    return LinearMap(weight.T.astype(np.float32), (means[1] - means[0] @ weight).astype(np.float32))


def fitted(inputs: Inputs, config: JointConfig) -> Fitted:
    """Fit the map on the images that means come from, and hold it against the test images."""
    clip = open_joint(BackboneConfig(source=config.clip))
    wanted = {
        name: unit(LinearMap(clip.project, clip.bias)(inputs.array(need, "activations").astype(np.float32)))
        for name, need in (("validation", CLIP_FIT), ("test", CLIP_TEST))
    }
    given = {name: inputs.array(name, "embedding") for name in wanted}
    linear = fit_map(given["validation"], wanted["validation"], config.ridge)
    missed = ((linear(given["test"]) - wanted["test"]) ** 2).sum(axis=1)
    total = ((wanted["test"] - wanted["validation"].mean(axis=0)) ** 2).sum(axis=1)
    return Fitted(linear, missed.astype(np.float32), total.astype(np.float32))


def packed(linear: LinearMap) -> bytes:
    """The product."""
    return pack(linear._asdict())


def mapped_space(config: JointConfig, product: bytes) -> JointSpace:
    """The CLIP's joint space, reached from another backbone's embedding."""
    clip, arrays = open_joint(BackboneConfig(source=config.clip)), unpack(product)
    return JointSpace(arrays["project"], arrays["bias"], clip.encode, clip.scale, clip.grammar)
