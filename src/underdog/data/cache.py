"""A second start neither opens archives nor decodes images.

The cache is a folder with ``images/`` (``entries.py``) and, in ``sources/``, what was learned of each source.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import cache, partial
from hashlib import blake2b, file_digest
from pathlib import Path, PurePosixPath
from typing import Any

import PIL
from platformdirs import user_cache_path

from underdog.data.archive import Member, open_members
from underdog.data.decode import Decoded, check_corrupt, decode
from underdog.data.entries import alone, fill, load
from underdog.data.memory import gigabytes
from underdog.data.pixels import PixelFile
from underdog.data.reading import Progress, Reading
from underdog.data.rows import UnwritableError
from underdog.errors import InputError

__all__ = ["CachedSource", "check_writable", "default_cache"]

#: Raised when images come out of ``decode_image`` otherwise than before.
REVISION = 1
#: Nanoseconds after which a file that is written again shows another time.
SETTLED = 2 * 10**9


def default_cache() -> Path:
    """The folder that UNDERDOG_CACHE names, or underdog's own among the user's caches.

    Raises:
        InputError: there is no home folder.
    """
    try:
        return Path(os.environ.get("UNDERDOG_CACHE") or user_cache_path("underdog", appauthor=False)).expanduser()
    except RuntimeError as error:
        raise InputError(f"no folder for a cache: {error}") from error


def check_writable(folder: Path) -> None:
    """Refuse a folder that can be neither written nor made, without making it.

    Raises:
        InputError: it is a file, or its permissions or the disk's forbid.
    """
    there = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "is no folder" if not there.is_dir() else "is not writable"
        raise InputError(f"cache {str(folder)!r} cannot be written: {str(there)!r} {why}")


class CachedSource:
    """A source's files and images, from the cache where they are there, and into it where not.

    What an earlier start learned of the source counts while size and times of its files stay the same. Images are
    known by the files' contents, so that a copy of a source, or one that was only touched, is not decoded again.

    Args:
        source: a folder or an archive.
        folder: of the cache.
        memory: bytes that decoded images may take; where they take more they stay on disk. Any number where None.
    """

    def __init__(self, source: Path, folder: Path, memory: int | None = None) -> None:
        self._source, self._folder, self._memory = source, folder, memory
        self._file = folder / "sources" / f"{_digest(str(source.resolve()))}.json"
        files = _files(source)
        self._signature = _digest(json.dumps(files))
        self._settled = time.time_ns() - max((max(f[2:]) for f in files), default=0) > SETTLED
        self._known = _read_record(self._file, self._signature)

    @contextmanager
    def members(self) -> Iterator[list[Member]]:
        """As ``open_members``, but an archive that is known is only opened when a file is read from it."""
        with ExitStack() as stack:

            @cache
            def opened() -> list[Member]:
                return stack.enter_context(open_members(self._source))

            if self._source.is_dir():
                yield opened()
                return
            paths = self._recall("members", lambda: [str(m.path) for m in opened()])
            yield [Member(PurePosixPath(p), partial(self._read, opened, n, p)) for n, p in enumerate(paths)]

    def decode(self, members: Sequence[Member], reading: Reading, progress: Progress) -> Decoded:
        """As ``decode``, but only once for the same files and the same settings.

        Of two processes that come at once, the second waits for the first. Where the disk is full or refuses, the
        images come all the same, with a note.

        Raises:
            InputError: as ``decode``; or images that fit neither into memory nor on the disk.
        """
        paths = [str(m.path) for m in members]
        content = self._recall(f"content {_digest(json.dumps(paths))}", partial(self._content, members))
        key = _digest(json.dumps([REVISION, PIL.__version__, reading.size, reading.resize, paths, content]))
        entry = self._folder / "images" / key
        if found := load(entry, members, self._memory):
            progress(len(found.kept))
        else:
            with alone(entry):
                found = load(entry, members, self._memory) or self._decode_into(entry, members, reading, progress)
        check_corrupt(found.corrupt, reading)
        if isinstance(found.pixels, PixelFile):
            size = gigabytes(math.prod(found.pixels.shape))
            return replace(found, notes=(f"{size} of images do not fit into memory: they are read from the cache",))
        return found

    def _decode_into(self, entry: Path, members: Sequence[Member], reading: Reading, progress: Progress) -> Decoded:
        """The images of an entry that is not there yet; from memory, with a note, where it cannot be written."""
        seen = 0

        def counted(images: int) -> None:
            nonlocal seen
            seen += images
            progress(images)

        try:
            fill(entry, members, reading, counted, self._source)
            why = "what was written cannot be read"
        except UnwritableError as error:
            why = str(error)
        if found := load(entry, members, self._memory):
            return found
        note = f"the images could not be kept in the cache {str(self._folder)!r}: {why}"
        progress(-seen)  # once more from the beginning
        try:
            return replace(decode(members, reading, progress, self._memory), notes=(note,))
        except InputError as error:
            raise InputError(f"{note}; {error}") from error

    def _read(self, opened: Callable[[], list[Member]], n: int, path: str) -> bytes:
        """A file of an archive; tables are kept, since the archive may have to be unpacked to its end for them."""
        if not path.lower().endswith(".csv"):
            return opened()[n].read()
        return bytes.fromhex(self._recall(f"table {n}", lambda: opened()[n].read().hex()))

    def _content(self, members: Sequence[Member]) -> str:
        """A hash of what is to be decoded."""
        if self._source.is_file():
            with self._source.open("rb") as file:
                return file_digest(file, "blake2b").hexdigest()
        whole = blake2b()
        for member in members:
            whole.update(blake2b(member.read()).digest())
        return whole.hexdigest()

    def _recall(self, name: str, find: Callable[[], Any]) -> Any:
        """What is known by this name, found out now and remembered where it is not."""
        if name not in self._known:
            self._known[name] = find()
            if self._settled:  # else a file that changes once more may look the same
                with suppress(OSError):
                    _write_record(self._file, self._signature, self._known)
        return self._known[name]


def _files(source: Path) -> list[tuple[str, int, int, int]]:
    """Path, size and times of every file of a source."""
    paths = [os.path.join(root, name) for root, _, names in os.walk(source) for name in names]
    found = []
    for path in sorted(paths) if source.is_dir() else [str(source)]:
        with suppress(OSError):  # links to nowhere
            stat = os.stat(path)
            found.append((path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
    return found


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _read_record(file: Path, signature: str) -> dict[str, Any]:
    """What is known of a source, nothing if it has changed or the record is damaged."""
    try:
        head, body = file.read_text("utf-8").split("\n", 1)
        return dict(json.loads(body)) if head == _digest(signature + body) else {}
    except (OSError, ValueError):
        return {}


def _write_record(file: Path, signature: str, known: dict[str, Any]) -> None:
    body = json.dumps(known)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.stem}.")
    with os.fdopen(handle, "w", encoding="utf-8") as half:
        half.write(f"{_digest(signature + body)}\n{body}")
    os.replace(temporary, file)
