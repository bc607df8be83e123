"""Image files in whatever is named, found and decoded as they come: any number of them in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from PIL import Image

from underdog.data.archive import ARCHIVE_SUFFIXES, Member, open_members
from underdog.data.decode import decode_image, decoding, in_pool
from underdog.data.folders import IMAGE_SUFFIXES
from underdog.data.reading import Progress, Reading
from underdog.data.walk import hidden
from underdog.errors import InputError
from underdog.paths import existing_path

__all__ = ["decode_some", "find_images", "in_channels"]

Pixels = npt.NDArray[np.uint8]


def find_images(paths: Iterable[Path], ignored: Progress = lambda files: None) -> Iterator[Member]:
    """The image files among ``paths``, in folders below them, and in archives, each under its path from outside.

    Each has to be read before the next one is asked for, since an archive is closed after its last one.
    A file that is named itself counts as an image whatever its ending. What cannot be read, a folder or an archive
    as a whole included, is a member whose ``read`` says so.

    Args:
        paths: files, folders and archives.
        ignored: called with the number of files that are no images as they are passed over.

    Raises:
        InputError: a path that does not exist or is neither file nor folder, before anything else is done.
    """
    paths = list(paths)
    for path in paths:
        existing_path(path)
    return _found(paths, ignored)


def _found(paths: Iterable[Path], ignored: Progress) -> Iterator[Member]:
    for path in paths:
        if path.is_dir():
            yield from _below(path, ignored)
        elif path.name.lower().endswith(ARCHIVE_SUFFIXES):
            yield from _inside(path, ignored)
        else:
            yield Member(PurePosixPath(path), path.read_bytes)


def _below(folder: Path, ignored: Progress) -> Iterator[Member]:
    """The images in a folder and those below it, sorted folder by folder, without hidden ones and linked folders."""
    failures: list[OSError] = []
    for root, folders, files in os.walk(folder, onerror=failures.append):
        while failures:
            yield _unreadable(failures.pop())
        folders[:] = sorted(f for f in folders if not hidden(f))
        for name in sorted(f for f in files if not hidden(f)):
            path = Path(root, name)
            if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():  # a pipe would be waited for
                yield Member(PurePosixPath(path), path.read_bytes)
            else:
                ignored(1)
    for failure in failures:
        yield _unreadable(failure)


def _inside(archive: Path, ignored: Progress) -> Iterator[Member]:
    try:
        with open_members(archive) as members:
            for member in members:
                if member.path.suffix.lower() in IMAGE_SUFFIXES:
                    yield Member(PurePosixPath(archive, *_relative(member.path)), member.read)
                else:
                    ignored(1)
    except InputError as error:
        yield Member(PurePosixPath(archive), partial(_fail, error))


def _relative(path: PurePosixPath) -> tuple[str, ...]:
    """The parts of a path without a leading slash, which would hide the archive's name."""
    return path.parts[1:] if path.is_absolute() else path.parts


def _unreadable(failure: OSError) -> Member:
    return Member(PurePosixPath(os.fsdecode(failure.filename)), partial(_fail, failure))


def _fail(error: Exception) -> NoReturn:
    raise error


def decode_some(
    members: Iterable[Member], reading: Reading, channels: int, pool: Executor
) -> list[tuple[PurePosixPath, Pixels | str]]:
    """Each file's path with its (H, W, C) uint8, or with why there is none.

    Files are read here, in their order and while their archive is open, and decoded in the pool.
    """
    paths = list[PurePosixPath]()

    def read() -> Iterator[tuple[bytes | str, Reading, int]]:
        for member in members:
            paths.append(member.path)
            yield _bytes(member), reading, channels

    with decoding():
        decoded = list(in_pool(pool, _decoded, read()))
    return list(zip(paths, decoded, strict=True))


def _bytes(member: Member) -> bytes | str:
    """The content of a file, or why it cannot be read."""
    try:
        return member.read()
    except OSError as error:
        return error.strerror or type(error).__name__
    except Exception as error:  # damaged archives fail in many ways, each with the same consequence
        return str(error) or type(error).__name__


def _decoded(data: bytes | str, reading: Reading, channels: int) -> Pixels | str:
    pixels = data if isinstance(data, str) else decode_image(data, reading)
    return pixels if isinstance(pixels, str) else in_channels(pixels, channels)


def in_channels(pixels: Pixels, channels: int) -> Pixels:
    """(H, W) or (H, W, 3) as (H, W, C): grey is repeated, colour is weighted as ITU-R 601 says.

    >>> in_channels(np.full((2, 2), 7, np.uint8), 3)[0, 0]
    array([7, 7, 7], dtype=uint8)
    """
    if channels == 1 and pixels.ndim == 3:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))
    return np.broadcast_to(pixels[:, :, None], (*pixels.shape, channels)) if pixels.ndim == 2 else pixels
