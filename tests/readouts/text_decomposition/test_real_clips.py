"""CLIPs of transformers and of open_clip: the terms sum to the embedding that the library itself gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from frozen.capture.conditions import PLAIN
from frozen.models import BackboneConfig, describe, load
from frozen.models._torchvision_ops import declare_missing_operators
from frozen.models.joint import joint_refusal, open_joint
from readouts.text_decomposition.capture import ImageTerms
from readouts.text_decomposition.lens import Lens, Stored
from readouts.text_decomposition.pooling_head import PooledTerms
from tests.frozen.models import open_clips, two_towers
from tests.frozen.models.checkpoints import MEAN, STD
from tests.readouts.text_decomposition.towers import captured, scenes

CPU = torch.device("cpu")


def pixels(mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """Of twelve scenes, which have the towers' size."""
    images = torch.from_numpy(scenes().images(np.arange(12))).permute(0, 3, 1, 2) / 255
    assert images.shape[2] == two_towers.SIZE
    return ((images - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)).float()


def assert_sums(config: BackboneConfig, expected: torch.Tensor) -> None:
    """The terms of a backbone's images against the library's vectors."""
    backbone, joint = load(config, scenes(), CPU), open_joint(config)  # pyright: ignore
    lens, stored = Lens.of(backbone, joint), Stored.of(captured(backbone))
    unit = expected / expected.norm(dim=1, keepdim=True)
    assert float((lens.all_terms(stored).sum(1) - unit).norm() / unit.norm()) < 1e-5
    description = describe(config, scenes())  # pyright: ignore
    assert description == backbone.description, "what a plan knows"
    n_blocks = sum(layer.isdigit() for layer in description.layers)
    (PooledTerms() if description.pooling_heads else ImageTerms(n_blocks)).columns(description, PLAIN)
    assert joint_refusal(config) is None


@torch.no_grad()
def test_a_clip_of_transformers_is_decomposed() -> None:
    pytest.importorskip("transformers")
    folder, model = two_towers.written("clip")
    expected = model.get_image_features(pixel_values=pixels(MEAN, STD)).pooler_output
    assert_sums(BackboneConfig(source=f"hf:{folder}"), expected)


@pytest.mark.parametrize("kind", ["clip", "scaled"])
@torch.no_grad()
def test_a_clip_of_open_clip_is_decomposed(kind: str) -> None:
    declare_missing_operators()
    pytest.importorskip("open_clip", reason="open_clip is an extra")
    folder, model = open_clips.written(kind)
    expected = model.encode_image(pixels(open_clips.MEAN, open_clips.STD))
    assert_sums(BackboneConfig(source=f"open_clip:{folder}"), expected)


@pytest.mark.parametrize("kind", ["siglip", "siglip2"])
@torch.no_grad()
def test_a_siglip_of_transformers_is_the_sum_of_its_pooling_head(kind: str) -> None:
    pytest.importorskip("transformers")
    folder, model = two_towers.written(kind)
    expected = model.get_image_features(**two_towers.given(kind, pixels(MEAN, STD))).pooler_output
    assert_sums(BackboneConfig(source=f"hf:{folder}"), expected)
