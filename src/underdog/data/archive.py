"""Files in a folder or an archive, read where they are: nothing is ever written."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from underdog.data.walk import folder_files, hidden, is_utf8
from underdog.errors import InputError

__all__ = ["LARGEST", "Member", "open_members"]

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
#: Bytes of one file in an archive, unpacked, at most.
LARGEST = 2**30
#: An archive may unpack to so many times its own size: images hardly shrink. Not asked of what stays below ``FREE``.
RATIO = 100
FREE = 2**28
#: Bytes of one header in a tar archive, at most.
HEADER = 2**20
_COMPRESSED: tuple[tuple[bytes, Callable[[Path], Any]], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\0", lzma.open),
)


@dataclass(frozen=True)
class Member:
    """A file of a source: its path inside, and how to get its bytes (an OSError on disk, an InputError in an archive)."""

    path: PurePosixPath
    read: Callable[[], bytes]


@contextmanager
def open_members(path: Path) -> Iterator[list[Member]]:
    """The files below a folder or in an archive, without the macOS and hidden ones. Nothing is unpacked to disk.

    Raises:
        InputError: neither folder nor archive, or a damaged one; in an archive: absolute paths, "..", links, devices, a path
            twice, a file that unpacks to more than 1 GiB, everything to more than 100 times the archive; in a folder:
            links that leave it.
    """
    with ExitStack() as stack:
        with _explained(path):
            if path.is_dir():
                members: Iterable[Member] = (Member(f.inside, f.path.read_bytes) for f in folder_files(path))
            elif (tar := _tar(path, stack)) is not None:
                # Compressed archives can only be read from front to back: members keep the archive's order.
                members = _in_tar(path, tar)
            elif zipfile.is_zipfile(path):
                members = _in_zip(path, stack.enter_context(zipfile.ZipFile(path)))
            else:
                known = ", ".join(ARCHIVE_SUFFIXES)
                raise InputError(f"source {str(path)!r} is neither a folder nor an archive ({known})")
            members = list(members)
        yield members


@contextmanager
def _explained(source: Path, member: str = "") -> Iterator[None]:
    """Whatever damaged files and archives make their readers raise, as the one error it is."""
    try:
        yield
    except InputError:
        raise
    except (
        tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
        EOFError, OSError, RuntimeError, ValueError, OverflowError,
    ) as error:  # fmt: skip
        what, reason = f"{str(source)!r}{': ' * bool(member)}{member}", str(error) or type(error).__name__
        if isinstance(error, OSError) and error.strerror:
            what, reason = repr(error.filename or str(source)), error.strerror
        raise InputError(f"source {what} cannot be read: {reason}") from error


def _read(source: Path, member: str, read: Callable[[], bytes]) -> bytes:
    with _explained(source, member):
        return read()


class _Unpacked:
    """What the members of an archive would amount to, checked one by one before any of them is unpacked."""

    def __init__(self, path: Path) -> None:
        self.path, self.allowed = path, max(FREE, RATIO * path.stat().st_size)
        self.total, self.seen = 0, set[PurePosixPath]()

    def add(self, name: str, size: int, kind: str) -> PurePosixPath | None:
        """The path of a file, or None where it is none to be read; refuses what no honest archive of images holds."""
        path = PurePosixPath(name)
        plain = PurePosixPath(name.replace("\\", "/"))
        if plain.is_absolute() or ".." in plain.parts or name[1:3] in (":\\", ":/"):
            raise self._refusal(name, "a path that leaves the archive")
        self.total += size + tarfile.BLOCKSIZE
        if not 0 <= size <= LARGEST:
            raise self._refusal(name, f"which would unpack to {size:,} bytes, more than the {LARGEST:,} that are read")
        if self.total > self.allowed:
            raise self._refusal(name, f"with which it would unpack to more than {RATIO} times its size")
        if kind == "folder" or any(map(hidden, path.parts)):
            return None
        if kind:
            raise self._refusal(name, f"a {kind}, which is not followed")
        if path in self.seen:
            raise self._refusal(name, "and another file of that path")
        if not is_utf8(name):
            raise self._refusal(name, "a name that is not UTF-8")
        self.seen.add(path)
        return path

    def _refusal(self, name: str, why: str) -> InputError:
        return InputError(f"archive {str(self.path)!r} holds {name!a}, {why}")


class _Careful:
    """A file for ``tarfile`` that hands out little at a time: a header can claim any length."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.seek, self.tell = file, file.seek, file.tell

    def read(self, n: int) -> bytes:
        if not 0 <= n <= HEADER:
            raise tarfile.ReadError(f"a header in it claims {n:,} bytes")
        return self.file.read(n)


def _tar(path: Path, stack: ExitStack) -> tarfile.TarFile | None:
    """The tar archive at ``path``, or None where it is none."""
    with path.open("rb") as file:
        head = file.read(6)
    opener: Callable[[Path], Any] = next(
        (o for magic, o in _COMPRESSED if head.startswith(magic)), partial(open, mode="rb")
    )
    content: IO[bytes] = stack.enter_context(opener(path))
    try:
        return tarfile.open(fileobj=cast("IO[bytes]", _Careful(content)), mode="r:")
    except tarfile.TarError:
        return None


def _in_tar(path: Path, tar: tarfile.TarFile) -> Iterator[Member]:
    unpacked, file = _Unpacked(path), cast("_Careful", tar.fileobj).file
    for info in tar:
        link = "link" if info.islnk() or info.issym() else "sparse file" if info.issparse() else ""
        kind = link or ("" if info.isfile() else "folder" if info.isdir() else "device")
        if inside := unpacked.add(info.name, info.size, kind):
            yield Member(inside, partial(_read, path, info.name, partial(_at, file, info.offset_data, info.size)))
    _check_end(tar.offset, file)


def _at(file: IO[bytes], offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _check_end(offset: int, file: IO[bytes]) -> None:
    """Refuse an archive that breaks off: ``tarfile`` takes any damaged header but the first for the end."""
    file.seek(offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it is damaged or not whole")
    for _ in range(FREE // HEADER):
        if not file.read(HEADER):  # to the compressed stream's own checksum
            return
    raise tarfile.ReadError(f"more than {FREE:,} bytes follow its end")


def _in_zip(path: Path, archive: zipfile.ZipFile) -> Iterator[Member]:
    unpacked = _Unpacked(path)
    for info in archive.infolist():
        # Some writers separate by the backslash, which the format does not know.
        name, mode = info.filename.replace("\\", "/"), info.external_attr >> 16
        kind = "folder" if name.endswith("/") else "link" if stat.S_ISLNK(mode) else ""
        inside = unpacked.add(name, info.file_size, kind)
        if inside is None:
            continue
        # Of the others, Python unpacks a whole block at once, however large that gets.
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(f"archive {str(path)!r} holds {name!a}, neither stored nor deflated as zip files are")
        yield Member(inside, partial(_read, path, name, partial(_unzip, archive, info)))


def _unzip(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    with archive.open(info) as file:
        return file.read(info.file_size + 1)  # one more than is there: the end, where the checksum is compared
