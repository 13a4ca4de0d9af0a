"""What a study says, what is made of it, and mistakes in one message each."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from frozen.readout.cells import Cell, LeftOut, Mistake
from readouts.text_decomposition.cells import split_names
from readouts.text_decomposition.files import digest_of, lines_of
from readouts.text_decomposition.readout import TextDecomposition
from sweep.study.load import StudyError, load_study

STUDY = """\
name: keys
readout: text_decomposition
datasets:
  - {name: single, scene: fewshapes, max_objects: 1, split: {train: 2, validation: 20, test: 20}}
backbones: ["shipped:shapes_clip_objects"]
"""


def study(tmp_path: Path, more: str = ""):
    path = tmp_path / "study.yaml"
    path.write_text(STUDY + more)
    return load_study(path)


def made(tmp_path: Path, more: str = "") -> list[Cell | LeftOut | Mistake]:
    return list(TextDecomposition().cells(study(tmp_path, more)))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("analyses: [heads, tails]", "analyses"),
        ("textspan: {texts: 0}", "must be ≥ 1, got 0"),
        ("templates: [a photo]", "must hold {}, where the class goes, got 'a photo'"),
        ("sets: {some: [head 3]}", "'head 3' is no term; write 11.3, 11, mlp.11, init or mlps"),
        ("heatmap: {threshold: 2.0}", "must lie in 0..1, got 2.0"),
        ("heatmap: {layers: [-1]}", "must be numbers of blocks from 0, got [-1]"),
        ('heatmap: {heads: ["5"]}', "'5' is no head; write 11.3 for head 3 of block 11"),
        ("templates: 'open_clip:imagenet_template'", "did you mean 'open_clip:imagenet_templates'?"),
        ("templates: nowhere.txt", "the list of templates nowhere.txt cannot be read"),
        ("spurious: {share: 3.0}", "must lie in -1..1, got 3.0"),
        ("spurious: {cue: color, target: color}", "must be another feature than the target, both are 'color'"),
    ],
)
def test_mistakes_are_told_in_one_message(tmp_path: Path, more: str, message: str) -> None:
    with pytest.raises(StudyError) as error:
        study(tmp_path, more)
    assert message in str(error.value)


def test_a_cue_that_no_data_set_has_is_told_by_its_place(tmp_path: Path) -> None:
    for key, name, hint in (("cue", "colour", "did you mean 'color'?"), ("target", "size", "known: ")):
        [mistake] = [one for one in made(tmp_path, f"spurious: {{{key}: {name}}}") if isinstance(one, Mistake)]
        assert mistake.path == ("spurious", key)
        assert mistake.message.startswith(f"no data set has a feature {name!r}; {hint}")


def test_target_and_cue_that_are_one_are_left_out(tmp_path: Path) -> None:
    found = made(tmp_path, "analyses: [spurious]\nspurious: {target: color}\n")
    reasons = {one.reason for one in found if isinstance(one, LeftOut)}
    assert reasons == {"target and cue are both color; name two features of color, shape"}


def test_terms_that_the_backbone_does_not_have_are_told(tmp_path: Path) -> None:
    [mistake] = [one for one in made(tmp_path, 'sets: {some: ["9.1"]}') if isinstance(one, Mistake)]
    assert mistake.message == "shipped:shapes_clip_objects: 9.1: its blocks are numbered 0 to 5"
    for more in ('heatmap: {heads: ["5.9"]}', "heatmap: {layers: [6]}"):
        [mistake] = [one for one in made(tmp_path, more) if isinstance(one, Mistake)]
        assert "are numbered 0 to" in mistake.message
        assert mistake.path == ("heatmap",)


def test_a_backbone_without_texts_is_left_out_with_the_reason(tmp_path: Path) -> None:
    found = made(tmp_path, "").copy()
    assert any(isinstance(one, Cell) for one in found)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.replace("shapes_clip_objects", "shapes_vit_objects"))
    [left] = list(TextDecomposition().cells(load_study(path)))
    assert isinstance(left, LeftOut)
    assert "has no text tower here" in left.reason


def test_a_backbone_that_pools_two_tokens_is_left_out_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    own = STUDY.replace("shipped:shapes_clip_objects", "random:deit_tiny_distilled_patch16_224")
    path.write_text(own + '\njoint: {clip: "shipped:shapes_clip_objects"}\n')
    [left] = list(TextDecomposition().cells(load_study(path)))
    assert isinstance(left, LeftOut)
    assert "what comes after its blocks is not known" in left.reason


def test_what_needs_two_objects_is_left_out_of_scenes_of_one(tmp_path: Path) -> None:
    found = made(tmp_path)
    cells = [one for one in found if isinstance(one, Cell)]
    assert {cell.column("analysis") for cell in cells} == {
        "decomposition",
        "ablation",
        "heads",
        "textspan",
        "heatmap",
        "neighbours",
        "spurious",
    }
    assert any(isinstance(one, LeftOut) and "never have two objects" in one.reason for one in found)


def test_a_grid_of_textspan_becomes_cells_of_their_own(tmp_path: Path) -> None:
    more = "analyses: [textspan]\ntextspan: {texts: {grid: [2, 3]}, norm_split: {grid: [uniform, own_mean]}}"
    keys = study(tmp_path, more).keys
    assert len(keys.textspan) == 4
    assert keys.resolved()["textspan"]["texts"] == {"grid": [2, 3]}
    cells = [one for one in made(tmp_path, more) if isinstance(one, Cell)]
    assert len({cell.column("setting") for cell in cells}) == 5
    assert len({cell.cell_id for cell in cells}) == len(cells)


def test_templates_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "templates.txt").write_text("a drawing of {}\n\nsome {}\n")
    keys = study(tmp_path, f"templates: {tmp_path / 'templates.txt'}").keys
    assert keys.templates == ("a drawing of {}", "some {}")
    assert keys.resolved()["templates"] == ["a drawing of {}", "some {}"]
    (tmp_path / "templates.txt").write_text("no place\n")
    with pytest.raises(StudyError, match="must hold"):
        study(tmp_path, f"templates: {tmp_path / 'templates.txt'}")


def ids(tmp_path: Path, more: str) -> list[str]:
    return [one.cell_id for one in made(tmp_path, more) if isinstance(one, Cell)]


def test_what_a_pool_holds_is_part_of_the_identity(tmp_path: Path) -> None:
    pool = tmp_path / "pool.txt"
    more = f"analyses: [textspan]\ntextspan: {{pool: {pool}}}"
    pool.write_text("red\nblue\n")
    first = ids(tmp_path, more)
    assert ids(tmp_path, more) == first
    pool.write_text("red\ngreen\n")
    assert not {*ids(tmp_path, more)} & {*first}


def test_what_came_later_leaves_identities_alone_where_it_says_nothing(tmp_path: Path) -> None:
    plain = ids(tmp_path, "analyses: [heatmap]")
    assert ids(tmp_path, "analyses: [heatmap]\nheatmap: {heads: [], masks: aligned}") == plain
    assert len({*ids(tmp_path, "analyses: [heatmap]\nheatmap: {layers: [5]}")} & {*plain}) == 1


def test_the_papers_preset_fills_in_what_is_left_out(tmp_path: Path) -> None:
    keys = study(tmp_path, "preset: paper").keys
    assert (keys.means, keys.textspan[0].rank, keys.neighbours.metric) == ("evaluated", 80, "dot")
    assert keys.heatmap.masks == "squashed"
    more = "means: held_out\ntextspan: {rank: 5}\nneighbours: {metric: cosine}\nheatmap: {masks: aligned}"
    own = study(tmp_path, f"preset: paper\n{more}").keys
    assert (own.means, own.textspan[0].rank, own.neighbours.metric) == ("held_out", 5, "cosine")
    assert own.heatmap.masks == study(tmp_path).keys.heatmap.masks == "aligned"
    assert study(tmp_path).keys.means == "held_out"


def test_splits_are_found_by_their_names(tmp_path: Path) -> None:
    keys = study(tmp_path).keys

    class Data:
        splits = ("train", "val")

    assert split_names(keys, Data()) == ("train", "val")
    assert split_names(keys, object()) == ("validation", "test")
    other = study(tmp_path, "fit_split: trian").keys
    with pytest.raises(ValueError, match="no split trian; did you mean 'train'"):
        split_names(other, Data())


@pytest.mark.skipif(find_spec("open_clip") is None, reason="open_clip is an extra")
def test_texts_of_a_package_are_read_from_it(tmp_path: Path) -> None:
    keys = study(tmp_path, "templates: 'open_clip:imagenet_templates'").keys
    assert len(keys.templates) == 80
    assert all(template.count("{}") == 1 for template in keys.templates)
    names = lines_of("open_clip:imagenet_classes", "list of classes")
    assert len(names) == 1000
    assert names[0] == "tench"
    assert digest_of("open_clip:imagenet_classes") != digest_of("open_clip:imagenet_templates") != ""


def test_lists_lie_beside_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more = "analyses: [textspan]\ntextspan: {pool: lists/pool.txt}"
    cells = [one for one in made(tmp_path, more) if isinstance(one, Cell)]
    [line] = {str(missing) for cell in cells for missing in cell.absent}
    assert line.startswith("the pool lists/pool.txt cannot be read: No such file or directory (looked for at /")
    assert line.endswith("pool.txt); put it there, or name another list")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "pool.txt").write_text("red\nblue\n")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    found = [one for one in made(tmp_path, more) if isinstance(one, Cell)]
    assert not any(cell.absent for cell in found)
    settings = {cell.column("setting") for cell in found if cell.column("analysis") == "textspan"}
    assert all(str(one).endswith(", lists/pool.txt") for one in settings)
