"""Archives and folders that are not what they should be: refused by name, and nothing is written."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import underdog as ud
from underdog.data import archive as archives
from underdog.data import walk

MEGABYTE = bytes(2**20)
PACKERS = {"tar": bytes, "tar.gz": gzip.compress, "tar.xz": lzma.compress, "tar.bz2": bz2.compress}


@pytest.fixture
def refused(tmp_path: Path, underdog: Any) -> Callable[..., str]:
    """Train on a source, which must be refused in one line with nothing written, and return that line."""

    def run(source: Path) -> str:
        before = sorted(tmp_path.rglob("*"))
        ran = underdog("train", source, "--method", "ros", "--epochs", 1, "--out", tmp_path / "runs")
        assert (ran.code, ran.err.count("\n")) == (2, 1), ran
        assert sorted(tmp_path.rglob("*")) == before
        return ran.err

    return run


def entry(name: str, kind: bytes = tarfile.REGTYPE, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


def tar_bytes(files: dict[str, bytes], *more: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for info, data in [*(entry(name, data=data) for name, data in files.items()), *more]:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


EVIL = {
    "absolute": (entry("/etc/a/1.png"), "a path that leaves the archive"),
    "above": (entry("a/../../b/1.png"), "a path that leaves the archive"),
    "above, no image": (entry("../notes.txt"), "a path that leaves the archive"),
    "above, by backslashes": (entry("a\\..\\..\\b\\1.png"), "a path that leaves the archive"),
    "a drive": (entry("C:\\a\\1.png"), "a path that leaves the archive"),
    "a folder above": (entry("../up", tarfile.DIRTYPE), "a path that leaves the archive"),
    "symbolic link": (entry("cat/link.png", tarfile.SYMTYPE, linkname="/etc/passwd"), "a link, which is not followed"),
    "link to a folder": (entry("emu", tarfile.SYMTYPE, linkname="cat"), "a link, which is not followed"),
    "hard link": (entry("cat/link.png", tarfile.LNKTYPE, linkname="cat/000.png"), "a link, which is not followed"),
    "device": (entry("cat/zero.png", tarfile.CHRTYPE, devmajor=1, devminor=5), "a device, which is not followed"),
    "disk": (entry("cat/disk.png", tarfile.BLKTYPE), "a device, which is not followed"),
    "pipe": (entry("cat/pipe.png", tarfile.FIFOTYPE), "a device, which is not followed"),
    "twice": (entry("cat/000.png"), "another file of that path"),
    "no text": (entry("cat/\udcff.png"), "a name that is not UTF-8"),
}


@pytest.mark.parametrize("name", EVIL)
@pytest.mark.parametrize("kind", ["tar", "tar.xz"])
def test_members_that_no_honest_archive_has_are_named(
    name: str, kind: str, tmp_path: Path, pictures: Any, refused: Any
) -> None:
    evil, words = EVIL[name]
    path = tmp_path / f"set.{kind}"
    path.write_bytes(PACKERS[kind](tar_bytes(pictures.tree({"cat": 2, "dog": 2}), evil)))
    complaint = refused(path)
    assert words in complaint
    assert ascii(evil[0].name) in complaint


@pytest.mark.parametrize("name", ["/etc/a/1.png", "../../b/1.png", "a\\..\\..\\b\\1.png", "C:/a/1.png"])
def test_paths_that_leave_a_zip_are_named(name: str, tmp_path: Path, pictures: Any, refused: Any) -> None:
    path = pictures.zip(tmp_path / "set.zip", pictures.tree({"cat": 2, "dog": 2}) | {name: b"x"})
    complaint = refused(path)
    assert "a path that leaves the archive" in complaint
    assert repr(name.replace("\\", "/")) in complaint


def test_links_in_a_zip_are_named(tmp_path: Path, pictures: Any, refused: Any) -> None:
    path = pictures.zip(tmp_path / "set.zip", pictures.tree({"cat": 2, "dog": 2}))
    link = zipfile.ZipInfo("cat/link.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "'cat/link.png', a link, which is not followed" in refused(path)


def test_what_is_hidden_is_ignored_links_included(tmp_path: Path, pictures: Any) -> None:
    hidden = entry(".git/link", tarfile.SYMTYPE, linkname="/etc/passwd"), entry("__MACOSX/cat/._1.png", data=b"x")
    (tmp_path / "set.tar").write_bytes(tar_bytes(pictures.tree({"cat": 2, "dog": 2}), *hidden))
    assert len(ud.load_images(tmp_path / "set.tar").train) == 4


def test_backslashes_separate_folders_in_a_zip(tmp_path: Path, pictures: Any) -> None:
    files = {n.replace("/", "\\"): d for n, d in pictures.tree({"cat": 2, "dog": 2}).items()}
    assert ud.load_images(pictures.zip(tmp_path / "set.zip", files)).train.items.tolist()[0] == "cat/000.png"


# Bombs


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz", "tar.bz2"])
def test_an_archive_of_many_large_files_from_next_to_nothing_is_refused(
    kind: str, tmp_path: Path, pictures: Any, refused: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(archives, "FREE", 2**21)
    files = pictures.tree({"cat": 2, "dog": 2}) | {f"cat/bomb{n}.png": MEGABYTE for n in range(4)}
    path = tmp_path / f"set.{kind}"
    if kind == "zip":
        pictures.zip(path, files)
    else:
        path.write_bytes(PACKERS[kind](tar_bytes(files)))
    assert "would unpack to more than 100 times its size" in refused(path)


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.xz"])
def test_a_file_that_would_be_enormous_is_refused_and_not_unpacked(
    kind: str, tmp_path: Path, pictures: Any, refused: Any
) -> None:
    path, files = tmp_path / f"set.{kind}", pictures.tree({"cat": 2, "dog": 2})
    if kind == "zip":
        data = pictures.zip(path, files | {"cat/bomb.png": b"x"}).read_bytes()
        at = data.rindex(b"PK\x01\x02")  # the last entry of the directory
        path.write_bytes(data[: at + 24] + struct.pack("<I", 2**31) + data[at + 28 :])
    else:
        bomb = entry("cat/bomb.png", size=2**40)[0].tobuf(tarfile.GNU_FORMAT)
        path.write_bytes(PACKERS[kind](bomb + tar_bytes(files)))
    complaint = refused(path)
    assert "'cat/bomb.png', which would unpack to" in complaint
    assert "more than the 1,073,741,824 that are read" in complaint


@pytest.mark.parametrize("size", [2**40, -1024])
@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_headers_that_claim_any_length_are_refused(
    kind: bytes, size: int, tmp_path: Path, pictures: Any, refused: Any
) -> None:
    header = entry("header", kind, size=size)[0].tobuf(tarfile.GNU_FORMAT)
    (tmp_path / "set.tar").write_bytes(header + tar_bytes(pictures.tree({"cat": 2, "dog": 2})))
    assert "set.tar'" in refused(tmp_path / "set.tar")


def test_sparse_files_are_refused(tmp_path: Path, pictures: Any, refused: Any) -> None:
    info, _ = entry("cat/holes.png", tarfile.GNUTYPE_SPARSE)
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[483:495] = b"00010000000\0"  # the size with its holes
    block[148:156] = b" " * 8
    block[148:156] = f"{sum(block):06o}\0 ".encode()
    (tmp_path / "set.tar").write_bytes(bytes(block) + tar_bytes(pictures.tree({"cat": 2, "dog": 2})))
    assert "a sparse file, which is not followed" in refused(tmp_path / "set.tar")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_zips_of_methods_that_unpack_without_bound_are_refused(
    method: int, tmp_path: Path, pictures: Any, refused: Any
) -> None:
    with zipfile.ZipFile(tmp_path / "set.zip", "w", method) as archive:
        for name, data in pictures.tree({"cat": 2, "dog": 2}).items():
            archive.writestr(name, data)
    assert "neither stored nor deflated" in refused(tmp_path / "set.zip")


def test_a_zip_that_lies_about_a_size_is_read_no_further(tmp_path: Path, pictures: Any, refused: Any) -> None:
    data = pictures.zip(tmp_path / "set.zip", pictures.tree({"cat": 2}) | {"dog/bomb.png": MEGABYTE}).read_bytes()
    at = data.rindex(b"PK\x01\x02")
    (tmp_path / "set.zip").write_bytes(data[: at + 24] + struct.pack("<I", 100) + data[at + 28 :])
    complaint = refused(tmp_path / "set.zip")
    assert "dog/bomb.png cannot be read" in complaint
    assert "CRC" in complaint


def test_an_encrypted_zip_is_refused(tmp_path: Path, pictures: Any, refused: Any) -> None:
    data = bytearray(pictures.zip(tmp_path / "set.zip", pictures.tree({"cat": 2, "dog": 2})).read_bytes())
    at = data.index(b"PK\x01\x02")
    while at >= 0:
        data[at + 8] |= 1
        data[data.index(b"PK\x03\x04") + 6] |= 1
        at = data.find(b"PK\x01\x02", at + 1)
    (tmp_path / "set.zip").write_bytes(bytes(data))
    assert "encrypted" in refused(tmp_path / "set.zip")


def test_an_idx_file_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, pictures: Any, refused: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("underdog.data.arrays.LARGEST", 1000)
    files = {f"train-{n}-ubyte.gz": gzip.compress(MEGABYTE) for n in ("images-idx3", "labels-idx1")}
    assert "unpacks to more than 1,000 bytes" in refused(pictures.folder(tmp_path / "set", files))


# Folders


@pytest.fixture
def photos(tmp_path: Path, pictures: Any) -> Path:
    return pictures.folder(tmp_path / "photos", pictures.tree({"cat": 2, "dog": 2}))


@pytest.mark.parametrize("place", ["cat/link.png", "emu", "deep/er/link.png"])
@pytest.mark.parametrize("relative", [True, False])
def test_links_that_leave_the_folder_are_named(
    relative: bool, place: str, tmp_path: Path, photos: Path, refused: Any
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "1.png").write_bytes((photos / "cat/000.png").read_bytes())
    link = photos / place
    link.parent.mkdir(parents=True, exist_ok=True)
    target = outside / "1.png" if link.suffix else outside
    link.symlink_to(os.path.relpath(target, link.parent) if relative else target)
    complaint = refused(photos)
    assert f"the link {place} leaves the folder (to {target})" in complaint


@pytest.mark.parametrize("target", ["nowhere.png", "link.png"])
def test_links_that_lead_nowhere_are_named(target: str, photos: Path, refused: Any) -> None:
    (photos / "cat/link.png").symlink_to(target)
    assert "the link cat/link.png leads nowhere" in refused(photos)


def test_links_inside_are_followed(tmp_path: Path, photos: Path) -> None:
    (photos / "cat/link.png").symlink_to("../dog/000.png")
    (photos / "emu").symlink_to("cat")
    (tmp_path / "same").symlink_to(photos)  # of the folder itself
    train = ud.load_images(tmp_path / "same").train
    assert train.classes == ("cat", "dog", "emu")
    assert train.counts == (3, 2, 3)


def test_links_in_a_circle_end(photos: Path) -> None:
    (photos / "cat/up").symlink_to("..")
    (photos / "cat/there").symlink_to("../dog")
    (photos / "dog/back").symlink_to("../cat")
    (photos / "dog/self").symlink_to(".")
    items = ud.load_images(photos).train.items.tolist()
    assert len(items) == len(set(items))
    # each folder on its own, and once more by way of the other
    assert items == [
        *(f"cat/{n}" for n in ("000.png", "001.png", "there/000.png", "there/001.png")),
        *(f"dog/{n}" for n in ("000.png", "001.png", "back/000.png", "back/001.png")),
    ]


def test_links_to_links_to_links_come_to_an_end(photos: Path, refused: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(walk, "MOST_LINKS", 200)
    for n in range(30):
        (photos / f"d{n}").mkdir()
        for name in "ab":
            (photos / f"d{n}" / name).symlink_to(f"../d{n + 1}")
    (photos / "d30").mkdir()
    assert "links to folders that lead to more than 200 folders" in refused(photos)


def test_a_pipe_is_not_waited_for(photos: Path) -> None:
    os.mkfifo(photos / "cat/pipe.png")
    assert len(ud.load_images(photos).train) == 4


def test_names_that_are_no_text_are_refused(photos: Path, refused: Any) -> None:
    (photos / os.fsdecode(b"cat/\xff.png")).write_bytes(b"x")
    assert "'cat/\\udcff.png' is a name that is not UTF-8" in refused(photos)
