"""What every backbone must satisfy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from frozen.capture.views import MODES, Mode, read, refuses, shape
from frozen.data.scenes import SPLITS, Scene, SplitName
from frozen.models import Backbone, Batch

_FEW = 4
_TOLERANCE = 1e-5


def batch_of(scene: Scene, indices: Sequence[int], name: SplitName = "test") -> Batch:
    """Samples of one of a scene's splits, as a backbone sees them."""
    split = scene.open(name)
    rows = np.asarray(indices)
    codes = split.object_codes[rows]
    return Batch(rows, split.images(rows), codes, split.space.feature_codes(codes), SPLITS.index(name))


class BackboneConformance:
    """Tests that the tests of a backbone inherit; a subclass gives the fixtures `scene` and `backbone`.

    ```
    class TestMyModel(BackboneConformance):
        @pytest.fixture(scope="class")
        def scene(self) -> ColorShape:
            return ColorShape(n_colors=4, n_shapes=4, max_objects=6, image_size=64, object_size=12)

        @pytest.fixture(scope="class")
        def backbone(self, scene: ColorShape) -> Backbone:
            return load(BackboneConfig(source="random:test_vit"), scene, torch.device("cpu"))
    ```
    """

    @pytest.fixture
    def batch(self, scene: Scene) -> Batch:
        return batch_of(scene, range(_FEW))

    def test_satisfies_the_protocol(self, backbone: Backbone) -> None:
        assert isinstance(backbone, Backbone)

    def test_layers_have_names_of_their_own(self, backbone: Backbone) -> None:
        layers = backbone.description.layers
        assert len(layers) > 0
        assert len(set(layers)) == len(layers)

    def test_every_layer_has_the_described_tokens(self, backbone: Backbone, batch: Batch) -> None:
        tokens = backbone.forward(batch)
        assert set(tokens) == set(backbone.description.layers)
        for layer, value in tokens.items():
            layout = backbone.description.layout_of(layer)
            assert tuple(value.shape) == (_FEW, layout.n_tokens, layout.width)

    def test_tokens_are_finite_single_precision_without_gradient(self, backbone: Backbone, batch: Batch) -> None:
        for value in backbone.forward(batch).values():
            assert value.dtype == torch.float32
            assert torch.isfinite(value).all()
            assert not value.requires_grad

    def test_a_sample_does_not_depend_on_the_others_of_its_batch(self, backbone: Backbone, scene: Scene) -> None:
        together = backbone.forward(batch_of(scene, range(_FEW)))
        for i in reversed(range(_FEW)):
            for layer, value in backbone.forward(batch_of(scene, [i])).items():
                torch.testing.assert_close(value[0], together[layer][i], rtol=_TOLERANCE, atol=_TOLERANCE)

    def test_samples_differ(self, backbone: Backbone, batch: Batch) -> None:
        last = backbone.forward(batch)[backbone.description.layers[-1]]
        assert len(torch.unique(last.flatten(1), dim=0)) > 1

    def test_asking_again_gives_the_same_tokens(self, backbone: Backbone, batch: Batch) -> None:
        first, second = backbone.forward(batch), backbone.forward(batch)
        for layer in first:
            assert torch.equal(first[layer], second[layer])

    def test_chance_outside_is_neither_used_nor_disturbed(self, backbone: Backbone, batch: Batch) -> None:
        torch.manual_seed(1)
        first = backbone.forward(batch)
        state = torch.get_rng_state()
        torch.manual_seed(2)
        second = backbone.forward(batch)
        torch.manual_seed(1)
        assert torch.equal(state, torch.get_rng_state())
        assert all(torch.equal(first[layer], second[layer]) for layer in first)

    def test_the_batch_stays_as_it_was(self, backbone: Backbone, scene: Scene, batch: Batch) -> None:
        with torch.inference_mode():
            for value in backbone.forward(batch).values():
                value.add_(1)
        for used, fresh in zip(batch, batch_of(scene, range(_FEW)), strict=True):
            np.testing.assert_array_equal(used, fresh)

    def test_images_matter_only_where_they_are_said_to(self, backbone: Backbone, batch: Batch) -> None:
        layer = backbone.description.layers[-1]
        seen = backbone.forward(batch)[layer]
        images = 255 - batch.images if backbone.reads_images else batch.images[:, :0, :0]
        changed = backbone.forward(batch._replace(images=images))[layer]
        assert torch.equal(seen, changed) != backbone.reads_images

    def test_identity_and_digest_are_texts(self, backbone: Backbone) -> None:
        assert backbone.identity
        assert len(backbone.weights_digest) in (0, 64)
        assert set(backbone.weights_digest) <= set("0123456789abcdef")

    def test_every_mode_has_the_shape_it_announces(self, backbone: Backbone, batch: Batch) -> None:
        first = backbone.description.layers[0]
        layout = backbone.description.layout_of(first)
        tokens = backbone.forward(batch)[first]
        offered: list[Mode] = [mode for mode in MODES if refuses(mode, layout) is None]
        assert offered
        for mode in offered:
            assert tuple(read(tokens, mode, layout).shape) == (_FEW, *shape(mode, layout))
