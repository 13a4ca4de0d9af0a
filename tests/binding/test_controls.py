from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from binding.controls import CONTROLS
from frozen.data.scenes import BalancedColorShape, ColorShape, Scene, SplitPolicy
from frozen.models import Backbone, BackboneConfig, BackboneError, Batch, TokenLayout, describe, load
from frozen.testing import BackboneConformance, batch_of

SPLIT = SplitPolicy(train=600, validation=20, test=20)
SCENE = ColorShape(n_colors=4, n_shapes=4, max_objects=6, image_size=64, object_size=12, split=SPLIT)


def control(name: str, scene: Scene = SCENE, seed: int = 0) -> Backbone:
    return load(BackboneConfig(source=f"control:{name}", seed=seed), scene, torch.device("cpu"))


def vectors(name: str, batch: Batch, scene: Scene = SCENE, seed: int = 0) -> np.ndarray:
    tokens = control(name, scene, seed).forward(batch)
    assert list(tokens) == ["code"]
    assert tokens["code"].shape[1] == 1
    return tokens["code"][:, 0].numpy()


def blank_batch(indices: np.ndarray, stream: int = 0) -> Batch:
    """Samples without image, full of objects."""
    codes = np.ones((len(indices), SCENE.space.n_objects), dtype=np.uint8)
    images = np.zeros((len(indices), 0, 0, 3), dtype=np.uint8)
    return Batch(indices, images, codes, SCENE.space.feature_codes(codes), stream)


@pytest.mark.parametrize("control_name", CONTROLS)
class TestConformance(BackboneConformance):
    @pytest.fixture
    def scene(self) -> ColorShape:
        return SCENE

    @pytest.fixture
    def backbone(self, control_name: str, scene: ColorShape) -> Backbone:
        return control(control_name, scene)


@pytest.mark.parametrize(
    ("name", "width"),
    [("oracle_objects", 16), ("oracle_features", 8), ("noise", 128), ("erased", 17), ("pixels", 192)],
)
def test_a_control_is_one_token_at_one_layer(name: str, width: int) -> None:
    description = describe(BackboneConfig(source=f"control:{name}"), SCENE)
    assert description.layers == ("code",)
    assert description.layout == TokenLayout(has_cls=True, n_registers=0, grid=(0, 0), width=width)
    assert description.is_control
    assert (description.image_size, description.parameters) == (0, 0)


@pytest.mark.parametrize("name", CONTROLS)
def test_only_pixels_look_at_images(name: str) -> None:
    assert control(name).reads_images == (name == "pixels")
    assert control(name).weights_digest == ""


def test_identities_differ_by_name_and_seed() -> None:
    assert len({control(name, seed=seed).identity for name in CONTROLS for seed in (0, 1)}) == 2 * len(CONTROLS)


@pytest.mark.parametrize("scene", [SCENE, BalancedColorShape().limited(20)])
def test_oracles_are_the_codes(scene: Scene) -> None:
    batch = batch_of(scene, range(20))
    split = scene.open("test")
    np.testing.assert_array_equal(vectors("oracle_objects", batch, scene), split.object_codes[:20])
    features = split.space.feature_codes(split.object_codes[:20])
    np.testing.assert_array_equal(vectors("oracle_features", batch, scene), features)


@pytest.mark.parametrize("name", ["noise", "erased"])
def test_chance_belongs_to_the_sample_and_not_to_its_batch(name: str) -> None:
    batch = vectors(name, blank_batch(np.arange(40)))
    order = np.random.default_rng(0).permutation(40)
    np.testing.assert_array_equal(vectors(name, blank_batch(order)), batch[order])
    np.testing.assert_array_equal(vectors(name, blank_batch(np.array([17]))), batch[17:18])


@pytest.mark.parametrize("name", ["noise", "erased"])
def test_chance_differs_between_splits_and_seeds(name: str) -> None:
    indices = np.arange(64)
    drawn = [
        vectors(name, blank_batch(indices, stream), seed=seed) for stream in range(3) for seed in (0, 1, 2, 2**32)
    ]
    assert len({value.tobytes() for value in drawn}) == len(drawn)


def test_noise_of_different_samples_splits_and_seeds_is_uncorrelated() -> None:
    indices = np.arange(100)
    parts = [vectors("noise", blank_batch(indices, stream), seed=seed) for stream in (0, 1) for seed in (0, 1)]
    correlations = np.corrcoef(np.concatenate(parts))
    assert np.abs(correlations - np.eye(400)).max() < 6 / math.sqrt(128)


def test_noise_is_standard_normal() -> None:
    drawn = np.sort(vectors("noise", blank_batch(np.arange(600))).ravel().astype(np.float64))
    n = len(drawn)
    assert abs(drawn.mean()) < 5 / math.sqrt(n)
    assert abs(drawn.var() - 1) < 5 * math.sqrt(2 / n)
    normal = 0.5 * (1 + torch.erf(torch.from_numpy(drawn) / math.sqrt(2)).numpy())
    distance = np.abs(normal - (np.arange(n) + 0.5) / n).max()  # Kolmogorov and Smirnov's
    assert distance < 2.2 / math.sqrt(n)


def test_noise_says_nothing_of_the_codes() -> None:
    full = blank_batch(np.arange(20))
    empty = full._replace(object_codes=0 * full.object_codes, feature_codes=0 * full.feature_codes)
    np.testing.assert_array_equal(vectors("noise", full), vectors("noise", empty))


def test_erased_is_the_whole_code_or_a_blank_with_a_flag() -> None:
    batch = batch_of(SCENE, range(600), "train")
    drawn = vectors("erased", batch)
    flags = drawn[:, -1]
    assert set(np.unique(flags)) == {0, 1}
    np.testing.assert_array_equal(drawn[:, :-1], np.where(flags[:, None] == 1, 0, batch.object_codes))
    assert abs(flags.mean() - 0.5) < 5 * 0.5 / math.sqrt(600)


def test_erasure_is_independent_of_the_code() -> None:
    full = blank_batch(np.arange(300))
    empty = full._replace(object_codes=0 * full.object_codes)
    np.testing.assert_array_equal(vectors("erased", full)[:, -1], vectors("erased", empty)[:, -1])


@pytest.mark.parametrize(("image_size", "grid"), [(64, 8), (61, 8), (96, 16), (65, 16)])
def test_pixels_are_mean_colours_of_patches(image_size: int, grid: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, image_size, image_size, 3)).astype(np.uint8)
    scene = ColorShape(image_size=image_size, object_size=6, max_objects=2)
    batch = batch_of(scene, range(3))._replace(images=images)
    edges = [(i * image_size // grid, -(-(i + 1) * image_size // grid)) for i in range(grid)]
    expected = [
        [[image[t:b, l:r, c].mean() / 255 for t, b in edges for l, r in edges] for c in range(3)]  # noqa: E741
        for image in images.astype(np.float64)
    ]
    np.testing.assert_allclose(vectors("pixels", batch, scene), np.reshape(expected, (3, -1)), atol=1e-6)
    assert describe(BackboneConfig(source="control:pixels"), scene).layout.width == 3 * grid**2


def test_an_unknown_control_is_named_with_those_that_exist() -> None:
    with pytest.raises(BackboneError, match=f"there is no control 'oracle'; there are {', '.join(CONTROLS)}"):
        control("oracle")
