from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from frozen.data.scenes import ColorShape
from frozen.models import Backbone, BackboneConfig, BackboneError, TokenLayout, describe, load
from frozen.models._timm import tower_of
from frozen.models._vision import Pixels, VisionTransformer
from frozen.testing import BackboneConformance, SiteConformance, batch_of
from tests.frozen.models.checkpoints import (
    CONVERSIONS,
    DEPTH,
    MEAN,
    SIDE,
    STD,
    WIDTH,
    converted,
    settings_of,
    small,
    write,
)
from tests.frozen.models.reference import CPU, SCENE, normalised
from tests.frozen.models.two_towers import given

transformers = pytest.importorskip("transformers")
LAYERS = ("embed", *map(str, range(DEPTH)), "final")
_SMALL = {
    "hidden_size": WIDTH,
    "num_hidden_layers": DEPTH,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_TEXT = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 9}
_MLP = {**_SMALL, "intermediate_size": 64}
_NAFLEX = {name: value for name, value in _MLP.items() if name != "image_size"} | {"num_patches": 4}


class Case(NamedTuple):
    """A published class, its settings, and what is known of its tokens at 28 pixels."""

    model: str
    settings: dict[str, Any]
    layout: TokenLayout


def _layout(*, has_cls: bool = True, n_registers: int = 0) -> TokenLayout:
    return TokenLayout(has_cls, n_registers, (2, 2), WIDTH)


_MAE = {
    "decoder_num_hidden_layers": 1,
    "decoder_hidden_size": 8,
    "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 8,
}
CASES = {
    "dinov2": Case("Dinov2Model", _SMALL, _layout()),
    "registers": Case("Dinov2WithRegistersModel", {**_SMALL, "num_register_tokens": 3}, _layout(n_registers=3)),
    "clip": Case("CLIPModel", {"vision_config": _MLP, "text_config": _TEXT}, _layout()),
    "clip_vision": Case("CLIPVisionModel", _MLP, _layout()),
    "siglip": Case("SiglipModel", {"vision_config": _MLP, "text_config": _TEXT}, _layout(has_cls=False)),
    "siglip2": Case("Siglip2Model", {"vision_config": _NAFLEX, "text_config": _TEXT}, _layout(has_cls=False)),
    "vit": Case("ViTForImageClassification", _MLP, _layout()),
    "vit_mae": Case("ViTMAEForPreTraining", {**_MLP, **_MAE}, _layout()),
    "ijepa": Case("IJepaModel", _MLP, _layout(has_cls=False)),
    "dinov3": Case("DINOv3ViTModel", {**_MLP, "num_register_tokens": 4}, _layout(n_registers=4)),
}


@cache
def published(name: str) -> tuple[Path, nn.Module]:
    """A folder that the library itself has written, and the model that was written."""
    case = CASES[name]
    cls = getattr(transformers, case.model)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = cls(cls.config_class(**case.settings)).eval()
        for parameter in model.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    folder = Path(mkdtemp()) / name
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": MEAN, "image_std": STD}))
    return folder, model


def read(folder: Path, image_size: int | None = None, **options: Any) -> Backbone:
    return load(BackboneConfig(source=f"hf:{folder}", image_size=image_size, **options), SCENE, CPU)


@pytest.mark.parametrize("name", CASES)
class TestConformance(BackboneConformance):
    @pytest.fixture
    def scene(self) -> ColorShape:
        return SCENE

    @pytest.fixture
    def backbone(self, name: str) -> Backbone:
        return _loaded(name)

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
        return _loaded(name)

    @pytest.fixture
    def images(self) -> np.ndarray:
        return batch_of(SCENE, range(2)).images

    def test_all_parts_of_the_blocks_can_be_read(self, backbone: Backbone) -> None:
        refused = {name: reason for name, reason in backbone.description.parts if isinstance(reason, str)}
        assert list(refused) == ["attention_weights"]
        assert refused["attention_weights"].endswith("does not show its attention weights")


@cache
def _loaded(name: str) -> Backbone:
    return read(published(name)[0])


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
    torch.testing.assert_close(_loaded(name).forward(batch)["final"], expected, rtol=1e-4, atol=1e-4)


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
    backbone = _loaded("vit_mae")
    before, after = (backbone.forward(seen)["embed"] for seen in (batch, batch._replace(images=images)))
    changed = (before != after).any(dim=-1)[0]
    assert changed.tolist() == [False, False, True, False, False]


def test_heads_text_towers_and_decoders_are_not_loaded() -> None:
    """SigLIP's `head` is no classifier: it pools the image's embedding."""
    for name in ("clip", "siglip", "vit", "vit_mae"):
        loaded = _loaded(name)
        assert isinstance(loaded, VisionTransformer)
        parts = {key.partition(".")[0] for key in loaded._tower.model.state_dict()}
        assert not parts & {"text_model", "pooler", "decoder", "classifier", "visual_projection"}
        assert ("head" in parts) == (name == "siglip")
        assert loaded.description.parameters < sum(value.numel() for value in published(name)[1].parameters())


def test_a_tower_alone_and_within_two_has_the_same_weights(tmp_path: Path) -> None:
    folder, model = published("clip")
    tower: Any = model.vision_model
    tower.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text((folder / "preprocessor_config.json").read_text())
    assert read(tmp_path).weights_digest == _loaded("clip").weights_digest


def test_weights_of_a_file_take_the_place_of_the_folders(tmp_path: Path) -> None:
    folder, _ = published("dinov2")
    state = load_file(folder / "model.safetensors")
    save_file(state, tmp_path / "same.safetensors")
    torch.save({name: value + 0.01 for name, value in state.items()}, tmp_path / "other.pth")
    assert read(folder, weights=f"file:{tmp_path / 'same.safetensors'}").weights_digest == (
        _loaded("dinov2").weights_digest
    )
    other = read(folder, weights=str(tmp_path / "other.pth"))
    assert other.weights_digest != _loaded("dinov2").weights_digest
    torch.testing.assert_close(
        other._tower.model.get_parameter("layernorm.bias"),  # pyright: ignore
        _loaded("dinov2")._tower.model.get_parameter("layernorm.bias") + 0.01,  # pyright: ignore
    )


def test_untrained_models_have_an_identity_and_a_seed_of_their_own() -> None:
    folder, _ = published("dinov2")

    def untrained(seed: int) -> Backbone:
        return load(BackboneConfig(source=f"random:hf:{folder}", seed=seed), SCENE, CPU)

    assert untrained(0).weights_digest == untrained(0).weights_digest != untrained(1).weights_digest
    assert untrained(0).identity != _loaded("dinov2").identity
    assert untrained(0).description == _loaded("dinov2").description


def _broken(folder: Path, target: Path, **changes: Any) -> Path:
    settings = json.loads((folder / "config.json").read_text())
    return write(target, settings | changes, load_file(folder / "model.safetensors"))


@pytest.mark.parametrize("key", ["embeddings.cls_token", "encoder.layer.1.norm1.weight", "layernorm.bias"])
def test_a_checkpoint_that_lacks_weights_is_refused(key: str, tmp_path: Path) -> None:
    """The library would leave them random."""
    folder = _broken(published("dinov2")[0], tmp_path)
    state = load_file(folder / "model.safetensors")
    del state[key]
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=f"does not hold a .*: missing keys: {re.escape(key)}; it must be"):
        read(folder)


def test_a_checkpoint_of_another_width_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="does not hold a") as caught:
        read(_broken(published("dinov2")[0], tmp_path, hidden_size=64))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.6])
def test_a_truncated_checkpoint_is_refused(share: float, tmp_path: Path) -> None:
    folder = _broken(published("dinov2")[0], tmp_path)
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
    folder = _broken(published("dinov2")[0], tmp_path)
    (folder / file).unlink() if content is None else (folder / file).write_text(content)
    with pytest.raises(BackboneError, match=reason):
        read(folder)


def test_images_must_hold_a_patch_and_have_three_channels(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match="image_size 13 is smaller than a patch"):
        describe(BackboneConfig(source=f"hf:{published('vit')[0]}", image_size=13), SCENE)
    folder = _broken(published("vit")[0], tmp_path, num_channels=1)
    with pytest.raises(BackboneError, match="reads images of 1 channels, not 3"):
        describe(BackboneConfig(source=f"hf:{folder}"), SCENE)


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
    folder = _broken(published("dinov2")[0], tmp_path)
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    stem, names = {".safetensors": "model", ".bin": "pytorch_model"}[suffix], sorted(state)
    files = [f"{stem}-{part + 1:05}-of-00002{suffix}" for part in range(2)]
    for part, file in enumerate(files):
        shard = {name: state[name] for name in names[part::2]}
        save_file(shard, folder / file) if suffix == ".safetensors" else torch.save(shard, folder / file)
    index = folder / f"{stem}{suffix}.index.json"
    index.write_text(json.dumps({"weight_map": {name: files[i % 2] for i, name in enumerate(names)}}))
    assert read(folder).weights_digest == _loaded("dinov2").weights_digest
    assert read(folder, weights=str(index)).weights_digest == _loaded("dinov2").weights_digest
    (folder / files[1]).unlink()
    with pytest.raises(BackboneError, match=f"has none of {re.escape(files[1])}"):
        read(folder)
    for content in ("{", "[]", "{}", json.dumps({"weight_map": {"a": "../elsewhere.bin"}})):
        index.write_text(content)
        with pytest.raises(BackboneError, match="is no index of weight files"):
            read(folder)


def test_models_compute_in_float32_whatever_their_settings_say(tmp_path: Path) -> None:
    folder = _broken(published("dinov2")[0], tmp_path, dtype="float16")
    assert read(folder).weights_digest == _loaded("dinov2").weights_digest
    untrained = load(BackboneConfig(source=f"random:hf:{folder}"), SCENE, CPU)
    assert untrained.forward(batch_of(SCENE, range(2)))["final"].isfinite().all()
