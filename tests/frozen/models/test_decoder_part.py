"""The caption decoder as a part of a loaded backbone, and of the keys of what reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from frozen.capture.capture import Capture, Origin, capture
from frozen.capture.reductions import Column, ForwardPass
from frozen.capture.sites import Site
from frozen.data.scenes import SplitPolicy, TwinShapes
from frozen.data.spec import DatasetSpec
from frozen.models import BackboneConfig, BackboneError, describe, load
from frozen.models.decoding import LayerDecoder, Sampling, write_captions
from frozen.models.opening import open_shipped

CPU = torch.device("cpu")
SCENE = TwinShapes(split=SplitPolicy(train=4, validation=2, test=8))
COCA = BackboneConfig(source="shipped:shapes_coca")
ORIGIN = Origin(data="d", backbone="b", weights="w", decoder="one")


@dataclass(frozen=True)
class Slots:
    """Mean of the decoder's memory of the last layer."""

    needs_decoder: bool = True
    sites: ClassVar[tuple[Site, ...]] = (Site("final"),)
    labels: ClassVar[tuple[str, ...]] = ()
    needs_head: ClassVar[bool] = False
    needs_gradient: ClassVar[bool] = False

    def key(self) -> dict[str, Any]:
        return {"reduction": "slots"}

    def columns(self, description: Any, condition: Any) -> tuple[Column, ...]:
        return (Column("mean", (), "float32"),)

    def begin(self, forward: ForwardPass) -> Slots.Reducer:
        return self.Reducer(forward)

    class Reducer:
        def __init__(self, forward: ForwardPass) -> None:
            self.decoder = forward.model.decoder

        def take(self, site: Site, value: torch.Tensor) -> None:
            assert self.decoder is not None
            self.mean = self.decoder.memory(value).mean(dim=(1, 2))

        def finish(self) -> dict[str, Any]:
            return {"mean": self.mean}


def test_the_decoder_comes_only_when_asked_for_and_leaves_the_trunk_as_it_is() -> None:
    plain, whole = load(COCA, SCENE, CPU), load(COCA, SCENE, CPU, decoder=True)
    assert plain.decoder is None
    assert isinstance(whole.decoder, LayerDecoder)
    assert (plain.identity, plain.weights_digest) == (whole.identity, whole.weights_digest)
    assert plain.description == whole.description == describe(COCA, SCENE)
    assert describe(COCA, SCENE).caption_context == whole.decoder.tokenizer.context
    assert load(BackboneConfig(source="shipped:shapes_vit_objects"), SCENE, CPU, decoder=True).decoder is None


def test_an_untrained_trunk_has_the_trained_decoder() -> None:
    untrained = COCA.untrained(0)
    assert untrained is not None
    one, other = (load(config, SCENE, CPU, decoder=True) for config in (COCA, untrained))
    assert one.decoder is not None
    assert other.decoder is not None
    assert one.weights_digest != other.weights_digest
    assert one.decoder.weights_digest == other.decoder.weights_digest


def test_the_memory_of_the_last_layer_is_the_models_own() -> None:
    """Slot 0 of the pooler is the image's vector and no part of the memory."""
    model = open_shipped("shapes_coca")
    images = SCENE.open("test").images(np.arange(8))
    assert model.decoder is not None
    whole = model.decoder.pooler(model.read(images))
    torch.testing.assert_close(model.decoder.memory(model.read(images)), whole[:, 1:], atol=1e-6, rtol=0)
    [table] = capture(load(COCA, SCENE, CPU, decoder=True), SCENE.open("test"), [Slots()]).values()
    np.testing.assert_allclose(table["mean"].to_numpy(), whole[:, 1:].mean((1, 2)).numpy(), atol=1e-6)


def test_keys_of_what_reads_the_decoder_hold_its_digest() -> None:
    dataset = DatasetSpec("twins", "twinshapes", SCENE)
    keys = {
        Capture(dataset, "test", COCA, Slots(needs)).key(ORIGIN._replace(decoder=digest))
        for needs in (True, False)
        for digest in ("one", "two")
    }
    assert len(keys) == 3


def test_a_model_without_a_decoder_is_refused() -> None:
    with pytest.raises(BackboneError, match="no caption decoder"):
        capture(load(COCA, SCENE, CPU), SCENE.open("test"), [Slots()])


def test_draws_of_a_caption_do_not_depend_on_its_batch() -> None:
    model = open_shipped("shapes_coca")
    assert model.decoder is not None
    memory = 0.2 * model.decoder.memory(model.read(SCENE.open("test").images(np.arange(8))))
    hot, keys = Sampling(seed=3, temperature=3.0), np.arange(8) + 100
    together = write_captions(model.decoder, memory, sampling=hot, keys=keys)
    order = np.array([5, 2, 7])
    some = write_captions(model.decoder, memory[order], sampling=hot, keys=keys[order])
    assert some.texts == [together.texts[i] for i in order]
    assert len(set(together.texts)) > 4
