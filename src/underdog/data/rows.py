"""Where decoded images are put, in whatever order they come: into memory, or into a file."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

from underdog.data.memory import gigabytes
from underdog.data.store import HEADER, write_header
from underdog.errors import InputError

__all__ = ["FileRows", "MemoryRows", "Rows", "UnwritableError", "unwritable"]

#: An image (H, W), or (H, W, 3).
Image = npt.NDArray[np.uint8]


class UnwritableError(Exception):
    """A disk that is full or refuses, and why."""


@contextmanager
def unwritable() -> Iterator[None]:
    """Errors of the disk that is written to, distinguished from those of what is read."""
    try:
        yield
    except OSError as error:
        raise UnwritableError(error.strerror or str(error)) from error


class Rows(Protocol):
    """Images of one size by their place among others."""

    def put(self, place: int, image: Image) -> None:
        """Keep an image."""
        ...


class MemoryRows:
    """Images in memory.

    Args:
        places: how many there may be.
        memory: bytes that they may take; any number where None.
    """

    def __init__(self, places: int, memory: int | None = None) -> None:
        self.places, self.memory = places, memory
        self.images: dict[int, Image] = {}

    def put(self, place: int, image: Image) -> None:
        """Keep an image.

        Raises:
            InputError: as many images as large as this do not fit.
        """
        if self.memory is not None and self.places * image.nbytes > self.memory:
            raise InputError(
                f"{self.places:,} decoded images need {gigabytes(self.places * image.nbytes)}, more than the "
                f"{gigabytes(self.memory)} that they may take here (a third of the memory available): they have to be kept on "
                "disk, in a cache (--cache DIR without --no-cache, cache= in Python)"
            )
        self.images[place] = image

    def stacked(self) -> npt.NDArray[np.uint8]:
        """(M, C, H, W) in the order of their places; the images are taken out, so that they are in memory once."""
        order = sorted(self.images)
        channels = max(3 if image.ndim == 3 else 1 for image in self.images.values())
        own = np.empty((len(order), channels, *self.images[order[0]].shape[:2]), np.uint8)
        for row, place in enumerate(order):
            own[row] = planes(self.images.pop(place))
        return own


class FileRows:
    """Images in a ``.npy`` file, one of them in memory at a time.

    Args:
        path: of the file, which is made.
        places: how many there may be.
    """

    def __init__(self, path: Path, places: int) -> None:
        self.path, self.places = path, places
        self.shape: tuple[int, ...] = ()
        with unwritable():
            self._file: BinaryIO = path.open("w+b", buffering=0)

    def put(self, place: int, image: Image) -> None:
        """Keep an image.

        Raises:
            UnwritableError: the disk has no room for as many images as large as this, or fails.
        """
        own = planes(image)
        with unwritable():
            if not self.shape:
                self._begin(own.shape)
            elif len(own) > self.shape[0]:
                self._widen(len(own))
            self._write(place, np.broadcast_to(own, self.shape))

    def finish(self, kept: Sequence[int]) -> tuple[int, ...]:
        """Move the images at the places ``kept``, ascending, together, and complete the file; the shape of all.

        Raises:
            UnwritableError: the disk is full or fails.
        """
        with unwritable(), self._file as file:
            for row, place in enumerate(kept):
                if row != place:
                    self._write(row, self._read(place))
            whole = (len(kept), *self.shape)
            file.truncate(HEADER + math.prod(whole))
            file.seek(0)
            write_header(file, whole)
            os.fsync(file.fileno())
        return whole

    def close(self) -> None:
        self._file.close()

    def _begin(self, shape: tuple[int, ...]) -> None:
        self.shape = shape
        needed, free = self.places * math.prod(shape), shutil.disk_usage(self.path).free
        if needed > free:  # now, and not after hours
            raise OSError(f"{gigabytes(needed)} do not fit into the {gigabytes(free)} that are free")

    def _widen(self, channels: int) -> None:
        """Repeat the grey of the images that are there, the last one first, so that none is written over unread."""
        _, height, width = grey = self.shape
        for place in reversed(range(self.places)):
            self.shape = grey
            own = self._read(place)
            self.shape = (channels, height, width)
            if own.size:
                self._write(place, np.broadcast_to(own, self.shape))
        self.shape = (channels, height, width)

    def _read(self, place: int) -> npt.NDArray[np.uint8]:
        """The image at a place, empty where the file ends before."""
        size = math.prod(self.shape)
        self._file.seek(HEADER + place * size)
        data = np.frombuffer(self._file.read(size), np.uint8)
        return data.reshape(self.shape) if len(data) == size else data[:0]

    def _write(self, place: int, image: Image) -> None:
        data = memoryview(image.tobytes())
        self._file.seek(HEADER + place * len(data))
        while data:
            data = data[self._file.write(data) :]


def planes(image: Image) -> npt.NDArray[np.uint8]:
    """(H, W) or (H, W, 3) as (C, H, W)."""
    return np.moveaxis(image, 2, 0) if image.ndim == 3 else image[None]
