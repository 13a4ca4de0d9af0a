"""Text towers and projections of transformers' CLIP and SigLIP: the library's own embeddings and scores."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pytest
import torch

from frozen.capture.forward import run_batch
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from frozen.models import BackboneConfig, BackboneError, describe, load, part_names, prefetch
from frozen.models.joint import joint_refusal, open_joint
from frozen.testing import batch_of
from tests.frozen.models.checkpoints import MEAN, STD
from tests.frozen.models.reference import CPU, SCENE, normalised
from tests.frozen.models.two_towers import SIZE, TEXTS, TYPES, given, written

pytest.importorskip("transformers")


def source(kind: str) -> BackboneConfig:
    return BackboneConfig(source=f"hf:{written(kind)[0]}")


def expected(kind: str, images: np.ndarray) -> Any:
    """What the library's model gives for images and texts."""
    import transformers

    folder, model = written(kind)
    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder)
    found = tokenizer(list(TEXTS), padding="max_length", max_length=12, truncation=True, return_tensors="pt")
    found.pop("token_type_ids", None)
    with torch.no_grad():
        return model(**found, **given(kind, normalised(images, SIZE, MEAN, STD)))


@pytest.mark.parametrize("kind", TYPES)
def test_embeddings_and_scores_are_the_librarys(kind: str) -> None:
    batch = batch_of(SCENE, range(3))
    joint, model = open_joint(source(kind)), load(source(kind), SCENE, CPU)
    site = WholeSite(Site("final", "embedding"))
    pooled: Any = run_batch(model, batch, [site])[site]["activations"]
    images, texts = joint.image_vectors(pooled.numpy()), joint.encode(TEXTS)
    its = expected(kind, batch.images)
    for found, own in ((images, its.image_embeds), (texts, its.text_embeds)):
        unit = found / np.linalg.norm(found, axis=1, keepdims=True)
        np.testing.assert_allclose(unit, own.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(joint.scores(images, texts), its.logits_per_image.numpy(), rtol=1e-4, atol=1e-4)
    assert np.ptp(its.text_embeds.numpy(), axis=0).max() > 0.01
    assert np.array_equal(texts[0], texts[2])
    assert joint.offset == pytest.approx(0.0 if kind == "clip" else float(written(kind)[1].logit_bias))


@pytest.mark.parametrize("kind", TYPES)
def test_towers_are_described_without_their_weights(kind: str) -> None:
    description = describe(source(kind), SCENE)
    assert description == load(source(kind), SCENE, CPU).description
    assert (description.embedding_width, description.image_size) == (24, SIZE)
    assert description.layout.grid == (4, 4)
    assert part_names(source(kind)) == ("text",)


def test_naflex_at_another_size() -> None:
    """The last pixels fill no patch; positions are interpolated."""
    model = load(BackboneConfig(source=f"hf:{written('siglip2')[0]}", image_size=43), SCENE, CPU)
    assert model.description.layout.grid == (5, 5)
    assert model.forward(batch_of(SCENE, range(2)))["final"].shape == (2, 25, 24)


def test_untrained_models_have_untrained_texts() -> None:
    folder, _ = written("clip")
    seeds = [BackboneConfig(source=f"random:hf:{folder}", seed=seed) for seed in (1, 1, 2)]
    one, same, other, trained = (open_joint(config).encode(TEXTS) for config in (*seeds, source("clip")))
    assert np.array_equal(one, same)
    assert not np.allclose(one, other)
    assert not np.allclose(one, trained)


def test_what_lacks_a_part_says_so(tmp_path: Path) -> None:
    bare = copytree(written("clip")[0], tmp_path / "bare")
    for file in bare.glob("*token*"):
        file.unlink()
    refused = str(joint_refusal(BackboneConfig(source=f"hf:{bare}")))
    assert "no tokenizer can be read beside its config.json" in refused
    (bare / "tokenizer.json").write_text("{")
    with pytest.raises(BackboneError, match="no tokenizer can be read"):
        open_joint(BackboneConfig(source=f"hf:{bare}"))
    written("clip")[1].vision_model.save_pretrained(tmp_path / "tower")
    refused = str(joint_refusal(BackboneConfig(source=f"hf:{tmp_path / 'tower'}")))
    assert "is a clip_vision_model without a text tower" in refused


def test_the_tokenizer_is_fetched_with_the_weights() -> None:
    assert "tokenizer.json" in {path.name for path in prefetch(source("siglip"))}
