"""Encoded images of every kind to bytes."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import underdog as ud
from underdog.data.decode import MOST_PIXELS, decode_image, decoding

P = np.random.default_rng(0).integers(0, 256, (16, 16, 4), dtype=np.uint8)
WORDS = np.random.default_rng(1).integers(0, 65536, (16, 16, 4), dtype=np.uint16)
PLAIN = ud.Reading()


def png(colour_type: int, depth: int, rows: bytes, size: tuple[int, int] = (16, 16)) -> bytes:
    """A PNG by its specification: Pillow does not write every kind that it reads. ``size`` is (width, height)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0)
    stride = len(rows) // size[1]
    lines = b"".join(b"\0" + rows[at : at + stride] for at in range(0, len(rows), stride or 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def frames(kind: str, **options: Any) -> bytes:
    """Three pictures in one file."""
    first, *others = (Image.fromarray(np.full((16, 16), level, np.uint8)) for level in (0, 100, 200))
    buffer = io.BytesIO()
    first.save(buffer, kind, save_all=True, append_images=others, **options)
    return buffer.getvalue()


# Kinds of pixels (more of them in test_sources.py)


def test_sixteen_bits_of_colour_become_the_upper_eight() -> None:
    pixels = decode_image(png(2, 16, WORDS[..., :3].astype(">u2").tobytes()), PLAIN)
    assert (pixels == WORDS[..., :3] >> 8).all()


def test_sixteen_bits_of_grey_with_alpha_stand_on_white() -> None:
    pixels = decode_image(png(4, 16, WORDS[..., :2].astype(">u2").tobytes()), PLAIN)
    grey, alpha = (WORDS[..., i, None].astype(float) // 256 for i in (0, 1))  # which Pillow only has as colours
    assert (pixels == np.rint((grey * alpha + 255 * (255 - alpha)) / 255)).all()


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_few_bits_of_grey_are_spread_over_all_levels(depth: int) -> None:
    levels = P[..., 0] >> (8 - depth)
    bits = np.unpackbits(levels[..., None], axis=2)[..., 8 - depth :]
    pixels = decode_image(png(0, depth, np.packbits(bits.reshape(16, -1), axis=1).tobytes()), PLAIN)
    assert (pixels == np.rint(levels * (255 / (2**depth - 1)))).all()


@pytest.mark.parametrize("bands", [1, 3])
def test_a_transparent_colour_becomes_white(bands: int, pictures: Any) -> None:
    colours = P[..., 0] // 128 * 100 if bands == 1 else P[..., :3] // 128 * 100
    key = 100 if bands == 1 else (100, 0, 100)
    pixels = decode_image(pictures.encode(colours, transparency=key), PLAIN)
    hidden = (colours.reshape(16, 16, -1) == key).all(axis=2)
    assert hidden.any()
    assert (pixels[hidden] == 255).all()
    assert (pixels[~hidden] == colours[~hidden]).all()


@pytest.mark.parametrize("kind", ["WEBP", "PNG", "TIFF"])
def test_what_cannot_be_seen_does_not_count(kind: str, pictures: Any) -> None:
    """Programs write any colour, and other programs none, where a picture is transparent."""
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    one, other = P.copy(), P.copy()
    one[:8, :, 3] = other[:8, :, 3] = 0
    one[8:, :, 3] = other[8:, :, 3] = 255
    other[:8, :, :3] = 255 - one[:8, :, :3]
    a, b = (decode_image(pictures.encode(x, kind, **options), PLAIN) for x in (one, other))
    assert (a == b).all()
    assert (a[:8] == 255).all()
    assert (a[8:] == one[8:, :, :3]).all()


def test_printers_colours_become_red_green_and_blue(pictures: Any) -> None:
    image = Image.frombytes("CMYK", (16, 16), P.tobytes())
    pixels = decode_image(pictures.encode(image, "TIFF"), PLAIN)
    ink = 1 - P.astype(float) / 255
    assert np.abs(pixels - 255 * ink[..., :3] * ink[..., 3:]).max() < 1.01


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_without_a_known_range_are_refused(mode: str, pictures: Any) -> None:
    image = Image.fromarray(P[..., 0]).convert(mode)
    assert decode_image(pictures.encode(image, "TIFF"), PLAIN) == "32-bit pixels of unknown range"


# What is refused


MOVING: dict[str, Callable[[], bytes]] = {
    ".gif": lambda: frames("GIF"),
    ".webp": lambda: frames("WEBP", lossless=True),
    ".png": lambda: frames("PNG"),
    ".tif": lambda: frames("TIFF"),
}


@pytest.mark.parametrize("suffix", MOVING)
def test_animated_images_are_refused_by_name_or_left_out(suffix: str, tmp_path: Path, pictures: Any) -> None:
    path = pictures.folder(tmp_path, pictures.tree({"a": 2, "b": 2}) | {f"b/moving{suffix}": MOVING[suffix]()})
    with pytest.raises(ud.InputError, match=rf"b/moving{suffix} cannot be decoded: 3 frames or pages.*--skip-corrupt"):
        ud.load_images(path)
    source = ud.load_images(path, ud.Reading(skip_corrupt=True))
    assert source.train.counts == (2, 2)
    assert source.notes == (f"1 corrupt files were left out: b/moving{suffix}",)


def test_a_photograph_with_a_preview_is_no_animation() -> None:
    pixels = decode_image(frames("MPO"), PLAIN)
    assert pixels.shape == (16, 16)
    assert (pixels == 0).all()


@pytest.mark.parametrize("size", [(9000, 8000), (12000, 9000), (60000, 60000)])
@pytest.mark.parametrize("wanted", [None, (16, 16)])
def test_huge_images_are_refused_by_name(size: tuple[int, int], wanted: Any, tmp_path: Path, pictures: Any) -> None:
    files = pictures.tree({"a": 2, "b": 2}) | {"b/bomb.png": png(0, 8, b"", size)}
    with pytest.raises(ud.InputError, match=r"b/bomb.png cannot be decoded: .*pixels"):
        ud.load_images(pictures.folder(tmp_path, files), ud.Reading(size=wanted))


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"II*\0\0\0\0\0", b"P5 9"])
def test_whatever_is_no_image_has_a_reason(data: bytes) -> None:
    with decoding():
        assert isinstance(decode_image(data, PLAIN), str)


# Sizes


@pytest.fixture
def wide(pictures: Any) -> bytes:
    """32 x 16: a black quarter at the left, then white."""
    pixels = np.full((16, 32), 255, np.uint8)
    pixels[:, :8] = 0
    return pictures.encode(pixels)


def test_cropping_cuts_the_overhang(wide: bytes) -> None:
    assert (decode_image(wide, ud.Reading(size=(16, 16)))[:, 1:] == 255).all()  # the first column touches the black


def test_squashing_keeps_everything(wide: bytes) -> None:
    pixels = decode_image(wide, ud.Reading(size=(16, 16), resize="squash"))
    assert (pixels[:, :3] == 0).all()
    assert (pixels[:, 5:] == 255).all()


def test_padding_keeps_the_shape_and_adds_black_on_both_sides(wide: bytes) -> None:
    pixels = decode_image(wide, ud.Reading(size=(16, 16), resize="pad"))
    assert (pixels[:4] == 0).all()
    assert (pixels[12:] == 0).all()
    assert (pixels[4:12, 5:] == 255).all()
    assert (pixels[:, :3] == 0).all()


def test_an_image_of_the_shape_that_is_wanted_is_the_same_by_all_ways(pictures: Any) -> None:
    data = pictures.encode(P[..., :3])
    a, b, c = (decode_image(data, ud.Reading(size=(8, 8), resize=way)) for way in ("crop", "pad", "squash"))
    assert (a == b).all()
    assert (a == c).all()


def test_a_size_that_was_asked_for_may_be_large(tmp_path: Path, pictures: Any) -> None:
    path = pictures.folder(tmp_path, pictures.tree({"a": 1, "b": 1}))
    assert ud.load_images(path, ud.Reading(size=(20, 300))).train.shape == (1, 20, 300)


def test_there_is_no_other_way() -> None:
    with pytest.raises(ud.InputError, match="unknown resize 'stretch'"):
        ud.Reading(resize="stretch")


def test_no_bytes_and_far_too_many_pixels_are_named_in_our_own_words() -> None:
    assert decode_image(b"", PLAIN) == "the file is empty"
    with decoding():
        refused = decode_image(png(0, 1, b"", (60_000, 60_000)), PLAIN)
    assert refused == f"its pixels are more than the {MOST_PIXELS:,} that are decoded"
