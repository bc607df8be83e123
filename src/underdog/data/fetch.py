"""Download data sets: a file is whole and right, or not there under its name.

urllib instead of a library such as pooch: that one would be a dependency more, and cannot resume.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import shlex
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from underdog.data.known import KNOWN, Download, KnownSet, known_set
from underdog.errors import InputError, UnderdogError

__all__ = ["FetchError", "fetch_dataset"]

#: Seconds without a byte after which a connection counts as lost.
PATIENCE = 60
CHUNK = 2**18
_GOES_ON = "what has come is kept, and the same command goes on from there"


class FetchError(UnderdogError):
    """A download failed: the network, the server or the disk refused, or what came is not the file that is known."""


def fetch_dataset(
    name: str,
    to: str | Path,
    progress: Callable[[int], object] = lambda more: None,
    say: Callable[[str], object] = lambda text: None,
    known: Mapping[str, KnownSet] = KNOWN,
) -> Path:
    """Download a data set, and go on where an earlier download stopped.

    A file is written under its name and ".part", and renamed once its size and checksum are those that are known. Of what
    lies there already, nothing is downloaded again and nothing is overwritten.

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
            there and is not the one that is known, a name or link that leaves the folder, another download into it.
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
    for download in own.downloads:
        _check(download)
    with _alone(folder):
        targets = [_Target(folder, download) for download in own.downloads]
        for download, target in zip(own.downloads, targets, strict=True):
            _fetch(download, target, progress, say)
    return targets[0].path if len(targets) == 1 else targets[0].path.parent


def _check(download: Download) -> None:
    """Refuse what no entry of the table may have."""
    if urlsplit(download.address).scheme not in ("http", "https"):
        raise InputError(f"address {download.address!r}: only http and https are fetched")
    if Path(download.name).is_absolute() or ".." in Path(download.name).parts:
        raise InputError(f"file {download.name!r}: a name that leaves the folder")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Make a folder, and hold it for this download."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = folder / ".fetch.lock"
        with FileLock(lock, timeout=0):
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
    except Timeout as error:
        raise InputError(f"{folder} is in use by another download") from error
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from error


class _Target:
    """A file to be, and what of it has come.

    Attributes:
        path: its name once it is whole and right.
        part: what has come.
        validator: what the server said by which it knows the version that ``part`` belongs to.
        folder: the one that is there; the file's own is made once something comes.
    """

    def __init__(self, folder: Path, download: Download) -> None:
        self.path = folder / download.name
        self.part, self.validator = (self.path.with_name(f"{self.path.name}.part{end}") for end in ("", ".version"))
        for path in (self.path, self.part, self.validator):
            if not path.resolve().is_relative_to(folder.resolve()):
                raise InputError(f"{path} is a link that leaves {folder}")
        self.folder = folder

    @property
    def come(self) -> int:
        """Bytes that have come."""
        return self.part.stat().st_size if self.part.exists() else 0

    def clear(self) -> None:
        """Begin anew."""
        for path in (self.part, self.validator):
            path.unlink(missing_ok=True)


def _fetch(
    download: Download, target: _Target, progress: Callable[[int], object], say: Callable[[str], object]
) -> None:
    """Bring one file to its place."""
    if target.path.exists():
        if wrong := _wrong(target.path, download):
            raise InputError(f"{target.path} is there, but is not the file that is known ({wrong}): move it away")
        progress(download.size)
        say(f"{target.path}: there, and right")
        return
    come = target.come
    there = f", of which {come / 1e6:,.1f} MB are there" if come else ""
    say(f"{target.path}: {download.size / 1e6:,.1f} MB from {download.address}{there}")
    progress(come)
    _transfer(download, target, progress)
    if (wrong := _wrong(target.part, download)) and come:
        say(f"{target.path}: what was there and what came do not fit together; again from the beginning")
        _discard(target, progress)
        _transfer(download, target, progress)
        wrong = _wrong(target.part, download)
    if wrong:
        raise _set_aside(download, target, wrong)
    target.part.replace(target.path)
    target.clear()
    say(f"{target.path}: whole, and right")


def _discard(target: _Target, progress: Callable[[int], object]) -> None:
    progress(-target.come)
    target.clear()


def _set_aside(download: Download, target: _Target, wrong: str) -> FetchError:
    """Move what came out of the way, so that the next download begins anew; the error that says so."""
    aside = target.path.with_name(f"{target.path.name}.wrong")
    target.part.replace(aside)
    target.clear()
    return FetchError(
        f"what came from {download.address} is not the file that is known ({wrong}); it was set aside as {aside}"
    )


def _wrong(path: Path, download: Download) -> str:
    """What distinguishes a file from the one that is known, if anything does."""
    if (size := path.stat().st_size) != download.size:
        return f"{size:,} bytes instead of {download.size:,}"
    algorithm, _, expected = download.checksum.partition(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    return "" if found == expected else f"{algorithm} {found} instead of {expected}"


# One transfer


@dataclass(frozen=True)
class _Answer:
    """What a server sends of a file: from which byte on, of how many where it says so."""

    response: http.client.HTTPResponse
    begin: int
    total: int | None


def _transfer(download: Download, target: _Target, progress: Callable[[int], object]) -> None:
    """Let come what is missing."""
    if target.come > download.size:
        _discard(target, progress)
    if (come := target.come) == download.size:
        return
    if (free := shutil.disk_usage(target.folder).free) < download.size - come:
        raise FetchError(f"{target.path} needs {download.size - come:,} bytes more, but the disk has {free:,} free")
    with ExitStack() as stack:
        answer = _ask(download.address, target, stack)
        if answer.total not in (None, download.size):
            raise FetchError(
                f"{download.address} has {answer.total:,} bytes, not the {download.size:,} of the file that is known"
            )
        progress(answer.begin - come)
        _write(answer, download, target, progress)
    if target.come < download.size:
        raise FetchError(f"{download.address} broke off after {target.come:,} of {download.size:,} bytes; {_GOES_ON}")


def _write(answer: _Answer, download: Download, target: _Target, progress: Callable[[int], object]) -> None:
    """Append what comes to what is there, or begin anew where the answer does."""
    try:
        target.path.parent.mkdir(parents=True, exist_ok=True)
        if not answer.begin:
            target.validator.write_text(_validator(answer.response))
        with target.part.open("ab" if answer.begin else "wb") as file:
            left = download.size - answer.begin
            while left and (chunk := _read(answer.response, min(left, CHUNK), download.address)):
                file.write(chunk)
                left -= len(chunk)
                progress(len(chunk))
    except OSError as error:
        raise FetchError(f"{target.part} cannot be written: {error.strerror or error}; {_GOES_ON}") from error


def _read(response: http.client.HTTPResponse, n: int, address: str) -> bytes:
    with _network(address):
        return response.read1(n)  # what is there: nothing of it is lost when the connection breaks


def _ask(address: str, target: _Target, stack: ExitStack) -> _Answer:
    """Ask for what is missing; for everything where the server gives no parts, or has another version by now."""
    response = None
    if come := target.come:
        version = target.validator.read_text().strip() if target.validator.exists() else ""
        response = _open(address, {"Range": f"bytes={come}-"} | ({"If-Range": version} if version else {}), stack)
        if response is not None and response.status == 206:
            content = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
            if content and int(content[1]) == come:
                return _Answer(response, come, int(content[2]) if content[2] != "*" else None)
            response = None
    response = response or _open(address, {}, stack)
    if response is None or response.status != 200:
        raise FetchError(f"{address}: the server does not answer with the file")
    length = response.headers.get("Content-Length", "")
    return _Answer(response, 0, int(length) if length.isdigit() else None)


def _open(address: str, headers: dict[str, str], stack: ExitStack) -> http.client.HTTPResponse | None:
    """The answer to a request, None where the server's file has no such part."""
    request = urllib.request.Request(
        address, headers={"User-Agent": "underdog", "Accept-Encoding": "identity"} | headers
    )
    with _network(address):
        try:
            response: http.client.HTTPResponse = _opener().open(request, timeout=PATIENCE)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == 416:
                return None
            raise
    return stack.enter_context(response)


def _opener() -> urllib.request.OpenerDirector:
    """http and https alone, redirections included: urllib's own would read ftp and local files too."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


def _validator(response: http.client.HTTPResponse) -> str:
    """What names this version of a file in a later request: weak tags may not."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")


@contextmanager
def _network(address: str) -> Iterator[None]:
    """Whatever networks make their readers raise, as the one error it is."""
    try:
        yield
    except urllib.error.HTTPError as error:
        raise FetchError(f"{address}: the server answers {error.code} ({error.reason})") from error
    except urllib.error.URLError as error:
        reason = error.reason.strerror or str(error.reason) if isinstance(error.reason, OSError) else error.reason
        raise FetchError(f"{address} cannot be reached: {reason}") from error
    except TimeoutError as error:
        raise FetchError(f"{address}: nothing came for {PATIENCE} s; {_GOES_ON}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchError(f"{address}: the connection broke ({error}); {_GOES_ON}") from error
