"""Studies that name several read-outs: what is shared, what is each one's own, and mistakes in either."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from frozen.readout.readout import find_readout
from frozen.readout.study import Study
from sweep.engine.grid import Grid, joined, make_grid, make_grids
from sweep.study.load import StudyError, dump_yaml, load_file, load_study, locates_in

WHOLE = """
name: both
seed: 3
datasets:
  - {name: few, scene: fewshapes, split: {train: 20, validation: 10, test: 10}}
  - {name: twins, scene: twinshapes, split: {train: 20, validation: 10, test: 10}}
backbones:
  - shipped:shapes_coca
  - shipped:shapes_vit_objects
layers: [1, final]
store: {dtype: float32}
readouts:
  binding:
    controls: [noise]
    modes: [cls]
    probes: [{family: linear}]
  captions:
    datasets: [twins]
    backbones: ["shipped:shapes_coca"]
    layers: [5]
"""
BINDING = """
name: alone
readout: binding
seed: 3
datasets:
  - {name: few, scene: fewshapes, split: {train: 20, validation: 10, test: 10}}
  - {name: twins, scene: twinshapes, split: {train: 20, validation: 10, test: 10}}
backbones: [shipped:shapes_coca, shipped:shapes_vit_objects]
layers: [1, final]
store: {dtype: float32}
controls: [noise]
modes: [cls]
probes: [{family: linear}]
"""


def studies(text: str, folder: Path) -> dict[str, Study]:
    path = folder / "study.yaml"
    path.write_text(text)
    return dict(load_file(path).studies)


def mistakes(text: str, folder: Path) -> list[tuple[int | None, str, str]]:
    path = folder / "study.yaml"
    path.write_text(text)
    with pytest.raises(StudyError) as caught:
        load_file(path)
    return [(problem.line, problem.path, problem.message) for problem in caught.value.problems]


def grids_of(file: Path) -> Mapping[str, Grid]:
    studies = load_file(file).studies
    return make_grids(studies, {name: find_readout(name) for name in studies}, locates_in(file))


def test_what_stands_at_the_top_is_shared_and_what_stands_under_a_readout_is_its_own(tmp_path: Path) -> None:
    found = studies(WHOLE, tmp_path)
    binding, captions = found["binding"], found["captions"]
    assert [one.name for one in binding.datasets] == ["few", "twins"]
    assert [one.name for one in captions.datasets] == ["twins"]
    assert [one.source for one in captions.backbones] == ["shipped:shapes_coca"]
    assert (binding.keys.layers, captions.keys.layers) == ((1, "final"), (5,))
    assert (binding.controls, captions.controls) == (("noise",), ())
    assert (binding.seed, captions.seed) == (3, 3)
    assert captions.store.dtype == "float32"


def test_a_part_has_the_cells_of_the_study_that_it_would_be_alone(tmp_path: Path) -> None:
    path, alone = tmp_path / "study.yaml", tmp_path / "alone.yaml"
    path.write_text(WHOLE)
    alone.write_text(BINDING)
    readouts = {name: find_readout(name) for name in ("binding", "captions")}
    grids = make_grids(load_file(path).studies, readouts, locates_in(path))
    own = make_grid(load_study(alone), readouts["binding"], locates_in(alone)["binding"])
    assert [cell.cell_id for cell in grids["binding"].cells] == [cell.cell_id for cell in own.cells]
    assert len(joined(grids.values()).cells) == sum(len(grid.cells) for grid in grids.values())


def test_the_resolved_file_gives_the_same_studies(tmp_path: Path) -> None:
    path, again = tmp_path / "study.yaml", tmp_path / "again.yaml"
    path.write_text(WHOLE)
    file = load_file(path)
    again.write_text(dump_yaml(file.resolved_in(tmp_path)))
    assert load_file(again).studies == file.studies
    assert load_file(again).resolved() == file.resolved()


def test_the_study_of_a_part_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / "part.yaml"
    captions = studies(WHOLE, tmp_path)["captions"]
    path.write_text(dump_yaml(captions.resolved_in(tmp_path)))
    assert load_study(path) == captions
    assert captions.name == "both.captions"


@pytest.mark.parametrize(
    ("old", "new", "line", "path", "message"),
    [
        (
            "  captions:\n",
            "  caption:\n",
            17,
            "readouts.caption",
            "unknown readout 'caption'; did you mean 'captions'?",
        ),
        ("layers: [1, final]", "layer: [1]", 10, "layer", "unknown key 'layer'; did you mean 'layers'?"),
        ("modes: [cls]", "mode: [cls]", 15, "readouts.binding.mode", "unknown key 'mode'; did you mean 'modes'?"),
        ("modes: [cls]", "modes: [clss]", 15, "readouts.binding.modes[0]", "did you mean 'cls'?"),
        ("[twins]", "[twin]", 18, "readouts.captions.datasets[0]", "no data set of this name at the top, got 'twin'"),
        ("layers: [5]", "seed: 1", 20, "readouts.captions.seed", "'seed' is of the whole study"),
        ("layers: [5]", "layers: [9]", 20, "readouts.captions.layers", "no layer 9"),
        ("seed: 3", "seed: x", 3, "seed", "expected a whole number"),
        ("seed: 3", "readout: binding", 3, "readout", "under 'readouts', or a single one here"),
        ("modes: [cls]", "datasets: [twins]", 5, "datasets[0]", "no read-out reads it"),
    ],
)
def test_mistakes_are_told_where_they_stand(
    old: str, new: str, line: int, path: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(WHOLE.replace(old, new))
    with pytest.raises(StudyError) as caught:
        grids_of(file)
    told = [(one.line, one.path, one.message) for one in caught.value.problems]
    assert any(one[:2] == (line, path) and message in one[2] for one in told), told


def test_readouts_must_be_named(tmp_path: Path) -> None:
    [(line, path, message)] = mistakes("name: x\nreadouts: {}\n", tmp_path)
    assert (line, path) == (2, "readouts")
    assert message == "expected read-outs, each with its own keys, got none"


def test_who_needs_one_study_is_told_that_there_are_several(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(WHOLE)
    with pytest.raises(StudyError, match=r"has several read-outs; name the folder of one.*binding, captions"):
        load_study(path)
