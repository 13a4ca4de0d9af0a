from __future__ import annotations

import json
import struct
import subprocess
import sys
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from frozen.capture.capture import capture
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from frozen.data.scenes import ColorShape, SplitName, SplitPolicy, TargetShapes
from frozen.models import (
    SHIPPED,
    Backbone,
    BackboneConfig,
    BackboneError,
    Batch,
    TokenLayout,
    describe,
    identify,
    load,
)
from frozen.models._shipped import shipped_header
from frozen.models._torchvision_ops import declare_missing_operators
from frozen.models._vision import digest
from frozen.testing import BackboneConformance, batch_of

declare_missing_operators()
from timm.models.vision_transformer import VisionTransformer  # noqa: E402

SCENE = ColorShape(
    n_colors=4,
    n_shapes=4,
    max_objects=6,
    image_size=64,
    object_size=12,
    seed=4_711,
    split=SplitPolicy(train=500, validation=8, test=250),
)
OBJECTS, FEATURES = VITS = SHIPPED[:2]
"""The two trunks whose heads are not shipped."""


@cache
def shipped(name: str) -> Backbone:
    return load(BackboneConfig(source=f"shipped:{name}"), SCENE, torch.device("cpu"))


def path_of(name: str) -> Path:
    return Path(str(resources.files("frozen.models"))) / "weights" / f"{name}.safetensors"


@pytest.mark.parametrize("name", SHIPPED)
class TestConformance(BackboneConformance):
    @pytest.fixture
    def scene(self) -> ColorShape:
        return SCENE.limited(8)

    @pytest.fixture
    def backbone(self, name: str) -> Backbone:
        return shipped(name)


@pytest.mark.parametrize("name", VITS)
def test_the_file_is_small_half_precision_and_without_a_classifier(name: str) -> None:
    assert path_of(name).stat().st_size < 2_000_000
    with safe_open(path_of(name), "pt") as file:
        assert {file.get_tensor(key).dtype for key in file.keys()} == {torch.float16}  # noqa: SIM118
        assert not [key for key in file.keys() if key.startswith("head")]  # noqa: SIM118


@pytest.mark.parametrize("name", VITS)
def test_the_header_says_how_the_model_was_trained(name: str) -> None:
    header = shipped_header(name)
    assert header["target"] == name.removeprefix("shapes_vit_")
    training = json.loads(header["training"])
    prior = SCENE.open("test").entropies
    assert prior is not None
    prior_bits = prior.object_bits if name == OBJECTS else prior.feature_bits
    for loss in ("train_loss_bits", "test_loss_bits"):
        assert 0 < training[loss] < 0.1 * prior_bits
    assert training["curve"][-1]["images"] == training["images"]
    assert training["curve"][-1]["train_bits"] == training["train_loss_bits"]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_header_is_that_of_the_file(name: str) -> None:
    with safe_open(path_of(name), "pt") as file:
        assert shipped_header(name) == file.metadata()


def test_describing_and_identifying_need_no_model_library() -> None:
    code = (
        "import sys\n"
        "from frozen.models import SHIPPED, BackboneConfig, describe, identify\n"
        "for name in SHIPPED:\n"
        "    identify(BackboneConfig(source=f'shipped:{name}'), None)\n"
        "    print(describe(BackboneConfig(source=f'shipped:{name}'), None).layers[-1])\n"
        "print(*(library in sys.modules for library in ('timm', 'torchvision', 'huggingface_hub')))"
    )
    script = [sys.executable, "-W", "error", "-c", code]
    answer = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert answer.split() == [*["final"] * len(SHIPPED), "False", "False", "False"]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_description_is_that_of_the_loaded_model(name: str) -> None:
    description = describe(BackboneConfig(source=f"shipped:{name}"), SCENE)
    assert description == shipped(name).description
    assert description.layers == ("embed", "0", "1", "2", "3", "4", "5", "final")
    assert description.layout == TokenLayout(has_cls=True, n_registers=0, grid=(8, 8), width=128)
    assert description.image_size == 64


@pytest.mark.parametrize(
    "source",
    [f"{prefix}{name}" for prefix in ("shipped:", "random:shipped:") for name in SHIPPED] + ["control:noise"],
)
def test_a_backbone_is_identified_as_the_loaded_one(source: str) -> None:
    config = BackboneConfig(source=source)
    model = load(config, SCENE, torch.device("cpu"))
    assert identify(config, SCENE) == (model.identity, model.weights_digest)


def rebuilt(name: str) -> Any:
    """The model from nothing but the bytes of its file."""
    content = path_of(name).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    architecture = json.loads(header.pop("__metadata__")["architecture"])
    state = {}
    for key, entry in header.items():
        if key.startswith(("head.", "text.", "pooler.", "decoder.", "joint.")):
            continue
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        values = np.frombuffer(content[start:end], dtype=np.float16).reshape(entry["shape"])
        state[key] = torch.from_numpy(values.astype(np.float32))
    eps = architecture.pop("norm_eps", 1e-6)
    model = VisionTransformer(**architecture, num_classes=0, norm_layer=partial(nn.LayerNorm, eps=eps)).eval()
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("name", SHIPPED)
@torch.no_grad()
def test_tokens_of_every_layer_are_those_of_the_models_own_modules(name: str) -> None:
    model, batch = rebuilt(name), batch_of(SCENE, range(4))
    pixels = torch.from_numpy((batch.images / 255.0 - 0.5) / 0.5).float().permute(0, 3, 1, 2)
    expected: list[Tensor] = [model.norm_pre(model._pos_embed(model.patch_embed(pixels)))]
    for block in model.blocks:
        expected.append(block(expected[-1]))
    expected.append(model.norm(expected[-1]))
    tokens = shipped(name).forward(batch)
    for layer, value in zip(shipped(name).description.layers, expected, strict=True):
        torch.testing.assert_close(tokens[layer], value, rtol=1e-4, atol=1e-4)
    assert shipped(name).weights_digest == digest(model.state_dict())


def test_the_two_are_different_models() -> None:
    assert shipped(OBJECTS).identity != shipped(FEATURES).identity
    assert shipped(OBJECTS).weights_digest != shipped(FEATURES).weights_digest


@cache
def samples(split: SplitName) -> Batch:
    return batch_of(SCENE, range(len(SCENE.open(split))), split)


@cache
def last_cls(name: str, split: SplitName) -> np.ndarray:
    return shipped(name).forward(samples(split))["final"][:, 0].double().numpy()


def explained(name: str, target: str) -> float:
    """Share of a code's variance that a linear map of the last CLS token explains, on scenes not fitted on."""

    def codes_of(batch: Batch) -> np.ndarray:
        return (batch.object_codes if target == "objects" else batch.feature_codes).astype(np.float64)

    fitted, fresh = samples("train"), samples("test")
    tokens, new_tokens = last_cls(name, "train"), last_cls(name, "test")
    codes, new_codes = codes_of(fitted), codes_of(fresh)
    mean, center = tokens.mean(0), codes.mean(0)
    centered = tokens - mean
    weights = np.linalg.solve(centered.T @ centered + np.eye(len(mean)), centered.T @ (codes - center))
    residual = new_codes - center - (new_tokens - mean) @ weights
    return float(1 - (residual**2).sum() / ((new_codes - center) ** 2).sum())


def test_the_model_of_objects_knows_objects_and_the_model_of_features_does_not() -> None:
    """Both were trained to their ends, so the contrast is binding and not skill."""
    assert explained(OBJECTS, "objects") > 0.9
    assert explained(FEATURES, "objects") < 0.7
    assert explained(FEATURES, "features") > 0.9


@pytest.mark.parametrize("options", [{"image_size": 32}, {"image_size": 128}, {"weights": "other.safetensors"}])
def test_other_sizes_and_weights_are_refused_before_and_after_loading(options: dict[str, Any]) -> None:
    config = BackboneConfig(source=f"shipped:{OBJECTS}", **options)
    for attempt in (lambda: describe(config, SCENE), lambda: load(config, SCENE, torch.device("cpu"))):
        with pytest.raises(BackboneError, match="has its own weights and reads 64 px only"):
            attempt()


def test_the_size_it_has_may_be_said() -> None:
    config = BackboneConfig(source=f"shipped:{OBJECTS}", image_size=64)
    assert load(config, SCENE, torch.device("cpu")).identity == shipped(OBJECTS).identity


def test_an_unknown_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(BackboneError, match=f"no backbone 'shapes_vit'.*{OBJECTS}, {FEATURES}"):
        describe(BackboneConfig(source="shipped:shapes_vit"), SCENE)


def test_loading_leaves_the_state_of_chance_alone() -> None:
    state = torch.get_rng_state()
    load(BackboneConfig(source=f"shipped:{OBJECTS}"), SCENE, torch.device("cpu"))
    assert torch.equal(torch.get_rng_state(), state)


CLASS = BackboneConfig(source="shipped:shapes_vit_class")


@pytest.mark.parametrize("config", [CLASS, CLASS.untrained(3)], ids=["trained", "untrained"])
def test_a_classifier_comes_with_the_trunk_and_leaves_it_as_it_is(config: BackboneConfig) -> None:
    bare, whole = load(config, SCENE, torch.device("cpu")), load(config, SCENE, torch.device("cpu"), head=True)
    assert bare.head is None
    assert whole.head is not None
    assert bare.weights_digest == whole.weights_digest == identify(config, SCENE).weights_digest
    assert whole.description == describe(config, SCENE, head=True)
    assert (bare.description.n_classes, whole.description.n_classes) == (0, 16)
    other = load(CLASS if config.kind == "random" else CLASS.untrained(3), SCENE, torch.device("cpu"), head=True)  # pyright: ignore
    assert other.head is not None
    assert other.head.weights_digest != whole.head.weights_digest


def test_the_classifier_finds_the_target_as_often_as_its_header_says() -> None:
    scene = TargetShapes(seed=90_000_000, split=SplitPolicy(train=1, validation=1, test=400))
    split, model = scene.open("test"), load(CLASS, scene, torch.device("cpu"), head=True)
    reduction = WholeSite(Site.parse("logits"))
    table = capture(model, split, [reduction])[reduction]
    logits = table["activations"].combine_chunks().to_numpy_ndarray()
    held_out = json.loads(shipped_header("shapes_vit_class")["held_out"])["top1"]
    assert np.mean(logits.argmax(1) == split.classes) == pytest.approx(held_out, abs=0.02)


def test_a_model_without_classifier_is_refused_where_one_is_wanted() -> None:
    with pytest.raises(BackboneError, match="shapes_vit_objects has no classifier; shipped:shapes_vit_class"):
        describe(BackboneConfig(source="shipped:shapes_vit_objects"), SCENE, head=True)
