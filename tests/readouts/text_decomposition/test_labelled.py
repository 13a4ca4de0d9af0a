"""Labelled images from a table, two classes and a cue beside them: everything that can be asked is measured."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frozen.data.scenes import FewShapes, SplitPolicy
from frozen.readout.cells import Cell
from frozen.testing._readouts import measured
from readouts.text_decomposition.exhibits import exhibits
from readouts.text_decomposition.readout import TextDecomposition
from sweep.study.load import load_study

STUDY = """\
name: labelled
readout: text_decomposition
datasets:
  - name: shapes
    data: table
    table: table.csv
    labels: [class=shape, group=color, class_mask=mask, place]
    split_column: part
    split_values: [validation, test]
    transform: {size: 32, resize: squash}
backbones: ["shipped:shapes_clip_features"]
templates: ["{}"]
textspan: {texts: 2, last_layers: 1, rotations: 2}
heatmap: {heads: ["5.0"]}
spurious: {cue: group}
intervals: {resamples: 100}
"""
KINDS = {"circle": "red", "square": "blue"}
N = 40


def write_table(folder: Path) -> None:
    """Red and blue circles and squares, with their masks; `place` is a number without a name."""
    scene = FewShapes(max_objects=1, split=SplitPolicy(train=2, validation=12 * N, test=12 * N))
    rows = []
    for part in ("validation", "test"):
        split: Any = scene.open(part)
        names = [
            split.space.object_names[code.argmax()].split() if code.any() else ["", ""] for code in split.object_codes
        ]
        for row, (color, shape) in enumerate(names):
            if shape not in KINDS or color not in KINDS.values() or sum(one["part"] == part for one in rows) == N:
                continue
            image, mask = f"{part}_{row}.png", f"{part}_{row}_mask.png"
            Image.fromarray(split.images(np.array([row]))[0]).save(folder / image)
            Image.fromarray((split.masks(np.array([row]))[0] > 0).astype(np.uint8)).save(folder / mask)
            of = {"image": image, "mask": mask, "shape": shape, "color": color, "part": part}
            rows.append({**of, "place": str(len(rows) % 2)})
    with (folder / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Any]:
    """Outcomes by question, layer and term."""
    folder = tmp_path_factory.mktemp("labelled")
    write_table(folder)
    path = folder / "study.yaml"
    path.write_text(STUDY)
    study = load_study(path)
    cells = [one for one in TextDecomposition().cells(study) if isinstance(one, Cell)]
    outcomes = {
        tuple(cell.column(name) for name in ("analysis", "layer", "term")): (cell, one)
        for cell, one in measured(TextDecomposition(), cells)
    }
    assert len(outcomes) == len(cells)
    for name in ("maps", "neighbours"):
        (folder / name).mkdir()
    for cell, one in outcomes.values():
        for kind, content in one.files.items():
            if (folder / kind.partition(".")[0]).is_dir():
                (folder / kind.partition(".")[0] / f"{cell.cell_id}.npz").write_bytes(content)
    return {**outcomes, "study": (study, folder)}


def test_groups_are_named_and_the_worst_is_the_least(found: dict[Any, Any]) -> None:
    row = found["spurious", "final", "all terms"][1].row
    groups = json.loads(row["group_percents"])
    assert set(groups) == {f"{shape} · {color}" for shape in KINDS for color in KINDS.values()}
    assert row["worst_group_percent"] == pytest.approx(min(groups.values()), abs=0.01)
    assert row["accuracy_percent"] > 70, "two classes"
    assert row["cue_percent"] > 90, "names of the cue are texts, too"


def test_two_classes_and_their_cue_are_pool_enough(found: dict[Any, Any]) -> None:
    row = found["textspan", "5", "head 0"][1].row
    assert len(json.loads(row["texts"])) == 2
    assert found["spurious", "final", "without heads that name the cue"][1].row["n_terms"] > 0


def test_maps_are_of_the_predicted_class(found: dict[Any, Any]) -> None:
    assert found["heatmap", "final", "text"][1].row["pointing_percent"] > 90
    assert ("heatmap", "final", "text - other") not in found
    study, folder = found["study"]
    rows = [
        {
            **one.row,
            "cell_id": cell.cell_id,
            "status": "done",
            "is_control": False,
            "dataset": "shapes",
            "backbone": "b",
        }
        | {name: cell.column(name) for name in ("analysis", "layer", "term")}
        for key, (cell, one) in found.items()
        if key[0] in ("heatmap", "neighbours")
    ]
    drawn = {one.title.partition(":")[0]: one for one in exhibits(folder, rows, {"shapes": study.datasets[0].config})}
    assert {"Maps of texts", "Maps of single heads", "Neighbours by head"} <= set(drawn)
    titles = [axis.get_title() for axis in drawn["Maps of texts"].draw().axes]
    assert titles[0].removeprefix("image\n") in KINDS
    (folder / "table.csv").unlink()
    again = {one.title.partition(":")[0] for one in exhibits(folder, rows, {"shapes": study.datasets[0].config})}
    assert "Maps of texts" not in again, "images that are gone are not drawn"
