"""Images in a folder: ``pixels.npy`` has the pixels, and ``index.json`` what they are of.

Entries of the cache and the files that worker processes map have this form.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from hashlib import file_digest
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from underdog.data.pixels import PixelFile, Pixels, at_a_time, in_parts

__all__ = ["DAMAGES", "HEADER", "INDEX", "PIXELS", "content_of", "describe", "load", "write_header", "write_pixels"]

PIXELS, INDEX = "pixels.npy", "index.json"
#: Bytes of a ``.npy`` file before its values, for any shape of four axes.
HEADER = 128
#: Bytes of pixels from which on they are mapped into memory instead of read.
MAPPED = 2**30
#: What reading a damaged folder raises.
DAMAGES = (OSError, ValueError, KeyError, TypeError, EOFError)


def write_header(file: BinaryIO, shape: Sequence[int]) -> None:
    """What numpy writes before (N, C, H, W) uint8."""
    about = {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(file, about)
    assert file.tell() == HEADER


def write_pixels(folder: Path, pixels: Pixels) -> None:
    """Write images as numpy does, a part of them at a time, since they may not fit into memory."""
    with (folder / PIXELS).open("wb") as file:
        write_header(file, pixels.shape)
        for part in in_parts(pixels, at_a_time(pixels, images=len(pixels), values=2**24)):
            file.write(part.contiguous().numpy().data)


def describe(folder: Path, about: dict[str, Any]) -> None:
    """Write the index of the pixels that are there, in JSON, and by what they are known to be those that were written."""
    (folder / INDEX).write_text(json.dumps(about | {"stamp": _stamp(folder / PIXELS)}), "utf-8")


def load(
    folder: Path, memory: int | None = None, mapped: bool = False
) -> tuple[npt.NDArray[np.uint8] | PixelFile, dict[str, Any]]:
    """The pixels, and what they are of; they stay in their file where that says "on_disk", or where they exceed the memory.

    Args:
        folder: what ``describe`` has completed.
        memory: bytes that they may take; any number where None.
        mapped: map them into memory instead of reading them, as is done with more than a gibibyte anyway.

    Raises:
        one of ``DAMAGES``: something is missing, or is not as it was written: size and time say so, or else the content.
    """
    about, file = dict(json.loads((folder / INDEX).read_text("utf-8"))), folder / PIXELS
    if about["stamp"] != _stamp(file) and about.get("content") != content_of(folder):
        raise ValueError(f"{file} is not what was written")
    size = file.stat().st_size
    if about.get("on_disk") or (memory is not None and size > memory):
        return PixelFile.open(file), about
    pixels: npt.NDArray[np.uint8] = _mapped(file) if mapped or size > MAPPED else np.load(file, allow_pickle=False)
    if pixels.dtype != np.uint8:
        raise ValueError(f"{file} does not hold images")
    return pixels, about


def content_of(folder: Path) -> str:
    """A hash of the pixels' file."""
    with (folder / PIXELS).open("rb") as file:
        return file_digest(file, "blake2b").hexdigest()


def _mapped(file: Path) -> npt.NDArray[np.uint8]:
    try:
        return np.lib.format.open_memmap(file, mode="c")  # copy on write: torch wants memory that can be written to
    except OSError as error:
        if error.errno == errno.ENOMEM:  # no damage
            raise MemoryError(f"{file} does not fit into memory") from error
        raise


def _stamp(file: Path) -> list[int]:
    stat = os.stat(file)
    return [stat.st_size, stat.st_mtime_ns]
