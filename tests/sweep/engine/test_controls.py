"""Controls of backbones: the architecture untrained, and activations of other samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from frozen.models import BackboneConfig, load
from frozen.readout.cells import Cell
from frozen.readout.readout import find_readout
from frozen.readout.study import Study
from sweep.engine.again import measured_again
from sweep.engine.controls import PermutedRows
from sweep.engine.grid import Grid, make_grid
from sweep.results.columns import identity_columns
from sweep.study.load import StudyError, load_study, locate_in

STUDY = """\
name: controlled
datasets:
  - {name: shapes, scene: colorshape, n_colors: 2, n_shapes: 2, max_objects: 4, image_size: 64, object_size: 12,
     split: {policy: independent, train: 400, validation: 100, test: 150}}
backbones: [shipped:shapes_vit_objects]
controls: [random_init, shuffled, pixels, oracle]
layers: [2, final]
modes: [cls]
probes: [{family: linear, learning_rate: 0.1}]
fit: {epochs: 3, batch_size: 128}
search: {suggestions: 1}
intervals: {resamples: 200}
"""


def read(tmp_path: Path, text: str = STUDY) -> tuple[Study, tuple[Cell, ...]]:
    path = tmp_path / "controlled.yaml"
    path.write_text(text)
    study = load_study(path)
    return study, make_grid(study, find_readout("binding"), locate_in(path)).cells


def test_every_backbone_has_its_controls_and_rows_say_whose_they_are(tmp_path: Path) -> None:
    study, cells = read(tmp_path)
    assert study.controls == ("random_init", "shuffled", "pixels", "oracle_objects")
    shipped = "shipped:shapes_vit_objects"
    found = [
        (row["backbone"], row["control"], row["control_of"], row["layer"], row["is_control"])
        for row in (identity_columns(cell) for cell in cells)
    ]
    assert found == [
        (shipped, None, None, "2", False),
        (shipped, None, None, "final", False),
        (f"random_init:{shipped}", "random_init", shipped, "2", True),
        (f"random_init:{shipped}", "random_init", shipped, "final", True),
        (f"shuffled:{shipped}", "shuffled", shipped, "final", True),
        ("pixels", "pixels", None, "code", True),
        ("oracle_objects", "oracle_objects", None, "code", True),
    ]
    assert len({cell.cell_id for cell in cells}) == len(cells)
    assert [identity_columns(cell)["layer_index"] for cell in cells[:5]] == [2, 6, 2, 6, 6]


def test_what_is_no_control_keeps_its_identity(tmp_path: Path) -> None:
    _, cells = read(tmp_path)
    _, without = read(tmp_path, STUDY.replace("controls: [random_init, shuffled, pixels, oracle]\n", ""))
    assert [cell.cell_id for cell in cells[:2]] == [cell.cell_id for cell in without]


@pytest.mark.parametrize("control", ["random_init", "shuffled"])
def test_a_control_of_backbones_needs_one(tmp_path: Path, control: str) -> None:
    text = STUDY.replace("backbones: [shipped:shapes_vit_objects]\n", "").replace("random_init, shuffled", control)
    with pytest.raises(StudyError, match=f"{control} is a control of backbones, and there are none"):
        read(tmp_path, text)


def test_an_untrained_backbone_has_no_untrained_version(tmp_path: Path) -> None:
    _, cells = read(tmp_path, STUDY.replace("shipped:shapes_vit_objects", "random:test_vit"))
    assert not any(cell.control == "random_init" for cell in cells)
    assert any(cell.control == "shuffled" for cell in cells)


@pytest.mark.parametrize(
    ("source", "untrained"),
    [
        ("timm:vit_tiny_patch16_224", "random:vit_tiny_patch16_224"),
        ("hf:some/model", "random:hf:some/model"),
        ("shipped:shapes_vit_objects", "random:shipped:shapes_vit_objects"),
        ("random:test_vit", None),
        ("control:noise", None),
    ],
)
def test_the_untrained_version_of_a_source(source: str, untrained: str | None) -> None:
    found = BackboneConfig(source=source).untrained(3)
    assert (found and found.source) == untrained


def test_each_backbone_has_an_untrained_version_of_its_own(tmp_path: Path) -> None:
    objects, features = (BackboneConfig(source=f"shipped:shapes_vit_{target}") for target in ("objects", "features"))
    drawn = [source.untrained(seed) for source in (objects, features) for seed in (0, 1)]
    assert len({found.seed for found in drawn if found}) == 4
    assert objects.untrained(0) == drawn[0]
    scene, cpu = read(tmp_path)[0].datasets[0].config, torch.device("cpu")
    digests = {load(found, scene, cpu).weights_digest for found in drawn if found}
    assert len(digests) == 4


def test_random_weights_follow_the_seed_and_are_not_the_trained_ones(tmp_path: Path) -> None:
    study, _ = read(tmp_path)
    scene, cpu = study.datasets[0].config, torch.device("cpu")
    source = "random:shipped:shapes_vit_objects"
    first, again, other = (load(BackboneConfig(source=source, seed=seed), scene, cpu) for seed in (0, 0, 1))
    trained = load(BackboneConfig(source="shipped:shapes_vit_objects"), scene, cpu)
    assert first.weights_digest == again.weights_digest
    assert len({first.weights_digest, other.weights_digest, trained.weights_digest}) == 3
    assert first.description == trained.description


def test_permuted_rows_are_the_rows_in_another_order() -> None:
    array = np.arange(12).reshape(6, 2)
    order = np.array([3, 1, 0, 5, 4, 2])
    rows = PermutedRows(array, order)
    assert rows.shape == (6, 2)
    assert len(rows) == 6
    np.testing.assert_array_equal(rows[:], array[order])
    np.testing.assert_array_equal(rows[1:3], array[[1, 0]])
    np.testing.assert_array_equal(rows[np.array([5, 0])], array[[2, 3]])


def test_shuffled_activations_tell_nothing_and_come_out_again(tmp_path: Path) -> None:
    study, cells = read(tmp_path)
    by_control = {cell.control: cell for cell in cells if cell.column("layer") == "final"}
    locate, readout = locate_in(tmp_path / "controlled.yaml"), find_readout("binding")
    grid, store = Grid(cells, ()), tmp_path / "store"
    parts = ({"binding": study}, {"binding": locate}, {"binding": readout})

    def measured(control: str | None) -> dict[str, object]:
        return measured_again(by_control[control], grid, *parts, store, fresh=False)[0]

    real, shuffled = measured(None), measured("shuffled")
    assert shuffled["object_information_bits_low"] <= 0  # type: ignore[operator]
    assert shuffled["direct_binding_ratio_low"] <= 0  # type: ignore[operator]
    assert real["object_information_bits_low"] > 0  # type: ignore[operator]
    assert shuffled == measured("shuffled")
