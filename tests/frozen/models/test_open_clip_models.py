"""Models of open_clip: towers in timm's classes, texts, and CoCa's decoder, against the library's own modules."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from frozen.capture.forward import run_batch
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from frozen.data.scenes import ColorShape
from frozen.models import Backbone, BackboneConfig, BackboneError, describe, load, part_names
from frozen.models.decoding import LayerDecoder, Tokenizer, log_likelihoods, write_captions
from frozen.models.joint import joint_refusal, open_joint
from frozen.testing import BackboneConformance, SiteConformance, batch_of
from tests.frozen.models.open_clips import CONTEXT, JOINT, MEAN, QUERIES, SETTINGS, STD, written
from tests.frozen.models.reference import CPU, SCENE, normalised

pytest.importorskip("open_clip", reason="open_clip is an extra")
CLIPS = [kind for kind in SETTINGS if kind != "coca"]
TEXTS = ("a photo of a red square!", "two blue circles", "nothing")


def config(kind: str, prefix: str = "", **options: Any) -> BackboneConfig:
    return BackboneConfig(source=f"{prefix}open_clip:{written(kind)[0]}", **options)


@cache
def loaded(kind: str) -> Backbone:
    return load(config(kind), SCENE, CPU, decoder=True)


def pixels(n: int) -> Tensor:
    return normalised(batch_of(SCENE, range(n)).images, 32, MEAN, STD)


@pytest.mark.parametrize("kind", SETTINGS)
class TestConformance(BackboneConformance):
    @pytest.fixture
    def scene(self) -> ColorShape:
        return SCENE

    @pytest.fixture
    def backbone(self, kind: str) -> Backbone:
        return loaded(kind)


@pytest.mark.parametrize("kind", ["clip", "coca"])
class TestSites(SiteConformance):
    @pytest.fixture
    def backbone(self, kind: str) -> Backbone:
        return loaded(kind)

    @pytest.fixture
    def images(self) -> np.ndarray:
        return batch_of(SCENE, range(2)).images


@pytest.mark.parametrize("kind", SETTINGS)
def test_tokens_are_those_of_the_librarys_blocks(kind: str) -> None:
    _, model = written(kind)
    seen: list[Tensor] = []
    handles = [
        block.register_forward_hook(lambda _module, _inputs, output: seen.append(output))
        for block in model.visual.transformer.resblocks
    ]
    with torch.no_grad():
        model.visual(pixels(3))
    for handle in handles:
        handle.remove()
    tokens = loaded(kind).forward(batch_of(SCENE, range(3)))
    for number, expected in enumerate(seen):
        torch.testing.assert_close(tokens[str(number)], expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert torch.equal(tokens["final"], tokens["2"]) == (kind == "coca")  # its norm comes after the pooler


@pytest.mark.parametrize("kind", CLIPS)
def test_embeddings_and_scores_are_the_librarys(kind: str) -> None:
    folder, model = written(kind)
    joint = open_joint(config(kind))
    site = WholeSite(Site("final", "embedding"))
    pooled: Any = run_batch(loaded(kind), batch_of(SCENE, range(3)), [site])[site]["activations"]
    images, texts = joint.image_vectors(pooled.numpy()), joint.encode(TEXTS)
    import open_clip  # pyright: ignore[reportMissingImports]

    with torch.no_grad():
        own = model.encode_image(pixels(3)), model.encode_text(open_clip.get_tokenizer(f"local-dir:{folder}")(TEXTS))
    for found, expected in zip((images, texts), own, strict=True):
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert joint.scale == pytest.approx(float(model.logit_scale.exp()))


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_model_is_described_from_its_settings(kind: str) -> None:
    description = describe(config(kind), SCENE)
    assert description == loaded(kind).description
    assert description.layout.grid == (4, 4)
    assert description.caption_context == (CONTEXT if kind == "coca" else 0)
    assert part_names(config(kind)) == (("decoder",) if kind == "coca" else ("text",))
    larger = load(config(kind, image_size=48), SCENE, CPU)
    assert larger.description.layout.grid == (6, 6)


def decoder() -> LayerDecoder:
    found = loaded("coca").decoder
    assert found is not None
    return found


def test_byte_pairs_are_a_tokenizer() -> None:
    words = decoder().tokenizer
    assert isinstance(words, Tokenizer)
    assert words.decode(words.encode(TEXTS)) == ["a photo of a red square !", "two blue circles", "nothing"]
    assert words.encode(["!"])[0, :3].tolist() == [words.start, 256, words.end]
    with pytest.raises(ValueError, match="byte pairs, the model reads 18 at most"):
        words.encode(["red " * CONTEXT])


@torch.no_grad()
def test_memory_and_logits_are_the_librarys() -> None:
    """Teacher forcing, and one id at a time with what was seen kept."""
    _, model = written("coca")
    reader: Any = decoder()
    memory = reader.memory(loaded("coca").forward(batch_of(SCENE, range(3)))["final"])
    _, expected_memory = model.visual(pixels(3))
    assert memory.shape == (3, QUERIES - 1, JOINT)
    torch.testing.assert_close(memory, expected_memory, rtol=0, atol=1e-5)
    ids = torch.from_numpy(reader.tokenizer.encode(TEXTS))
    expected = model(pixels(3), ids)["logits"]  # the library drops the logits after the last id
    logits, _ = reader.step(reader.begin(memory), ids)
    scale = float(expected.abs().max())
    lengths = [int((row == reader.tokenizer.end).float().argmax()) for row in ids]
    for row, n in enumerate(lengths):  # behind the end, the library hides padding from padding
        torch.testing.assert_close(logits[row, :n], expected[row, :n], rtol=0, atol=1e-5 * scale)
    assert min(lengths) < 3 < max(lengths)
    state = reader.begin(memory)
    for place in range(max(lengths)):
        step, state = reader.step(state, ids[:, place : place + 1])
        live = [row for row, n in enumerate(lengths) if place < n]
        torch.testing.assert_close(step[live, 0], expected[live, place], rtol=0, atol=1e-5 * scale)
    found = log_likelihoods(reader, memory, TEXTS)
    logs = expected[:, :-1].double().log_softmax(-1).gather(2, ids[:, 1 : expected.shape[1], None])[..., 0]
    np.testing.assert_allclose(found, [float(row[:n].sum()) for row, n in zip(logs, lengths, strict=True)], rtol=1e-5)


@torch.no_grad()
def test_greedy_captions_are_those_of_the_whole_model_without_caches() -> None:
    """Captions of random weights; the library's own generation needs a class that transformers no longer has."""
    _, model = written("coca")
    words, most = decoder().tokenizer, 6
    tokens = loaded("coca").forward(batch_of(SCENE, range(3)))["final"]
    found = write_captions(decoder(), decoder().memory(tokens), prefix="a red", max_words=most)
    ids = torch.from_numpy(words.encode(["a red"] * 3)[:, :3])
    assert found.ids[:, :3].tolist() == ids.tolist()
    for _ in range(most - 2):
        padded = torch.nn.functional.pad(ids, (0, 1))
        logits = model(pixels(3), padded)["logits"][:, ids.shape[1] - 1]
        ids = torch.cat([ids, logits.argmax(1, keepdim=True)], dim=1)
    assert not (ids == words.end).any()
    assert found.ids[:, : ids.shape[1]].tolist() == ids.tolist()
    assert (found.ids[:, ids.shape[1]] == words.end).all()


def test_an_untrained_tower_has_the_trained_decoder() -> None:
    untrained = load(config("coca", "random:"), SCENE, CPU, decoder=True)
    assert untrained.decoder is not None
    assert untrained.decoder.weights_digest == decoder().weights_digest
    assert untrained.weights_digest != loaded("coca").weights_digest
    assert load(config("coca"), SCENE, CPU).decoder is None


def test_a_folder_is_known_by_its_content(tmp_path: Path) -> None:
    moved = copytree(written("clip")[0], tmp_path / "moved")
    other = load(BackboneConfig(source=f"open_clip:{moved}"), SCENE, CPU)
    assert (other.identity, other.weights_digest) == (loaded("clip").identity, loaded("clip").weights_digest)
    file = moved / "open_clip_model.safetensors"
    path = file.rename(tmp_path / "weights.safetensors")
    with pytest.raises(BackboneError, match="open_clip cannot load"):
        load(BackboneConfig(source=f"open_clip:{moved}"), SCENE, CPU)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(BackboneError, match="open_clip cannot load"):
        load(BackboneConfig(source=f"open_clip:{moved}", weights=str(path)), SCENE, CPU)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("open_clip:ViT-B-23/openai", "open_clip has no model 'ViT-B-23'; did you mean ViT-B-32"),
        ("open_clip:ViT-B-32/laion", "open_clip has no weights 'laion' of ViT-B-32; there are openai"),
        ("open_clip:ViT-B-32", "names no weights; write open_clip:NAME/TAG, such as ViT-B-32/"),
        ("open_clip:RN50/openai", "is no plain ViT"),
        ("open_clip:ViT-B-16-SigLIP/webli", "is timm's vit_base_patch16_siglip_224; write timm:"),
        ("open_clip:./nowhere", "open_clip_config.json cannot be read"),
    ],
)
def test_what_cannot_be_read_says_why(source: str, message: str) -> None:
    with pytest.raises(BackboneError, match=message):
        describe(BackboneConfig(source=source), SCENE)


@pytest.mark.parametrize(
    "name", ["coca_ViT-B-32/mscoco_finetuned_laion2b_s13b_b90k", "coca_ViT-L-14/laion2b_s13b_b90k"]
)
def test_published_models_are_described_without_the_hub(name: str) -> None:
    description = describe(BackboneConfig(source=f"open_clip:{name}"), SCENE)
    assert description.caption_context == 76
    assert description.layout.width == (768 if "B-32" in name else 1024)
    assert "pooled by attention" in str(joint_refusal(BackboneConfig(source=f"open_clip:{name}")))


def test_without_the_library_there_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("frozen.models._open_clip_source.find_spec", lambda _name: None)
    with pytest.raises(BackboneError, match="needs the library open_clip; pip install 'binding-sweep"):
        describe(BackboneConfig(source="open_clip:ViT-B-32/openai", seed=7), SCENE)


def test_other_decoders_are_refused(tmp_path: Path) -> None:
    folder = copytree(written("coca")[0], tmp_path / "odd")
    content = json.loads((folder / "open_clip_config.json").read_text())
    content["model_cfg"]["quick_gelu"] = True
    (folder / "open_clip_config.json").write_text(json.dumps(content))
    with pytest.raises(BackboneError, match=r"the caption decoder of .* is built in a way"):
        load(BackboneConfig(source=f"open_clip:{folder}"), SCENE, CPU, decoder=True)
