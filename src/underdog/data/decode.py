"""Encoded images to bytes of one shape."""

from __future__ import annotations

import io
import os
import warnings
from collections import Counter, deque
from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from underdog.data.archive import Member
from underdog.data.pixels import PixelFile, Pixels
from underdog.data.reading import Progress, Reading
from underdog.data.rows import MemoryRows, Rows
from underdog.errors import InputError

__all__ = [
    "Decoded",
    "check_corrupt",
    "decode",
    "decode_image",
    "decode_to",
    "decoding",
    "in_order",
    "in_pool",
    "prepared",
    "resized",
    "workers",
]

T = TypeVar("T")

#: Images of different sizes, or larger than this, need a size to be brought to.
LARGEST = 256
#: Pixels of an image that is decoded, at most: 8192 x 8192. A file of a few kilobytes can claim any number.
MOST_PIXELS = 2**26
#: Encoded images waiting to be decoded, at most.
WAITING = 64


@dataclass(frozen=True, eq=False)
class Decoded:
    """Images of one size.

    Attributes:
        pixels: (M, C, H, W) uint8, C = 1 where all are grey and 3 where one is not, in the order of their paths; in memory,
            or in a file.
        kept: (M,) their positions among the files.
        corrupt: paths of the files that could not be decoded, with the reason.
        notes: remarks, such as why they could not be kept in a cache.
    """

    pixels: npt.NDArray[np.uint8] | PixelFile
    kept: npt.NDArray[np.int64]
    corrupt: dict[str, str]
    notes: tuple[str, ...] = ()

    def some(self, rows: Sequence[int]) -> Pixels:
        """The images in some rows, ascending and at least one."""
        if isinstance(self.pixels, PixelFile):
            return self.pixels.select(np.array(rows))
        # Most often they lie side by side: a view, which copies nothing.
        beside = rows[-1] - rows[0] < len(rows)
        return torch.from_numpy(self.pixels[rows[0] : rows[-1] + 1] if beside else self.pixels[rows])


def decode(members: Sequence[Member], reading: Reading, progress: Progress, memory: int | None = None) -> Decoded:
    """The pixels of every file, in memory.

    Args:
        memory: bytes that they may take; any number where None.

    Raises:
        InputError: as ``decode_to``; or they do not fit, which shows with the first one.
    """
    rows = MemoryRows(len(members), memory)
    corrupt = decode_to(rows, members, reading, progress)
    return Decoded(rows.stacked(), np.array(in_order(members, corrupt)), corrupt)


def decode_to(rows: Rows, members: Sequence[Member], reading: Reading, progress: Progress) -> dict[str, str]:
    """Put the pixels of every file at its place in the order of their paths, and say which files are corrupt and why.

    Raises:
        InputError: a corrupt file (unless they are to be skipped), nothing else than corrupt files, or sizes that differ
            or are too large without a size to bring them to.
    """
    place = {n: place for place, n in enumerate(in_order(members, ()))}
    corrupt: dict[str, str] = {}
    shapes = Counter[tuple[int, ...]]()
    with decoding(), ThreadPoolExecutor(workers()) as pool:
        for n, result in enumerate(in_pool(pool, decode_image, ((m.read(), reading) for m in members))):
            if isinstance(result, str):
                corrupt[str(members[n].path)] = result
                check_corrupt(corrupt, reading)
            else:
                shapes[result.shape[:2]] += 1
                if n % WAITING == 0 or max(result.shape[:2]) > LARGEST:
                    _check_sizes(shapes, reading)  # now, and not after a million photographs have been decoded
                if len(shapes) == 1:  # else there will be an error
                    rows.put(place[n], result)
            progress(1)
    _check_sizes(shapes, reading)
    if len(corrupt) == len(members):
        raise InputError(f"none of the {len(members)} images can be decoded")
    return corrupt


def in_pool(pool: Executor, work: Callable[..., T], items: Iterable[tuple[Any, ...]]) -> Iterator[T]:
    """``work(*item)`` of each item, in their order.

    Items are made here, one after the other, as archives have to be read, and few ahead of the work on them, since encoded
    images of a camera have 10 MB each. Pillow lets go of the interpreter while it decodes.
    """
    waiting: deque[Future[T]] = deque()
    for item in items:
        if len(waiting) == WAITING:
            yield waiting.popleft().result()
        waiting.append(pool.submit(work, *item))
    while waiting:
        yield waiting.popleft().result()


def workers() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(members: Sequence[Member], corrupt: Container[str]) -> list[int]:
    """Positions of the files that can be decoded, in the order of their paths, which is that of no archive."""
    return sorted((n for n, m in enumerate(members) if str(m.path) not in corrupt), key=lambda n: members[n].path.parts)


def check_corrupt(corrupt: dict[str, str], reading: Reading) -> None:
    """Refuse a file that cannot be decoded, unless such files are to be skipped."""
    if corrupt and not reading.skip_corrupt:
        path, reason = next(iter(corrupt.items()))
        raise InputError(f"{path} cannot be decoded: {reason} (--skip-corrupt leaves such files out)")


def _check_sizes(shapes: Counter[tuple[int, ...]], reading: Reading) -> None:
    if reading.size is None and shapes and (len(shapes) > 1 or max(max(shapes)) > LARGEST):
        most = ", ".join(f"{w}x{h} ({n})" for (h, w), n in shapes.most_common(3))
        raise InputError(
            f"images differ in size or exceed {LARGEST} pixels, such as {most}: "
            "say which size to bring them to, such as --size 64"
        )


@contextmanager
def decoding() -> Iterator[None]:
    """Pillow's warnings as they are needed here: for around ``decode_image``, outside of any threads that call it."""
    with warnings.catch_warnings():  # not in the threads, which share one list of filters
        warnings.simplefilter("ignore", UserWarning)  # about damaged EXIF data and the like
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode_image(data: bytes, reading: Reading) -> npt.NDArray[np.uint8] | str:
    """An encoded image as uint8 (H, W) where it is grey and (H, W, 3) where it is not, upright; or why there is none.

    Transparent images stand on white, 16 bits become the upper eight. Images that are animated, have several pages
    or more than 2^26 pixels are refused before any pixel is decoded.
    """
    if not data:
        return "the file is empty"
    try:
        with Image.open(io.BytesIO(data)) as image:
            if refusal := _refusal(image):
                return refusal
            if reading.size is not None:  # of a JPEG, decode no more than twice the size that is wanted
                image.draft(None, (2 * reading.size[1], 2 * reading.size[0]))
            return prepared(image, reading)
    except UnidentifiedImageError:
        return "no image in a format that is known"
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        return f"its pixels are more than the {MOST_PIXELS:,} that are decoded"
    except Exception as error:  # foreign bytes make decoders fail in any way, and each has the same consequence
        return str(error) or type(error).__name__


def prepared(image: Image.Image, reading: Reading) -> npt.NDArray[np.uint8]:
    """An opened image as uint8 (H, W) or (H, W, 3), upright.

    Raises:
        InputError: 32-bit pixels, whose range is unknown.
    """
    image.load()
    kind, upright = image.format, ImageOps.exif_transpose(image)
    if upright.mode in ("I", "F") and not (upright.mode == "I" and kind == "PNG"):
        raise InputError("32-bit pixels of unknown range")
    return np.asarray(resized(_plain(upright), reading))


def _refusal(image: Image.Image) -> str:
    """Why an image is not to be decoded, from its header alone."""
    if image.width * image.height > MOST_PIXELS:
        return f"{image.width}x{image.height} pixels are more than the {MOST_PIXELS:,} that are decoded"
    # Cameras append a preview to a JPEG, which is then called MPO: the first picture is the photograph.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    return f"{frames} frames or pages (it is animated, or a document), of which none is the image" if frames > 1 else ""


def _plain(image: Image.Image) -> Image.Image:
    """Any image as eight bits of grey, or of red, green and blue."""
    if image.mode.startswith("I"):  # 16 bits
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8))
    kind = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if not image.has_transparency_data:
        return image.convert(kind)
    alpha = image.convert("RGBA")
    white = Image.new(kind, image.size, "white")
    white.paste(alpha.convert(kind), mask=alpha.getchannel("A"))
    return white


def resized(image: Image.Image, reading: Reading) -> Image.Image:
    """An image brought to the size that is asked for, if any."""
    if reading.size is None:
        return image
    size, bicubic = reading.size[::-1], Image.Resampling.BICUBIC
    if reading.resize == "pad":
        return ImageOps.pad(image, size, bicubic)
    return image.resize(size, bicubic) if reading.resize == "squash" else ImageOps.fit(image, size, bicubic)
