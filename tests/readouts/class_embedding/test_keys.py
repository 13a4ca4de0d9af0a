from __future__ import annotations

from pathlib import Path

import pytest

from frozen.readout.cells import Cell, LeftOut, Mistake
from readouts.class_embedding.cells import cells
from readouts.class_embedding.keys import PAPER
from sweep.study.load import load_study

STUDY = str(Path(__file__).parents[3] / "search_spaces" / "class_embedding.yaml")


def test_the_preset_sets_what_is_not_given() -> None:
    study = load_study(STUDY, ["preset=paper", "softmax=single"])
    resolved = study.keys.resolved()
    given = {"softmax": "single", "deletion_steps": 8}
    assert {name: resolved[name] for name in PAPER} == {**PAPER, **given}
    assert load_study(STUDY, []).keys.resolved()["class_patches"] == "any"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("backbones=[shipped:shapes_vit_objects]", "shapes_vit_objects has no classifier; shipped:shapes_vit_class"),
        ("datasets=[{name: a, scene: colorshape}]", "a: the data set says no class of its images; choose one"),
    ],
)
def test_what_has_no_class_is_refused_with_the_reason(override: str, message: str) -> None:
    found = [made for made in cells(load_study(STUDY, [override])) if isinstance(made, Mistake)]
    assert message in found[0].message


def test_what_is_no_memory_is_told_with_its_place() -> None:
    with pytest.raises(Exception, match=r"BLOCK.mlp.NUMBER, got '5.heads.1'"):
        load_study(STUDY, ["inspect=[5.mlp.3, 5.heads.1]"])


def test_a_memory_that_is_not_there_is_left_out_with_the_reason() -> None:
    found = [made for made in cells(load_study(STUDY, ["inspect=[5.mlp.100000]"])) if isinstance(made, LeftOut)]
    assert any("its memories are numbered 0 to" in one.reason for one in found)


def test_settings_of_other_cells_do_not_change_a_cell() -> None:
    def ids(*overrides: str) -> dict[tuple[str, ...], str]:
        made = cells(load_study(STUDY, ["controls=[]", *overrides]))
        return {cell.names: cell.cell_id for cell in made if isinstance(cell, Cell)}

    before, after = ids(), ids("deletion_steps=4", "probe_alpha=2.0", "layers=[4, 5]", "conditions=[no_cls]")
    for names, cell_id in after.items():
        changes = names[0] == "probe" or names[0].startswith("keep_")
        assert (before[names] != cell_id) == changes, names
    assert set(after) < set(before)
