"""What measurements are made with, from weights and terms that are made by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from frozen.data.scenes import TwinShapes
from frozen.data.scenes.codes import FeatureSpace
from frozen.intervals import IntervalConfig
from readouts.text_decomposition.asked import Asked, Shared
from readouts.text_decomposition.given import Given
from readouts.text_decomposition.lens import Lens, Stored
from readouts.text_decomposition.texts import Classes, TextTable

SPACE: FeatureSpace = TwinShapes().space
LAYERS, HEADS, DIM, WIDTH = 2, 2, 3, 12


def lens(seed: int = 0) -> Lens:
    """Random weights."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random)

    return Lens(
        normal(LAYERS, WIDTH, HEADS * DIM),
        normal(LAYERS, WIDTH),
        normal(WIDTH) + 2,
        normal(WIDTH),
        torch.eye(WIDTH),
        torch.zeros(WIDTH),
        HEADS,
        5,
    )


def outputs(n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random stored outputs, as a capture has them."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal((n, *shape)).astype(np.float32)

    found = {
        "heads": normal(LAYERS, HEADS, DIM),
        "from_first": 0.3 * normal(LAYERS, HEADS, DIM),
        "mlps": normal(LAYERS + 1, WIDTH),
        "mean": 0.1 * normal(),
        "scale": np.abs(normal()) + 1,
        "weight": np.ones(n, np.float32),
        "embedding": normal(WIDTH),
    }
    return summed(found, lens())


def summed(columns: dict[str, np.ndarray], own: Lens) -> dict[str, np.ndarray]:
    """The same with the embedding that the terms sum to."""
    stored = Stored.of(columns)
    total = own.all_terms(stored).sum(1) * stored.norm(own)[:, None]
    assert torch.equal(own.project, torch.eye(WIDTH)), "the joint space is the trunk's"
    return {**columns, "embedding": total.numpy()}


def given(
    columns: dict[str, dict[str, np.ndarray]],
    labels: np.ndarray,
    class_vectors: np.ndarray,
    *,
    codes: dict[str, np.ndarray] | None = None,
    means: str = "held_out",
    table: TextTable | None = None,
    fits: bool = True,
    **asked: Any,
) -> Given:
    """Everything to measure with; the number of a class is that of its text.

    With `fits`, embeddings are the sums of the terms.
    """
    codes = codes or {
        name: np.eye(SPACE.n_objects, dtype=np.uint8)[: len(one["mean"])] for name, one in columns.items()
    }
    shared = Shared(means, "uniform", (), None, ("auto",), IntervalConfig(resamples=100), 0)  # pyright: ignore
    n_classes = len(class_vectors)
    own = asked.pop("lens", None) or lens()
    if fits:
        columns = {name: summed(one, own) for name, one in columns.items()}
    return Given(
        lens=own,
        table=table or TextTable((), np.zeros((0, WIDTH), np.float32)),
        classes=Classes(tuple(map(str, range(n_classes))), labels),
        class_vectors=class_vectors.astype(np.float32),
        text_of_class=np.arange(n_classes),
        pools={},
        names={group.name: group.values for group in SPACE.groups},
        scale=1.0,
        grammar="plain",
        space=SPACE,
        columns={**columns, **{f"{name}_labels": {"object_codes": codes[name]} for name in columns}},
        asked=Asked(asked.pop("analysis", "heads"), "final", "embedding", shared, **asked),
    )
