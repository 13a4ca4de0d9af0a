"""Convolutional trunks: feature maps as tokens, against timm's own forward pass and open_clip's ResNet."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from frozen.capture.forward import run_batch
from frozen.capture.reductions import View, WholeSite
from frozen.capture.sites import Site, sites
from frozen.data.scenes import ColorShape
from frozen.models import Backbone, BackboneConfig, BackboneError, TokenLayout, describe, load
from frozen.models._timm import describe_timm
from frozen.testing import BackboneConformance, SiteConformance, batch_of
from tests.frozen.models.reference import CPU, SCENE, normalised, timm

NAMES = ("test_resnet", "test_convnext", "test_byobnet")


@cache
def loaded(name: str) -> Backbone:
    return load(BackboneConfig(source=f"random:{name}", image_size=64), SCENE, CPU)


@pytest.mark.parametrize("name", NAMES)
class TestConformance(BackboneConformance):
    @pytest.fixture
    def scene(self) -> ColorShape:
        return SCENE

    @pytest.fixture
    def backbone(self, name: str) -> Backbone:
        return loaded(name)


@pytest.mark.parametrize("name", NAMES)
class TestSites(SiteConformance):
    @pytest.fixture
    def backbone(self, name: str) -> Backbone:
        return loaded(name)

    @pytest.fixture
    def images(self) -> np.ndarray:
        return batch_of(SCENE, range(2)).images


@pytest.mark.parametrize("name", NAMES)
def test_tokens_are_places_of_the_models_own_feature_maps(name: str) -> None:
    model: Any = loaded(name)._tower.model  # pyright: ignore
    settings = model.pretrained_cfg
    batch = batch_of(SCENE, range(3))
    pixels = normalised(batch.images, 64, settings["mean"], settings["std"])
    with torch.no_grad():
        feature_map = model.forward_features(pixels)
        pooled = model.forward_head(feature_map, pre_logits=True)
    tokens = loaded(name).forward(batch)
    _, width, rows, columns = feature_map.shape
    for row, column in ((0, 0), (rows - 1, 0), (0, columns - 1)):
        torch.testing.assert_close(tokens["final"][:, row * columns + column], feature_map[:, :, row, column])
    site = WholeSite(Site("final", "embedding"))
    torch.testing.assert_close(run_batch(loaded(name), batch, [site])[site]["activations"], pooled)
    assert loaded(name).description.layout == TokenLayout(
        has_cls=False, n_registers=0, grid=(rows, columns), width=width
    )


@pytest.mark.parametrize("name", NAMES)
def test_layers_have_layouts_of_their_own(name: str) -> None:
    description = loaded(name).description
    assert description == describe(BackboneConfig(source=f"random:{name}", image_size=64), SCENE)
    grids = [description.layout_of(layer).grid for layer in description.layers]
    assert grids == sorted(grids, reverse=True)
    assert len(set(grids)) > 2
    for site in (View(Site(layer), "mean_spatial") for layer in description.layers):
        found: Any = run_batch(loaded(name), batch_of(SCENE, range(2)), [site])[site]["activations"]
        assert found.shape == (2, description.layout_of(site.site.layer).width)
    smaller = describe(BackboneConfig(source=f"random:{name}", image_size=32), SCENE)
    assert 3 < description.forward_flops / smaller.forward_flops < 5


@pytest.mark.parametrize("name", NAMES)
def test_what_a_convolution_lacks_is_refused_with_the_reason(name: str) -> None:
    description = loaded(name).description
    assert {site.part for site in sites(description)} == {"residual", "embedding"}
    assert "convolutional network" in str(Site("0", "heads").refusal(description))
    with pytest.raises(ValueError, match="mode cls needs a CLS token"):
        run_batch(loaded(name), batch_of(SCENE, range(2)), [View(Site("0"), "cls")])
    with pytest.raises(BackboneError, match="reads pooled feature maps"):
        describe_timm(name, 64, head=True)


def test_well_known_networks_are_described_without_weights() -> None:
    resnet = describe(BackboneConfig(source="timm:resnet50.a1_in1k"), SCENE)
    assert len(resnet.layers) == 18
    assert resnet.layout_of("0") == TokenLayout(has_cls=False, n_registers=0, grid=(56, 56), width=256)
    assert resnet.layout == TokenLayout(has_cls=False, n_registers=0, grid=(7, 7), width=2048)
    assert resnet.forward_flops == pytest.approx(8.2e9, rel=0.05)  # 4.1 billion products (He et al. 2016)
    clip = describe(BackboneConfig(source="timm:resnet50_clip.openai"), SCENE)
    assert (clip.embedding_width, clip.layout.grid) == (2048, (7, 7))


@torch.no_grad()
def test_the_attention_pool_of_clips_resnet_is_open_clips() -> None:
    """Embedding, projected as the joint space says, of OpenAI's architecture with random weights."""
    pytest.importorskip("open_clip", reason="open_clip is an extra")
    from open_clip.modified_resnet import ModifiedResNet
    from timm.models.byobnet import checkpoint_filter_fn

    from frozen.models._open_clip import projection
    from frozen.models._timm import tower_of

    torch.manual_seed(0)
    visual: Any = ModifiedResNet((3, 4, 6, 3), 1024, 32, 224, 64).eval()
    model: Any = timm.create_model("resnet50_clip", num_classes=1024).eval()
    state = {f"visual.{name}": value for name, value in visual.state_dict().items()}
    model.load_state_dict(checkpoint_filter_fn(state, model))
    model.reset_classifier(0)
    tower = tower_of(model, 224)
    pixels = torch.randn(1, 3, 224, 224)
    assert tower.pool is not None
    weight, bias = projection(type("Model", (), {"visual": visual}))
    found = tower.pool(tower.run(pixels)).numpy() @ weight.T + bias
    expected = visual(pixels).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())
