"""Which files are found, and that any number of them is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest

import underdog as ud
from underdog.data import decode, stream
from underdog.data.archive import Member
from underdog.data.stream import decode_some, find_images

SMALL = ud.Reading(size=(8, 8))


def decoded(paths: list[Path]) -> dict[str, Any]:
    with ThreadPoolExecutor() as pool:
        return {str(path): pixels for path, pixels in decode_some(find_images(paths), SMALL, 3, pool)}


@pytest.fixture
def image(pictures: Any) -> bytes:
    return pictures.encode(pictures.pixels(0))


def test_folders_are_searched_in_order_without_hidden_files(tmp_path: Path, pictures: Any, image: bytes) -> None:
    names = [
        "b/2.png",
        "b/10.PNG",
        "a/x/1.webp",
        "z.jpg",
        ".hidden.png",
        ".git/1.png",
        "__MACOSX/1.png",
        "note.txt",
        "b/t.csv",
    ]
    root = pictures.folder(tmp_path / "root", dict.fromkeys(names, image))
    (root / "pipe.png").touch()
    (root / "pipe.png").unlink()
    os.mkfifo(root / "pipe.png")
    (root / "linked").symlink_to(root)
    ignored: list[int] = []
    found = [str(m.path.relative_to(root)) for m in find_images([root], ignored.append)]
    assert found == ["z.jpg", "a/x/1.webp", "b/10.PNG", "b/2.png"]
    assert sum(ignored) == 3  # the note, the table and the pipe


@pytest.mark.parametrize("name", ["p.zip", "p.tar", "p.tar.gz", "p.tar.xz"])
def test_archives_are_read_where_they_are(name: str, tmp_path: Path, pictures: Any, image: bytes) -> None:
    files = {"b/1.png": image, "a/2.png": image, ".up.png": image, "read.me": b"x", "a/broken.png": image[:50]}
    ignored: list[int] = []
    make = pictures.zip if name.endswith("zip") else pictures.tar
    path = make(tmp_path / name, files)
    assert [str(m.path) for m in find_images([path], ignored.append)] == [
        f"{path}/{n}" for n in list(files)[:2] + list(files)[4:]
    ]
    assert sum(ignored) == 1  # the text; hidden files, of which ".up.png" is one, are not spoken of
    found = decoded([path, path])
    assert [isinstance(v, np.ndarray) for v in found.values()] == [True, True, False]
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["p.zip", "p.tar"])
def test_a_hostile_archive_is_a_file_that_cannot_be_read(
    name: str, tmp_path: Path, pictures: Any, image: bytes
) -> None:
    make = pictures.zip if name.endswith("zip") else pictures.tar
    found = decoded([make(tmp_path / name, {"1.png": image, "../up.png": image})])
    assert list(found) == [str(tmp_path / name)]
    assert "../up.png" in str(found[str(tmp_path / name)])


def test_a_damaged_archive_is_a_file_that_cannot_be_read(tmp_path: Path, pictures: Any, image: bytes) -> None:
    whole = pictures.tar(tmp_path / "p.tar.gz", {"1.png": image, "2.png": image})
    whole.write_bytes(whole.read_bytes()[:-20])
    (tmp_path / "no.zip").write_bytes(b"none")
    found = decoded([whole, tmp_path / "no.zip", *pictures.folder(tmp_path / "f", {"1.png": image}).iterdir()])
    assert [isinstance(v, str) for v in found.values()] == [True, True, False]
    assert "cannot be read" in found[str(whole)]


def test_a_member_of_a_damaged_zip_does_not_stop_the_others(tmp_path: Path, pictures: Any, image: bytes) -> None:
    path = pictures.zip(tmp_path / "p.zip", {"1.png": image, "2.png": image, "3.png": image})
    data = bytearray(path.read_bytes())
    middle = data.index(b"2.png") + 60
    data[middle : middle + 8] = b"\xff" * 8
    path.write_bytes(data)
    found = decoded([path])
    assert [isinstance(v, str) for v in found.values()] == [False, True, False]


def test_a_folder_that_cannot_be_listed_is_reported(
    tmp_path: Path, pictures: Any, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pictures.folder(tmp_path / "root", {"a/1.png": image, "b/1.png": image})
    scandir = os.scandir

    def refuse(path: Any) -> Any:
        if Path(path).name == "a":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = decoded([root])
    assert found[str(root / "a")] == "Permission denied"
    assert isinstance(found[str(root / "b/1.png")], np.ndarray)


@pytest.mark.parametrize(("named", "reason"), [("absnt", "'absent.png'"), ("pipe", "neither a file nor a folder")])
def test_a_path_that_is_nothing_is_refused_before_anything_is_read(named: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "absent.png").touch()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ud.InputError, match=reason):
        find_images([tmp_path, tmp_path / named])


def test_a_file_counts_as_an_image_when_it_is_named(tmp_path: Path, image: bytes) -> None:
    (tmp_path / "photo").write_bytes(image)
    assert [m.path.name for m in find_images([tmp_path / "photo"])] == ["photo"]
    assert list(find_images([tmp_path])) == []


def test_few_encoded_files_are_in_memory_at_a_time(image: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "WAITING", 4)
    done: list[int] = []
    ahead: list[int] = []

    def members() -> Iterator[Member]:
        for n in range(40):
            ahead.append(n - len(done))
            yield Member(PurePosixPath(str(n)), lambda: image)

    def counted(*arguments: Any) -> Any:
        done.append(1)
        return decode_image(*arguments)

    decode_image = stream.decode_image
    monkeypatch.setattr(stream, "decode_image", counted)
    with ThreadPoolExecutor(2) as pool:
        found = decode_some(members(), SMALL, 3, pool)
    assert [str(path) for path, _ in found] == [str(n) for n in range(40)]
    assert max(ahead) <= 5


def test_predictions_stream_from_an_endless_source(trained: Any, image: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    def endless(*_: Any) -> Iterator[Member]:
        while True:
            read.append(1)
            yield Member(PurePosixPath("x.png"), lambda: image)

    monkeypatch.setattr("underdog.run.classifier.find_images", endless)
    predictions = ud.load(trained.run).stream(["x"], batch=10)
    for _ in range(35):
        assert next(predictions).label in ("ant", "bee", "yak")
    assert len(read) <= 50
