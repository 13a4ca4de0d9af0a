"""What a study of concepts asks for: its cells, what they share, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from frozen.readout.cells import Cell, LeftOut, Mistake
from frozen.readout.needs import Capture, Product
from frozen.readout.study import Study
from readouts.concepts.readout import ConceptsReadout
from sweep.engine.grid import make_grid
from sweep.engine.plan import make_plan
from sweep.engine.sources import unavailable
from sweep.study.errors import StudyError
from sweep.study.load import load_study, locate_in

STUDY = """\
name: small
readout: concepts
datasets:
  - {name: many, scene: fewshapes, split: {policy: independent, train: 100, validation: 50, test: 50}}
  - {name: one, scene: fewshapes, max_objects: 1, split: {policy: independent, train: 100, validation: 50, test: 50}}
backbones: ["shipped:shapes_clip_objects"]
sites: [joint]
corpus: many
dictionaries: [{kind: topk, k: {grid: [2, 4]}}, {kind: relu_l1}]
classifiers: [{}, {reads: features}]
"""


def load(folder: Path, text: str) -> Study:
    (folder / "small.yaml").write_text(text)
    return load_study(folder / "small.yaml")


def made(study: Study) -> list[Cell]:
    return [one for one in ConceptsReadout().cells(study) if isinstance(one, Cell)]


def test_names_change_no_other_cell(tmp_path: Path) -> None:
    without = {cell.cell_id for cell in made(load(tmp_path, STUDY))}
    named = made(load(tmp_path, STUDY + "names: [{}, {words: [red, blue], threshold: 3}]\n"))
    of_names = {cell.cell_id for cell in named if cell.settings.name == "names"}
    assert {cell.cell_id for cell in named} - of_names == without
    assert len(of_names) == 3 * 2
    assert not any(need.name == "names" for cell in named for _, need in cell.needs_of(Product))


def test_several_data_sets_are_read_through_one_dictionary(tmp_path: Path) -> None:
    cells = made(load(tmp_path, STUDY))
    dictionaries = {cell.cell_id for cell in cells if cell.settings.name == "dictionary"}
    assert len(dictionaries) == 3
    assert {cell.dataset.name for cell in cells if cell.cell_id in dictionaries} == {"many"}
    for name in ("many", "one"):
        codes = [cell for cell in cells if cell.settings.name == "codes" and cell.dataset.name == name]
        assert {dict(cell.needs)["dictionary"].giver for cell in codes} == dictionaries  # pyright: ignore
        assert {need.dataset.name for cell in codes for _, need in cell.needs_of(Capture)} == {name}
    assert {cell.dataset.name for cell in cells if cell.settings.name == "binding"} == {"many"}
    probes = [cell for cell in cells if cell.settings.dictionary is None]
    assert len(probes) == 2, "one linear probe a data set, whatever the number of dictionaries"


def test_dictionaries_of_one_site_train_in_one_trial(tmp_path: Path) -> None:
    readout, cells = ConceptsReadout(), made(load(tmp_path, STUDY + "seeds: 2\n"))
    dictionaries = [cell for cell in cells if cell.settings.name == "dictionary"]
    assert len(dictionaries) == 6
    assert len({readout.bundle(cell) for cell in dictionaries}) == 1
    assert sum(cell.settings.name == "stability" for cell in cells) == 3


def test_the_papers_settings_are_a_preset_that_the_study_may_overrule(tmp_path: Path) -> None:
    text = STUDY.replace("{kind: topk, k: {grid: [2, 4]}}, ", "") + "preset: paper\ntraining: {steps: 10}\n"
    keys = load(tmp_path, text).keys
    [dictionary] = keys.dictionaries
    assert (dictionary.expansion, dictionary.penalty, dictionary.learning_rate) == (8.0, 3e-5, 5e-4)
    training = keys.training
    assert (training.centre, training.scale, training.initialisation, training.steps) == (False, False, "paper", 10)
    assert training.centred_resampling is False
    assert [one.solver for one in keys.classifiers] == ["adam", "adam"]


def test_sites_without_texts_have_no_names_unless_images_give_them(tmp_path: Path) -> None:
    text = STUDY.replace("sites: [joint]", "sites: [1.cls]")
    found = list(ConceptsReadout().cells(load(tmp_path, text + "names: [{}]\n")))
    assert any(isinstance(one, LeftOut) and "only joint" in one.reason for one in found)
    by_images = text + "names: [{images: 'shipped:shapes_clip_features'}]\n"
    assert any(cell.settings.name == "names" for cell in made(load(tmp_path, by_images)))
    coca = load(tmp_path, STUDY.replace("shapes_clip_objects", "shapes_vit_objects"))
    [left] = {one.reason for one in ConceptsReadout().cells(coca) if isinstance(one, LeftOut)}
    assert "has no text tower" in left


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sites: [final]", "sites[0]: expected joint, embedding or LAYER.MODE"),
        ("sites: [1.heds.cls]", "no part 'heds' of a layer"),
        ("corpus: few", "corpus: must be one of the data sets many, one, got 'few'"),
        ("dictionaries: [{kind: topk, k: 0}]", "dictionaries[0].k: must be ≥ 1, got 0"),
        ("dictionaries: [{kind: relu_l1, dead: auxk}]", "auxk is for topk, batchtopk, matryoshka"),
        ("names: [{templates: [a]}]", "must contain {}"),
        ("interventions: [{name: a, names: ['*red*']}]", "choose atoms by their names"),
        ("classifiers: [{}, {}]", "classifiers: has an entry twice"),
    ],
)
def test_mistakes_say_what_is_wrong(line: str, message: str, tmp_path: Path) -> None:
    key = line.partition(":")[0]
    rest = "".join(one for one in STUDY.splitlines(keepends=True) if not one.startswith(f"{key}:"))
    with pytest.raises(StudyError) as raised:
        load(tmp_path, f"{rest}{line}\n")
    assert message in str(raised.value)


def test_what_needs_a_file_that_is_not_there_waits_for_it(tmp_path: Path) -> None:
    text = STUDY.replace("{kind: relu_l1}]", "{kind: relu_l1, weights: sae.pt}]")
    text += "names: [{words: words.txt}, {}]\ninterventions: [{name: no red, names: ['*red*']}]\n"
    cells = made(load(tmp_path, text))
    waiting = {
        file: {cell.cell_id for cell in cells if any(file in str(missing) for missing in cell.absent)}
        for file in ("sae.pt", "words.txt")
    }
    for cell in cells:
        stage = cell.settings
        from_file = stage.dictionary is not None and stage.dictionary.weights is not None
        assert (cell.cell_id in waiting["sae.pt"]) == from_file
        assert (cell.cell_id in waiting["words.txt"]) == (
            stage.names is not None and stage.names.words == "words.txt"
        )
        if not cell.absent:  # no cell that can be measured needs one that waits
            givers = {need.giver for _, need in cell.needs_of(Product)}
            assert not givers & (waiting["sae.pt"] | waiting["words.txt"])
    assert {cell.settings.name for cell in cells if cell.cell_id in waiting["words.txt"]} == {"names", "intervention"}
    [line] = {str(missing) for cell in cells for missing in cell.absent if "words.txt" in str(missing)}
    assert line.startswith("the list of texts words.txt is not there (looked for at /")
    (tmp_path / "words.txt").write_text("red\nblue\n")
    (tmp_path / "sae.pt").write_bytes(b"looked at when it is measured")
    assert not any(cell.absent for cell in made(load(tmp_path, text)))


def test_a_list_of_texts_with_an_empty_line_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text("red\n\nblue\n")
    study = load(tmp_path, STUDY + "names: [{}, {words: words.txt}]\n")
    [mistake] = [one for one in ConceptsReadout().cells(study) if isinstance(one, Mistake)]
    assert mistake.path == ("names", 1, "words")
    assert "words.txt:2: is empty" in mistake.message


def test_what_reads_a_dictionary_of_absent_data_is_left_missing_too(tmp_path: Path) -> None:
    absent = (
        "{name: cc3m, data: webdataset, root: nowhere, shards: ['train=a.tar', 'test=b.tar'], transform: {size: 64}}"
    )
    text = STUDY.replace("  - {name: many", f"  - {absent}\n  - {{name: many").replace("corpus: many", "corpus: cc3m")
    study = load(tmp_path, text)
    grid = make_grid(study, ConceptsReadout(), locate_in(tmp_path / "small.yaml", ()))
    plan = make_plan(grid, {}, None, unavailable)
    assert {cell.settings.dictionary for cell in plan.to_do} == {None}, "the linear probes on the activations"
    assert {cell.dataset.name for cell in plan.to_do} == {"many", "one"}
    codes = next(cell for cell in plan.unavailable if cell.settings.name == "codes" and cell.dataset.name == "many")
    assert "a.tar is not there" in plan.unavailable[codes][0]
    rows = {cell.cell_id: {"status": "done"} for cell in grid.cells if cell.dataset.name == "cc3m"}
    assert not make_plan(grid, rows, None, unavailable).unavailable
