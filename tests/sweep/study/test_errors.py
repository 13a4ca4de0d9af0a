"""Study files with mistakes: every message with its line, and all of them at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sweep.study.load import StudyError, load_study
from tests.sweep.mistakes import EMPTY, MISTAKES, STUDY


def changed(*changes: tuple[str, str]) -> str:
    text = STUDY
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_each_mistake(refused, old, new, message):
    assert refused(changed((old, new))) == [message]


def test_empty_lists_of_data_sets_and_probes(refused):
    head, _, tail = STUDY.partition("datasets:")
    assert refused(f"{head}datasets: []\nbackbones:{tail.partition('backbones:')[2]}") == [f"3: datasets: {EMPTY}"]
    head, _, tail = STUDY.partition("probes:")
    assert refused(f"{head}probes: []\nfit:{tail.partition('fit:')[2]}") == [f"11: probes: {EMPTY}"]


def test_objects_that_do_not_fit(refused):
    text = changed(("n_colors: 2", "image_size: 32\n    margin: 20"))
    (line,) = refused(text)
    assert line.startswith("4: datasets[0].object_size: no free place for ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1: the file is empty"),
        ("# only a comment\n", "1: the file is empty"),
        ("---\n", "2: the file is empty"),
        ("- a\n- b\n", "1: expected keys and values, got a list"),
        ("hello\n", "1: expected keys and values, got 'hello'"),
        ("a: [", "1: not valid YAML: expected the node content, but found '<stream end>', while parsing a flow node"),
    ],
)
def test_files_that_hold_no_study(refused, text, message):
    assert refused(text) == [message]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(StudyError, match=r"none\.yaml: there is no such file$"):
        load_study(tmp_path / "none.yaml")


def test_all_mistakes_at_once_in_the_order_of_the_file(refused):
    text = changed(
        ("seed: 0", "sede: 0"),
        ("n_colors: 2", "n_colors: 9\n    n_shape: 3\n    split: {train: 0, test: x}"),
        ("[cls]", "[cl]"),
        ("family: linear", "family: lineer"),
        ("rank: 4", "rank: 0\n    weight_decay: '1'\n    rnk: 3\n    rank: 5"),
        ("epochs: 40", "epochs: 0"),
    )
    assert refused(text) == [
        "2: sede: unknown key 'sede'; did you mean 'seed'?",
        "6: datasets[0].n_colors: must lie in 1..8, got 9",
        "7: datasets[0].n_shape: unknown key 'n_shape'; did you mean 'n_shapes'?",
        "8: datasets[0].split.test: expected a whole number, got 'x'",
        "8: datasets[0].split.train: must be ≥ 1, got 0",
        "12: modes[0]: unknown mode 'cl'; did you mean 'cls'?",
        "14: probes[0].family: unknown family 'lineer'; did you mean 'linear'?",
        "16: probes[1].rank: must be ≥ 1, got 0",
        "17: probes[1].weight_decay: expected a number, got '1'",
        "18: probes[1].rnk: unknown key 'rnk'; did you mean 'rank'?",
        "19: probes[1].rank: duplicate key 'rank', first on line 16",
        "20: fit.epochs: must be ≥ 1, got 0",
    ]


def test_a_misspelt_key_of_a_grid_or_a_choice_is_one_mistake(refused):
    text = changed(
        ("name: small", "nme: small"),
        ("n_colors: 2", "n_colors: {grd: [2, 4]}\n    n_shapes: {grid: 3}"),
        ("rank: 4", "rank: {choises: [4]}\n    weight_decay: {lo: 1, high: 2}"),
    )
    assert refused(text) == [
        "1: nme: unknown key 'nme'; did you mean 'name'?",
        "6: datasets[0].n_colors.grd: unknown key 'grd'; did you mean 'grid'?",
        "7: datasets[0].n_shapes.grid: expected a list, got 3",
        "15: probes[1].rank.choises: unknown key 'choises'; did you mean 'choices'?",
        "16: probes[1].weight_decay.lo: unknown key 'lo'; did you mean 'low'?",
    ]


def test_a_value_that_cannot_be_read_is_reported_once(refused):
    text = changed(("n_colors: 2", "n_colors: *two"), ("[cls]", "!modes [cls]"), ("epochs: 40", "epochs: .nan"))
    assert refused(text) == [
        "6: datasets[0].n_colors: aliases are not supported, got *two; write the value again",
        "10: modes: tags are not supported, got !modes",
        "15: fit.epochs: must be a finite number, got .nan",
    ]


def test_large_and_deep_files_are_refused_quickly(refused):
    start = time.perf_counter()
    assert refused(STUDY + "store: " + "[" * 100_000) == ["17: nested more than 32 levels deep"]
    grid = ", ".join(
        f"{field}: {{grid: {list(range(1, 9))}}}" for field in ("n_colors", "n_shapes", "seed", "margin")
    )
    assert refused(
        changed(("n_colors: 2", f"vary: [{{object_size: 5}}]\n  - {{name: x, scene: colorshape, {grid}}}"))
    ) == ["7: datasets[1]: a grid of 4096 data sets; there can be at most 1000"]
    assert time.perf_counter() - start < 10


def test_many_mistakes_are_counted_and_the_first_are_shown(tmp_path: Path) -> None:
    place = tmp_path / "study.yaml"
    place.write_text("name: wild\n" + "".join(f"unknown_{n}: 1\n" for n in range(5000)))
    with pytest.raises(StudyError) as refusal:
        load_study(place)
    lines = str(refusal.value).splitlines()
    assert len(lines) == 31
    assert any("unknown_0" in line for line in lines)
    assert lines[-1] == f"{len(refusal.value.problems) - 30:,} more mistakes are not shown"
    assert len(refusal.value.problems) >= 5000
