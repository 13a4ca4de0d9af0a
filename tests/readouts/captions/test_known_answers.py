"""Trained and untrained models on fresh scenes: what the shipped file promises, and what controls must give."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
import torch

from frozen.capture.capture import capture
from frozen.capture.sites import Site
from frozen.data.scenes import FewShapes, SplitPolicy
from frozen.models import BackboneConfig, load
from frozen.models._shipped import shipped_header
from readouts.captions.decode import CaptionChoices, Verbalise
from readouts.captions.parsing import Parser
from readouts.captions.scoring import WrittenCaptions, sample_table
from readouts.captions.stored import sums_of
from readouts.captions.truth import truth_columns

N = 500
CHOICES = CaptionChoices("counted", 4)
SCENE = FewShapes(seed=20_261_130, split=SplitPolicy(train=2, validation=2, test=N))
HELD_OUT = json.loads(shipped_header("shapes_coca")["held_out"])
pytestmark = pytest.mark.slow


class Read(NamedTuple):
    """Captions and likelihoods of one layer of one tower, against scenes of the same order."""

    written: WrittenCaptions

    def samples(self, order: np.ndarray, *, is_shuffled: bool = False) -> pa.Table:
        """Held against scenes whose memories were given out in another order."""
        split = SCENE.open("test")
        own = self.written
        assert own.nats is not None
        captions = [own.captions[i] for i in order]
        written = WrittenCaptions(captions, [own.step_bits[i] for i in order], own.ended[order], own.nats[order])
        truth = truth_columns(captions, split.object_codes, Parser(SCENE.space))
        true = split.captions(np.arange(N), "counted")
        return sample_table(written, np.arange(N), truth, true, choices=CHOICES, is_shuffled=is_shuffled)


def read_layers(source: BackboneConfig, *layers: str) -> dict[str, Read]:
    model = load(source, SCENE, torch.device("cpu"), decoder=True)
    asked = [Verbalise(Site(layer), choices=CHOICES) for layer in layers]
    found = {}
    for one, table in capture(model, SCENE.open("test"), asked).items():
        columns: dict[str, Any] = table.to_pydict()
        bits = [np.array(row) for row in columns["step_bits"]]
        nats = np.array(columns["choice_nats"], dtype=np.float64)
        found[str(one.site)] = Read(WrittenCaptions(columns["caption"], bits, np.array(columns["ended"]), nats))
    return found


@pytest.fixture(scope="module")
def trained() -> dict[str, Read]:
    return read_layers(BackboneConfig(source="shipped:shapes_coca"), "embed", "5")


@pytest.fixture(scope="module")
def untrained() -> dict[str, Read]:
    config = BackboneConfig(source="shipped:shapes_coca").untrained(0)
    assert config is not None
    return read_layers(config, "5")


def percent(samples: pa.Table, column: str) -> float:
    return 100 * sums_of(samples)[column].value


def four_errors(samples: pa.Table, over: str, under: str) -> float:
    """Four standard errors in percent of a ratio of sums over images."""
    a, b = (samples[name].to_numpy() for name in (over, under))
    left = a - b * a.sum() / b.sum()
    return 400 * float(np.sqrt((left**2).sum())) / float(b.sum())


def test_the_last_layer_gives_what_the_file_says(trained: dict[str, Read]) -> None:
    samples = trained["5"].samples(np.arange(N))
    n_objects = SCENE.open("test").object_codes.sum(axis=1)
    words = {1: "one", 2: "two", 3: "three"}
    assert set(n_objects.tolist()) <= set(words)
    exact = np.mean([HELD_OUT[f"exact_{words[n]}"] for n in n_objects])
    pairs = sum(n * HELD_OUT[f"pairs_{words[n]}"] for n in n_objects) / n_objects.sum()
    assert percent(samples, "exact_percent") == pytest.approx(100 * exact, abs=2)
    assert percent(samples, "object_recall_percent") == pytest.approx(100 * pairs, abs=2)
    assert percent(samples, "pair_precision_percent") == pytest.approx(100 * pairs, abs=2)


def test_patches_before_any_block_bind_no_better_than_chance(trained: dict[str, Read]) -> None:
    samples = trained["embed"].samples(np.arange(N))
    chance = percent(samples, "binding_chance_percent")
    assert percent(samples, "binding_accuracy_percent") < chance + four_errors(samples, "pair_hits", "possible")
    last = trained["5"].samples(np.arange(N))
    assert percent(last, "binding_accuracy_percent") > percent(last, "binding_chance_percent") + 10


def test_memories_of_other_images_are_retrieved_at_chance(trained: dict[str, Read]) -> None:
    order = np.roll(np.arange(N), 101)
    samples = trained["5"].samples(order, is_shuffled=True)
    chance = 100 / CHOICES.n_others
    error = 400 * np.sqrt(0.01 * chance * (1 - 0.01 * chance) / N)
    assert percent(samples, "retrieval_percent") == pytest.approx(chance, abs=error)
    assert samples["contrast_bits"].to_numpy().mean() < 0
    own = trained["5"].samples(np.arange(N))
    assert percent(own, "retrieval_percent") > 90
    assert own["contrast_bits"].to_numpy().mean() > 1.5


def test_an_untrained_tower_binds_and_retrieves_at_chance(untrained: dict[str, Read]) -> None:
    for read in untrained.values():
        samples = read.samples(np.arange(N))
        chance = percent(samples, "binding_chance_percent")
        error = four_errors(samples, "pair_hits", "possible")
        assert percent(samples, "binding_accuracy_percent") == pytest.approx(chance, abs=error)
        assert percent(samples, "exact_percent") < 2
        assert percent(samples, "retrieval_percent") < 100 / CHOICES.n_others + 8
