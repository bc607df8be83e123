"""Downloads, from a server of the test's own."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import underdog as ud
from underdog.data import fetch as fetching
from underdog.data.fetch import FetchError, fetch_dataset
from underdog.data.known import KNOWN, Download, KnownSet, UsualPlace

DATA = bytes(range(256)) * 4000  # a megabyte: several chunks
OTHER = bytes(reversed(DATA))


@dataclass
class Served:
    """What the server has, how it behaves, and what it was asked for."""

    address: str = ""
    data: bytes = DATA
    ranges: bool = True
    stop_after: int | None = None
    stall: bool = False
    status: int = 200
    location: str = ""
    length: bool = True
    asked: list[str | None] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """Answers like a server that is well, or as ``Served`` says."""

    served: Served

    def do_GET(self) -> None:
        own, wanted = self.served, self.headers.get("Range")
        own.asked.append(wanted)
        if own.status != 200 and self.path == "/file":
            self.send_response(own.status)
            self.send_header("Location", own.location)
            self.end_headers()
            return
        begin = 0
        if own.ranges and wanted:
            begin = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if begin >= len(own.data):
            self.send_error(416)
            return
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(own.data) - 1}/{len(own.data)}")
        if own.length:
            self.send_header("Content-Length", str(len(own.data) - begin))
        self.end_headers()
        self.wfile.write(own.data[begin : own.stop_after])
        if own.stall:
            time.sleep(1)

    def log_message(self, *text: object) -> None:
        pass


@pytest.fixture
def served() -> Iterator[Served]:
    own = Served()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"served": own}))
    own.address = f"http://127.0.0.1:{server.server_port}/file"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield own
    server.shutdown()
    server.server_close()
    thread.join()


def table(address: str, name: str = "set.bin", data: bytes = DATA) -> dict[str, KnownSet]:
    checksum = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return {"own": KnownSet("Own", "", (UsualPlace(name),), (Download(name, address, len(data), checksum),))}


@pytest.fixture
def fetch(served: Served, tmp_path: Path) -> Callable[..., Path]:
    """Download what the server has into the folder ``to``."""
    return lambda **more: fetch_dataset("own", tmp_path / "to", **({"known": table(served.address)} | more))


def left(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


def test_a_file_is_whole_and_right_and_alone(fetch: Any, served: Served, tmp_path: Path) -> None:
    come: list[int] = []
    path = fetch(progress=come.append)
    assert path == tmp_path / "to" / "set.bin"
    assert path.read_bytes() == DATA
    assert left(tmp_path) == ["to", "to/set.bin"]
    assert sum(come) == len(DATA)
    assert served.asked == [None]


def test_what_is_there_and_right_is_not_asked_for_again(fetch: Any, served: Served) -> None:
    fetch()
    come: list[int] = []
    said: list[str] = []
    path = fetch(progress=come.append, say=said.append)
    assert len(served.asked) == 1
    assert come == [len(DATA)]
    assert said == [f"{path}: there, and right"]


def test_a_file_of_that_name_is_never_overwritten(fetch: Any, served: Served, tmp_path: Path) -> None:
    (tmp_path / "to").mkdir()
    (tmp_path / "to" / "set.bin").write_bytes(b"mine")
    with pytest.raises(
        ud.InputError, match=r"not the file that is known \(sha256 [0-9a-f]* instead of [0-9a-f]*\): move it away"
    ):
        fetch()
    assert (tmp_path / "to" / "set.bin").read_bytes() == b"mine"
    assert not served.asked


@pytest.mark.parametrize("length", [True, False])
def test_a_transfer_that_breaks_off_is_resumed(length: bool, fetch: Any, served: Served, tmp_path: Path) -> None:
    served.stop_after, served.length = 300_000, length
    with pytest.raises(FetchError, match=r"300,?000 .* the same command resumes"):
        fetch()
    kept = (tmp_path / "to" / ".fetch" / "set.bin.part").read_bytes()
    assert kept == DATA[: len(kept)]
    assert len(kept) > 200_000
    assert not (tmp_path / "to" / "set.bin").exists()
    served.stop_after = None
    come: list[int] = []
    assert fetch(progress=come.append).read_bytes() == DATA
    assert served.asked[1:] == [f"bytes={len(kept)}-"]
    assert come[0] == len(kept)
    assert sum(come) == len(DATA)
    assert left(tmp_path / "to") == ["set.bin"]


def test_where_a_server_gives_no_parts_the_download_begins_anew(fetch: Any, served: Served) -> None:
    served.stop_after, served.ranges = 300_000, False
    with pytest.raises(FetchError):
        fetch()
    served.stop_after = None
    come: list[int] = []
    assert fetch(progress=come.append).read_bytes() == DATA
    assert len(served.asked) == 2
    assert sum(come) == len(DATA)


@pytest.mark.parametrize("part", [OTHER[:300_000], OTHER, DATA + b"more", DATA])
def test_a_part_of_something_else_does_no_harm(part: bytes, fetch: Any, tmp_path: Path) -> None:
    (tmp_path / "to" / ".fetch").mkdir(parents=True)
    (tmp_path / "to" / ".fetch" / "set.bin.part").write_bytes(part)
    if part != DATA:
        with pytest.raises(FetchError, match="is not the file that is known"):
            fetch()
        assert not (tmp_path / "to" / "set.bin").exists()
    assert fetch().read_bytes() == DATA


@pytest.mark.parametrize("data", [OTHER, DATA + b"more"])
def test_what_is_not_the_known_file_does_not_stay(data: bytes, fetch: Any, served: Served, tmp_path: Path) -> None:
    served.data = data
    digests = [hashlib.sha256(d).hexdigest() for d in (DATA, data)]
    with pytest.raises(FetchError, match=r"(?s)is not the file that is known: .*{}.*{}".format(*digests)):
        fetch()
    assert not list(tmp_path.rglob("set.bin*"))
    served.data = DATA
    assert fetch().read_bytes() == DATA


def test_a_file_that_is_too_short_is_not_taken(fetch: Any, served: Served, tmp_path: Path) -> None:
    served.data = DATA[:-1]
    with pytest.raises(FetchError, match="it broke off after 1,023,999 of 1,024,000 bytes"):
        fetch()
    assert not (tmp_path / "to" / "set.bin").exists()


@pytest.mark.parametrize(
    ("status", "location", "words"),
    [
        (404, "", r"file: 404 .*Not Found"),
        (503, "", "503"),
        (302, "file:///etc/passwd", "No connection adapters were found for 'file:///etc/passwd'"),
        (302, "ftp://127.0.0.1/x", "No connection adapters were found for 'ftp"),
        (302, "/file", "Exceeded 30 redirects"),
        (204, "", "broke off after 0 of"),
    ],
)
def test_a_server_that_refuses_is_quoted(status: int, location: str, words: str, fetch: Any, served: Served) -> None:
    served.status, served.location = status, location
    with pytest.raises(FetchError, match=words):
        fetch()


def test_a_redirection_is_followed(fetch: Any, served: Served) -> None:
    served.status, served.location = 302, "/elsewhere"
    assert fetch().read_bytes() == DATA


def test_nobody_there_and_nobody_answering(fetch: Any, served: Served, monkeypatch: Any) -> None:
    monkeypatch.setattr(fetching, "PATIENCE", 0.2)
    served.stall, served.stop_after = True, 1000
    with pytest.raises(FetchError, match=r"timed out; what has come is kept"):
        fetch()
    with pytest.raises(FetchError, match="9/file: Connection refused"):
        fetch(known=table("http://127.0.0.1:9/file"))


def test_a_folder_is_made_when_something_comes(fetch: Any, served: Served, tmp_path: Path) -> None:
    known = {"own": replace(known_own := table(served.address)["own"], downloads=(
        replace(known_own.downloads[0], name="own/set.bin"),))}  # fmt: skip
    served.status = 503
    with pytest.raises(FetchError, match="503"):
        fetch(known=known)
    assert not (tmp_path / "to" / "own").exists()
    served.status = 200
    assert fetch(known=known) == tmp_path / "to" / "own" / "set.bin"


def test_a_full_disk_is_known_before_and_met_in_the_middle(fetch: Any, tmp_path: Path, monkeypatch: Any) -> None:
    resource = pytest.importorskip("resource")  # not on Windows
    with monkeypatch.context() as patched:
        patched.setattr(fetching.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
        with pytest.raises(FetchError, match="needs 1,024,000 bytes more, but the disk has 10 free"):
            fetch()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
    try:
        with pytest.raises(
            FetchError, match=r"set\.bin\.part cannot be written: File too large; what has come is kept"
        ):
            fetch()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "to" / ".fetch" / "set.bin.part").read_bytes() == DATA[:500_000]
    assert fetch().read_bytes() == DATA


def test_an_interruption_keeps_what_has_come(fetch: Any, served: Served, tmp_path: Path) -> None:
    come: list[int] = []

    def interrupt(more: int) -> None:
        come.append(more)
        if sum(come) > 200_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(progress=interrupt)
    kept = (tmp_path / "to" / ".fetch" / "set.bin.part").read_bytes()
    assert kept == DATA[: sum(come)]
    assert fetch().read_bytes() == DATA
    assert served.asked[-1] == f"bytes={len(kept)}-"


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://127.0.0.1/x", "/etc/passwd"])
def test_only_http_addresses_are_fetched(address: str, fetch: Any) -> None:
    with pytest.raises(FetchError, match=r"No connection adapters|No scheme supplied"):
        fetch(known=table(address))


def test_a_folder_that_cannot_be_made_or_is_in_use(fetch: Any, tmp_path: Path) -> None:
    def again(more: int) -> None:
        with pytest.raises(ud.InputError, match="in use by another download"):
            fetch()

    fetch(progress=again)
    (tmp_path / "file").touch()
    with pytest.raises(ud.InputError, match=r"file cannot be written: (File exists|Not a directory)"):
        fetch_dataset("own", tmp_path / "file", known=table("http://127.0.0.1:9/file"))


# The command


def test_the_command_lists_fetches_and_goes_on(served: Served, tmp_path: Path, underdog: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(KNOWN, "mnist", table(served.address)["own"])
    served.stop_after = 1000
    broken = underdog("data fetch mnist --to", tmp_path)
    assert (broken.code, broken.err.count("\n")) == (1, 1)
    assert "what has come is kept, and the same command resumes" in broken.err
    served.stop_after = None
    ran = underdog("data fetch mnist --to", tmp_path)
    assert (ran.code, ran.err) == (0, "")
    assert "set.bin: whole, and right" in ran.out
    assert f"underdog data info {tmp_path / 'set.bin'}" in ran.out
    assert "there, and right" in underdog("data fetch mnist --to", tmp_path).out


def test_the_command_is_interrupted_with_a_word(tmp_path: Path, underdog: Any, monkeypatch: Any) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("underdog.cli.data_fetch.fetch_dataset", interrupt)
    ran = underdog("data fetch mnist --to", tmp_path)
    assert ran.code == 130
    assert "the same command resumes" in ran.out


def test_what_needs_an_account_is_explained_until_it_is_there(tmp_path: Path, underdog: Any, pictures: Any) -> None:
    ran = underdog("data fetch intel --to", tmp_path)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    for words in (
        "https://www.kaggle.com/datasets/puneet6060/intel-image-classification",
        f"kaggle datasets download -d puneet6060/intel-image-classification -p {tmp_path}",
        f"underdog data info {tmp_path}/intel-image-classification.zip --size 150",
    ):
        assert words in ran.out
    with pytest.raises(ud.InputError, match="no public address: Kaggle asks for an account"):
        fetch_dataset("intel", tmp_path)
    pictures.zip(tmp_path / "intel-image-classification.zip", {"seg_train/seg_train/sea/1.jpg": b""})
    assert underdog("data fetch intel --to", tmp_path).code == 0


def test_the_command_says_what_it_needs(underdog: Any) -> None:
    listed = underdog("data fetch --list").out
    assert all(re.search(rf"^{name} .*{re.escape(own.title)}", listed, re.MULTILINE) for name, own in KNOWN.items())
    for command in ("data fetch", "data fetch mnist", "data fetch --to x"):
        ran = underdog(command)
        assert (ran.code, "needs the NAME" in ran.err) == (2, True)
    assert "did you mean 'mnist'" in underdog("data fetch mnits --to x").err
