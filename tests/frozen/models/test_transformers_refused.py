"""Folders and models of transformers that are refused, with the reason."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from frozen.models import BackboneConfig, BackboneError, describe
from tests.frozen.models.checkpoints import (
    MEAN,
    STD,
    write,
)
from tests.frozen.models.hf_models import broken, published, read
from tests.frozen.models.reference import SCENE


@pytest.mark.parametrize("key", ["embeddings.cls_token", "encoder.layer.1.norm1.weight", "layernorm.bias"])
def test_a_checkpoint_that_lacks_weights_is_refused(key: str, tmp_path: Path) -> None:
    """The library would leave them random."""
    folder = broken(published("dinov2")[0], tmp_path)
    state = load_file(folder / "model.safetensors")
    del state[key]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=f"does not hold a .*: missing keys: {re.escape(key)}; it must be"):
        read(folder)


def test_a_checkpoint_of_another_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="does not hold a") as caught:
        read(broken(published("dinov2")[0], tmp_path, hidden_size=64))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.6])
def test_a_truncated_checkpoint_is_refused(share: float, tmp_path: Path) -> None:
    folder = broken(published("dinov2")[0], tmp_path)
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(BackboneError, match=re.escape(f"weights file {path} does not hold a")):
        read(folder)


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("swin", {"model_type": "swin"}),
        ("convnext", {"model_type": "convnext"}),
        ("bert", {"model_type": "bert"}),
        ("blip_vision_model", {"model_type": "blip"}),
    ],
)
def test_other_architectures_are_refused_with_the_reason(
    model: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    folder = write(tmp_path, settings, {})
    with pytest.raises(
        BackboneError, match=f"is a {model}, whose tokens have no layout known here; .*dinov2.*vit_mae"
    ):
        describe(BackboneConfig(source=f"hf:{folder}"), SCENE)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config.json", None, "has none of config.json"),
        ("config.json", "{", "holds no model's settings"),
        ("preprocessor_config.json", None, "does not say how its pixels are normalised"),
        ("preprocessor_config.json", json.dumps({"image_mean": MEAN}), "does not say how its pixels"),
        (
            "preprocessor_config.json",
            json.dumps({"image_mean": MEAN, "image_std": STD, "rescale_factor": 0}),
            "rescale_factor must be a number > 0",
        ),
        ("config.json", "[]", "holds no model's settings"),
        (
            "config.json",
            json.dumps({"model_type": "dinov2", "hidden_size": "x"}),
            "holds no model's settings: .*hidden_size",
        ),
        ("config.json", json.dumps({"model_type": "dinov2", "patch_size": 0}), "its config.json makes no model"),
        (
            "config.json",
            json.dumps({"model_type": "dinov2", "num_hidden_layers": 0}),
            "its config.json makes no model",
        ),
        ("model.safetensors", None, "has none of model.safetensors, .*, pytorch_model.bin, "),
    ],
)
def test_folders_that_lack_something_are_refused(file: str, content: str | None, reason: str, tmp_path: Path) -> None:
    folder = broken(published("dinov2")[0], tmp_path)
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    with pytest.raises(BackboneError, match=reason):
        read(folder)


def test_images_must_hold_a_patch_and_have_three_channels(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="image_size 13 is smaller than a patch"):
        describe(BackboneConfig(source=f"hf:{published('vit')[0]}", image_size=13), SCENE)
    folder = broken(published("vit")[0], tmp_path, num_channels=1)
    with pytest.raises(BackboneError, match="reads images of 1 channels, not 3"):
        describe(BackboneConfig(source=f"hf:{folder}"), SCENE)
