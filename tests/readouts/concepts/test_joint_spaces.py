"""Names from the text towers of real CLIPs: transformers', open_clip's, and those of timm's image towers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from frozen.models import BackboneConfig, describe
from frozen.models._torchvision_ops import declare_missing_operators
from frozen.models.joint import JointSpace, joint_of, open_joint
from readouts.concepts.sites import Projected, site_refusal
from readouts.concepts.texts import read_texts
from tests.frozen.models import open_clips, two_towers
from tests.frozen.models.reference import SCENE

TEXTS = ("red", "a blue circle", "square")


def spaces() -> list[Any]:
    """Sources in this machine's reach."""
    return [f"hf:{kind}" for kind in two_towers.TYPES] + ["open_clip:clip"]


def opened(source: str) -> tuple[BackboneConfig, JointSpace]:
    library, _, kind = source.partition(":")
    declare_missing_operators()
    pytest.importorskip("transformers" if library == "hf" else library)
    folder = (two_towers if library == "hf" else open_clips).written(kind)[0]
    config = BackboneConfig(source=f"{library}:{folder}")
    return config, open_joint(config)


@pytest.mark.parametrize("source", spaces())
def test_texts_of_a_template_are_means_of_unit_vectors(source: str) -> None:
    config, space = opened(source)
    found = read_texts(space, TEXTS, ("{}", "a {}"))
    vectors = [space.encode([text.replace("{}", one) for one in TEXTS]) for text in ("{}", "a {}")]
    mean = sum(one / np.linalg.norm(one, axis=1, keepdims=True) for one in vectors)
    np.testing.assert_allclose(found.vectors.numpy(), mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-5)
    assert found.n_unread == 0
    assert site_refusal("joint", config, describe(config, SCENE)) is None


def test_rows_of_the_joint_space_are_projected_with_the_bias_that_an_attention_pool_has() -> None:
    """As of OpenAI's ResNets."""
    rng = np.random.default_rng(0)
    linear = torch.nn.Linear(6, 4)
    visual = torch.nn.Module()
    visual.attnpool = torch.nn.Module()
    visual.attnpool.c_proj = linear
    model: Any = torch.nn.Module()
    model.visual, model.logit_scale = visual, torch.nn.Parameter(torch.tensor(1.0))
    space = joint_of(model, lambda texts: torch.zeros(len(texts), 2))
    rows = rng.normal(size=(5, 6)).astype(np.float32)
    projected = Projected(rows, space)  # pyright: ignore[reportArgumentType], an array has rows
    assert projected.shape == (5, 4)
    with torch.no_grad():
        np.testing.assert_allclose(projected[1:3], linear(torch.from_numpy(rows[1:3])).numpy(), rtol=1e-5, atol=1e-6)
