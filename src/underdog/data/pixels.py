"""Pixels of images: in memory, or in a file that is read as they are asked for."""

from __future__ import annotations

import math
import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from underdog.errors import InputError

__all__ = ["CPU", "PixelFile", "Pixels", "at_a_time", "gather", "in_parts", "index_select", "prefetch"]

T = TypeVar("T")
Indices = npt.NDArray[np.int64]

#: Items that a thread makes before they are asked for.
DEPTH = 2
CPU = torch.device("cpu")


class OpenFile:
    """A file from which any thread or process reads at any place; one that is removed can still be read."""

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, path.open("rb", buffering=0)
        weakref.finalize(self, self._file.close)

    def __reduce__(self) -> tuple[Any, ...]:
        return OpenFile, (self.path,)

    def read(self, into: memoryview, offset: int) -> None:
        """Fill n bytes from the offset on.

        Raises:
            InputError: the file ends before, or the disk fails.
        """
        done = 0
        while done < len(into):
            try:
                n = self._at(into[done:], offset + done)
                why = "it ends before its last image"
            except OSError as error:
                n, why = 0, error.strerror or str(error)
            if not n:
                raise InputError(
                    f"decoded images in {str(self.path)!r} cannot be read: {why}; the same command makes what is damaged "
                    "anew, and resumes from the last finished epoch"
                )
            done += n

    def _at(self, into: memoryview, offset: int) -> int:
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [into], offset)
        with self.path.open("rb", buffering=0) as own:
            own.seek(offset)
            return own.readinto(into) or 0


@dataclass(frozen=True, eq=False)
class PixelFile:
    """(N, C, H, W) uint8 in a file: what a tensor of images does for training, without holding them.

    Indexing reads. Reads go by ``pread``: pages of a file that is mapped into memory would count as the process's.

    Args:
        file: where they are.
        offset: bytes before the first one.
        image: (C, H, W) of each.
        rows: (N,) which images of the file these are, in order.
        device: where they are read to.
    """

    file: OpenFile
    offset: int
    image: tuple[int, ...]
    rows: Indices
    device: torch.device = CPU

    @classmethod
    def open(cls, path: Path) -> PixelFile:
        """All images of a ``.npy`` file of (N, C, H, W) uint8.

        Raises:
            OSError, ValueError: it is not that.
        """
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError(f"{path} has another version")
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            offset = file.tell()
        if fortran or dtype != np.uint8 or path.stat().st_size != offset + math.prod(shape):
            raise ValueError(f"{path} does not hold images")
        return cls(OpenFile(path), offset, tuple(shape[1:]), np.arange(shape[0]))

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.image)

    def __getitem__(self, which: Tensor | slice | Sequence[int]) -> Tensor:
        """(B, C, H, W) of some of the images, on the device.

        Raises:
            InputError: the file is no longer what it was.
        """
        rows = self.rows[which.cpu().numpy() if isinstance(which, Tensor) else which]
        read, size = torch.empty((len(rows), *self.image), dtype=torch.uint8), math.prod(self.image)
        into = memoryview(read.numpy().reshape(-1))  # type: ignore[arg-type]
        begins = np.flatnonzero(np.diff(rows, prepend=-2) != 1)  # images that lie side by side are read at once
        for a, b in pairwise([*begins, len(rows)]):
            self.file.read(into[a * size : b * size], self.offset + int(rows[a]) * size)
        return read.to(self.device)

    def select(self, which: Indices) -> PixelFile:
        """Some of the images, of which nothing is read."""
        return replace(self, rows=self.rows[which])

    def split(self, size: int) -> list[PixelFile]:
        """All of the images, ``size`` at a time, as ``torch.split`` divides a tensor."""
        return [replace(self, rows=self.rows[at : at + size]) for at in range(0, max(1, len(self)), size)]

    def to(self, device: torch.device | str) -> PixelFile:
        """The same images, read to another device."""
        return replace(self, device=torch.device(device))


#: (N, C, H, W) uint8.
Pixels = Tensor | PixelFile


def gather(pixels: Pixels, rows: Tensor) -> Tensor:
    """(B, C, H, W) of some of the images; of those in memory whole ones are copied, where an index would copy each value."""
    return pixels[rows] if isinstance(pixels, PixelFile) else pixels.index_select(0, rows)


def index_select(pixels: Pixels, which: Indices) -> Pixels:
    """Some of the images, in this order: a copy of those in memory; from a file nothing is read."""
    if isinstance(pixels, PixelFile):
        return pixels.select(which)
    numbers = torch.from_numpy(np.arange(len(pixels))[which])  # -1 is the last one
    return gather(pixels, numbers.to(pixels.device))


def at_a_time(pixels: Pixels, images: int, values: int) -> int:
    """How many images to work on at a time: so many, or fewer where they have more values together; at least one.

    >>> at_a_time(torch.empty(0, 3, 32, 32), images=512, values=2**20)
    341
    """
    return max(1, min(images, values // max(1, math.prod(pixels.shape[1:]))))


def in_parts(pixels: Pixels, size: int, first: int = 0, step: int = 1) -> Iterator[Tensor]:
    """The images ``size`` at a time, of which parts every ``step``-th from the ``first`` on; a file is read ahead."""
    parts = (part[:] for part in pixels.split(size)[first::step])
    return prefetch(parts) if isinstance(pixels, PixelFile) else parts


def prefetch(items: Iterable[T], depth: int = DEPTH) -> Iterator[T]:
    """Yield the same items, the next ones made by a thread while one is in use; its errors are raised here.

    >>> list(prefetch(n * n for n in range(4)))
    [0, 1, 4, 9]
    """
    source, end = iter(items), object()
    pool = ThreadPoolExecutor(1, "prefetch")
    try:
        waiting = deque(pool.submit(next, source, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, source, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)
