from __future__ import annotations

import numpy as np
import pytest
import torch

from frozen.capture.capture import capture
from frozen.capture.reductions import WholeSite
from readouts.class_embedding.memories import (
    Memories,
    agrees,
    best_memories,
    chance_percent,
    class_value_cosines,
    favours,
    other_classes,
)
from readouts.class_embedding.sublayers import value_vectors
from tests.readouts.class_embedding.nets import N_CLASSES, Pictures, columns_of, net


def some(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cosines_do_not_change_with_lengths_and_change_nothing() -> None:
    classes, values = some(11, 8), some(8, 60, seed=1)
    before = classes.clone(), values.clone()
    found = class_value_cosines(classes, values)
    favours(classes, values)
    assert torch.equal(class_value_cosines(classes, values), found)
    assert torch.equal(classes, before[0])
    assert torch.equal(values, before[1])
    assert torch.allclose(class_value_cosines(3 * classes, values * torch.rand(60).add(0.1)), found, atol=1e-6)
    planted = torch.cat([values, 5 * classes[:1].T], dim=1)
    assert float(class_value_cosines(classes, planted)[0]) == pytest.approx(1, abs=1e-6)


def test_planted_memories_agree_always_and_permuted_ones_by_chance() -> None:
    n_classes, n_memories, n = 17, 200, 4000
    favour = favours(some(n_classes, 24), some(24, n_memories, seed=1))
    classes = torch.arange(n) % n_classes
    best = best_memories(favour)[classes]
    planted = torch.zeros(n, 1, n_memories).scatter_(2, favour.argmax(1)[classes][:, None, None], 1.0)
    assert agrees(planted.topk(5, dim=-1).indices, best).all()
    random = some(n, 1, n_memories, seed=2).topk(5, dim=-1).indices
    share = 100 * float(agrees(random, best).float().mean())
    chance = chance_percent(n_memories)
    assert abs(share - chance) < 4 * np.sqrt(chance * (100 - chance) / n)
    by_memory = torch.zeros_like(favour, dtype=torch.bool).scatter_(0, favour.topk(5, dim=0).indices, value=True)
    assert 100 * float(agrees(random, by_memory[classes]).float().mean()) > 2 * chance


@pytest.mark.parametrize(("n_memories", "percent"), [(768, 3.22), (1024, 2.42), (3072, 0.81), (4096, 0.61)])
def test_chance_is_that_of_the_paper(n_memories: int, percent: float) -> None:
    assert chance_percent(n_memories) == pytest.approx(percent, abs=0.005)


@pytest.mark.parametrize("sublayer", ["attention", "mlp"])
def test_what_is_captured_is_what_a_loop_finds(sublayer: str) -> None:
    model, split = net("registers"), Pictures(20)
    memories = Memories(1, sublayer, other_seed=0)  # pyright: ignore
    others = other_classes(N_CLASSES, 0)
    raw = [WholeSite(site) for site in memories.sites]
    tables = capture(model, split, [memories, *raw])
    keys, outputs = (columns_of(tables[one])["activations"] for one in raw)
    assert model.head is not None
    embeddings = model.head.linear.weight.detach().numpy()
    favour = embeddings @ value_vectors(model, 1, memories.sublayer).numpy()
    first = model.head.project(torch.tensor(outputs)).argmax(-1).numpy()
    found = columns_of(tables[memories])
    for i in range(20):
        best = set(np.argsort(-favour[split.classes[i]])[:5])
        for t in range(21):
            active = np.argsort(-keys[i, t].reshape(-1))[:5]
            assert found["agrees"][i, t] == bool(best & set(active))
            of_other = set(np.argsort(-favour[others[split.classes[i]]])[:5])
            assert found["agrees_other"][i, t] == bool(of_other & set(active))
            assert found["matches"][i, t] == (first[i, t] in favour.argmax(0)[active])
    assert len(set(found["value_cosine"][:N_CLASSES])) == N_CLASSES


def test_another_class_is_another_class_and_each_is_one() -> None:
    for seed in range(20):
        others = other_classes(N_CLASSES, seed)
        assert sorted(others) == list(range(N_CLASSES))
        assert (others != np.arange(N_CLASSES)).all()
    assert len({tuple(other_classes(N_CLASSES, seed)) for seed in range(20)}) > 1


def test_memories_of_another_class_agree_by_chance_where_those_of_the_class_are_planted() -> None:
    n_classes, n_memories, n = 100, 500, 4000
    favour = favours(some(n_classes, 200), some(200, n_memories, seed=1))
    classes, others = torch.arange(n) % n_classes, torch.tensor(other_classes(n_classes, 0))
    active = favour.topk(5, dim=1).indices[classes][:, None]
    best = best_memories(favour)
    assert agrees(active, best[classes]).all()
    of_other = 100 * agrees(active, best[others[classes]])[:n_classes].float().mean()
    chance = chance_percent(n_memories)
    assert abs(float(of_other) - chance) < 4 * np.sqrt(chance * (100 - chance) / n_classes)
