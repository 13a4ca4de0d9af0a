"""What dictionaries compute, against the formulas written out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from readouts.concepts.dictionary import KINDS, Dictionary, DictionaryError, keep_largest
from readouts.concepts.settings import DictionaryConfig, TrainingConfig
from readouts.concepts.stack import Stack
from readouts.concepts.training import DictionaryRun, restart, restarts_after, train
from tests.readouts.concepts.planted import CPU, planted, trained

TRAINING = TrainingConfig(steps=60, batch_size=128)


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return planted(0, n=2000, offset=1.0)[1]


def of_kind(kind: str, rows: np.ndarray, **settings: object) -> Dictionary:
    return trained(rows, DictionaryConfig(kind=kind, k=3, **settings), replace(TRAINING))  # pyright: ignore


@pytest.mark.parametrize("kind", KINDS)
def test_code_and_reconstruction_are_the_formula(kind: str, rows: np.ndarray) -> None:
    one = of_kind(kind, rows)
    x = torch.from_numpy(rows[:64])
    z = (x - one.centre) * one.scale
    pre = torch.einsum("nd,md->nm", z - one.bias, one.encoder) + one.encoder_bias
    expected = torch.zeros_like(pre)
    for i, row in enumerate(pre):
        for j, value in enumerate(row):
            is_on = value > 0 and value > one.threshold[j]
            if kind == "topk":
                is_on = is_on and j in row.topk(3).indices
            if is_on:
                expected[i, j] = value
            if is_on and kind == "gated":
                magnitude = (value - one.encoder_bias[j]) * one.gain[j].exp() + one.magnitude_bias[j]
                expected[i, j] = max(float(magnitude), 0.0)
    f = one.encode(x)
    torch.testing.assert_close(f, expected, rtol=1e-5, atol=1e-6)
    found = (torch.einsum("nm,md->nd", expected, one.decoder) + one.bias) / one.scale + one.centre
    torch.testing.assert_close(one.decode(f), found, rtol=1e-5, atol=1e-6)
    empty = one.decode(torch.zeros(1, one.n_atoms))
    torch.testing.assert_close(empty[0], one.bias / one.scale + one.centre)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_hold_all_of_it(kind: str, rows: np.ndarray) -> None:
    one = of_kind(kind, rows)
    x = torch.from_numpy(rows[:64])
    again = Dictionary.from_bytes(one.to_bytes())
    assert torch.equal(again.encode(x), one.encode(x))
    assert again.k == one.k
    with pytest.raises(DictionaryError):
        Dictionary.from_bytes(b"12345678")


def test_topk_keeps_k_and_batchtopk_does_not_depend_on_batch_mates(rows: np.ndarray) -> None:
    x = torch.from_numpy(rows[:256])
    topk = of_kind("topk", rows)
    z = (x - topk.centre) * topk.scale
    positive = ((z - topk.bias) @ topk.encoder.T + topk.encoder_bias > 0).sum(1)
    assert torch.equal((topk.encode(x) > 0).sum(1), positive.clamp_max(3))
    assert bool((positive >= 3).any())
    one = of_kind("batchtopk", rows)
    assert float(one.threshold[0]) > 0
    stack = Stack([DictionaryConfig(kind="batchtopk", k=3)], [0], 32, TRAINING, CPU)
    assert int((stack.run(x, 1.0).codes > 0).sum()) == 3 * 256
    alone = torch.cat([one.encode(row[None]) for row in x])
    torch.testing.assert_close(alone, one.encode(x), rtol=1e-5, atol=1e-6)


def test_loss_is_mean_squared_error_and_penalty(rows: np.ndarray) -> None:
    config = DictionaryConfig(kind="relu_l1", penalty=0.3)
    stack = Stack([config], [5], 32, TRAINING, CPU)
    x = torch.from_numpy(rows[:64])
    f = torch.relu((x - stack.bias[0]) @ stack.encoder[0].T + stack.encoder_bias[0])
    error = x - f @ stack.decoder[0] - stack.bias[0]
    expected = error.square().mean(1).mean() + 0.3 * f.abs().sum(1).mean()
    assert stack.run(x, 1.0).loss[0].item() == pytest.approx(expected.item(), rel=1e-6)
    assert stack.run(x, 0.0).loss[0].item() == pytest.approx(error.square().mean().item(), rel=1e-6)


def test_atoms_keep_length_one_and_gradients_are_orthogonal_to_them(rows: np.ndarray) -> None:
    stack = Stack([DictionaryConfig(kind="relu_l1")], [0], 32, TRAINING, CPU)
    optimiser = torch.optim.Adam(stack.parameters, lr=3e-3)
    x = torch.from_numpy(rows[:256])
    for _ in range(20):
        optimiser.zero_grad()
        stack.run(x, 1.0).loss.sum().backward()
        stack.project()
        gradient = stack.decoder.grad
        assert gradient is not None
        along = (gradient * stack.decoder.detach()).sum(2).abs().max()
        assert float(along) < 1e-6 * max(1.0, float(gradient.norm()))
        moved = [(stack.decoder.detach() - rate * gradient).norm(dim=2) - 1 for rate in (10.0, 1.0)]
        assert float(moved[0].max()) == pytest.approx(100 * float(moved[1].max()), rel=0.2), "the square of the step"
        optimiser.step()
        stack.renormalise()
        assert float((stack.decoder.detach().norm(dim=2) - 1).abs().max()) < 1e-6


def test_initialisation_leaves_no_atom_silent_and_the_papers_does() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.nn.functional.normalize(torch.randn(512, 256, generator=generator), dim=1)
    config = DictionaryConfig(kind="relu_l1", expansion=8)
    tied = Stack([config], [0], 256, TRAINING, CPU)
    paper = Stack([config], [0], 256, replace(TRAINING, initialisation="paper"), CPU)
    torch.testing.assert_close(tied.encoder.detach().norm(dim=2), torch.ones(1, 2048))
    assert float((tied.run(x, 1.0).codes > 0).any(1).float().mean()) == 1.0
    assert float(paper.encoder.detach().norm(dim=2).mean()) < 0.05
    assert float((paper.run(x, 1.0).codes > 0).any(1).float().mean()) < 0.7


def test_restarts_change_exactly_the_silent_atoms(rows: np.ndarray) -> None:
    stack = Stack([DictionaryConfig(kind="relu_l1")] * 2, [0, 1], 32, replace(TRAINING, centre=False), CPU)
    optimiser = torch.optim.Adam(stack.parameters, lr=1e-3)
    x = torch.from_numpy(rows[:256])
    stack.run(x, 1.0).loss.sum().backward()
    optimiser.step()
    with torch.no_grad():
        stack.encoder_bias[0, ::2] = -10
    before = [one.detach().clone() for one in stack.parameters]
    atoms = torch.arange(0, 128, 2)
    losses = stack.run(x, 1.0).errors[0].square().mean(1)
    chosen = restart(stack, optimiser, 0, atoms, x, losses, torch.Generator().manual_seed(0))
    assert len(set(chosen.tolist())) == 64
    alive = torch.arange(1, 128, 2)
    encoder, bias, decoder, tied = (one.detach() for one in stack.parameters)
    length = before[0][0, alive].norm(dim=1).mean()
    torch.testing.assert_close(encoder[0, atoms].norm(dim=1), (0.2 * length).expand(64))
    assert bool((bias[0, atoms] == 0).all())
    torch.testing.assert_close(decoder[0, atoms].norm(dim=1), torch.ones(64))
    codes = stack.run(x, 1.0).codes[0]
    assert bool((codes[chosen, atoms] > 0).all())
    for now, old in zip((encoder, bias, decoder), before, strict=False):
        assert torch.equal(now[0, alive], old[0, alive])
        assert torch.equal(now[1], old[1])
    assert torch.equal(tied, before[3])
    for parameter in (stack.encoder, stack.encoder_bias, stack.decoder):
        for name in ("exp_avg", "exp_avg_sq"):
            state = optimiser.state[parameter][name]
            assert bool((state[0, atoms] == 0).all())
            assert bool((state[1] != 0).any())


def test_restarts_end_before_they_could_not_settle() -> None:
    training = TrainingConfig(steps=1000, resample_every=100, decay=0.0)
    assert [step for step in range(1000) if restarts_after(step, training)] == list(range(99, 899, 100))
    assert not any(restarts_after(step, replace(training, decay=1.0)) for step in range(1000))
    published = replace(training, steps=200, resample_every=10)  # passes: 18 times, after 9, 19, .., 179
    assert [step for step in range(200) if restarts_after(step, published)] == list(range(9, 180, 10))


def test_rows_for_restarts_are_weighed_by_error_and_penalty(rows: np.ndarray) -> None:
    stack = Stack([DictionaryConfig(kind="relu_l1", penalty=0.3)], [5], 32, TRAINING, CPU)
    x = torch.from_numpy(rows[:5000])
    assert stack.row_losses(x)[0].mean().item() == pytest.approx(stack.run(x, 1.0).loss[0].item(), rel=1e-5)
    followed = Stack([DictionaryConfig(kind="batchtopk", k=3)], [5], 32, TRAINING, CPU)
    followed.run(x, 1.0)
    before = followed.threshold.clone()
    followed.row_losses(x[:100])
    assert torch.equal(followed.threshold, before)


def test_several_in_one_stream_are_those_of_several_runs(rows: np.ndarray) -> None:
    configs = [
        DictionaryConfig(kind="topk", k=2),
        DictionaryConfig(kind="topk", k=5),
        DictionaryConfig(kind="relu_l1"),
    ]
    together = train(rows, [DictionaryRun(one, 3) for one in configs], TRAINING, seed=0, device=CPU)
    for config, one in zip(configs, together, strict=True):
        [alone] = train(rows, [DictionaryRun(config, 3)], TRAINING, seed=0, device=CPU)
        torch.testing.assert_close(one.dictionary.decoder, alone.dictionary.decoder, rtol=1e-3, atol=1e-4)
    assert int((together[0].dictionary.encode(torch.from_numpy(rows)) > 0).sum(1).max()) <= 2


def test_the_largest_are_kept() -> None:
    values = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    assert keep_largest(values, 2).tolist() == [[3.0, 0.0, 2.0], [0.0, 5.0, 4.0]]
    assert keep_largest(values, 9).tolist() == values.tolist()
