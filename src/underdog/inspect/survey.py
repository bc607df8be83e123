"""One look at every image of a source: what is to be known of it, without keeping its pixels."""

from __future__ import annotations

import io
import itertools
from collections.abc import Container, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
from PIL import Image

from underdog.data.archive import Member
from underdog.data.decode import decode_image, decoding, in_pool, workers
from underdog.data.images import ImageSet
from underdog.data.reading import Progress, Reading, Size
from underdog.errors import InputError

__all__ = ["THUMBNAIL", "Look", "survey", "survey_pixels"]

#: Longer side of a thumbnail, in pixels.
THUMBNAIL = 128
#: Thumbnails of images that equal an earlier one, at most.
REPEATS = 100

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False, slots=True)
class Look:
    """What one image is.

    Attributes:
        digest: 128 bits of a hash of its pixels as stored, upright, before any resizing; grey where all channels agree.
        size: (height, width), upright.
        format, mode: Pillow's names of the file's format and of its pixels before conversion.
        thumbnail: (h, w) or (h, w, 3) uint8, no larger than ``THUMBNAIL``, of images that were wanted and of some
            that equal another one.
    """

    digest: bytes
    size: Size
    format: str
    mode: str
    thumbnail: Pixels | None


class _Looker:
    """Makes looks, and thumbnails of images that are wanted or were seen before; safe to be called by threads."""

    def __init__(self, wanted: Container[int]) -> None:
        self._wanted = wanted
        self._first: dict[bytes, int] = {}
        self._repeated: set[bytes] = set()

    def __call__(self, n: int, pixels: Pixels, kind: str, mode: str) -> Look:
        digest = _digest(pixels)
        show = n in self._wanted
        if self._first.setdefault(digest, n) != n and digest not in self._repeated and len(self._repeated) < REPEATS:
            self._repeated.add(digest)
            show = True
        return Look(digest, (pixels.shape[0], pixels.shape[1]), kind, mode, _thumbnail(pixels) if show else None)


def survey(members: Sequence[Member], wanted: Container[int], reading: Reading, progress: Progress) -> list[Look | str]:
    """A look at every file, or why it cannot be decoded; thumbnails of those whose numbers are wanted.

    Costs one decoding in full size. In memory at once are some encoded images, and a decoded one for each processor.
    """
    make, whole = _Looker(wanted), replace(reading, size=None)

    def look(n: int, data: bytes | str) -> Look | str:
        if isinstance(data, str):
            return data
        pixels = decode_image(data, whole)
        if isinstance(pixels, str):
            return pixels
        with Image.open(io.BytesIO(data)) as image:  # its header alone
            return make(n, pixels, image.format or "", image.mode)

    found: list[Look | str] = []
    with decoding(), ThreadPoolExecutor(workers()) as pool:
        for result in in_pool(pool, look, enumerate(map(_bytes, members))):
            found.append(result)
            progress(1)
    return found


def survey_pixels(parts: Sequence[ImageSet], wanted: Container[int]) -> list[Look]:
    """A look at every image of sets that were stored as bare pixels; images are numbered through all sets."""
    make = _Looker(wanted)
    arrays = (images.images[:].permute(0, 2, 3, 1).squeeze(3).contiguous().numpy() for images in parts)
    pixels = enumerate(itertools.chain.from_iterable(arrays))
    return [make(n, own, "bare pixels", "L" if own.ndim == 2 else "RGB") for n, own in pixels]


def _bytes(member: Member) -> bytes | str:
    """A file's bytes, or why there are none: one that may not be read, or one damaged member of a zip."""
    try:
        return member.read() or "the file is empty"
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    except InputError as error:
        return f"damaged in the archive: {error.__cause__}"


def _digest(pixels: Pixels) -> bytes:
    plain = pixels[..., 0] if _is_grey(pixels) else pixels
    digest = blake2b(repr(plain.shape).encode(), digest_size=16)
    digest.update(np.ascontiguousarray(plain).data)
    return digest.digest()


def _is_grey(pixels: Pixels) -> bool:
    """Whether a colour image has no colour; most have some in their first row."""
    return pixels.ndim == 3 and all(bool((p == p[..., :1]).all()) for p in (pixels[0], pixels))


def _thumbnail(pixels: Pixels) -> Pixels:
    small = Image.fromarray(pixels)
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return np.asarray(small)
