from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from frozen.data.scenes import SPLITS, DataError, OcclusionClevr, Scene, Split, SplitPolicy
from frozen.data.scenes._occlusion_maker import RenderJob
from frozen.data.scenes._occlusionclevr import OcclusionSplit
from frozen.data.scenes._placement import Camera
from frozen.data.scenes._specification import camera_of
from frozen.problems import ConfigurationError
from frozen.testing import SceneConformance
from tests.rendered import FOLDER, RENDERED

ALL_JOBS = [RenderJob(name, number) for name in SPLITS for number in range(2)]


@pytest.fixture
def copied(tmp_path: Path) -> OcclusionClevr:
    """The rendered data set in a folder that a test may damage."""
    shutil.copytree(FOLDER, tmp_path / "data")
    return replace(RENDERED, folder=str(tmp_path / "data"))


def scenes() -> list[dict[str, Any]]:
    """What Blender wrote of each image."""
    return [json.loads(path.read_text()) for path in sorted((RENDERED.rendered.root / "scenes").iterdir())]


def project(camera: Camera, point: list[float], size: int) -> tuple[float, float, float]:
    """Pixel and depth of a point, for a lens of 35 mm before a sensor of 32 mm."""
    forward = np.subtract(camera.target, camera.location)
    forward /= np.linalg.norm(forward)
    right = np.cross(forward, (0.0, 0.0, 1.0))
    right /= np.linalg.norm(right)
    away = np.subtract(point, camera.location)
    depth = away @ forward
    x, y = (away @ axis / depth * 35 / 32 for axis in (right, np.cross(right, forward)))
    return (0.5 + x) * size, (0.5 - y) * size, depth


class TestRendered(SceneConformance):
    @pytest.fixture
    def scene(self) -> OcclusionClevr:
        return RENDERED

    def test_samples_have_the_exact_entropy_on_average(self, split: Split) -> None:
        """Six images are too few for an average; codes need no images."""
        many = replace(RENDERED, split=SplitPolicy(train=2000, validation=2000, test=2000))
        super().test_samples_have_the_exact_entropy_on_average(many.open(split.name))


def test_rendered_scenes_are_those_of_the_specification() -> None:
    """Whoever changes what is drawn raises SPECIFICATION_VERSION, so that old images are not taken for new ones."""
    for scene in scenes():
        wanted = RENDERED.open(scene["split"]).specification(scene["image_index"])
        got = {key: value for key, value in scene.items() if key not in ("objects", "renderer")}
        assert got == {key: value for key, value in json.loads(json.dumps(wanted)).items() if key != "objects"}
        for item, thing in zip(scene["objects"], wanted["objects"], strict=True):
            assert item.items() >= json.loads(json.dumps(thing)).items()


def test_scenes_show_exactly_the_objects_of_the_code() -> None:
    for scene in scenes():
        code = RENDERED.open(scene["split"]).object_codes[scene["image_index"]]
        pairs = [(c, s) for c in RENDERED.space.groups[0].values for s in RENDERED.space.groups[1].values]
        assert {(o["color"], o["shape"]) for o in scene["objects"]} == {pairs[k] for k in np.flatnonzero(code)}
        assert len(scene["objects"]) == code.sum()


def test_blender_sees_objects_where_geometry_says() -> None:
    for scene in scenes():
        for item in scene["objects"]:
            x, y, depth = project(camera_of(scene), item["3d_coords"], RENDERED.image_size)
            assert item["pixel_coords"] == pytest.approx([x, y, depth], abs=0.51)


def test_free_objects_have_their_colour_in_the_image() -> None:
    """The strongest channel at the middle of an object that nothing hides; gray has none."""
    checked = 0
    for scene in scenes():
        image = RENDERED.rendered.read(scene["image_filename"], 64, 64).astype(int)
        for item in scene["objects"]:
            x, y, _ = item["pixel_coords"]
            if item["visible_fraction"] < 1 or item["pixels"] < 15:
                continue
            red, green, blue = image[y, x]
            strongest = {"red": red, "green": green, "blue": blue}
            if item["color"] == "gray":
                assert max(strongest.values()) - min(strongest.values()) < 25
            else:
                assert max(strongest, key=lambda name: strongest[name]) == item["color"]
                assert max(strongest.values()) - min(strongest.values()) > 40
            checked += 1
    assert checked >= 8


def test_visibility_is_a_share_of_the_objects_own_pixels() -> None:
    items = [item for scene in scenes() for item in scene["objects"]]
    for item in items:
        assert item["visible_fraction"] == pytest.approx(item["visible_pixels"] / item["pixels"], abs=0.01)
        assert 0 <= item["visible_fraction"] <= 1
        assert 10 < item["pixels"] < 120
    assert min(item["visible_fraction"] for item in items) < 1


class TestSpecification:
    def test_depends_on_its_number_alone(self) -> None:
        long = replace(RENDERED, split=SplitPolicy(train=9, validation=5, test=7)).open("train")
        assert long.specification(1) == RENDERED.open("train").specification(1)
        assert long.specification(1) == RENDERED.open("train").specification(1)

    def test_splits_and_seeds_have_scenes_of_their_own(self) -> None:
        places = {
            str(scene.open(name).specification(0)["light_offsets"])
            for scene in (RENDERED, replace(RENDERED, seed=50))
            for name in SPLITS
        }
        assert len(places) == 6

    def test_the_height_of_the_camera_moves_nothing_else(self) -> None:
        """A curve over camera height compares the same objects at the same places."""
        low, high = (replace(RENDERED, camera_height=height).open("test").specification(1) for height in (0.6, 3.2))
        assert low["objects"] == high["objects"]
        assert low["camera"]["location"][:2] == high["camera"]["location"][:2]
        assert (low["camera"]["location"][2], high["camera"]["location"][2]) == (0.6, 3.2)

    def test_places_do_not_tell_what_objects_are(self) -> None:
        """Objects placed first have more room; which ones they are is drawn anew in every scene."""
        split = replace(RENDERED, max_objects=12, split=SplitPolicy(train=300, validation=1, test=1)).open("train")
        first = [
            split.specification(number)["objects"][0]["color"] for number in range(300) if number_of(split, number)
        ]
        for color in RENDERED.space.groups[0].values:
            assert first.count(color) == pytest.approx(75, abs=35)

    @pytest.mark.parametrize("pitch", [None, 20.0])
    def test_is_plain_json(self, pitch: float | None) -> None:
        specification = replace(RENDERED, camera_pitch_degrees=pitch).open("train").specification(0)
        assert set(json.loads(json.dumps(specification))) == set(specification)


def number_of(split: OcclusionSplit, number: int) -> int:
    return int(split.object_codes[number].sum())


def test_settings_of_the_images_have_folders_of_their_own() -> None:
    """What changes an image changes the folder; what does not, does not."""
    others = {
        "n_colors": 3,
        "n_shapes": 2,
        "max_objects": 5,
        "image_size": 65,
        "camera_height": 3.0,
        "camera_pitch_degrees": 20.0,
        "camera_jitter": 0.4,
        "light_jitter": 0.5,
        "min_distance": 0.2,
        "margin": 0.3,
        "tries": 49,
        "samples": 17,
        "denoise": False,
        "seed": 4,
    }
    changed = [replace(RENDERED, **{name: value}) for name, value in others.items()]
    changed.append(replace(RENDERED, split=replace(RENDERED.split, exclude_all_ones=True)))
    roots = [scene.rendered.root for scene in (RENDERED, *changed)]
    assert len(set(roots)) == len(roots)
    prints = {scene.open("test").fingerprint for scene in (RENDERED, *changed)}
    assert len(prints) == len(roots)
    same = replace(RENDERED, missing_policy="drop", split=replace(RENDERED.split, train=200))
    assert same.rendered.root == RENDERED.rendered.root
    assert same.open("test").fingerprint == RENDERED.open("test").fingerprint
    assert RENDERED.limited(1).open("test").fingerprint != RENDERED.open("test").fingerprint


class TestMissing:
    def test_nothing_is(self, copied: OcclusionClevr) -> None:
        assert copied.missing() is None
        assert copied.maker().jobs(thorough=True) == []

    def test_everything_is(self, tmp_path: Path) -> None:
        scene = replace(RENDERED, folder=str(tmp_path))
        missing = scene.missing()
        assert missing is not None
        assert missing.what == f"6 of 6 images in {scene.rendered.root}"
        assert "python -m sweep.render" in missing.remedy
        assert scene.maker().jobs(thorough=False) == ALL_JOBS
        assert scene.maker().n_jobs == 6

    def test_a_scene_may_be_planned_and_travel_without_images(self, tmp_path: Path) -> None:
        scene = replace(RENDERED, folder=str(tmp_path))
        assert isinstance(scene, Scene)
        assert [scene.size(name) for name in SPLITS] == [2, 2, 2]
        assert len(scene.open("train").fingerprint) == 64

    def test_images_that_are_gone_cut_off_or_without_scene_are_made_again(self, copied: OcclusionClevr) -> None:
        folder = copied.rendered
        folder.image("train_000001.png").unlink()
        cut = folder.image("validation_000000.png")
        cut.write_bytes(cut.read_bytes()[:2000])
        folder.scene("test_000000.png").unlink()
        folder.scene("test_000001.png").write_text('{"objects": [')
        assert copied.maker().jobs(thorough=False) == [ALL_JOBS[1], ALL_JOBS[2], ALL_JOBS[4], ALL_JOBS[5]]

    def test_a_damaged_middle_shows_when_every_pixel_is_read(self, copied: OcclusionClevr) -> None:
        path = copied.rendered.image("train_000000.png")
        content = bytearray(path.read_bytes())
        content[2000:2100] = bytes(100)
        path.write_bytes(bytes(content))
        assert copied.maker().jobs(thorough=False) == []
        assert copied.maker().jobs(thorough=True) == [ALL_JOBS[0]]
        with pytest.raises(DataError, match=r"train_000000\.png cannot be read.*--check"):
            copied.open("train").images(np.arange(2))

    def test_an_image_of_another_size_is_an_error(self, copied: OcclusionClevr) -> None:
        with pytest.raises(DataError, match="has 64 x 64 pixels instead of 65 x 64"):
            copied.rendered.read("train_000000.png", 65, 64)

    def test_may_be_dropped(self, copied: OcclusionClevr) -> None:
        copied.rendered.image("train_000000.png").unlink()
        assert copied.missing() is not None
        dropping = replace(copied, missing_policy="drop")
        assert dropping.missing() is None
        split, complete = dropping.open("train"), copied.open("train")
        assert (len(split), split.n_skipped) == (1, 1)
        np.testing.assert_array_equal(split.object_codes, complete.object_codes[1:])
        np.testing.assert_array_equal(split.images(np.arange(1)), RENDERED.open("train").images(np.arange(1, 2)))
        assert split.conditional_entropy_bits().shape == (1,)
        assert split.fingerprint != complete.fingerprint
        assert dropping.open("test").fingerprint == copied.open("test").fingerprint

    def test_a_split_without_any_image_cannot_be_dropped(self, copied: OcclusionClevr) -> None:
        for number in range(2):
            copied.rendered.image(f"test_00000{number}.png").unlink()
        dropping = replace(copied, missing_policy="drop")
        assert dropping.missing() is not None
        with pytest.raises(DataError, match="no image of the test split"):
            dropping.open("test")

    def test_half_written_images_do_not_count(self, copied: OcclusionClevr) -> None:
        image = copied.rendered.image("train_000000.png")
        image.rename(image.with_name(".half-host-12.png"))
        assert copied.maker().jobs(thorough=False) == [ALL_JOBS[0]]


def test_specifications_are_kept_line_by_line(tmp_path: Path) -> None:
    scene = replace(RENDERED, folder=str(tmp_path))
    split = scene.open("train")
    for n_samples, n_lines in ((1, 1), (2, 2), (1, 2)):
        scene.rendered.write_specifications("train", split.specification, n_samples)
        lines = (scene.rendered.root / "train.jsonl").read_text().splitlines()
        assert len(lines) == n_lines
        assert json.loads(lines[-1]) == json.loads(json.dumps(split.specification(n_lines - 1)))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_colors": 9}, "n_colors: must lie in 1..8, got 9"),
        ({"camera_height": 0.0}, "camera_height: must be ≥ 0.1, got 0.0"),
        ({"camera_pitch_degrees": 90.0}, r"camera_pitch_degrees: must lie in -80\.\.80, got 90.0"),
        ({"samples": 0}, "samples: must be ≥ 1, got 0"),
        ({"margin": 2.0}, "max_objects: no room was found for 6 objects with margin 2"),
        ({"assets": "clevr"}, "assets: needs CLEVR_GEN_DIR"),
    ],
)
def test_settings_out_of_range_are_refused(
    wrong: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLEVR_GEN_DIR", raising=False)
    with pytest.raises(ConfigurationError, match=message):
        replace(RENDERED, **wrong)


def test_the_environment_names_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OCCLUSIONCLEVR_DIR", str(tmp_path / "renders"))
    monkeypatch.setenv("CLEVR_GEN_DIR", str(tmp_path / "clevr"))
    scene = OcclusionClevr()
    assert scene.rendered.root.parent == tmp_path / "renders"
    assert (scene.clevr_folder, scene.look.assets) == (str(tmp_path / "clevr"), "clevr")
    own = OcclusionClevr(assets="primitives")
    assert (own.clevr_folder, own.look.assets) == (None, "primitives")
    assert own.rendered.root != scene.rendered.root
