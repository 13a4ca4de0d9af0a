"""Forward passes in half precision and compiled ones: near the plain one, and not the same."""

from __future__ import annotations

import shutil

import pytest
import torch

from frozen.data.scenes import ColorShape
from frozen.models import Backbone, BackboneConfig, Batch, load
from frozen.testing import batch_of

SCENE = ColorShape(n_colors=2, n_shapes=2, max_objects=4, image_size=64, object_size=12)
SOURCE = "shipped:shapes_vit_objects"


@pytest.fixture(scope="module")
def batch() -> Batch:
    return batch_of(SCENE, range(8))


@pytest.fixture(scope="module")
def plain(batch: Batch) -> dict[str, torch.Tensor]:
    return backbone().forward(batch)


def backbone(**settings: object) -> Backbone:
    return load(BackboneConfig(source=SOURCE, **settings), SCENE, torch.device("cpu"))  # type: ignore[arg-type]


def relative(value: torch.Tensor, reference: torch.Tensor) -> float:
    return float((value - reference).norm() / reference.norm())


@pytest.mark.parametrize(("precision", "least", "most"), [("bfloat16", 5e-4, 1e-2), ("float16", 5e-5, 2e-3)])
def test_matrix_products_are_rounded_and_the_residual_stream_is_not(
    precision: str, least: float, most: float, batch: Batch, plain: dict[str, torch.Tensor]
) -> None:
    model = backbone(precision=precision)
    assert model.identity != backbone().identity
    assert model.weights_digest == backbone().weights_digest
    for layer, tokens in model.forward(batch).items():
        assert tokens.dtype == torch.float32
        assert least < relative(tokens, plain[layer]) < most, layer
        if layer not in ("embed", "final"):
            rounded = tokens.to(getattr(torch, precision)).float()
            assert (rounded != tokens).float().mean() > 0.5, layer


@pytest.mark.slow
@pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:torch"
)  # of torch, where torch itself uses what it deprecates
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_blocks_give_the_same_tokens_from_one_graph(batch: Batch, plain: dict[str, torch.Tensor]) -> None:
    from torch._dynamo.utils import counters

    model = backbone(compile=True)
    assert model.identity == f"{backbone().identity} compiled"
    counters.clear()
    for layer, tokens in model.forward(batch).items():
        assert relative(tokens, plain[layer]) < 1e-5, layer
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
