"""Tables of images as spreadsheets and repositories leave them: separators, marks, empty cells, pointers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from frozen.data.pixels import UnreadableImageError, read_rgb
from frozen.data.scenes import DataError, Files


def scene_of(table: Path) -> Files:
    return Files(table=str(table), groups=("color", "shape"), split_column="part", prior="none")


HEADER = "image,color,shape,part"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("blank", ["", " "])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, separator: str, mark: str, blank: str) -> None:
    rows = [
        ["image", "color", "shape", "part"],
        ["a,1.png", "red", "cube", "train"],
        ["b.png", "blue", "disc", "val"],
    ]
    text = "\n".join(
        separator.join(f'"{cell}"' if separator in cell else blank + cell for cell in row) for row in rows
    )
    (tmp_path / "objects.csv").write_text(mark + text + "\n", encoding="utf-8")
    images = scene_of(tmp_path / "objects.csv").contents()
    assert [(image.file, image.split, image.objects) for image in images] == [
        ("a,1.png", "train", (("red", "cube"),)),
        ("b.png", "validation", (("blue", "disc"),)),
    ]


def test_lines_of_json_may_begin_with_a_mark(tmp_path: Path) -> None:
    row = json.dumps({"image": "a.png", "color": "red", "shape": "cube", "part": "train"})
    (tmp_path / "objects.jsonl").write_text(f"\ufeff{row}\n", encoding="utf-8")
    assert scene_of(tmp_path / "objects.jsonl").contents()[0].file == "a.png"


@pytest.mark.parametrize("file", ["", " ", "nan"])
def test_a_row_without_an_image_is_named(tmp_path: Path, file: str) -> None:
    path = tmp_path / "objects.csv"
    path.write_text(f"{HEADER}\na.png,red,cube,train\n{file},red,cube,train\n")
    with pytest.raises(DataError, match="row 2 has no image; give it one, or remove the row"):
        scene_of(path).size("train")


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


def test_a_pointer_of_git_lfs_is_named(tmp_path: Path) -> None:
    path = tmp_path / "objects.csv"
    path.write_text(POINTER)
    with pytest.raises(DataError, match=r"objects\.csv: cannot be read as a table \(it is a Git LFS pointer"):
        scene_of(path).size("train")
    path.write_text(f"{HEADER}\na.png,red,cube,train\nb.png,red,cube,train\n")
    (tmp_path / "a.png").write_text(POINTER)
    Image.new("RGB", (9, 9)).save(tmp_path / "b.png")
    with pytest.raises(DataError, match=r"a\.png: it is a Git LFS pointer .* \(1 of 2 images are pointers\)"):
        _ = scene_of(path).open("train").fingerprint
    with pytest.raises(UnreadableImageError, match="Git LFS pointer"):
        read_rgb(tmp_path / "a.png")


STUDY = """\
name: tables
datasets:
  - {name: fine, scene: colorshape}
  - {name: mine, scene: files, table: objects.csv, groups: [colour]}
backbones: [shipped:shapes_vit_objects]
controls: [oracle_objects]
layers: [final]
modes: [cls]
probes: [{family: linear}]
"""


def test_a_plan_names_a_misspelt_column_once(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    (tmp_path / "objects.csv").write_text(f"{HEADER}\na.png,red,cube,train\n")
    command = [sys.executable, "-m", "sweep.run", "study.yaml", "--plan"]  # a process without checks of types
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"study.yaml:2: datasets: {tmp_path}/objects.csv: row 1 has no column 'colour'; did you mean 'color'? "
        "there are image, color, shape, part\n"
    )
