"""Decoded images on disk: one folder for the files of a source, read in one way, that is whole or not there.

``images/KEY`` has what ``store`` reads and writes; KEY is a hash of what went in.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from underdog.data import store
from underdog.data.archive import Member
from underdog.data.decode import Decoded, decode_to, in_order
from underdog.data.reading import Progress, Reading
from underdog.data.rows import FileRows, unwritable
from underdog.errors import unknown

__all__ = ["CacheEntry", "alone", "entries", "fill", "load", "remove"]

KEY = re.compile(r"[0-9a-f]{32}(\.damaged)?")


@contextmanager
def alone(entry: Path) -> Iterator[None]:
    """While other processes wait. Where the disk refuses locks, two may do the same work, which harms nobody."""
    with ExitStack() as stack:
        with suppress(OSError, NotImplementedError):
            entry.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(f"{entry}.lock"))
            for left in entry.parent.glob(f".{entry.name}.*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
        yield


def load(entry: Path, members: Sequence[Member], memory: int | None = None) -> Decoded | None:
    """The images of an entry, None where it is not there or damaged; they stay in its file where they exceed the memory."""
    try:
        pixels, about = store.load(entry, memory)
        corrupt = dict(about["corrupt"])
        kept = in_order(members, corrupt)
        shape = (len(kept), *about["shape"])
    except store.DAMAGES:
        return None
    if pixels.shape != shape:
        return None
    with suppress(OSError):
        os.utime(entry / store.INDEX)  # last used
    return Decoded(pixels, np.array(kept), corrupt)


def fill(entry: Path, members: Sequence[Member], reading: Reading, progress: Progress, source: Path) -> None:
    """Decode the files into an entry, a few images in memory at a time; it is made under another name, then renamed.

    Raises:
        InputError: as ``decode_to``.
        UnwritableError: the disk is full or refuses.
    """
    with unwritable():
        entry.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f".{entry.name}."))
    try:
        with closing(FileRows(temporary / store.PIXELS, len(members))) as rows:
            corrupt = decode_to(rows, members, reading, progress)
            left_out = [place for place, n in enumerate(in_order(members, ())) if str(members[n].path) in corrupt]
            shape = rows.finish(np.delete(np.arange(len(members)), left_out).tolist())
        with unwritable():
            about = {"source": str(source.resolve()), "images": shape[0], "shape": shape[1:], "corrupt": corrupt}
            store.describe(temporary, about | {"content": store.content_of(temporary)})
            if entry.exists():
                aside = entry.with_suffix(".damaged")
                shutil.rmtree(aside, ignore_errors=True)
                entry.rename(aside)
            temporary.chmod(0o755)
            temporary.rename(entry)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


@dataclass(frozen=True)
class CacheEntry:
    """The images of a source, read in one way.

    Attributes:
        id: the name of its folder.
        source: path of the source that it was made from, "" where that cannot be read.
        images, shape: how many, and their (C, H, W).
        bytes: on disk.
        used: when last, in seconds since 1970.
    """

    id: str
    source: str
    images: int
    shape: tuple[int, ...]
    bytes: int
    used: float

    @property
    def damaged(self) -> bool:
        """Whether the entry was found damaged and set aside, or would be."""
        return self.id.endswith(".damaged") or not self.source


def entries(folder: Path) -> list[CacheEntry]:
    """What a cache holds, the last used first."""
    images = folder / "images"
    found = [_entry(p) for p in images.iterdir() if KEY.fullmatch(p.name)] if images.is_dir() else []
    return sorted(found, key=lambda e: (-e.used, e.id))


def _entry(path: Path) -> CacheEntry:
    size, index = sum(p.stat().st_size for p in path.iterdir()), path / store.INDEX
    try:
        about = json.loads(index.read_text("utf-8"))
        used = index.stat().st_mtime
        return CacheEntry(path.name, str(about["source"]), int(about["images"]), tuple(about["shape"]), size, used)
    except store.DAMAGES:
        return CacheEntry(path.name, "", 0, (), size, path.stat().st_mtime)


def remove(folder: Path, beginning: str = "") -> list[CacheEntry]:
    """Remove the entries whose id begins so, or all with whatever else the cache has made, and nobody else's files.

    Returns:
        the entries that were removed.

    Raises:
        InputError: no id begins so.
    """
    there = entries(folder)
    chosen = [e for e in there if e.id.startswith(beginning)]
    if beginning and not chosen:
        raise unknown("cache entry", beginning, [e.id[:12] for e in there])
    for entry in chosen:
        shutil.rmtree(folder / "images" / entry.id)
    if not beginning:
        for rest in [*folder.glob("images/*"), *folder.glob("sources/*")]:  # locks, leftovers, records
            if KEY.fullmatch(rest.name.strip(".").split(".")[0]):
                shutil.rmtree(rest) if rest.is_dir() else rest.unlink(missing_ok=True)
    return chosen
