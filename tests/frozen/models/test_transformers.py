"""Models of transformers: their layers, tokens and weights are those that the library has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from frozen.data.scenes import ColorShape
from frozen.models import Backbone, BackboneConfig, BackboneError, describe, load
from frozen.models._timm import tower_of
from frozen.models._vision import Pixels, VisionTransformer
from frozen.testing import BackboneConformance, SiteConformance, batch_of
from tests.frozen.models.checkpoints import (
    CONVERSIONS,
    MEAN,
    SIDE,
    STD,
    converted,
    settings_of,
    small,
    write,
)
from tests.frozen.models.hf_models import CASES, LAYERS, broken, loaded, published, read
from tests.frozen.models.reference import CPU, SCENE, normalised
from tests.frozen.models.two_towers import given


@pytest.mark.parametrize("name", CASES)
class TestConformance(BackboneConformance):
    @pytest.fixture
    def scene(self) -> ColorShape:
        return SCENE

    @pytest.fixture
    def backbone(self, name: str) -> Backbone:
        return loaded(name)

    def test_layers_and_layout_are_known_without_the_weights(self, backbone: Backbone, name: str) -> None:
        config = BackboneConfig(source=f"hf:{published(name)[0]}")
        assert describe(config, SCENE) == backbone.description
        assert backbone.description.layers == LAYERS
        assert backbone.description.layout == CASES[name].layout
        assert backbone.description.image_size == 28


@pytest.mark.parametrize("name", CASES)
class TestSites(SiteConformance):
    @pytest.fixture
    def backbone(self, name: str) -> Backbone:
        return loaded(name)

    @pytest.fixture
    def images(self) -> np.ndarray:
        return batch_of(SCENE, range(2)).images

    def test_all_parts_of_the_blocks_can_be_read(self, backbone: Backbone) -> None:
        refused = {name: reason for name, reason in backbone.description.parts if isinstance(reason, str)}
        assert list(refused) == ["attention_weights"]
        assert refused["attention_weights"].endswith("does not show its attention weights")


@pytest.mark.parametrize("name", CASES)
def test_the_last_tokens_are_those_the_library_gives(name: str) -> None:
    """After the final norm, in the order of the patches; CLIP's own output lacks its norm, MAE's is shuffled."""
    _, model = published(name)
    tower: Any = model.vision_model if hasattr(model, "vision_model") else getattr(model, "vit", model)
    tower = getattr(tower, "vision_model", tower)
    batch = batch_of(SCENE, range(3))
    pixels = normalised(batch.images, 28, MEAN, STD)
    options: dict[str, Any] = given(name, pixels, 14)
    if name == "vit_mae":
        tower.config.mask_ratio, tower.embeddings.config.mask_ratio = 0.0, 0.0
        options["noise"] = torch.linspace(0, 1, 4).expand(3, 4)
    with torch.no_grad():
        expected = tower(**options).last_hidden_state
        if name.startswith("clip"):
            expected = tower.post_layernorm(expected)
    torch.testing.assert_close(loaded(name).forward(batch)["final"], expected, rtol=1e-4, atol=1e-4)


@cache
def _pair(name: str) -> tuple[Backbone, Backbone]:
    conversion = CONVERSIONS[name]
    model = small(conversion)
    size = SIDE * conversion.patch
    folder = write(Path(mkdtemp()) / name, settings_of(conversion), converted(conversion, model))
    config = BackboneConfig(source=f"timm:{conversion.timm}")
    ours = VisionTransformer(tower_of(model, size), config, Pixels(MEAN, STD), size, CPU)
    return ours, read(folder)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("name", CONVERSIONS)
def test_the_same_weights_give_the_same_tokens_through_both_libraries(name: str, layer: str) -> None:
    batch = batch_of(SCENE, range(4))
    expected, found = (backbone.forward(batch)[layer] for backbone in _pair(name))
    assert (found - expected).norm() <= 1e-4 * expected.norm()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", CONVERSIONS)
def test_layers_are_far_from_each_other(name: str) -> None:
    """Else the comparison of the libraries could not tell a layer from its neighbour."""
    tokens = _pair(name)[0].forward(batch_of(SCENE, range(4)))
    values = [tokens[layer] for layer in LAYERS]
    for earlier, later in pairwise(values):
        assert (later - earlier).norm() > 1e-2 * later.norm()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("image_size", [42, 31])
def test_other_image_sizes(name: str, image_size: int) -> None:
    """31 pixels: a rest at the edge fills no patch, as in the paper's DINOv2 at 256."""
    backbone = read(published(name)[0], image_size)
    side = image_size // 14
    assert backbone.description.layout == CASES[name].layout._replace(grid=(side, side))
    tokens = backbone.forward(batch_of(SCENE, range(2)))
    assert {value.shape[1] for value in tokens.values()} == {backbone.description.layout.n_tokens}


def test_no_patch_is_masked_and_their_order_is_kept() -> None:
    """Changing one patch changes that token of the embedding, and no other."""
    batch = batch_of(SCENE, [0])
    images = batch.images.copy()
    images[:, :32, 32:] = 255 - images[:, :32, 32:]  # the patch at the top right of 2 x 2
    backbone = loaded("vit_mae")
    before, after = (backbone.forward(seen)["embed"] for seen in (batch, batch._replace(images=images)))
    changed = (before != after).any(dim=-1)[0]
    assert changed.tolist() == [False, False, True, False, False]


def test_heads_text_towers_and_decoders_are_not_loaded() -> None:
    """SigLIP's `head` is no classifier: it pools the image's embedding."""
    for name in ("clip", "siglip", "vit", "vit_mae"):
        backbone = loaded(name)
        assert isinstance(backbone, VisionTransformer)
        parts = {key.partition(".")[0] for key in backbone._tower.model.state_dict()}
        assert not parts & {"text_model", "pooler", "decoder", "classifier", "visual_projection"}
        assert ("head" in parts) == (name == "siglip")
        assert backbone.description.parameters < sum(value.numel() for value in published(name)[1].parameters())


def test_a_tower_alone_and_within_two_has_the_same_weights(tmp_path: Path) -> None:
    folder, model = published("clip")
    tower: Any = model.vision_model
    tower.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text((folder / "preprocessor_config.json").read_text())
    assert read(tmp_path).weights_digest == loaded("clip").weights_digest


def test_weights_of_a_file_take_the_place_of_the_folders(tmp_path: Path) -> None:
    folder, _ = published("dinov2")
    state = load_file(folder / "model.safetensors")
    save_file(state, tmp_path / "same.safetensors")
    torch.save({name: value + 0.01 for name, value in state.items()}, tmp_path / "other.pth")
    assert read(folder, weights=f"file:{tmp_path / 'same.safetensors'}").weights_digest == (
        loaded("dinov2").weights_digest
    )
    other = read(folder, weights=str(tmp_path / "other.pth"))
    assert other.weights_digest != loaded("dinov2").weights_digest
    torch.testing.assert_close(
        other._tower.model.get_parameter("layernorm.bias"),  # pyright: ignore
        loaded("dinov2")._tower.model.get_parameter("layernorm.bias") + 0.01,  # pyright: ignore
    )


def test_untrained_models_have_an_identity_and_a_seed_of_their_own() -> None:
    folder, _ = published("dinov2")

    def untrained(seed: int) -> Backbone:
        return load(BackboneConfig(source=f"random:hf:{folder}", seed=seed), SCENE, CPU)

    assert untrained(0).weights_digest == untrained(0).weights_digest != untrained(1).weights_digest
    assert untrained(0).identity != loaded("dinov2").identity
    assert untrained(0).description == loaded("dinov2").description


IN_TWO_THREADS = """\
import sys, threading
from frozen.models import BackboneConfig, describe
found, start = [], threading.Barrier(2)
def ask():
    start.wait()
    try:
        found.append(len(describe(BackboneConfig(source=sys.argv[1]), None).layers))
    except Exception as error:
        found.append(error)
threads = [threading.Thread(target=ask) for _ in range(2)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(*found)
"""


def test_two_threads_may_ask_for_the_first_model_of_a_process_at_once() -> None:
    """As the two calls of an extractor do; the library's first import is not safe against that."""
    command = [sys.executable, "-c", IN_TWO_THREADS, f"hf:{published('dinov2')[0]}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(LAYERS))] * 2, done.stdout


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_weights_in_shards_are_those_of_one_file(suffix: str, tmp_path: Path) -> None:
    folder = broken(published("dinov2")[0], tmp_path)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, names = {".safetensors": "model", ".bin": "pytorch_model"}[suffix], sorted(state)
    files = [f"{stem}-{part + 1:05}-of-00002{suffix}" for part in range(2)]
    for part, file in enumerate(files):
        shard = {name: state[name] for name in names[part::2]}
        save_file(shard, folder / file) if suffix == ".safetensors" else torch.save(shard, folder / file)
    index = folder / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"weight_map": {name: files[i % 2] for i, name in enumerate(names)}}))
    assert read(folder).weights_digest == loaded("dinov2").weights_digest
    assert read(folder, weights=str(index)).weights_digest == loaded("dinov2").weights_digest
    (folder / files[1]).unlink()
    with pytest.raises(BackboneError, match=f"has none of {re.escape(files[1])}"):
        read(folder)
    for content in ("{", "[]", "{}", json.dumps({"weight_map": {"a": "../elsewhere.bin"}})):
        index.write_text(content)
        with pytest.raises(BackboneError, match="is no index of weight files"):
            read(folder)


def test_models_compute_in_float32_whatever_their_settings_say(tmp_path: Path) -> None:
    folder = broken(published("dinov2")[0], tmp_path, dtype="float16")
    assert read(folder).weights_digest == loaded("dinov2").weights_digest
    untrained = load(BackboneConfig(source=f"random:hf:{folder}"), SCENE, CPU)
    assert untrained.forward(batch_of(SCENE, range(2)))["final"].isfinite().all()
