from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frozen.data.scenes import Clevr, DataError
from frozen.data.scenes._disk import SplitSizes
from frozen.data.scenes._specification import RADII, Look
from frozen.data.scenes.blender import find_blender
from frozen.data.scenes.make_clevr6 import Clevr6Files, main, new_scene

VALUES = {
    "color": ("blue", "red", "purple", "cyan"),
    "shape": ("cube", "sphere"),
    "material": ("rubber", "metal"),
    "size": ("small", "large"),
}
LOOK = Look(48, 32, 4, True, "primitives")


def scene(split: str, number: int, n_objects: int) -> dict[str, Any]:
    rng = np.random.default_rng([number, n_objects])
    objects = [{name: str(rng.choice(values)) for name, values in VALUES.items()} for _ in range(n_objects)]
    return {"image_filename": f"CLEVR_{split}_{number:06d}.png", "split": split, "objects": objects}


@pytest.fixture
def clevr(tmp_path: Path) -> Path:
    """CLEVR as it is published, with four scenes of six objects among others."""
    root = tmp_path / "CLEVR_v1.0"
    for split, counts in (("train", (3, 6, 6, 10)), ("val", (6, 5, 6))):
        (root / "images" / split).mkdir(parents=True)
        (root / "scenes").mkdir(exist_ok=True)
        scenes = [scene(split, number, count) for number, count in enumerate(counts)]
        (root / "scenes" / f"CLEVR_{split}_scenes.json").write_text(json.dumps({"info": {}, "scenes": scenes}))
        for number, each in enumerate(scenes):
            color = (number, len(each["objects"]), 100 if split == "val" else 0)
            Image.new("RGB", (48, 32), color).save(root / "images" / split / each["image_filename"])
    return root


@pytest.mark.parametrize("copy", [[], ["--copy"]])
def test_the_reader_reads_the_selected_scenes(
    clevr: Path, tmp_path: Path, copy: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "six"
    assert main(["select", str(clevr), "--folder", str(made), *copy]) == 0
    assert "4 scenes of 6 objects" in capsys.readouterr().out
    data = Clevr(root=str(made), image_size=32, split=SplitSizes(train=2, validation=1, test=1))
    wanted = [scene("train", 1, 6), scene("train", 2, 6), scene("val", 0, 6), scene("val", 2, 6)]
    codes = np.concatenate([data.open(name).object_codes for name in ("train", "validation", "test")])
    for code, each in zip(codes, wanted, strict=True):
        assert set(np.flatnonzero(code)) == {position(data, item) for item in each["objects"]}
    first = Clevr6Files(made).image(0)
    assert first.samefile(clevr / "images" / "train" / "CLEVR_train_000001.png") == (not copy)
    assert tuple(data.open("test").images(np.arange(1))[0, 0, 0]) == (2, 6, 100)


def position(data: Clevr, item: dict[str, str]) -> int:
    place = 0
    for group in data.space.groups:
        place = place * len(group.values) + group.values.index(item[group.name])
    return place


def test_a_second_run_only_adds_what_is_missing(clevr: Path, tmp_path: Path) -> None:
    arguments = ["select", str(clevr), "--folder", str(tmp_path / "six"), "--copy"]
    layout = Clevr6Files(tmp_path / "six")
    main(arguments)
    layout.scene(1).unlink()
    kept = layout.image(0).stat().st_mtime_ns
    assert main(arguments) == 0
    assert all(layout.has(number) for number in range(4))
    assert layout.image(0).stat().st_mtime_ns == kept


def test_what_is_wrong_is_named(clevr: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["select", str(clevr), "--folder", str(tmp_path / "six")]
    (clevr / "images" / "val" / "CLEVR_val_000002.png").unlink()
    assert main(arguments) == 2
    assert "CLEVR_val_000002.png is not there" in capsys.readouterr().err
    (clevr / "scenes" / "CLEVR_val_scenes.json").write_text('{"scenes": [{"objects": 3}]}')
    assert main(arguments) == 2
    assert "CLEVR_val_scenes.json is no scene file of CLEVR" in capsys.readouterr().err
    shutil.rmtree(clevr / "scenes")
    assert main(arguments) == 2
    assert "give the folder of the unpacked CLEVR_v1.0" in capsys.readouterr().err


def test_new_scenes_are_independent_draws_and_differ_in_every_attempt() -> None:
    scenes = [new_scene(number, 0, 0, LOOK) for number in range(150)]
    items = [item for each in scenes for item in each["objects"]]
    assert all(len(each["objects"]) == 6 for each in scenes)
    for name, n_values in (("color", 8), ("shape", 3), ("material", 2), ("size", 2)):
        values = [item[name] for item in items]
        share = len(values) / n_values
        assert len(set(values)) == n_values
        assert max(abs(values.count(value) - share) for value in set(values)) < 4.5 * share**0.5
    assert all(item["radius"] == RADII[item["size"]] == item["3d_coords"][2] for item in items)
    assert new_scene(3, 0, 0, LOOK) == scenes[3]
    assert new_scene(3, 1, 0, LOOK)["objects"] != scenes[3]["objects"]
    assert len({each["camera"]["location"][2] for each in scenes}) == 150


@pytest.mark.slow
def test_the_reader_reads_rendered_scenes(tmp_path: Path) -> None:
    try:
        find_blender()
    except DataError as error:
        pytest.skip(str(error))
    size = ["--width", "96", "--height", "64", "--samples", "4", "--workers", "1"]
    arguments = ["render", "--count", "3", "--folder", str(tmp_path), *size]
    assert main(arguments) == 0
    data = Clevr(root=str(tmp_path), image_size=64, split=SplitSizes(train=1, validation=1, test=1))
    assert data.open("train").object_codes.sum() >= 4
    seen = [item for path in (tmp_path / "scenes_6obj").iterdir() for item in json.loads(path.read_text())["objects"]]
    assert min(item["visible_pixels"] for item in seen) >= 200 * 96 * 64 / (480 * 320) - 0.1
    assert main(arguments) == 0
