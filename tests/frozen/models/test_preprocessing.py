"""Settings of image processors: what changes pixels is honoured, refused or said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from frozen.data.scenes import ColorShape
from frozen.models import BackboneConfig, BackboneError, describe, load
from frozen.models._preprocessing import read_preprocessing
from frozen.testing import batch_of
from tests.frozen.models.checkpoints import CONVERSIONS, converted, settings_of, small, write
from tests.frozen.models.reference import CPU, SCENE

MEAN, STD = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]


def made(folder: Path, settings: object) -> Path:
    path = folder / "preprocessor_config.json"
    path.write_text(settings if isinstance(settings, str) else json.dumps(settings))
    return path


@pytest.mark.parametrize(
    "settings",
    [
        {"image_mean": MEAN, "image_std": STD},
        {"image_mean": MEAN, "image_std": STD, "do_rescale": None, "rescale_factor": 0.00392156862745098},
        {"image_mean": [127.5, 102.0, 76.5], "image_std": [51.0, 63.75, 76.5], "do_rescale": False},
        {"image_mean": [1.0, 0.8, 0.6], "image_std": [0.4, 0.5, 0.6], "rescale_factor": 2 / 255},
        {"image_processor": {"image_mean": MEAN, "image_std": STD}},
    ],
)
def test_settings_that_say_the_same_give_the_same_pixels(settings: dict[str, Any], tmp_path: Path) -> None:
    pixels = read_preprocessing(made(tmp_path, settings), "hf:x", 28).pixels
    np.testing.assert_allclose([pixels.mean, pixels.std], [MEAN, STD], rtol=1e-12)


@pytest.mark.parametrize(
    ("settings", "mean", "std"),
    [
        ({"do_normalize": False}, 0, 1),
        ({"do_normalize": False, "do_rescale": False}, 0, 1 / 255),
        ({"do_normalize": False, "rescale_factor": 1 / 127.5}, 0, 0.5),
        ({"image_mean": 0.5, "image_std": 0.25}, 0.5, 0.25),
        ({"image_mean": 0.5, "image_std": 0.25, "rescale_factor": 1 / 510}, 1, 0.5),
    ],
)
def test_known_scales(settings: dict[str, Any], mean: float, std: float, tmp_path: Path) -> None:
    pixels = read_preprocessing(made(tmp_path, settings), "hf:x", 28).pixels
    np.testing.assert_allclose([pixels.mean, pixels.std], [[mean] * 3, [std] * 3], rtol=1e-12)


GOOD = {"image_mean": MEAN, "image_std": STD}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({**GOOD, "image_mean": [0.5] * 4}, "image_mean must be one number, or one for each of 3 channels; got 4"),
        ({**GOOD, "image_mean": ["a", 0, 0]}, "image_mean must be a number, got 'a'"),
        ({**GOOD, "image_std": [0.1, 0.0, 0.1]}, "image_std must be a number > 0, got 0.0"),
        ({**GOOD, "image_std": True}, "image_std must be a number > 0, got true"),
        ({**GOOD, "rescale_factor": 0}, "rescale_factor must be a number > 0, got 0"),
        ({**GOOD, "rescale_factor": float("nan")}, "rescale_factor must be a number > 0, got nan"),
        ({**GOOD, "do_rescale": "no"}, "do_rescale must be true or false, got 'no'"),
        ("{", "holds no settings of an image processor"),
        ("[]", "holds no settings of an image processor"),
        ({"image_processor": 3}, "image_processor must be a mapping"),
        ({**GOOD, "do_flip_channel_order": True}, "reads blue, green and red"),
        ({}, "does not say how its pixels are normalised"),
    ],
)
def test_what_cannot_be_followed_is_one_line(settings: object, message: str, tmp_path: Path) -> None:
    path = made(tmp_path, settings)
    with pytest.raises(BackboneError) as refused:
        read_preprocessing(path, "hf:x", 28)
    assert message in str(refused.value)
    assert settings == {} or str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("settings", "asked"),
    [
        ({"resample": 3}, "bicubic resizing;"),
        ({"resample": 2, "size": {"shortest_edge": 256}}, "a shortest edge of 256 px;"),
        ({"size": 224, "do_center_crop": True}, "a shortest edge of 224 px, a crop of the middle;"),
        ({"resample": 3, "do_resize": False}, None),
        ({"resample": 2, "size": {"height": 28, "width": 28}}, None),
    ],
)
def test_another_way_to_resize_is_said(settings: dict[str, Any], asked: str | None, tmp_path: Path) -> None:
    notes = read_preprocessing(made(tmp_path, {**GOOD, **settings}), "hf:x", 28).notes
    assert len(notes) == (asked is not None)
    assert all(f"asks for {asked} images are resized bilinearly to 28 x 28" in note for note in notes)


def test_a_model_of_pixels_in_0_to_255_gives_the_tokens_of_the_same_model_of_pixels_in_0_to_1(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    conversion = CONVERSIONS["dinov2"]
    first = write(tmp_path / "first", settings_of(conversion), converted(conversion, small(conversion)))
    made(first, GOOD)
    second = Path(shutil.copytree(first, tmp_path / "second"))
    wide = {name: [255 * value for value in values] for name, values in GOOD.items()}
    made(second, {**wide, "do_rescale": False})
    one, other = (load(BackboneConfig(source=f"hf:{folder}"), SCENE, CPU) for folder in (first, second))
    batch = batch_of(SCENE, range(2))
    torch.testing.assert_close(one.forward(batch)["final"], other.forward(batch)["final"], rtol=1e-4, atol=1e-4)
    assert one.identity in other.identity
    assert one.identity != other.identity
    made(second, {**GOOD, "image_std": 0})
    third = shutil.copytree(second, tmp_path / "third")
    with pytest.raises(BackboneError, match="image_std must be a number > 0"):
        describe(BackboneConfig(source=f"hf:{third}"), SCENE)


@pytest.mark.parametrize(
    ("source", "size", "message"),
    [
        ("random:vit_tiny_patch16_224", 250, "the last 10 at the right and at the bottom are in no patch of 16 px"),
        ("random:vit_tiny_patch16_224", 256, None),
        ("paper", 256, "of 256 px, the last 4 at the right"),
    ],
)
def test_pixels_that_are_dropped_are_said(source: str, size: int, message: str | None) -> None:
    config = BackboneConfig(source="hf:facebook/dinov2-large" if source == "paper" else source, image_size=size)
    notes = describe(config, ColorShape()).notes
    assert len(notes) == (message is not None)
    assert all(str(message) in note for note in notes)


def test_a_size_that_a_model_refuses_comes_with_the_nearest() -> None:
    config = BackboneConfig(source="random:vit_small_patch16_dinov3", image_size=250)
    with pytest.raises(BackboneError, match=r"whole patches of 16 px; image_size must be 240 or 256, got 250"):
        describe(config, ColorShape())
