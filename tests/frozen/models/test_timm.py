from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from frozen.data.scenes import ColorShape
from frozen.models import Backbone, BackboneConfig, BackboneError, Batch, TokenLayout, describe, load
from frozen.models._timm import describe_timm
from frozen.models._vision import VisionTransformer, digest
from frozen.testing import BackboneConformance, SiteConformance, batch_of
from tests.frozen.models.reference import (
    CPU,
    SCENE,
    TINY,
    TOLERANCE,
    by_hand,
    lively,
    normalised,
    read,
    save,
    timm,
)


class Case(NamedTuple):
    """A model, its input size, and what its documentation says of its tokens."""

    name: str
    image_size: int
    layout: TokenLayout
    n_blocks: int


CASES = [
    Case("vit_tiny_patch16_224", 64, TokenLayout(has_cls=True, n_registers=0, grid=(4, 4), width=192), 12),
    Case("vit_small_patch14_reg4_dinov2", 56, TokenLayout(has_cls=True, n_registers=4, grid=(4, 4), width=384), 12),
    Case("test_vit2", 80, TokenLayout(has_cls=False, n_registers=1, grid=(5, 5), width=64), 8),
    Case("test_vit_relpos", 80, TokenLayout(has_cls=False, n_registers=0, grid=(5, 5), width=96), 9),
    Case("vit_xsmall_patch16_clip_224", 32, TokenLayout(has_cls=True, n_registers=0, grid=(2, 2), width=256), 10),
    Case("eva02_tiny_patch14_224", 56, TokenLayout(has_cls=True, n_registers=0, grid=(4, 4), width=192), 12),
    Case("vit_tiny_patch16_dinov3_qkvb", 64, TokenLayout(has_cls=True, n_registers=4, grid=(4, 4), width=192), 12),
]


class Loaded(NamedTuple):
    case: Case
    model: nn.Module
    backbone: Backbone


@pytest.fixture(scope="module", params=CASES, ids=lambda case: case.name)
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    case = request.param
    model = lively(case.name, img_size=case.image_size)
    path = save(model, tmp_path_factory.mktemp("weights") / "weights.safetensors")
    yield Loaded(case, model, read(path, case.name, case.image_size))
    path.unlink()


@pytest.fixture(scope="module")
def batch() -> Batch:
    return batch_of(SCENE, range(4))


def test_tokens_of_every_layer_are_those_of_the_models_own_modules(loaded: Loaded, batch: Batch) -> None:
    settings: Any = loaded.model.pretrained_cfg
    pixels = normalised(batch.images, loaded.case.image_size, settings["mean"], settings["std"])
    expected = by_hand(loaded.model, pixels)
    tokens = loaded.backbone.forward(batch)
    assert set(tokens) == set(expected)
    for layer, value in expected.items():
        torch.testing.assert_close(tokens[layer], value, **TOLERANCE)
    layers = [tokens[layer] for layer in loaded.backbone.description.layers]
    changes = [(later - earlier).abs().max() for earlier, later in pairwise(layers)]
    assert min(changes[:-1]) > 0.05  # else a shift by one layer could go unnoticed
    assert (changes[-1] > 0.05) != isinstance(loaded.model.norm, nn.Identity)


def test_layers_and_layout_are_read_from_the_model(loaded: Loaded) -> None:
    description = loaded.backbone.description
    assert description.layers == ("embed", *(str(i) for i in range(loaded.case.n_blocks)), "final")
    assert description.layout == loaded.case.layout
    assert description.image_size == loaded.case.image_size
    assert description.parameters == sum(value.numel() for value in loaded.model.parameters())
    assert not description.is_control


def test_the_description_without_weights_is_that_of_the_loaded_model(loaded: Loaded) -> None:
    config = BackboneConfig(source=f"timm:{loaded.case.name}", image_size=loaded.case.image_size)
    assert describe(config, SCENE) == loaded.backbone.description


def test_the_digest_is_that_of_the_weights_in_the_file(loaded: Loaded) -> None:
    assert loaded.backbone.weights_digest == digest(loaded.model.state_dict())


@cache
def conforming(name: str, size: int = 48) -> Backbone:
    with TemporaryDirectory() as folder:
        return read(save(lively(name, img_size=size), Path(folder) / "weights.safetensors"), name, size)


@pytest.mark.parametrize("name", ["test_vit", "test_vit2"])
class TestConformance(BackboneConformance):
    @pytest.fixture
    def scene(self) -> ColorShape:
        return SCENE

    @pytest.fixture
    def backbone(self, name: str) -> Backbone:
        return conforming(name)


@pytest.mark.parametrize(
    "name", ["test_vit", "test_vit2", "test_vit3", "test_vit4", "test_vit_relpos", "eva02_tiny_patch14_224"]
)
class TestSites(SiteConformance):
    @pytest.fixture
    def backbone(self, name: str) -> Backbone:
        return conforming(name, 56 if name.startswith("eva") else 48)

    @pytest.fixture
    def images(self) -> np.ndarray:
        return batch_of(SCENE, range(2)).images


def test_a_classifier_is_loaded_beside_the_same_trunk(tmp_path: Path, batch: Batch) -> None:
    """From a file that has one, with as many classes as the file has."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = timm.create_model(TINY, num_classes=7, img_size=32).eval()
    config = BackboneConfig(
        source=f"timm:{TINY}", image_size=32, weights=str(save(model, tmp_path / "w.safetensors"))
    )
    bare, whole = load(config, SCENE, CPU), load(config, SCENE, CPU, head=True)
    assert bare.head is None
    assert whole.head is not None
    assert (bare.description.n_classes, whole.description.n_classes, whole.head.n_classes) == (0, 7, 7)
    assert bare.weights_digest == whole.weights_digest
    assert whole.head.weights_digest == digest(model.head.state_dict())
    tokens = whole.forward(batch)["final"]
    pixels = normalised(batch.images, 32, model.pretrained_cfg["mean"], model.pretrained_cfg["std"])
    with torch.no_grad():
        torch.testing.assert_close(whole.head.pooled(tokens), model(pixels), **TOLERANCE)


@pytest.mark.parametrize("form", ["plain", "wrapped", "refined"])
def test_forms_of_checkpoints_give_the_same_model_and_its_classes(form: str, tmp_path: Path, batch: Batch) -> None:
    """A training loop puts `model.` before all names; token refinement keeps classifiers of its own beside them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = timm.create_model(TINY, num_classes=7, img_size=32).eval()
    state = model.state_dict()
    if form == "wrapped":
        state = {f"model.{name}": tensor for name, tensor in state.items()}
    elif form == "refined":
        state = {**state, "transformerheads.0.weight": torch.ones(7, 3)}
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    config = BackboneConfig(source=f"timm:{TINY}", image_size=32, weights=str(tmp_path / "w.pth"))
    assert describe(config, SCENE, head=True).n_classes == 7
    whole = load(config, SCENE, CPU, head=True)
    assert whole.head is not None
    tokens = whole.forward(batch)["final"]
    pixels = normalised(batch.images, 32, model.pretrained_cfg["mean"], model.pretrained_cfg["std"])
    with torch.no_grad():
        torch.testing.assert_close(whole.head.pooled(tokens), model(pixels), **TOLERANCE)


def test_a_random_classifier_leaves_the_draw_of_the_trunk() -> None:
    config = BackboneConfig(source=f"random:{TINY}", image_size=32, seed=3)
    bare, whole = load(config, SCENE, CPU), load(config, SCENE, CPU, head=True)
    assert whole.weights_digest == bare.weights_digest
    assert whole.description == describe_timm(TINY, 32, head=True)
    assert whole.description.n_classes == 1000


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("vit_small_patch14_dinov2", "has no classifier"),
        ("vit_base_patch16_siglip_224", "has no classifier"),
        ("vit_base_patch16_siglip_gap_224", "has no classifier"),
    ],
)
def test_models_without_a_classifier_of_tokens_say_so(name: str, reason: str) -> None:
    with pytest.raises(BackboneError, match=reason):
        describe_timm(name, None, head=True)


@pytest.mark.parametrize(
    ("name", "layout", "image_size"),
    [
        ("vit_large_patch14_dinov2", TokenLayout(has_cls=True, n_registers=0, grid=(37, 37), width=1024), 518),
        ("vit_base_patch16_siglip_224", TokenLayout(has_cls=False, n_registers=0, grid=(14, 14), width=768), 224),
        ("vit_large_patch14_clip_336", TokenLayout(has_cls=True, n_registers=0, grid=(24, 24), width=1024), 336),
        ("deit_tiny_distilled_patch16_224", TokenLayout(has_cls=True, n_registers=1, grid=(14, 14), width=192), 224),
        ("beit_base_patch16_224", TokenLayout(has_cls=True, n_registers=0, grid=(14, 14), width=768), 224),
        ("test_vit_relpos", TokenLayout(has_cls=False, n_registers=0, grid=(10, 10), width=96), 160),
    ],
)
def test_layouts_of_well_known_models(name: str, layout: TokenLayout, image_size: int) -> None:
    description = describe(BackboneConfig(source=f"timm:{name}"), SCENE)
    assert (description.layout, description.image_size) == (layout, image_size)


def test_dinov2_at_256_pixels_has_the_tokens_of_the_paper() -> None:
    """18 x 18 spatial tokens: 4 pixels at the edge fill no patch."""
    description = describe(BackboneConfig(source="timm:vit_large_patch14_dinov2", image_size=256), SCENE)
    assert description.layout == TokenLayout(has_cls=True, n_registers=0, grid=(18, 18), width=1024)


def test_describing_allocates_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models of billions of parameters can be planned on a laptop."""
    devices: set[str] = set()
    register = nn.Module.register_parameter

    def registered(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        devices.update(() if parameter is None else (parameter.device.type,))
        register(module, name, parameter)

    monkeypatch.setattr(nn.Module, "register_parameter", registered)
    config = BackboneConfig(source="timm:vit_gigantic_patch14_224", image_size=28)
    assert describe(config, SCENE).parameters > 1_800_000_000
    assert devices == {"meta"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("swin_tiny_patch4_window7_224", "SwinTransformer has no ViT blocks over a grid of patch tokens"),
        ("mixer_s16_224", "MlpMixer has no ViT blocks over a grid of patch tokens"),
        ("cait_xxs24_224", re.escape("layer embed has tokens (1, 196, 192), not (1, 197, 192)")),
        ("convit_tiny", re.escape("layer embed has tokens (1, 196, 192), not (1, 197, 192)")),
    ],
)
def test_models_whose_tokens_cannot_be_told_apart_are_refused_before_their_weights_are_fetched(
    name: str, reason: str
) -> None:
    with pytest.raises(BackboneError, match=f"{reason}.*choose .*ViT.*shipped:shapes_vit_objects"):
        describe(BackboneConfig(source=f"timm:{name}"), SCENE)


@pytest.mark.parametrize(
    ("source", "image_size", "reason"),
    [
        ("timm:test_vit", 8, "image_size 8 is smaller than a patch"),
        ("timm:efficientnet_b0", 64, "does not take an image_size"),
    ],
)
def test_image_sizes_that_cannot_be_are_refused(source: str, image_size: int, reason: str) -> None:
    with pytest.raises(BackboneError, match=reason):
        describe(BackboneConfig(source=source, image_size=image_size), SCENE)


@pytest.mark.parametrize("kind", ["timm", "random"])
@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("vit_tny_patch16_224", "vit_tny_patch16_224.*did you mean vit_tiny_patch16_224"),
        ("dinov2_reg4_small", "timm has no model 'dinov2_reg4_small'"),
        ("vit_tiny_patch16_224.augreg_in1k", "'augreg_in1k'.*did you mean vit_tiny_patch16_224.augreg_in21k"),
    ],
)
def test_unknown_names_get_the_closest_known_ones(kind: str, name: str, hint: str) -> None:
    config = BackboneConfig(source=f"{kind}:{name}")
    for attempt in (lambda: describe(config, SCENE), lambda: load(config, SCENE, CPU)):
        with pytest.raises(BackboneError, match=hint):
            attempt()


@pytest.mark.parametrize("image_size", [32, 48, 64, 96])
def test_images_are_resized_between_pixel_centres_and_normalised(image_size: int, batch: Batch) -> None:
    """Neither cropped nor smoothed; seen through a model that passes pixels on unchanged."""
    backbone = read(kind="random", image_size=image_size)
    assert isinstance(backbone, VisionTransformer)
    model = timm.create_model(TINY)
    mean, std = model.pretrained_cfg["mean"], model.pretrained_cfg["std"]
    pixels = backbone._pixels(batch.images)
    assert pixels.dtype == torch.float32
    torch.testing.assert_close(pixels, normalised(batch.images, image_size, mean, std), rtol=0, atol=1e-5)


def test_a_model_has_its_own_mean_and_deviation(batch: Batch) -> None:
    """Uniform images show them: a pixel of the mean colour is 0, one deviation above is 1."""
    backbone = read(kind="random", name="eva02_tiny_patch14_224", image_size=14)
    assert isinstance(backbone, VisionTransformer)
    white = backbone._pixels(np.full((1, 64, 64, 3), 255, dtype=np.uint8))
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    expected = torch.from_numpy((1 - mean) / std).float().view(1, 3, 1, 1).expand(1, 3, 14, 14)
    torch.testing.assert_close(white, expected)


def test_loaded_models_are_in_evaluation_mode_and_frozen() -> None:
    backbone = read(kind="random")
    assert isinstance(backbone, VisionTransformer)
    assert not any(module.training for module in backbone._tower.model.modules())
    assert not any(parameter.requires_grad for parameter in backbone._tower.model.parameters())


def test_another_image_size_interpolates_position_embeddings_and_changes_the_identity(
    tmp_path: Path, batch: Batch
) -> None:
    model: Any = lively(TINY)  # 160 pixels, 10 x 10 patches
    path = save(model, tmp_path / "weights.safetensors")
    native, small = read(path, image_size=None), read(path, image_size=64)
    assert native.description.image_size == 160
    assert (native.description.layout.grid, small.description.layout.grid) == ((10, 10), (4, 4))
    assert native.identity != small.identity
    assert native.weights_digest == digest(model.state_dict()) != small.weights_digest

    grid = model.pos_embed[:, -100:].reshape(1, 10, 10, -1).permute(0, 3, 1, 2)
    grid = torch.nn.functional.interpolate(grid, (4, 4), mode="bicubic", antialias=True, align_corners=False)
    patches = model.patch_embed.proj(normalised(batch.images, 64, (0.5,) * 3, (0.5,) * 3))
    spatial = (patches + grid).flatten(2).mT
    torch.testing.assert_close(small.forward(batch)["embed"][:, 1:], model.norm_pre(spatial), **TOLERANCE)
