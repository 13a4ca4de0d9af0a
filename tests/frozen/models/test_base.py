from __future__ import annotations

import pytest
import torch

from binding.controls import CONTROL_CLASSES, CONTROLS, Control
from frozen.data.scenes import ColorShape, SplitPolicy
from frozen.models import SHIPPED, BackboneConfig, BackboneError, Description, TokenLayout, describe, load
from frozen.models._vision import SHIPPED as SHIPPED_FILES
from frozen.models._vision import VisionTransformer
from frozen.problems import ConfigurationError

SCENE = ColorShape(
    n_colors=4,
    n_shapes=4,
    max_objects=6,
    image_size=64,
    object_size=12,
    split=SplitPolicy(train=8, validation=8, test=8),
)
CPU = torch.device("cpu")


def test_layout_counts_prefix_spatial_and_all_tokens() -> None:
    layout = TokenLayout(has_cls=True, n_registers=4, grid=(3, 5), width=7)
    assert (layout.n_prefix, layout.n_spatial, layout.n_tokens) == (5, 15, 20)


def test_layout_without_cls_and_without_grid() -> None:
    assert TokenLayout(has_cls=False, n_registers=2, grid=(2, 2), width=1).n_prefix == 2
    assert TokenLayout(has_cls=True, n_registers=0, grid=(0, 0), width=9).n_tokens == 1


def test_depth_runs_from_zero_to_one() -> None:
    layout = TokenLayout(has_cls=True, n_registers=0, grid=(1, 1), width=1)
    description = Description(("embed", "0", "1", "2", "final"), layout, image_size=8)
    assert [description.depth_fraction(layer) for layer in description.layers] == [0, 0.25, 0.5, 0.75, 1]


def test_an_only_layer_is_the_deepest() -> None:
    layout = TokenLayout(has_cls=True, n_registers=0, grid=(0, 0), width=1)
    assert Description(("code",), layout, image_size=0).depth_fraction("code") == 1


def test_depth_of_a_layer_that_is_not_there_is_an_error() -> None:
    layout = TokenLayout(has_cls=True, n_registers=0, grid=(0, 0), width=1)
    with pytest.raises(ValueError, match="not in tuple"):
        Description(("embed", "final"), layout, image_size=0).depth_fraction("0")


def test_source_is_a_kind_and_a_name() -> None:
    config = BackboneConfig(source="timm:vit_tiny_patch16_224.augreg_in21k")
    assert (config.kind, config.name) == ("timm", "vit_tiny_patch16_224.augreg_in21k")


@pytest.mark.parametrize("source", ["", "vit_tiny_patch16_224", "timm:", ":noise", "hub:vit", "Timm:vit", "timm"])
def test_sources_of_another_form_are_refused(source: str) -> None:
    forms = "must be shipped:NAME, timm:NAME, hf:REPO, open_clip:NAME/TAG, random:NAME"
    with pytest.raises(ConfigurationError, match=forms):
        BackboneConfig(source=source)


def test_all_broken_rules_are_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        BackboneConfig(source="nothing", image_size=0, seed=-1)
    assert [problem.field for problem in caught.value.problems] == ["source", "image_size", "seed"]


def test_equal_configurations_are_equal_and_hashable() -> None:
    one, other = (BackboneConfig(source="timm:test_vit", image_size=32) for _ in range(2))
    assert one == other
    assert len({one, other, BackboneConfig(source="timm:test_vit")}) == 2


def test_a_backbone_error_is_a_value_error() -> None:
    """Callers catch ValueError for everything a user can mend."""
    assert issubclass(BackboneError, ValueError)


def test_announced_names_are_those_that_exist() -> None:
    assert tuple(CONTROL_CLASSES) == CONTROLS
    assert SHIPPED_FILES == SHIPPED


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("control:noise", Control),
        ("shipped:shapes_vit_features", VisionTransformer),
        ("random:test_vit", VisionTransformer),
    ],
)
def test_loading_gives_what_was_described(source: str, kind: type) -> None:
    config = BackboneConfig(source=source)
    backbone = load(config, SCENE, CPU)
    assert isinstance(backbone, kind)
    assert backbone.description == describe(config, SCENE)
    assert backbone.description.is_control == source.startswith("control")


@pytest.mark.parametrize("source", ["control:oracle", "shipped:shapes_vit", "timm:vit_nowhere", "random:vit_nowhere"])
def test_describing_and_loading_refuse_unknown_names_alike(source: str) -> None:
    config = BackboneConfig(source=source)
    with pytest.raises(BackboneError) as described:
        describe(config, SCENE)
    with pytest.raises(BackboneError) as loaded:
        load(config, SCENE, CPU)
    assert str(described.value) == str(loaded.value)
    assert config.name in str(described.value)
