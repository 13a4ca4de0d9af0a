"""Cells that train together: each gives what it gives alone, and one that fails leaves the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from binding import _together
from binding._together import FitRequest, together
from binding.fit import FitConfig, Fitted
from binding.measurement import Measurement, measure_samples, measuring
from binding.readout import BindingReadout
from binding.samples import MeasureConfig, Samples, SplitSamples
from binding.search import ProbeSpace, SearchConfig
from binding.tuning import NothingTrainedError
from frozen.data.scenes import TwinShapes
from frozen.intervals import IntervalConfig
from frozen.readout.cells import Cell
from sweep.study.load import load_study

SPACE = TwinShapes().space
SIZES = {"train": 320, "validation": 160, "test": 160}
CONFIG = MeasureConfig(
    fit=FitConfig(epochs=5, batch_size=64, patience=2),
    search=SearchConfig(suggestions=4, ask=2, pruner="median"),
    intervals=IntervalConfig(resamples=100),
    n_seeds=2,
)


def cell(seed: int, noise: float, width: int = 24) -> SplitSamples:
    """A random map of the object code, more or less hidden."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((SPACE.n_objects, width))
    labels = np.random.default_rng(0)  # the same for all cells
    splits = {}
    for name, n in SIZES.items():
        codes = labels.integers(2, size=(n, SPACE.n_objects), dtype=np.uint8)
        z = (codes @ mixing + noise * rng.standard_normal((n, width))).astype(np.float32)
        splits[name] = Samples(z, codes, np.ones(n), np.zeros((n, SPACE.n_objects)))
    return SplitSamples(SPACE, **splits)


def assert_same(one: object, other: Measurement) -> None:
    assert isinstance(one, Measurement)
    for target, losses in other.losses.named().items():
        np.testing.assert_allclose(one.losses.named()[target], losses, atol=1e-5)
    for name, estimate in other.estimates.items():
        assert one.estimates[name] == (estimate and pytest.approx(estimate, abs=1e-4))
    assert one.targets["direct"].view == other.targets["direct"].view
    assert [one.targets[name].best_epochs for name in one.targets] == [
        other.targets[name].best_epochs for name in other.targets
    ]


@pytest.mark.parametrize("family", ["linear", "quadratic_concat"])
def test_each_gives_what_it_gives_alone(family: str) -> None:
    space = ProbeSpace.of(family, **({"rank": 2} if family != "linear" else {}))
    samples = [cell(1, 0.1), cell(2, 3.0), cell(3, 0.5)]
    alone = [measure_samples(one, space, CONFIG) for one in samples]
    losses = [one.losses.direct.mean() for one in alone]
    assert losses[0] < losses[2] < losses[1], "the cells should differ"
    found = together({i: measuring(one, space, CONFIG) for i, one in enumerate(samples)})
    for one, other in zip(found.values(), alone, strict=True):
        assert_same(one, other)


def test_trainings_of_cells_are_joined_and_those_of_others_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[int] = []
    fit = _together.fit

    def counting(probes: list[object], *arguments: object, sources: object = None, **others: object) -> list[Fitted]:
        joined.append(0 if sources is None else len(set(sources)))  # type: ignore[call-overload]
        return fit(probes, *arguments, sources=sources, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(_together, "fit", counting)
    space = ProbeSpace.of("linear")
    samples = {"one": cell(1, 0.1), "two": cell(2, 0.1), "wider": cell(3, 0.1, width=32)}
    together({name: measuring(one, space, CONFIG) for name, one in samples.items()})
    assert set(joined) == {0, 2}
    joined.clear()
    dnn = ProbeSpace.of("dnn_concat")
    quick = MeasureConfig(fit=FitConfig(epochs=1), search=SearchConfig(suggestions=1), n_seeds=1)
    together({name: measuring(samples[name], dnn, quick) for name in ("one", "two")})
    assert set(joined) == {0}


def test_one_that_fails_leaves_the_others() -> None:
    space = ProbeSpace.of("linear")
    bad = cell(2, 0.1)
    bad = bad._replace(train=bad.train._replace(activations=np.full((320, 24), np.nan, dtype=np.float32)))
    found = together({"good": measuring(cell(1, 0.1), space, CONFIG), "bad": measuring(bad, space, CONFIG)})
    assert isinstance(found["bad"], NothingTrainedError)
    assert_same(found["good"], measure_samples(cell(1, 0.1), space, CONFIG))


def test_what_sees_no_activations_is_trained_once_for_a_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_together, "_known", type(_together._known)())
    asked: list[FitRequest] = []

    def watched(samples: SplitSamples) -> Measurement:
        steps = measuring(samples, ProbeSpace.of("linear", learning_rate=0.1), CONFIG)
        request = next(steps)
        while True:
            try:
                asked.append(request)
                request = steps.send(request.done())
            except StopIteration as end:
                return end.value

    one = watched(cell(1, 0.1))
    n_trained = len(_together._known)
    other = watched(cell(2, 3.0))
    assert sum(request.is_blind for request in asked) == 2 * CONFIG.n_seeds
    assert n_trained == len(_together._known) == CONFIG.n_seeds
    np.testing.assert_array_equal(one.losses.given, other.losses.given)
    moved = cell(1, 0.1)
    moved = moved._replace(train=moved.train._replace(object_codes=moved.train.object_codes[::-1].copy()))
    watched(moved)
    assert len(_together._known) == 2 * CONFIG.n_seeds, "other labels are another training"


STUDY = """\
name: heads
datasets:
  - {name: twins, scene: twinshapes, split: {train: 64, validation: 32, test: 32}}
backbones: [shipped:shapes_clip_objects]
layers: [all.heads.all, 0, 0.heads]
modes: [cls, all]
probes: [{family: linear}, {family: dnn_concat}, {family: attention_quadratic}]
"""


def test_the_heads_of_a_block_are_one_bundle(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(STUDY)
    readout = BindingReadout()
    bundles: dict[object, list[Cell]] = {}
    for one in readout.cells(load_study(path)):
        if isinstance(one, Cell):
            bundles.setdefault(readout.bundle(one), []).append(one)
    alone = bundles.pop(None)
    assert {len(cells) for cells in bundles.values()} == {4}
    assert len(bundles) == 6
    assert {(one.column("mode"), one.column("probe")) for cells in bundles.values() for one in cells} == {
        ("cls", "linear")
    }
    assert ("0", "cls", "linear") in {one.names for one in alone}
