"""Files in a folder or an archive, read where they are."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from underdog.errors import InputError

__all__ = ["Member", "open_members"]

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")


@dataclass(frozen=True)
class Member:
    """A file of a source: its path inside, and how to get its bytes."""

    path: PurePosixPath
    read: Callable[[], bytes]


@contextmanager
def open_members(path: Path) -> Iterator[list[Member]]:
    """The files below a folder or in an archive, without the macOS and hidden ones. Nothing is unpacked to disk."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        yield _visible(Member(PurePosixPath(*p.relative_to(path).parts), p.read_bytes) for p in files)
        return
    try:
        if tarfile.is_tarfile(path):  # first: a tar that ends in a zip also looks like a zip
            with tarfile.open(path) as tar:
                # Compressed archives can only be read from front to back: members keep the archive's order.
                files_in = [i for i in tar.getmembers() if i.isfile()]
                _check_end(tar)
                yield _visible(Member(PurePosixPath(i.name), partial(_extract, tar, i)) for i in files_in)
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as z:
                infos = [i for i in z.infolist() if not i.is_dir()]
                yield _visible(Member(PurePosixPath(i.filename), partial(z.read, i)) for i in infos)
        else:
            raise InputError(f"source {str(path)!r} is neither a folder nor an archive ({', '.join(ARCHIVE_SUFFIXES)})")
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError) as error:
        raise InputError(f"source {str(path)!r} cannot be read: {error}") from error


def _check_end(tar: tarfile.TarFile) -> None:
    """Refuse an archive that breaks off: ``tarfile`` takes any damaged header but the first for the end."""
    file = tar.fileobj
    if file is None:
        return
    file.seek(tar.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it is damaged or not whole")
    while file.read(1 << 20):  # to the compressed stream's own checksum
        pass


def _extract(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    return b"" if file is None else file.read()


def _visible(members: Iterable[Member]) -> list[Member]:
    return [m for m in members if not any(part.startswith((".", "__MACOSX")) for part in m.path.parts)]
