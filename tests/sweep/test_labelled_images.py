"""Data sets without object codes through the real engine: a folder of images and a table, by another's read-out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from frozen.data.scenes import SplitPolicy, TargetShapes
from frozen.readout.readout import find_readout
from sweep.engine.grid import make_grid
from sweep.study.errors import StudyError
from sweep.study.load import load_study, locate_in
from tests.sweep.test_readout_of_your_own import Lab

STUDY = """\
name: prototypes
readout: prototypes
datasets:
  - {name: folder, data: imagefolder, root: shapes, transform: {size: 64}}
  - name: table
    data: table
    table: shapes.csv
    labels: [class=colour, caption]
    split_column: part
    split_values: [train, test]
    transform: {size: 64}
backbones: [shipped:shapes_vit_objects]
layers: [final]
intervals: {resamples: 200}
"""
BINDING = """\
name: small
datasets:
  - {name: folder, data: imagefolder, root: shapes}
backbones: [shipped:shapes_vit_objects]
layers: [final]
modes: [cls]
probes: [{family: linear}]
"""


def write_shapes(folder: Path) -> None:
    """Scenes of one large object as photos, their class its colour: in folders, and in a table of the same files."""
    scene = TargetShapes(split=SplitPolicy(train=60, validation=1, test=40))
    rows = []
    for part in ("train", "test"):
        split = scene.open(part)  # pyright: ignore[reportArgumentType]
        own = np.arange(len(split))
        for i, image, number in zip(own, split.images(own), split.labels("class", own), strict=True):
            colour = split.class_names[number].split()[0]
            path = folder / "shapes" / part / colour / f"{i:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
            rows.append({"image": path.relative_to(folder), "part": part, "colour": colour, "caption": "a shape"})
    pd.DataFrame(rows).sort_values("image", key=lambda column: column.map(str)).to_csv(
        folder / "shapes.csv", index=False
    )


@pytest.mark.starts_ray
def test_a_readout_reads_a_folder_and_a_table_of_the_same_images_alike(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    write_shapes(tmp_path)
    (tmp_path / "prototypes.yaml").write_text(STUDY.replace("root: shapes,", "root: shapes, folders: [train, test],"))
    lab.edit("split.object_codes.sum(1).astype(np.int64)", 'split.labels("class", np.arange(len(split)))')
    code, output = lab.run()
    assert code == 0, output
    table = lab.table().query("stage == 'classify'").set_index("dataset")
    accuracy = table["accuracy_percent"]
    assert accuracy["folder"] == accuracy["table"] > 50
    assert table["data_fingerprint"].nunique() == 2
    code, output = lab.run("--plan")
    assert code == 0
    assert "4 cells: 4 done, 0 to do" in output


def problems(path: Path, text: str) -> str:
    path.write_text(text)
    study = load_study(str(path))
    with pytest.raises(StudyError) as raised:
        make_grid(study, find_readout(study.readout), locate_in(str(path)))
    return str(raised.value)


def test_binding_refuses_what_has_no_object_codes_in_one_line(tmp_path: Path) -> None:
    message = problems(tmp_path / "small.yaml", BINDING)
    assert message == (
        f"{tmp_path / 'small.yaml'}:3: datasets[0]: binding reads object codes, which 'folder' (data: imagefolder) "
        "does not have; name a scene, or list the objects of each image in a table for `scene: files`"
    )
    assert "\n" not in message


def test_a_study_is_planned_before_its_data_is_there(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(BINDING)
    [dataset] = load_study(str(tmp_path / "study.yaml"), limit=5).datasets
    assert dataset.config.missing().what.endswith("shapes is not there")
    assert dataset.config.size("train") is None
    assert load_study(str(tmp_path / "study.yaml")).resolved()["datasets"][0]["data"] == "imagefolder"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("data: imgfolder", "datasets[0].data: unknown data 'imgfolder'; did you mean 'imagefolder'?"),
        ("data: imagefolder, scene: clevr", "datasets[0].data: unknown key 'data'; known: name, scene, vary"),
        ("data: imagefolder", "datasets[0]: missing key 'root'"),
        ("data: imagefolder, root: x, transform: {size: 2}", "datasets[0].transform.size: must be ≥ 8, got 2"),
        ("most: 3", "datasets[0]: missing key 'scene' or 'data'"),
    ],
)
def test_mistakes_are_told_by_their_line(tmp_path: Path, entry: str, message: str) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(BINDING.replace("data: imagefolder, root: shapes", entry))
    with pytest.raises(StudyError) as raised:
        load_study(str(path))
    assert f"{path}:3: {message}" in str(raised.value)
