"""Encoded images to bytes of one shape."""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from underdog.data.archive import Member
from underdog.errors import InputError

__all__ = ["Size", "decode"]

#: (height, width) in pixels.
Size = tuple[int, int]

#: Images of different sizes, or larger than this, need a size to be brought to.
LARGEST = 256
#: Encoded images waiting to be decoded, at most.
WAITING = 512


def decode(
    members: Sequence[Member], size: Size | None, skip_corrupt: bool, progress: Callable[[int], object]
) -> tuple[list[npt.NDArray[np.uint8] | None], list[str]]:
    """The pixels of every file, uint8 (H, W) where it is grey and (H, W, 3) where it is not, all of one H and W.

    Files that cannot be decoded are an error, or None and named in the second list with ``skip_corrupt``.

    Raises:
        InputError: a corrupt file, or sizes that differ or are too large without a ``size`` to bring them to.
    """
    decoded: list[npt.NDArray[np.uint8] | None] = []
    corrupt: list[str] = []
    shapes = Counter[tuple[int, int]]()
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        # Here and not in the threads, which share one list of filters.
        warnings.simplefilter("ignore", UserWarning)  # about damaged EXIF data and the like
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for at in range(0, len(members), WAITING):
            part = members[at : at + WAITING]
            # Read here, in the archive's order; decode there, where Pillow lets go of the interpreter.
            results = pool.map(lambda data: _pixels(data, size), [m.read() for m in part])
            for member, result in zip(part, results, strict=True):
                if isinstance(result, str):
                    if not skip_corrupt:
                        raise InputError(
                            f"{member.path} cannot be decoded: {result} (--skip-corrupt leaves such files out)"
                        )
                    corrupt.append(str(member.path))
                    decoded.append(None)
                else:
                    decoded.append(result)
                    shapes[result.shape[1], result.shape[0]] += 1
            # Now, and not after a million photographs have filled the memory.
            if len(shapes) > 1 or (shapes and max(max(shapes)) > LARGEST):
                most = ", ".join(f"{w}x{h} ({n})" for (w, h), n in shapes.most_common(3))
                raise InputError(
                    f"images differ in size or exceed {LARGEST} pixels, such as {most}: "
                    "say which size to bring them to, such as --size 64"
                )
            progress(len(part))
    return decoded, corrupt


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
