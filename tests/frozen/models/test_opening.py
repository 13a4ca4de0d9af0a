"""The shipped models' parts on fresh scenes: every number of a header is measured again."""

from __future__ import annotations

import json
import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from frozen.data.scenes import FewShapes, SplitPolicy, TargetShapes, TwinShapes
from frozen.models import SHIPPED, BackboneConfig, BackboneError, load
from frozen.models._shipped import shipped_path
from frozen.models._vision import digest
from frozen.models.decoding import log_likelihoods, write_captions
from frozen.models.held_out import auc, numbers, pairs_named
from frozen.models.opening import open_file, open_shipped
from frozen.models.parts import ShippedModel
from frozen.testing import batch_of

MODELS = SHIPPED[2:]
"""Those with parts."""
N, SEED = 200, 91_000
"""Fresh scenes, neither trained on nor those of the headers."""
DOCS = Path(__file__).parents[3] / "docs" / "shipped_models.md"


@cache
def model(name: str) -> ShippedModel:
    return open_shipped(name)


@cache
def fresh_numbers(name: str) -> dict[str, float]:
    return numbers(model(name), N, SEED)


@cache
def twins(n: int = N) -> Any:
    return TwinShapes(seed=SEED, split=SplitPolicy(train=2, validation=2, test=n)).open("test")


def chance(name: str) -> float:
    return {"top1": 1 / 16, "one_object": 1 / 16, "two_objects": 1 / 120}.get(name, 0.0 if "exact" in name else 0.5)


def standard_error(share: float, n: int) -> float:
    """Of a share of n scenes; a share of 0 or 1 is treated as if one scene had gone the other way."""
    share = min(max(share, 1 / n), 1 - 1 / n)
    return math.sqrt(share * (1 - share) / n)


def assert_as_the_header_says(opened: ShippedModel, found: dict[str, float], n: int) -> None:
    """Within 2 points, or 4 standard errors of both measurements where that is more; twins come in pairs."""
    expected = dict(opened.header["held_out"])
    n_header = expected.pop("scenes")
    expected.pop("seed")
    assert set(found) == set(expected)
    for key, value in expected.items():
        error = math.hypot(standard_error(value, n // 2), standard_error(value, n_header // 2))
        assert abs(found[key] - value) <= max(0.02, 4 * error), key


@pytest.mark.parametrize("name", MODELS)
def test_the_numbers_of_the_header_are_found_on_fresh_scenes(name: str) -> None:
    assert_as_the_header_says(model(name), fresh_numbers(name), N)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_numbers_of_the_header_are_found_on_many_fresh_scenes(name: str) -> None:
    assert_as_the_header_says(model(name), numbers(model(name), 2_000, SEED), 2_000)


LEAST = {
    "shapes_vit_class": {"top1": 0.99},
    "shapes_clip_objects": {
        "one_object": 0.99,
        "two_objects": 0.95,
        "kinds_auc": 0.98,
        "words_auc": 0.98,
        "forced_choice": 0.99,
    },
    "shapes_clip_features": {"words_auc": 0.98},
    "shapes_coca": {
        "pairs_one": 0.98,
        "pairs_two": 0.98,
        "exact_one": 0.9,
        "exact_two": 0.9,
        "forced_choice": 0.99,
    },
}


@pytest.mark.parametrize("name", MODELS)
def test_the_numbers_of_the_header_are_good_enough(name: str) -> None:
    found = model(name).header["held_out"]
    assert found["scenes"] == 2_000
    for key, least in LEAST[name].items():
        assert found[key] >= least, key


def shuffled(name: str, tensor: str, folder: Path, **changes: str) -> Path:
    """The model's file with the values of one tensor in another order."""
    weights = load_file(shipped_path(name))
    values = weights[tensor]
    order = torch.randperm(values.numel(), generator=torch.Generator().manual_seed(0))
    weights[tensor] = values.flatten()[order].view_as(values)
    header = {**model(name).header, "digest": digest_of(weights), **changes}
    path = folder / f"{name}.safetensors"
    save_file(weights, path, metadata={key: json.dumps(value) for key, value in header.items()})
    return path


def digest_of(weights: dict[str, torch.Tensor]) -> str:
    return digest({key: value.float() for key, value in weights.items()})


@pytest.mark.parametrize("name", MODELS)
def test_a_file_with_one_shuffled_tensor_is_refused_and_would_not_have_the_headers_numbers(
    name: str, tmp_path: Path
) -> None:
    path = shuffled(name, "blocks.3.mlp.fc1.weight", tmp_path, digest=model(name).header["digest"])
    with pytest.raises(BackboneError, match="its weights are not those that its header tells of"):
        open_file(path)
    opened = open_file(shuffled(name, "patch_embed.proj.weight", tmp_path))
    found = numbers(opened, 100, SEED)
    with pytest.raises(AssertionError):
        assert_as_the_header_says(opened, found, 100)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_architecture_untrained_knows_nothing(name: str) -> None:
    untrained = open_shipped(name, untrained=3)
    for key, value in numbers(untrained, N, SEED).items():
        if key.startswith("pairs"):
            assert value < 0.3
        elif key.endswith("auc"):
            assert abs(value - 0.5) < 0.1
        else:
            assert abs(value - chance(key)) <= 4 * standard_error(chance(key), N // 2), key
    assert not torch.equal(
        untrained.read(twins().images(np.arange(2))), model(name).read(twins().images(np.arange(2)))
    )


@pytest.mark.parametrize("name", MODELS)
def test_tokens_are_those_of_the_backbone_of_that_name(name: str) -> None:
    scene = TwinShapes(seed=SEED, split=SplitPolicy(train=2, validation=2, test=8))
    backbone = load(BackboneConfig(source=f"shipped:{name}"), scene, torch.device("cpu"))
    batch = batch_of(scene, range(8), "test")
    torch.testing.assert_close(model(name).read(batch.images), backbone.forward(batch)["final"], rtol=1e-5, atol=1e-5)


def test_the_classifier_names_the_target() -> None:
    split: Any = TargetShapes(seed=SEED, split=SplitPolicy(train=2, validation=2, test=8)).open("test")
    head = model("shapes_vit_class").head
    assert head is not None
    guessed = head.logits(model("shapes_vit_class").read(split.images(np.arange(8)))[:, 0]).argmax(dim=1)
    assert [head.classes[i] for i in guessed] == [split.class_names[i] for i in split.classes]


def test_the_class_goes_when_the_patches_of_the_target_go() -> None:
    """Distractors never have the target's kind, so that nothing else tells the class."""
    split: Any = TargetShapes(seed=SEED, split=SplitPolicy(train=2, validation=2, test=N)).open("test")
    opened, every = model("shapes_vit_class"), np.arange(N)
    head = opened.head
    assert head is not None
    images, masks = split.images(every), split.class_masks(every)
    targets = np.where(masks[..., None], images, 255).astype(np.uint8)
    rest = np.where(masks[..., None], 255, images).astype(np.uint8)
    right = {
        name: float((head.logits(opened.read(pixels)[:, 0]).argmax(dim=1).numpy() == split.classes).mean())
        for name, pixels in (("alone", targets), ("without", rest))
    }
    assert right["alone"] > 0.95
    assert right["without"] <= 1 / 16 + 4 * standard_error(1 / 16, N)


def clip() -> tuple[ShippedModel, Any]:
    opened = model("shapes_clip_objects")
    return opened, opened.text


def test_texts_are_scored_in_three_lines() -> None:
    images = twins().images(np.arange(2))
    opened = open_shipped("shapes_clip_objects")
    assert opened.text is not None
    captions = twins().captions(np.arange(2), "plain")
    scores = opened.text.scores(opened.vectors(images), opened.text.encode(captions))
    assert (scores.argmax(axis=1) == [0, 1]).all()
    assert scores.dtype == np.float32
    assert (scores.diagonal() > 0).all()  # the logit of being true
    assert (scores[[0, 1], [1, 0]] < 0).all()


def test_captions_are_written_in_three_lines() -> None:
    images = twins().images(np.arange(2))
    opened = open_shipped("shapes_coca")
    assert opened.decoder is not None
    captions = write_captions(opened.decoder, opened.decoder.memory(opened.read(images)))
    assert captions.texts == twins().captions(np.arange(2), "counted")
    assert captions.ended.all()


def test_partial_texts_that_are_true_of_both_twins_do_not_tell_them_apart() -> None:
    opened, text = clip()
    vectors = opened.vectors(twins().images(np.arange(N)))
    captions = twins().captions(np.arange(N), "partial", np.random.default_rng(0))
    texts = text.encode(captions)
    scores = np.array([text.scores(vectors[[i, i ^ 1]], texts[i : i + 1])[:, 0] for i in range(N)])
    difference = scores[:, 0] - scores[:, 1]
    assert abs(difference.mean()) <= 4 * difference.std() / math.sqrt(N / 2)
    assert (scores > 0).mean() > 0.98


def test_two_orders_of_one_true_text_are_both_true() -> None:
    """Which of them scores higher depends on the two texts alone in places, but neither is taken for false."""
    opened, text = clip()
    vectors = opened.vectors(twins().images(np.arange(N)))
    captions = twins().captions(np.arange(N), "plain")
    turned = [" and ".join(reversed(caption.split(" and "))) for caption in captions]
    own, other = (
        np.array([text.scores(vectors[i : i + 1], row[i : i + 1])[0, 0] for i in range(N)])
        for row in (text.encode(captions), text.encode(turned))
    )
    assert ((own > 0) & (other > 0)).mean() > 0.98


@pytest.mark.skipif("shapes_clip_features" not in SHIPPED, reason="not shipped")
def test_the_model_of_features_cannot_tell_twins_apart_by_any_text_of_theirs() -> None:
    assert model("shapes_clip_features").header["held_out"]["forced_choice"] == 0.5
    assert fresh_numbers("shapes_clip_features")["forced_choice"] == 0.5


def test_a_captioner_reads_nothing_from_what_enters_the_first_block() -> None:
    """The layer before the first block holds single patches, so that its captions cannot tell twins apart."""
    scene = TwinShapes(seed=SEED, split=SplitPolicy(train=2, validation=2, test=N))
    backbone = load(BackboneConfig(source="shipped:shapes_coca"), scene, torch.device("cpu"))
    decoder = model("shapes_coca").decoder
    assert decoder is not None
    tokens = backbone.forward(batch_of(scene, range(N), "test"))
    captions = twins().captions(np.arange(N), "counted")
    swapped = [captions[i ^ 1] for i in range(N)]
    shares = {}
    for layer in ("embed", "5", "final"):
        memory = decoder.memory(tokens[layer])
        own, other = (log_likelihoods(decoder, memory, texts) for texts in (captions, swapped))
        shares[layer] = float((own > other).mean())
    assert shares["5"] == shares["final"] > 0.98
    assert shares["embed"] < 0.8
    exact = [
        a == b for a, b in zip(write_captions(decoder, decoder.memory(tokens["embed"])).texts, captions, strict=True)
    ]
    assert np.mean(exact) < 0.02


@pytest.mark.parametrize("name", MODELS)
def test_the_docs_list_the_file_with_its_digest_and_its_numbers(name: str) -> None:
    weights = load_file(shipped_path(name))
    found = digest_of(weights)
    assert model(name).header["digest"] == found
    text = DOCS.read_text()
    assert f"`{name}`" in text
    assert found[:16] in text
    assert {value.dtype for value in weights.values()} == {torch.float16}
    header = model(name).header
    assert re.search(rf"`{name}`.*{header['training']['images']:,}", text)
    for key, value in header["held_out"].items():
        if key not in ("scenes", "seed"):
            assert re.search(rf"`{name}`.*`{key}` {value:.2%}", text), key


def test_the_folder_stays_small_and_every_file_has_a_name() -> None:
    folder = shipped_path(SHIPPED[0]).parent
    files = sorted(folder.glob("*.safetensors"))
    assert [file.stem for file in files] == sorted(SHIPPED)
    assert sum(file.stat().st_size for file in files) < 20_000_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "has format 2 and kind 'clip'; this version reads format 1"),
        ({"kind": "other"}, "has format 1 and kind 'other'"),
        ({"vocabulary": None}, "its header lacks vocabulary; get the file again"),
        ({"grammar_version": 99}, "reads captions of grammar version 99, this version writes 1"),
        ({"text": {"vocabulary": 21, "context": 14}}, "its weights do not fit its header"),
    ],
)
def test_a_header_that_is_not_known_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    header = {**model("shapes_clip_objects").header, **changes}
    path = tmp_path / "model.safetensors"
    metadata = {key: json.dumps(value) for key, value in header.items() if value is not None}
    save_file(load_file(shipped_path("shapes_clip_objects")), path, metadata=metadata)
    with pytest.raises(BackboneError, match=message):
        open_file(path)


def test_a_trunk_without_parts_is_said_to_be_one() -> None:
    with pytest.raises(BackboneError, match="shapes_vit_objects is a trunk without head, text tower and decoder"):
        open_shipped("shapes_vit_objects")
    with pytest.raises(BackboneError, match="no backbone 'shapes'"):
        open_shipped("shapes")


def test_half_precision_costs_nothing_that_could_be_seen() -> None:
    """The files are written from halves and read as float32; rounding them once more changes nothing."""
    weights = load_file(shipped_path("shapes_coca"))
    assert all(torch.isfinite(value).all() for value in weights.values())
    assert max(float(value.abs().max()) for value in weights.values()) < 1000


@pytest.mark.parametrize(
    ("scores", "truth", "expected"),
    [([1, 2, 3, 4], [0, 0, 1, 1], 1.0), ([1, 2, 3, 4], [1, 1, 0, 0], 0.0), ([5, 5, 5, 5], [0, 1, 0, 1], 0.5)],
)
def test_auc_of_known_scores(scores: list[int], truth: list[int], expected: float) -> None:
    assert auc(np.array(scores, dtype=float), np.array(truth, dtype=bool)) == expected


def test_pairs_named_by_captions() -> None:
    assert pairs_named("two a red square and a blue circle") == {("red", "square"), ("blue", "circle")}
    assert pairs_named("nothing") == set()
    assert FewShapes().space.object_names[0] == "red circle"
