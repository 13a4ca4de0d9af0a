"""Pixels of image files: every range, orientation and transparency that Pillow knows, and what it cannot read."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features
from PIL.JpegImagePlugin import JpegImageFile

from frozen.data.scenes import UnreadableImageError, read_rgb

RNG = np.random.default_rng(0)
GREY = RNG.integers(256, size=(6, 9), dtype=np.uint8)
COLOR = RNG.integers(256, size=(24, 16, 3), dtype=np.uint8)
WIDE = 257 * GREY.astype(np.uint16)
"""The same picture in 16 bits."""


def _grey_in_12_bits(path: Path) -> None:
    """A TIFF whose rows of 12-bit numbers are packed."""
    values = np.rint(GREY / 255 * 4095).astype(int)
    rows = ["".join(f"{v:012b}" for v in row) for row in values]
    data = b"".join(int(bits + "0" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8), "big") for bits in rows)
    path.write_bytes(_tiff(data, bits=12))


def _tiff(data: bytes, *, bits: int, kind: int = 1, zero: int = 1) -> bytes:
    """A little-endian TIFF of one strip.

    Args:
        data: the strip.
        bits: of a number.
        kind: 1 for unsigned, 2 for signed numbers.
        zero: 0 where 0 means white, 1 where it means black.
    """
    height, width = GREY.shape
    tags = {
        256: width,
        257: height,
        258: bits,
        259: 1,
        262: zero,
        273: 0,
        277: 1,
        278: height,
        279: len(data),
        339: kind,
    }
    tags[273] = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", 0) + data


def _white_is_zero(path: Path) -> None:
    path.write_bytes(_tiff((65535 - WIDE).tobytes(), bits=16, zero=0))


GREYS: dict[str, Callable[[Path], None]] = {
    "L.png": lambda path: Image.fromarray(GREY).save(path),
    "I16.png": lambda path: Image.fromarray(WIDE).save(path),
    "I16.tif": lambda path: Image.fromarray(WIDE).save(path),
    "I16B.tif": lambda path: Image.frombytes("I;16B", (9, 6), WIDE.astype(">u2").tobytes()).save(path),
    "I16.pgm": lambda path: Image.fromarray(WIDE.astype(np.int32)).save(path),
    "I10.pgm": lambda path: path.write_bytes(b"P5 9 6 1023\n" + np.rint(GREY / 255 * 1023).astype(">u2").tobytes()),
    "I16.jp2": lambda path: Image.fromarray(WIDE).save(path),
    "12 bits.tif": _grey_in_12_bits,
    "16 bits, white is zero.tif": _white_is_zero,
    "F.tif": lambda path: Image.fromarray((GREY / 255).astype(np.float32)).save(path),
    "F.pfm": lambda path: Image.fromarray((GREY / 255).astype(np.float32)).save(path, format="PPM"),
}


@pytest.mark.parametrize("name", GREYS)
def test_the_same_picture_has_the_same_pixels_in_every_range(name: str, tmp_path: Path) -> None:
    GREYS[name](tmp_path / name)
    np.testing.assert_array_equal(read_rgb(tmp_path / name), np.repeat(GREY[:, :, None], 3, axis=2))


REFUSED: dict[str, tuple[np.ndarray, str]] = {
    "32 bits.tif": (WIDE.astype(np.int32), "nothing says which of its numbers (mode I) is white"),
    "F.tif": (GREY.astype(np.float32), "its numbers lie in 4..248, not in 0..1"),
    "negative.tif": (GREY.astype(np.float32) / 255 - 0.5, "not in 0..1"),
    "nan.tif": (np.where(GREY > 9, GREY / 255, np.nan).astype(np.float32), "its numbers lie in nan..nan"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_numbers_without_a_known_range_are_refused(name: str, tmp_path: Path) -> None:
    values, expected = REFUSED[name]
    Image.fromarray(values).save(tmp_path / name)
    with pytest.raises(UnreadableImageError) as caught:
        read_rgb(tmp_path / name)
    assert expected in str(caught.value)
    assert str(caught.value).endswith("; save it with 8 or 16 bits a channel")


def test_signed_numbers_of_16_bits_are_refused(tmp_path: Path) -> None:
    (tmp_path / "signed.tif").write_bytes(_tiff(WIDE.tobytes(), bits=16, kind=2))
    with pytest.raises(UnreadableImageError, match="save it with 8 or 16 bits"):
        read_rgb(tmp_path / "signed.tif")


TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""How a picture is stored whose EXIF orientation is the number."""


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", TURNS)
def test_pictures_stand_as_their_exif_says(orientation: int, ending: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / f"a.{ending}"
    stored = np.ascontiguousarray(TURNS[orientation](COLOR))
    Image.fromarray(stored).save(path, exif=exif, **({"lossless": True} if ending == "webp" else {}))
    np.testing.assert_array_equal(read_rgb(path), COLOR)


def _with_alpha(path: Path, mode: str) -> None:
    """Black all over, and clear in the left half."""
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 4, 8))
    if mode in ("RGB", "L", "I;16"):  # the colour 0 is clear, and the other half is the next to it
        image = Image.new(mode, (8, 8))
        next_to_it = {"RGB": (1, 0, 0), "L": 1, "I;16": 257}[mode]
        image.paste(next_to_it, (4, 0, 8, 8))
        image.save(path, transparency=(0, 0, 0) if mode == "RGB" else 0)
    elif mode == "P" and path.suffix == ".png":
        image.quantize().save(path)
    elif mode == "P":
        image.save(path)
    else:
        image.convert(mode).save(path)


@pytest.mark.parametrize(
    ("mode", "ending"),
    [
        ("RGBA", "png"),
        ("RGBA", "webp"),
        ("RGBA", "tif"),
        ("LA", "png"),
        ("P", "png"),
        ("P", "gif"),
        ("RGB", "png"),
        ("L", "png"),
        ("I;16", "png"),
    ],
)
def test_what_is_clear_is_white_whatever_its_colour(mode: str, ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{ending}"
    _with_alpha(path, mode)
    pixels = read_rgb(path)
    assert (pixels[:, :4] == 255).all()
    assert (pixels[:, 4:] <= 1).all()


def test_half_transparency_is_half_white(tmp_path: Path) -> None:
    Image.new("RGBA", (2, 2), (100, 0, 255, 51)).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png")[0, 0].tolist() == [224, 204, 255]


def test_colours_without_transparency_are_as_stored(tmp_path: Path) -> None:
    for mode in ("RGB", "RGBA"):
        Image.fromarray(COLOR).convert(mode).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_rgb(tmp_path / "a.png"), COLOR)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "avif", "gif", "tif", "bmp", "jp2", "dds"])
def test_damaged_files_raise_nothing_else(ending: str, tmp_path: Path) -> None:
    """Decoders raise what they like; what is read in spite of the damage is a picture."""
    if ending == "avif" and not features.check("avif"):
        pytest.skip("this Pillow reads no AVIF")
    exif = Image.Exif()
    exif[274] = 6
    buffer = io.BytesIO()
    options = {"exif": exif} if ending in ("png", "jpg", "webp", "avif", "tif") else {}
    Image.fromarray(COLOR).save(buffer, Image.registered_extensions()[f".{ending}"], **options)
    whole, chance, path = buffer.getvalue(), random.Random(0), tmp_path / f"a.{ending}"
    refused = []
    for trial in range(40):
        damaged = bytearray(whole)
        for _ in range(3 * (trial % 2)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged if trial % 2 else damaged[: chance.randrange(len(damaged))])
        try:
            assert read_rgb(path).shape[2:] == (3,)
        except UnreadableImageError as error:
            refused.append(str(error))
    assert refused
    assert all(reason and "\n" not in reason for reason in refused)


def _of_size(data: bytes, width: int, height: int) -> bytes:
    """A PNG or JPEG whose header says another size."""
    if data.startswith(b"\x89PNG"):
        head = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
        return data[:12] + head + struct.pack(">I", zlib.crc32(head)) + data[33:]
    at = next(i for i in range(len(data)) if data[i : i + 2] in (b"\xff\xc0", b"\xff\xc2"))
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def _stored(ending: str, width: int, height: int, **options: bool) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(COLOR).save(buffer, Image.registered_extensions()[f".{ending}"], **options)
    return _of_size(buffer.getvalue(), width, height)


BOMBS: dict[str, tuple[bytes, str]] = {
    "a.png": (_stored("png", 13000, 13000), "13000 x 13000 pixels are more than the 67,108,864 that are read"),
    "b.png": (_stored("png", 30000, 30000), "30000 x 30000 pixels are more than the 67,108,864"),
    "flat.png": (_stored("png", 2**30, 1), "1073741824 x 1 pixels are more than the 67,108,864"),
    "a.jpg": (_stored("jpg", 30000, 30000), "30000 x 30000 pixels are more than the 268,435,456"),
    "b.jpg": (_stored("jpg", 13000, 13000, progressive=True), "13000 x 13000 pixels are more than the 67,108,864"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_more_pixels_than_are_read_are_refused_before_they_are_decoded(name: str, tmp_path: Path) -> None:
    data, expected = BOMBS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UnreadableImageError) as caught:
        read_rgb(tmp_path / name)
    assert str(caught.value).startswith(expected)
    assert str(caught.value).endswith("that are read; save it smaller")


def test_an_icon_with_a_larger_picture_than_it_says_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("frozen.data.pixels.MOST_PIXELS", 1000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64)).save(buffer, "PNG")
    entry = struct.pack("<BBBBHHII", 8, 8, 0, 0, 1, 32, len(buffer.getvalue()), 22)
    (tmp_path / "a.ico").write_bytes(struct.pack("<HHH", 0, 1, 1) + entry + buffer.getvalue())
    with (
        pytest.warns(UserWarning, match="not the expected size"),
        pytest.raises(UnreadableImageError, match="64 x 64 pixels are more than the 1,000"),
    ):
        read_rgb(tmp_path / "a.ico")


def test_large_jpegs_are_decoded_at_half_their_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And all others, whatever Pillow's own limit is, are as they are stored."""
    rows, columns = np.mgrid[:301, :200]
    smooth = np.stack([rows * 255 // 300, columns * 255 // 199, np.full_like(rows, 90)], axis=2).astype(np.uint8)
    path = tmp_path / "a.jpg"
    Image.fromarray(smooth).save(path, quality=98)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    whole = read_rgb(path)
    with path.open("rb") as file:
        np.testing.assert_array_equal(whole, np.array(JpegImageFile(file)))
    monkeypatch.setattr("frozen.data.pixels.MOST_PIXELS", 301 * 200 - 1)
    half = read_rgb(path)
    assert half.shape == (151, 100, 3)
    np.testing.assert_allclose(half[:150].astype(float), whole[:300].reshape(150, 2, 100, 2, 3).mean((1, 3)), atol=3)
    monkeypatch.setattr("frozen.data.pixels.MOST_PIXELS", 301 * 200 // 4 - 1)
    with pytest.raises(UnreadableImageError, match="200 x 301 pixels are more than the 60,196"):
        read_rgb(path)
