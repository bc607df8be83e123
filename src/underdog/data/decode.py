"""Encoded images to bytes of one shape."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from underdog.data.archive import Member
from underdog.data.reading import Progress, Reading, Size
from underdog.errors import InputError

__all__ = ["Decoded", "decode"]

#: Images of different sizes, or larger than this, need a size to be brought to.
LARGEST = 256
#: Encoded images waiting to be decoded, at most.
WAITING = 512


@dataclass(frozen=True, eq=False)
class Decoded:
    """Images of one size.

    Attributes:
        pixels: (M, C, H, W) uint8, C = 1 where all are grey and 3 where one is not.
        kept: (M,) their positions among the files.
        corrupt: paths of the files that could not be decoded.
    """

    pixels: npt.NDArray[np.uint8]
    kept: npt.NDArray[np.int64]
    corrupt: tuple[str, ...]


def decode(members: Sequence[Member], reading: Reading, progress: Progress) -> Decoded:
    """The pixels of every file, in the order of the files.

    Raises:
        InputError: a corrupt file (unless they are to be skipped), nothing else than corrupt files, or sizes that differ
            or are too large without a size to bring them to.
    """
    decoded: list[npt.NDArray[np.uint8] | None] = []
    kept: list[int] = []
    corrupt: list[str] = []
    shapes = Counter[tuple[int, int]]()
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        # Here and not in the threads, which share one list of filters.
        warnings.simplefilter("ignore", UserWarning)  # about damaged EXIF data and the like
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for at in range(0, len(members), WAITING):
            part = members[at : at + WAITING]
            # Read here, in the archive's order; decode there, where Pillow lets go of the interpreter.
            results = pool.map(lambda data: _pixels(data, reading.size), [m.read() for m in part])
            for n, result in enumerate(results, at):
                if isinstance(result, str):
                    if not reading.skip_corrupt:
                        raise InputError(
                            f"{members[n].path} cannot be decoded: {result} (--skip-corrupt leaves such files out)"
                        )
                    corrupt.append(str(members[n].path))
                else:
                    decoded.append(result)
                    kept.append(n)
                    shapes[result.shape[1], result.shape[0]] += 1
            _check_sizes(shapes)  # now, and not after a million photographs have filled the memory
            progress(len(part))
    if not kept:
        raise InputError(f"none of the {len(members)} images can be decoded")
    return Decoded(_stacked(decoded), np.array(kept), tuple(corrupt))


def _check_sizes(shapes: Counter[tuple[int, int]]) -> None:
    if len(shapes) > 1 or (shapes and max(max(shapes)) > LARGEST):
        most = ", ".join(f"{w}x{h} ({n})" for (w, h), n in shapes.most_common(3))
        raise InputError(
            f"images differ in size or exceed {LARGEST} pixels, such as {most}: "
            "say which size to bring them to, such as --size 64"
        )


def _stacked(images: list[npt.NDArray[np.uint8] | None]) -> npt.NDArray[np.uint8]:
    """(H, W) and (H, W, 3) as one (M, C, H, W); the list is emptied, so that the images are in memory once."""
    first = images[0]
    assert first is not None
    channels = 3 if any(p is not None and p.ndim == 3 for p in images) else 1
    own = np.empty((len(images), channels, *first.shape[:2]), np.uint8)
    for row, pixels in enumerate(images):
        images[row] = None
        if pixels is not None:
            own[row] = np.moveaxis(pixels, 2, 0) if pixels.ndim == 3 else pixels
    return own


def _pixels(data: bytes, size: Size | None) -> npt.NDArray[np.uint8] | str:
    """An encoded image as uint8 (H, W) or (H, W, 3), upright; or why there is none."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            # For a JPEG, decode no more than twice the size that is wanted.
            if size is not None:
                image.draft(None, (2 * size[1], 2 * size[0]))
            image.load()
            kind, upright = image.format, ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16") or (upright.mode == "I" and kind == "PNG"):
            upright = Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).astype(np.uint8))
        elif upright.mode in ("I", "F"):
            return "32-bit pixels of unknown range"
        if upright.mode == "P" and "transparency" in upright.info:
            upright = upright.convert("RGBA")
        upright = upright.convert("L" if upright.mode in ("1", "L", "LA") else "RGB")
        if size is not None:
            upright = ImageOps.fit(upright, size[::-1], Image.Resampling.BICUBIC)
        return np.asarray(upright)
    except Exception as error:  # foreign bytes make decoders fail in any way, and each has the same consequence
        return str(error) or type(error).__name__
