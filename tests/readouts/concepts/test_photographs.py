"""Labelled images in the place of scenes, a corpus without labels, and feature maps of a convolutional network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.needs import Capture, Labels
from frozen.readout.outcome import Outcome
from frozen.testing._readouts import measured
from readouts.concepts.readout import ConceptsReadout
from readouts.concepts.roles import SplitRoles, class_names, held_out
from sweep.study.load import load_study

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 60, 230)}
STUDY = """\
name: photographs
readout: concepts
datasets:
  - {name: corpus, data: table, table: images.csv, labels: [caption], split_column: part, split_values: [train, test]}
  - name: colours
    data: table
    table: images.csv
    labels: [class, group]
    split_column: part
    split_values: [train, test]
backbones: ["shipped:shapes_clip_objects"]
sites: [joint]
corpus: corpus
dictionaries: [{kind: topk, k: 4, expansion: 1}]
training: {steps: 30, batch_size: 64}
names: [{words: [red, green, blue, yellow, circle]}]
templates: ["{}"]
classifiers: [{penalties: [0.003]}, {reads: features, penalties: [0.003]}, {task: features, penalties: [0.003]}]
interventions: [{name: no red, names: ["*"], budget: 3, draws: 2}]
intervals: {resamples: 100}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """90 images of three colours, each with a frame of two kinds."""
    folder = tmp_path_factory.mktemp("photographs")
    rng, lines = np.random.default_rng(0), ["image,class,group,caption,part"]
    for i in range(90):
        name, colour = list(COLOURS.items())[i % 3]
        frame = int(rng.integers(2))
        pixels = np.full((64, 64, 3), 128 + 60 * frame, dtype=np.uint8)
        pixels[16:48, 16:48] = np.clip(np.array(colour) + rng.integers(-15, 15, 3), 0, 255)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        lines.append(f"{i}.png,{name},{frame},an image,{'train' if i < 60 else 'test'}")
    (folder / "images.csv").write_text("\n".join(lines))
    return folder


def made(folder: Path, text: str) -> list[Cell | LeftOut | Mistake]:
    (folder / "study.yaml").write_text(text)
    return list(ConceptsReadout().cells(load_study(folder / "study.yaml")))


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[Cell, Outcome]:
    cells = [one for one in made(folder, STUDY) if isinstance(one, Cell)]
    return dict(measured(ConceptsReadout(), cells))


def row(outcomes: dict[Cell, Outcome], stage: str, variant: str = "") -> dict:
    [found] = [
        outcome.row
        for cell, outcome in outcomes.items()
        if cell.settings.name == stage and variant in cell.settings.variant
    ]
    return dict(found)


def test_a_corpus_without_labels_gives_a_dictionary_for_images_with_classes(outcomes: dict[Cell, Outcome]) -> None:
    of_corpus = [cell.settings.name for cell in outcomes if cell.dataset.name == "corpus"]
    assert of_corpus == ["dictionary", "codes", "names"]
    for cell in outcomes:
        if cell.dataset.name == "corpus":
            assert not list(cell.needs_of(Labels))
    own = sorted(cell.settings.name for cell in outcomes if cell.dataset.name == "colours")
    assert own == ["classifier", "classifier", "codes", "fidelity", "intervention"]


def test_classes_are_told_from_codes_and_features_and_groups_are_the_worst(outcomes: dict[Cell, Outcome]) -> None:
    for variant in ("from codes", "from features"):
        found = row(outcomes, "classifier", variant)
        assert found["accuracy_percent"] > 90
        assert found["chance_percent"] == pytest.approx(100 / 3)
        assert found["n_train"] == 54, "a tenth of 60 images validates"
    [cell] = [one for one in outcomes if one.settings.variant == "classes from codes, fista"]
    samples = outcomes[cell].samples
    assert samples is not None
    assert "in_1" in samples.column_names
    assert "in_2" not in samples.column_names, "two groups, not three classes"
    both = samples.column("in_0").to_numpy() + samples.column("in_1").to_numpy()
    assert (both == 1).all()


def test_what_stands_in_for_x_keeps_what_the_probe_and_the_texts_tell(outcomes: dict[Cell, Outcome]) -> None:
    found = row(outcomes, "fidelity")
    assert found["accuracy_percent"] == row(outcomes, "classifier", "from features")["accuracy_percent"]
    assert found["probe_lost_low"] <= found["probe_lost"] <= found["probe_lost_high"]
    assert found["zero_shot_percent"] > 60
    assert row(outcomes, "intervention")["accuracy_change"] <= 0


def test_splits_play_their_roles_by_name(folder: Path) -> None:
    study = load_study(folder / "study.yaml")
    assert SplitRoles.of(study.datasets[1].config) == ("train", None, "test")
    assert class_names(study.datasets[1].config) == ("blue", "green", "red")
    train, validation = held_out(100, 0)
    assert sorted([*train, *validation]) == list(range(100))
    assert len(validation) == 10
    assert not np.array_equal(validation, held_out(100, 1)[1])


def test_scenes_words_and_missing_splits_are_mistakes(folder: Path) -> None:
    text = STUDY.replace("names: [{words: [red, green, blue, yellow, circle]}]", "names: [{}]")
    assert any(isinstance(one, Mistake) and "photographs" in one.message for one in made(folder, text))
    text = STUDY.replace("split_values: [train, test]", "split_values: [test]")
    [first, *_] = made(folder, text)
    assert isinstance(first, Mistake)
    assert "needs a split 'train'; its splits are test" in first.message


def test_dictionaries_of_feature_maps_have_places_as_rows(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    text = """\
name: maps
readout: concepts
datasets:
  - {name: many, scene: fewshapes, split: {policy: independent, train: 24, validation: 12, test: 16}}
backbones: ["random:test_resnet"]
sites: [1.tokens, final.mean_spatial]
dictionaries: [{kind: topk, k: 4, expansion: 2}]
training: {steps: 5, batch_size: 64}
classifiers: [{reads: features, penalties: [0.1]}, {penalties: [0.1]}]
intervals: {resamples: 100}
"""
    readout = ConceptsReadout()
    cells = [one for one in made(tmp_path, text) if isinstance(one, Cell)]
    assert all(readout.cost(cell, {"train": 24, "test": 16}) > 0 for cell in cells)
    rows = {
        (cell.settings.site, cell.settings.name, cell.settings.variant): outcome.row
        for cell, outcome in measured(readout, cells)
    }
    for site in ("1.tokens", "final.mean_spatial"):
        layout = cells[0].description.layout_of(site.partition(".")[0])
        found = rows[site, "dictionary", ""]
        assert found["width"] == layout.width
        assert found["n_atoms"] == 2 * layout.width
        assert rows[site, "codes", ""]["n_test"] == 16
        assert rows[site, "fidelity", "objects from features, fista"]["zero_shot_percent"] is None
    [capture] = {
        need
        for cell in cells
        for _, need in cell.needs_of(Capture)
        if cell.settings.site == "1.tokens"
        if need.split == "train"
    }
    assert capture.reduction.mode == "all"  # pyright: ignore[reportAttributeAccessIssue]
