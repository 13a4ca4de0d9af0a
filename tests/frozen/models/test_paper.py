"""What is written down of the paper's models is what their library says of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from frozen.data.scenes import SCENES
from frozen.models import PAPER, BackboneConfig, describe
from frozen.models._transformers import describe_transformers

transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("name", PAPER)
def test_a_models_description_is_known_without_the_hub(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    choice = PAPER[name]
    size = choice.config.image_size
    large = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "patch_size": 14}
    if name.startswith("dinov2"):
        settings = transformers.Dinov2Config(**large, image_size=518)
    else:
        settings = transformers.CLIPVisionConfig(**large, intermediate_size=4096, image_size=size)
    settings.save_pretrained(tmp_path)
    pixels = {"do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(pixels))
    library = describe_transformers(BackboneConfig(source=f"random:hf:{tmp_path}", image_size=size))
    assert describe(choice.config, SCENES["colorshape"]()) == library
