"""What a head holds that its block's others do not: heads of known content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from binding import _together
from binding._inputs import split_samples
from binding.fit import FitConfig, Fitted
from binding.leave_one_out import Heads, left_out
from binding.measurement import measure_samples
from binding.paired import ALL_HEADS, WITHOUT_HEAD, paired_estimates
from binding.readout import BindingReadout
from binding.samples import MeasureConfig
from binding.search import ProbeSpace, SearchConfig
from frozen.data.scenes import SPLITS
from frozen.data.scenes.codes import FeatureSpace
from frozen.intervals import Estimate, IntervalConfig, Losses
from frozen.readout.cells import Cell, Mistake
from frozen.readout.needs import Inputs
from sweep.study.load import load_study

SPACE = FeatureSpace.of(color=2, shape=2)
CONFIG = MeasureConfig(
    fit=FitConfig(epochs=12, batch_size=128),
    search=SearchConfig(suggestions=1),
    intervals=IntervalConfig(resamples=200),
    n_seeds=2,
)
LINEAR = ProbeSpace.of("linear", learning_rate=0.3)


def held_by(*contents: str, probe: ProbeSpace = LINEAR) -> list[dict[str, Losses]]:
    """Losses with and without each head, of heads that hold objects, features or noise."""
    rng = np.random.default_rng(0)
    codes = rng.integers(2, size=(1000, SPACE.n_objects), dtype=np.uint8)
    held = {"objects": codes, "features": SPACE.feature_codes(codes)}
    heads = [held[name] if name in held else rng.standard_normal((1000, 4)) for name in contents]
    samples = split_samples(np.concatenate(heads, axis=1).astype(np.float32), codes, SPACE, "uniform", None)
    cpu, numbers = torch.device("cpu"), range(len(heads))
    found = left_out(samples, Heads(len(heads), 4), numbers, probe, CONFIG, cpu)
    entropy = samples.test.conditional_entropy_bits[None]
    return [{**found[number], "entropy": entropy} for number in numbers]


def bits(losses: dict[str, Losses], name: str = "leave_one_out_bits") -> Estimate:
    estimate = paired_estimates(losses, CONFIG.intervals, seed=0)[name]
    assert estimate is not None
    return estimate


def test_a_head_that_alone_holds_the_binding_is_missed() -> None:
    found = held_by("features", "objects", "noise")
    there = found[0]["entropy"].mean()
    assert there > 0.1
    assert bits(found[1], "all_heads_bits").value == pytest.approx(there, rel=0.05)
    assert bits(found[1]).value == pytest.approx(there, rel=0.1)
    for other in (found[0], found[2]):
        missed = bits(other)
        assert missed.low <= 0 <= missed.high or abs(missed.value) < 0.02 * there
        assert abs(missed.value) < 0.05 * there


@pytest.mark.parametrize("probe", [LINEAR, ProbeSpace.of("dnn_concat", learning_rate=0.02, hidden_dim=16)])
def test_of_two_heads_with_the_same_binding_neither_is_missed(probe: ProbeSpace) -> None:
    found = held_by("objects", "objects", probe=probe)
    there = found[0]["entropy"].mean()
    for one in found:
        assert bits(one, "all_heads_bits").value == pytest.approx(there, rel=0.1)
        assert abs(bits(one).value) < 0.05 * there


def test_permuted_heads_are_permuted_answers() -> None:
    found, other = held_by("features", "objects"), held_by("objects", "features")
    for one, same in zip(found, reversed(other), strict=True):
        assert bits(one).value == pytest.approx(bits(same).value, abs=0.03)


def test_heads_train_together_as_they_would_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[int] = []
    fit = _together.fit

    def counting(*arguments: object, sources: object = None, **others: object) -> list[Fitted]:
        joined.append(0 if sources is None else len(set(sources)))  # type: ignore[call-overload]
        return fit(*arguments, sources=sources, **others)  # type: ignore[arg-type]

    rng = np.random.default_rng(0)
    codes = rng.integers(2, size=(300, SPACE.n_objects), dtype=np.uint8)
    z = np.concatenate([codes, codes + rng.standard_normal((300, 4))], axis=1)
    samples = split_samples(z, codes, SPACE, "uniform", None)
    cpu, heads = torch.device("cpu"), Heads(2, 4)
    alone = {n: left_out(samples, heads, [n], LINEAR, CONFIG, cpu)[n] for n in (0, 1)}
    monkeypatch.setattr(_together, "fit", counting)
    both = left_out(samples, heads, [0, 1], LINEAR, CONFIG, cpu)
    assert 3 in joined, "all heads, and each left out, are one training"
    for number, losses in both.items():
        for target in (ALL_HEADS, WITHOUT_HEAD):
            np.testing.assert_allclose(losses[target], alone[number][target], atol=1e-5)


def test_all_heads_together_are_what_the_cell_of_the_block_has() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(2, size=(400, SPACE.n_objects), dtype=np.uint8)
    z = (np.tile(codes, (1, 2)) + 0.7 * rng.standard_normal((400, 8))).astype(np.float32)
    samples = split_samples(z, codes, SPACE, "uniform", None)
    config = MeasureConfig(
        fit=FitConfig(epochs=6, batch_size=64), search=SearchConfig(suggestions=3), intervals=CONFIG.intervals
    )
    tuned = ProbeSpace.of("quadratic_concat", rank=2)
    cell = measure_samples(samples, tuned, config)
    found = left_out(samples, Heads(2, 4), [0], tuned, config, torch.device("cpu"))[0]
    np.testing.assert_allclose(found[ALL_HEADS], cell.losses.direct, atol=1e-5)


def test_the_channels_of_a_head() -> None:
    assert Heads(3, 2).without(1, 6).tolist() == [True, True, False, False, True, True]
    twice = Heads(2, 1).without(0, 4)  # CLS and mean side by side
    assert twice.tolist() == [False, True, False, True]


STUDY = {
    "name": "heads",
    "datasets": [{"name": "twins", "scene": "twinshapes", "split": {"train": 400, "validation": 100, "test": 200}}],
    "backbones": ["shipped:shapes_clip_objects"],
    "layers": ["0", "0.heads.all"],
    "modes": ["cls"],
    "probes": [{"family": "linear", "learning_rate": 0.1}],
    "fit": {"epochs": 8, "batch_size": 64},
    "search": {"suggestions": 1, "ask": 1},
    "seeds": 1,
    "intervals": {"resamples": 200},
    "extras": ["leave_one_out"],
}


def cells_of(folder: Path, **keys: object) -> list[Cell]:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **keys}))
    return [one for one in BindingReadout().cells(load_study(path)) if isinstance(one, Cell)]


def test_cells_of_heads_need_their_block_and_give_both_numbers(tmp_path: Path) -> None:
    readout = BindingReadout()
    whole, *heads = cells_of(tmp_path)
    plain, *plain_heads = cells_of(tmp_path, extras=[])
    assert whole.cell_id == plain.cell_id
    assert not {one.cell_id for one in heads} & {one.cell_id for one in plain_heads}
    assert len({readout.bundle(one) for one in heads}) == 1
    width = heads[0].settings.sample_shape(heads[0].description)[-1]
    assert heads[0].settings.all_heads_shape(heads[0].description) == (len(heads) * width,)
    sizes = {"train": 400, "validation": 100, "test": 200}
    assert readout.cost(heads[0], sizes) > readout.cost(plain_heads[0], sizes)

    inputs = {}
    columns = {}
    for split in SPLITS:
        labels = readout.labels(whole.dataset.config.open(split))
        codes = labels["object_codes"].astype(np.float32)
        block = np.zeros((len(codes), len(heads), width), np.float32)
        block[:, 0, : codes.shape[1]] = codes
        columns[split] = (labels, block)
    for number, cell in enumerate(heads):
        needs = {f"{split}_labels": labels for split, (labels, _) in columns.items()}
        needs |= {split: {"activations": block[:, number]} for split, (_, block) in columns.items()}
        needs |= {
            f"{split}_heads": {"activations": block.reshape(len(block), -1)} for split, (_, block) in columns.items()
        }
        assert set(needs) == {name for name, _ in cell.needs}
        inputs[cell] = Inputs({"cell_id": ""}, needs, {})
    rows = {}
    for cell, outcome in readout.measure(inputs, torch.device("cpu")):
        rows[cell] = outcome.row
        assert outcome.samples is not None
        found = readout.recompute(outcome.row, outcome.samples)
        names = [name for name in found if name.startswith(("leave_one_out", "all_heads"))]
        assert len(names) == 6
        assert {name: outcome.row[name] for name in names} == {name: found[name] for name in names}
    first, *others = (rows[cell] for cell in heads)
    assert first["leave_one_out_bits_low"] > 0.9  # type: ignore[operator]
    assert first["all_heads_bits"] == pytest.approx(1, abs=0.02)
    for row in others:
        assert abs(row["leave_one_out_bits"]) < 0.02  # type: ignore[arg-type]


def test_a_study_without_heads_is_told(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, "layers": [0, "0.heads"]}))
    [mistake] = [one for one in BindingReadout().cells(load_study(path)) if isinstance(one, Mistake)]
    assert (mistake.path, "names none" in mistake.message) == (("extras",), True)
