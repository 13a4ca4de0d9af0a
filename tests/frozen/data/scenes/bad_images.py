"""What every reader of images on disk says of images that are not as they should be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from frozen.data.scenes import DataError, Scene

ReaderOf = Callable[..., Any]


def complaint(scene: Scene) -> str:
    """The error of a scene whose training split is read."""
    try:
        split = scene.open("train")
        assert split.fingerprint
        split.images(np.arange(len(split)))
    except DataError as error:
        return str(error)
    pytest.fail("nothing was refused")


class BadImages:
    """Tests that the tests of a reader inherit; `reader` makes its scene from files that may be damaged."""

    @pytest.fixture(autouse=True)
    def _own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def test_a_missing_image_is_named(self, reader: ReaderOf) -> None:
        split = reader().open("train")
        split.paths[3].unlink()
        expected = f"{split.paths[3]}: no such image (1 of {len(split)} images are not there); "
        assert complaint(reader()).startswith(expected)

    @pytest.mark.parametrize("damage", ["truncated", "text", "empty"])
    def test_a_broken_image_is_named(self, damage: str, reader: ReaderOf) -> None:
        path = reader().open("train").paths[4]
        path.write_bytes({"truncated": path.read_bytes()[:200], "text": b"not an image", "empty": b""}[damage])
        message = complaint(reader())
        assert message.startswith(f"{path}: cannot be read as an image (")
        assert message.endswith("; get the file again, or set `on_bad_image: skip`")

    def test_bad_images_can_be_left_out_and_are_counted(self, reader: ReaderOf, tmp_path: Path) -> None:
        whole = reader().open("train")
        codes, n, before = whole.object_codes, len(whole), whole.fingerprint
        whole.paths[4].write_bytes(whole.paths[4].read_bytes()[:-60])
        whole.paths[7].unlink()
        scene = reader(on_bad_image="skip")
        for _ in range(2):  # looked at, then remembered
            split = scene.open("train")
            assert (len(split), split.n_skipped) == (n - 2, 2)
            np.testing.assert_array_equal(split.object_codes, np.delete(codes, [4, 7], axis=0))
            assert len(split.images(np.arange(n - 2))) == n - 2
            assert split.fingerprint != before
        assert len(list((tmp_path / "cache").rglob("*.json"))) == 1
        part = scene.limited(5).open("train")
        assert (len(part), part.n_skipped) == (5, 1)
        np.testing.assert_array_equal(part.object_codes, codes[[0, 1, 2, 3, 5]])

    def test_images_whose_numbers_have_no_known_range_are_left_out_too(self, reader: ReaderOf) -> None:
        path = reader().open("train").paths[2]
        Image.new("F", (20, 20), 100.0).save(path, format="TIFF")
        assert complaint(reader()).startswith(f"{path}: cannot be read as an image (its numbers lie in 100..100, not")
        assert reader(on_bad_image="skip").open("train").n_skipped == 1

    def test_images_of_too_many_pixels_are_named_and_left_out(
        self, reader: ReaderOf, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = reader().open("train").paths[1]
        monkeypatch.setattr("frozen.data.pixels.MOST_PIXELS", 300 * 300)
        Image.new("1", (301, 300)).save(path, format="PNG")
        expected = f"{path}: cannot be read as an image (301 x 300 pixels are more than the 90,000 that are read; "
        assert complaint(reader()).startswith(expected)
        assert reader(on_bad_image="skip").open("train").n_skipped == 1

    def test_without_a_readable_image_there_is_no_split(self, reader: ReaderOf) -> None:
        split = reader().open("train")
        for path in split.paths:
            path.write_bytes(b"")
        expected = f"the train split has no sample: all {len(split)} of its images were left out; "
        assert complaint(reader(on_bad_image="skip")).startswith(expected)
