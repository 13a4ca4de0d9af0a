"""The CLEVR reader: layout, codes, priors, and what it says about folders that are not as they should be."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from frozen.data.scenes import SPLITS, Clevr, DataError
from frozen.data.scenes._disk import SplitSizes
from frozen.problems import ConfigurationError
from frozen.testing import SceneConformance
from tests.frozen.data.scenes.bad_images import BadImages, ReaderOf, complaint
from tests.frozen.data.scenes.folders import write_clevr

SIZES = SplitSizes(train=30, validation=14, test=16)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 scenes, those from number 40 on in the second folder."""
    root = tmp_path_factory.mktemp("data") / "clevr"
    write_clevr(root, range(40))
    write_clevr(root.with_name("clevr2"), range(40, 60))
    return root


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    for name in ("clevr", "clevr2"):
        shutil.copytree(written.with_name(name), tmp_path / name)
    return tmp_path / "clevr"


def scene_of(root: Path, **settings: object) -> Clevr:
    return Clevr(root=str(root), image_size=16, second_root_start=40, split=SIZES, **settings)  # type: ignore[arg-type]


class TestUniform(SceneConformance):
    @pytest.fixture
    def scene(self, written: Path) -> Clevr:
        return scene_of(written)

    def test_samples_have_the_exact_entropy_on_average(self, split) -> None:
        """The scenes are six draws, so the mean is that of the draws only; see the next class."""
        assert split.conditional_entropy_bits().max() < split.entropies.object_bits


class TestSixDraws(SceneConformance):
    @pytest.fixture
    def scene(self, written: Path) -> Clevr:
        return scene_of(written, prior="six_draws")

    def test_prior_odds_allow_every_code_that_occurs(self, split) -> None:
        """Codes are not equally likely, so the cross-entropy of a code is not H(O | F = f)."""
        odds, codes = split.prior_log_odds(), split.object_codes
        assert np.isfinite(np.logaddexp(0, np.where(codes, -odds, odds))).all()


def test_codes_are_those_of_the_scene_files(written: Path) -> None:
    start = 0
    for name in SPLITS:
        split = scene_of(written).open(name)
        for i, code in enumerate(split.object_codes):
            number = start + i
            root = written if number < 40 else written.with_name("clevr2")
            objects = json.loads((root / f"scenes_6obj/CLEVR_6obj_{number:06d}.json").read_text())["objects"]
            names = {f"{o['color']} {o['shape']} {o['material']} {o['size']}" for o in objects}
            assert names == {split.space.object_names[k] for k in np.flatnonzero(code)}
            assert split.paths[i] == root / f"images_6obj/CLEVR_6obj_{number:06d}.png"
        start += len(split)
    assert start == 60


def test_images_are_resized_as_backbones_resize(written: Path) -> None:
    import torch
    from torch.nn.functional import interpolate

    split = scene_of(written).open("train")
    pixels = torch.from_numpy(np.array(Image.open(split.paths[3]))).permute(2, 0, 1)[None].float()
    expected = interpolate(pixels, size=(16, 16), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    assert np.abs(split.images(np.array([3]))[0] - expected.numpy()).max() <= 0.5


def test_the_folder_comes_from_the_environment(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEVR_DATA_DIR", str(written))
    scene = replace(scene_of(written), root=None)
    assert scene.missing() is None
    assert scene.open("test").fingerprint == scene_of(written).open("test").fingerprint


def test_a_plan_needs_no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CLEVR_DATA_DIR", raising=False)
    scene = Clevr()
    assert [scene.size(name) for name in SPLITS] == [32_000, 8_000, 5_000]
    assert scene.space.sizes == (8, 3, 2, 2)
    expected = (
        "the environment variable CLEVR_DATA_DIR is not set; set it or `root` to the folder; "
        "`python -m frozen.data.scenes.make_clevr6` makes the folder"
    )
    assert str(scene.missing()) == expected
    with pytest.raises(DataError, match="CLEVR_DATA_DIR is not set"):
        scene.open("train").object_codes  # noqa: B018
    (tmp_path / "images_6obj").mkdir()
    assert str(replace(scene, root=str(tmp_path)).missing()).startswith(f"{tmp_path / 'scenes_6obj'} is not there; ")


class TestBadImages(BadImages):
    @pytest.fixture
    def reader(self, folder: Path) -> ReaderOf:
        return partial(scene_of, folder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "not of the expected shape, at the file: Invalid JSON: EOF"),
        ("[]", "not of the expected shape, at the file: Input should be an object"),
        ('{"objects": [{"color": "red"}]}', "not of the expected shape, at objects.0.shape: Field required"),
    ],
)
def test_another_shape_of_json_is_named(folder: Path, text: str, expected: str) -> None:
    path = folder / "scenes_6obj/CLEVR_6obj_000002.json"
    path.write_text(text)
    assert complaint(scene_of(folder)).startswith(f"{path}: {expected}")


def test_a_value_outside_the_vocabulary_is_named(folder: Path) -> None:
    path = folder / "scenes_6obj/CLEVR_6obj_000002.json"
    path.write_text(path.read_text().replace('"rubber"', '"wood"').replace('"metal"', '"wood"'))
    assert (
        complaint(scene_of(folder)) == f"{path}: material 'wood' is outside the vocabulary of CLEVR (rubber, metal)"
    )


def test_more_objects_than_the_prior_allows_are_named(folder: Path) -> None:
    message = complaint(scene_of(folder, max_objects=4))
    assert message.startswith(str(folder / "scenes_6obj/CLEVR_6obj_0000"))
    assert message.endswith("has 6 objects, the prior allows 4; set `max_objects`")


def test_a_missing_scene_file_is_named(folder: Path) -> None:
    path = folder / "scenes_6obj/CLEVR_6obj_000029.json"
    path.unlink()
    assert complaint(scene_of(folder)).startswith(f"{path}: no such file; ")


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Clevr(image_size=4, most=0, max_objects=0, split=SplitSizes(test=0))
    assert [problem.field for problem in caught.value.problems] == ["image_size", "most", "max_objects", "split.test"]
