"""Known answers at full length: planted dictionaries, resampling, units, and atoms of a shipped CLIP."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from frozen.models.joint import open_joint
from frozen.readout.cells import Cell
from frozen.readout.outcome import Outcome
from frozen.testing._readouts import measured
from readouts.concepts.dictionary import Dictionary
from readouts.concepts.naming import from_bytes, table_of_names
from readouts.concepts.quality import match, quality
from readouts.concepts.readout import ConceptsReadout
from readouts.concepts.settings import DictionaryConfig, TrainingConfig
from readouts.concepts.stack import Stack, silent_atoms
from readouts.concepts.stream import Stream
from readouts.concepts.texts import read_texts, scene_texts
from readouts.concepts.training import DictionaryRun, restart, train
from sweep.study.load import load_study
from tests.readouts.concepts.planted import CPU, mmcs, planted, trained

pytestmark = pytest.mark.slow

LONG = TrainingConfig(steps=3000, batch_size=512)
RAW = replace(LONG, centre=False, scale=False, warm_up=0.0, decay=0.0, clip=0.0)


def test_twice_as_many_atoms_are_found_in_twice_the_width() -> None:
    atoms, rows = planted(0, width=64, n_atoms=128, share=0.03)
    one = trained(rows, DictionaryConfig(kind="relu_l1"), replace(LONG, steps=4000))
    assert mmcs(atoms, one, rows) > 0.98


def test_without_scaling_larger_units_lose_the_atoms() -> None:
    """What the published code does; with scaling both are the same."""
    atoms, rows = planted(0)
    raw = DictionaryConfig(kind="relu_l1", penalty=1e-2, dead="none")
    found = {factor: trained(factor * rows, raw, replace(RAW, initialisation="paper")) for factor in (1.0, 10.0)}
    assert mmcs(atoms, found[1.0], rows) > 0.97
    assert mmcs(atoms, found[10.0], 10 * rows) < 0.90
    active = [float(quality(found[f], f * rows, CPU).l0.mean()) for f in (1.0, 10.0)]
    assert active[1] > 4 * active[0]
    scaled = {f: trained(f * rows, DictionaryConfig(kind="relu_l1"), LONG) for f in (1.0, 10.0)}
    one, ten = (mmcs(atoms, scaled[f], f * rows) for f in (1.0, 10.0))
    assert one > 0.97
    assert ten == pytest.approx(one, abs=0.01)
    l0 = [float(quality(scaled[f], f * rows, CPU).l0.mean()) for f in (1.0, 10.0)]
    assert l0[1] == pytest.approx(l0[0], rel=0.01)


def test_restarts_from_centred_rows_find_most_raw_ones_fewer_and_none_fewest() -> None:
    """After 500 steps half the atoms are killed; then three times a restart, where there is one, and 500 steps."""
    atoms, rows = planted(0, width=64, n_atoms=128, share=0.03, offset=3.0)
    found = {how: _with_restarts(atoms, rows, how) for how in ("centred", "raw", "none")}
    assert found["centred"] > 0.97
    assert found["raw"] < 0.92
    assert found["none"] < 0.90


def _with_restarts(atoms: torch.Tensor, rows: np.ndarray, how: str) -> float:
    training = replace(RAW, centred_resampling=how == "centred")
    stack = Stack([DictionaryConfig(kind="relu_l1", expansion=2.5, penalty=6e-3)], [0], 64, training, CPU)
    optimiser = torch.optim.Adam(stack.parameters, lr=3e-3)
    batches, generator = Stream(rows, 512, seed=0).batches(), torch.Generator().manual_seed(0)

    def steps(n: int) -> torch.Tensor:
        fires = torch.zeros(1, 160, dtype=torch.long)
        for x, _ in zip(batches, range(n), strict=False):
            optimiser.zero_grad()
            done = stack.run(x, 1.0)
            done.loss.sum().backward()
            stack.project()
            optimiser.step()
            stack.renormalise()
            fires += done.fires
        return fires

    steps(500)
    with torch.no_grad():
        stack.encoder_bias[:, ::2] = -10
    fires = steps(200)
    for _ in range(3):
        if how != "none":
            pool = torch.cat([next(batches) for _ in range(8)])
            [silent] = silent_atoms(fires)
            restart(stack, optimiser, 0, silent, pool, stack.row_losses(pool)[0], generator)
        fires = steps(500)
    return mmcs(atoms, stack.dictionary(0, torch.zeros(64), 1.0), rows)


def test_trainings_agree_on_what_is_there_and_not_on_noise() -> None:
    _, rows = planted(0)
    noise = np.random.default_rng(0).standard_normal((50_000, 32)).astype(np.float32)
    config = DictionaryConfig(kind="topk", k=3)
    found = []
    for array in (rows, noise):
        members = [DictionaryRun(config, seed) for seed in (0, 1)]
        one, other = (each.dictionary for each in train(array, members, LONG, seed=0, device=CPU))
        alive = [quality(each, array, CPU).fires > 0.01 * len(array) for each in (one, other)]
        found.append(match(one, other, *alive).mean())
    assert found[0] > 0.95
    assert found[1] < 0.5


STUDY = """\
name: one_object
readout: concepts
datasets:
  - name: one
    scene: fewshapes
    max_objects: 1
    split: {policy: independent, train: 4000, validation: 1000, test: 1000}
backbones: ["shipped:shapes_clip_objects"]
sites: [joint]
dictionaries: [{kind: topk, k: 1, expansion: 0.5}]  # with two, some kinds have an atom of colour and one of shape
training: {steps: 2000, batch_size: 256}
names: [{}]
intervals: {resamples: 100}
"""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[Cell, Outcome]:
    path = tmp_path_factory.mktemp("one") / "study.yaml"
    path.write_text(STUDY)
    readout = ConceptsReadout()
    return dict(measured(readout, [one for one in readout.cells(load_study(path)) if isinstance(one, Cell)]))


def row(outcomes: dict[Cell, Outcome], stage: str) -> dict[str, object]:
    return dict(given_by(outcomes, stage)[1].row)


def test_all_kinds_of_a_shipped_clip_have_an_atom_of_their_name(outcomes: dict[Cell, Outcome]) -> None:
    names = row(outcomes, "names")
    assert names["n_atoms"] == 32
    assert names["n_texts"] == 24
    assert names["kinds_detected"] == 16
    assert int(str(names["kinds_named"])) >= 15


def given_by(outcomes: dict[Cell, Outcome], stage: str) -> tuple[Cell, Outcome]:
    return next((cell, outcome) for cell, outcome in outcomes.items() if cell.settings.name == stage)


def test_shuffled_texts_name_by_chance(outcomes: dict[Cell, Outcome]) -> None:
    cell, outcome = given_by(outcomes, "names")
    truth = from_bytes(outcome.products["names"])["truth"].to_pylist()
    directions = Dictionary.from_bytes(given_by(outcomes, "dictionary")[1].products["dictionary"]).directions
    vocabulary = read_texts(open_joint(cell.backbone), cell.settings.texts, ("{}",))
    pairs: list[bool] = []
    for seed in range(50):
        order = np.random.default_rng(seed).permutation(len(vocabulary.texts))
        texts = [vocabulary.texts[i] for i in order]
        named = table_of_names(directions, vocabulary.vectors, texts, threshold=-1e9, seed=0)["text"].to_pylist()
        pairs += [one == two for one, two in zip(truth, named, strict=True) if one is not None]
    assert np.mean(pairs) == pytest.approx(1 / 24, abs=0.02)


def test_what_stands_in_for_x_keeps_zero_shot_accuracy_and_the_mean_keeps_none(outcomes: dict[Cell, Outcome]) -> None:
    found = row(outcomes, "dictionary")
    assert float(str(found["explained_variance"])) > 0.95
    assert abs(float(str(found["zero_shot_lost"]))) < 2
    cell, outcome = given_by(outcomes, "dictionary")
    dictionary, scene = Dictionary.from_bytes(outcome.products["dictionary"]), cell.dataset.config
    vectors = read_texts(open_joint(cell.backbone), scene_texts(scene)[:16], ("{}",)).vectors
    best = int((dictionary.decode(torch.zeros(1, 32)) @ vectors.T).argmax())
    shows = scene.open("test").object_codes[:, best] > 0
    assert 100 * shows.mean() == pytest.approx(100 / 16, abs=4)
