"""Download data sets: a file is whole and right, or not there under its name.

pooch compares checksums and puts a file into its place; what transfers it is ours, since pooch's own cannot resume.
"""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pooch
import requests
from filelock import FileLock, Timeout

from underdog.data.known import KNOWN, Download, KnownSet, known_set
from underdog.errors import InputError, UnderdogError

__all__ = ["FetchError", "fetch_dataset"]

#: Seconds without a byte after which a connection counts as lost.
PATIENCE = 60
CHUNK = 2**18
#: Where files lie until they are whole, in the folder that they are to lie in; hidden, so that nobody takes it for data.
WORKING = ".fetch"
_RESUMES = "what has come is kept, and the same command resumes there"


class FetchError(UnderdogError):
    """A download failed: the network, the server or the disk refused, or what came is not the file that is known."""


def fetch_dataset(
    name: str,
    to: str | Path,
    progress: Callable[[int], object] = lambda more: None,
    say: Callable[[str], object] = lambda text: None,
    known: Mapping[str, KnownSet] = KNOWN,
) -> Path:
    """Download a data set, or resume a download that broke off.

    A file gets its name once its checksum is the one that is known. Of what lies there already, nothing is downloaded
    again and nothing is overwritten.

    Args:
        name: "cifar10", "mit67" or "mnist".
        to: the folder that it is to lie in, which is made.
        progress: called with bytes more that are there, or, below 0, that have to be downloaded again.
        say: called with a line about each file.
        known: the data sets by name.

    Returns:
        where it lies, for ``load_images``.

    Raises:
        InputError: an unknown name, a data set without a public address, a folder that cannot be made, a file that lies
            there and is not the one that is known, another download into the folder.
        FetchError: the server, the network or the disk refuses, or what came is not the file that is known.

    >>> fetch_dataset("mnits", "data")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    underdog.errors.InputError: unknown data set 'mnits'; did you mean 'mnist' or 'mit67'? (known: ...)
    """
    own, folder = known_set(name, known), Path(to).expanduser()
    if not own.downloads:
        raise InputError(
            f"{name} has no public address: {' '.join(own.by_hand).format(folder=shlex.quote(str(folder)))}"
        )
    pooch.get_logger().setLevel("WARNING")  # what it says would stand in the progress bar, and ``say`` says more
    with _working_in(folder):
        for download in own.downloads:
            _fetch(download, folder, progress, say)
    first = folder / own.downloads[0].name
    return first if len(own.downloads) == 1 else first.parent


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Make a folder, and hold it for this download."""
    working = folder / WORKING
    try:
        working.mkdir(parents=True, exist_ok=True)
        with FileLock(working / "lock", timeout=0):
            yield
            shutil.rmtree(working)  # not where something is to be resumed
    except Timeout as error:
        raise InputError(f"{folder} is in use by another download") from error
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error


def _fetch(download: Download, folder: Path, progress: Callable[[int], object], say: Callable[[str], object]) -> None:
    """Bring one file to its place."""
    target, part = folder / download.name, folder / WORKING / f"{download.name}.part"
    if target.exists():
        _check_known(target, download)
        progress(download.size)
        say(f"{target}: there, and right")
        return
    part.parent.mkdir(parents=True, exist_ok=True)
    come = part.stat().st_size if part.exists() else 0
    there = f", of which {come / 1e6:,.1f} MB are there" if come else ""
    say(f"{target}: {download.size / 1e6:,.1f} MB from {download.address}{there}")
    if (free := shutil.disk_usage(folder).free) < download.size - come:
        raise FetchError(f"{target} needs {download.size - come:,} bytes more, but the disk has {free:,} free")

    def transfer(address: str, output: str, _: object) -> None:
        _transfer(address, part, download.size, progress)
        part.replace(output)

    try:
        whole = pooch.retrieve(
            download.address, download.checksum, download.name, folder / WORKING, downloader=transfer
        )
    except ValueError as error:
        raise FetchError(f"what came from {download.address} is not the file that is known: {error}") from error
    except requests.RequestException as error:
        raise FetchError(f"{download.address}: {_reason(error)}; {_RESUMES}") from error
    except OSError as error:
        raise FetchError(f"{part} cannot be written: {error.strerror or error}; {_RESUMES}") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    Path(whole).replace(target)
    say(f"{target}: whole, and right")


def _check_known(path: Path, download: Download) -> None:
    """Refuse a file that is not the one that is known."""
    algorithm, _, expected = download.checksum.partition(":")
    if (found := pooch.file_hash(str(path), alg=algorithm)) != expected:
        wrong = f"{algorithm} {found} instead of {expected}"
        raise InputError(f"{path} is there, but is not the file that is known ({wrong}): move it away")


def _transfer(address: str, part: Path, size: int, progress: Callable[[int], object]) -> None:
    """Append what is missing to the part that has come, or begin anew where the server gives no parts."""
    come = part.stat().st_size if part.exists() else 0
    progress(come)
    if come >= size:
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={come}-"} if come else {})
    with requests.get(address, headers=headers, stream=True, timeout=PATIENCE) as answer:
        answer.raise_for_status()
        resumes = answer.status_code == requests.codes.partial_content
        if not resumes:
            progress(-come)
            come = 0
        with part.open("ab" if resumes else "wb") as file:
            for chunk in answer.iter_content(CHUNK):
                file.write(chunk)
                progress(len(chunk))
                come += len(chunk)
    if come < size:
        raise requests.ConnectionError(f"it broke off after {come:,} of {size:,} bytes")


def _reason(error: BaseException) -> str:
    """What is at the bottom of an error, since those above it repeat it in the terms of their libraries."""
    while below := error.__cause__ or error.__context__:
        error = below
    return getattr(error, "strerror", None) or str(error)
