"""What the tests of the read-out share: a trained captioning model, scenes and their memories."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pytest
import torch

from frozen.capture.capture import capture
from frozen.capture.reductions import WholeSite
from frozen.capture.sites import Site
from frozen.data.scenes import SplitPolicy, TwinShapes
from frozen.models import Backbone, BackboneConfig, load
from frozen.models.decoding import LayerDecoder

LAYERS = ("embed", "0", "2", "5")
N = 16


class Known(NamedTuple):
    """A captioning model, scenes with their twins, and tokens of some layers."""

    model: Backbone
    decoder: LayerDecoder
    split: object
    tokens: dict[str, torch.Tensor]


def know(layers: Sequence[str], n: int) -> Known:
    """The shipped captioning model, n scenes, half of them the twins of the others, and tokens of some layers."""
    scene = TwinShapes(split=SplitPolicy(train=N, validation=2, test=n))
    model = load(BackboneConfig(source="shipped:shapes_coca"), scene, torch.device("cpu"), decoder=True)
    split = scene.open("test")
    tables = capture(model, split, [WholeSite(Site(layer)) for layer in layers])
    tokens = {}
    for reduction, table in tables.items():
        array = table["activations"].combine_chunks().to_numpy_ndarray()
        tokens[str(reduction.sites[0])] = torch.from_numpy(np.array(array))
    assert model.decoder is not None
    return Known(model, model.decoder, split, tokens)


@pytest.fixture(scope="session")
def known() -> Known:
    return know(LAYERS, N)
