"""The cache: the same images as without it, made once, whatever happens to it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import underdog as ud
from underdog.data import cache as caching
from underdog.data import decode as decoding
from underdog.data import entries as keeping
from underdog.data import store
from underdog.data.cache import CachedSource, check_writable
from underdog.data.entries import entries, remove

SMALL = {"cat": 4, "dog": 3}


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path: Path, pictures: Any) -> Path:
    return pictures.folder(tmp_path / "photos", pictures.tree(SMALL))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every image that is decoded."""
    calls: list[int] = []
    real = decoding.decode_image
    monkeypatch.setattr(decoding, "decode_image", lambda *given: (calls.append(1), real(*given))[1])
    return calls


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as settled as soon as they are written."""
    monkeypatch.setattr(caching, "SETTLED", -(10**18))


def described(source: ud.Source) -> tuple[object, ...]:
    """Everything that a source has."""
    parts = [p for p in (source.train, source.val, source.test) if p is not None]
    groups = [None if p.groups is None else p.groups.tolist() for p in parts]
    return source.name, source.fingerprint, source.notes, [p.items.tolist() for p in parts], groups


# The same images


@pytest.mark.parametrize("kind", ["folder", "zip", "tar", "tar.xz"])
@pytest.mark.parametrize("known", [True, False])
def test_a_source_is_the_same_with_and_without_a_cache(
    kind: str, known: bool, cache: Path, tmp_path: Path, pictures: Any, decoded: list[int], monkeypatch: Any
) -> None:
    if known:
        monkeypatch.setattr(caching, "SETTLED", -(10**18))
    files = {f"{part}/{n}": d for part in ("train", "test") for n, d in pictures.tree(SMALL).items()}
    files |= {f"train/cat/{n}": d for n, d in pictures.tree({"colour": 2}, bands=3).items()}
    files |= {"train/dog/bad.png": b"", "README.txt": b"", "who.csv": b"image,who\n"}
    files["who.csv"] += "".join(f"{n},{n[:9]}\n" for n in files if n.endswith("png")).encode()
    files = dict(sorted(files.items(), key=lambda item: item[1]))  # no order of paths
    make = pictures.folder if kind == "folder" else pictures.zip if kind == "zip" else pictures.tar
    path = make(tmp_path / ("photos" if kind == "folder" else f"photos.{kind}"), files)
    reading = ud.Reading(size=(16, 16), skip_corrupt=True, groups="who.csv:image,who")
    without = ud.load_images(path, reading)
    first = ud.load_images(path, reading, cache=cache)
    before = len(decoded)
    again = ud.load_images(path, reading, cache=cache)
    assert described(without) == described(first) == described(again)
    assert again.train.shape == (3, 16, 16)
    assert (before, len(decoded)) == (34, 34)


def test_parts_are_views_of_what_was_read(cache: Path, tmp_path: Path, pictures: Any) -> None:
    files = {f"{part}/{n}": d for part in ("train", "test") for n, d in pictures.tree(SMALL).items()}
    source = ud.load_images(pictures.folder(tmp_path / "parts", files), cache=cache)
    assert source.test is not None
    assert source.train.images.data_ptr() == source.test.images.data_ptr() + source.test.images.nbytes


def test_large_entries_are_mapped_and_never_written_to(
    cache: Path, photos: Path, decoded: list[int], monkeypatch: Any
) -> None:
    plain = ud.load_images(photos, cache=cache)
    monkeypatch.setattr(store, "MAPPED", 0)
    source = CachedSource(photos, cache)
    with source.members() as members:
        mapped = source.decode(members, ud.Reading(), lambda images: None)
    assert isinstance(mapped.pixels, np.memmap)
    mapped.pixels[:] = 0
    mapped.pixels.flush()
    assert ud.load_images(photos, cache=cache).fingerprint == plain.fingerprint
    assert len(decoded) == 7


def test_some_files_of_an_archive_are_not_all_of_them(cache: Path, tmp_path: Path, pictures: Any) -> None:
    source = CachedSource(pictures.zip(tmp_path / "photos.zip", pictures.tree(SMALL)), cache)
    with source.members() as members:
        some = [members[2:], members[:5], members[:5]]
        images = [source.decode(own, ud.Reading(), lambda images: None).pixels for own in some]
    assert not np.array_equal(images[0], images[1])
    assert np.array_equal(images[1], images[2])


def test_progress_is_told_of_every_image(cache: Path, photos: Path) -> None:
    for _ in range(2):
        seen: list[int] = []
        ud.load_images(photos, progress=seen.append, cache=cache)
        assert sum(seen) == 7


# What counts as the same


def test_an_unchanged_archive_is_not_opened_again_not_even_for_its_tables(
    cache: Path, tmp_path: Path, pictures: Any, settled: None, monkeypatch: Any
) -> None:
    files = pictures.tree(SMALL)
    table = "image,who\n" + "".join(f"{n},{n}\n" for n in files)
    path = pictures.tar(tmp_path / "photos.tar.xz", files | {"who.csv": table.encode()})
    reading = ud.Reading(groups="who.csv:image,who")
    first = ud.load_images(path, reading, cache=cache)
    monkeypatch.setattr(caching, "open_members", None)
    assert described(ud.load_images(path, reading, cache=cache)) == described(first)


def test_an_archive_that_is_new_is_not_yet_relied_on(cache: Path, tmp_path: Path, pictures: Any) -> None:
    path = pictures.tar(tmp_path / "photos.tar", pictures.tree(SMALL))
    ud.load_images(path, cache=cache)
    assert not (cache / "sources").exists()


def test_copies_and_touched_files_are_not_decoded_again(
    cache: Path, photos: Path, tmp_path: Path, settled: None, decoded: list[int]
) -> None:
    first = ud.load_images(photos, cache=cache)
    (photos / "cat" / "000.png").touch()
    (photos / "README").write_text("no image")
    assert ud.load_images(photos, cache=cache).fingerprint == first.fingerprint
    photos.rename(tmp_path / "elsewhere")
    assert ud.load_images(tmp_path / "elsewhere", cache=cache).fingerprint == first.fingerprint
    assert len(decoded) == 7
    assert len(entries(cache)) == 1


@pytest.mark.parametrize("archive", [False, True])
def test_a_changed_file_of_the_same_size_and_time_is_noticed(
    archive: bool, cache: Path, tmp_path: Path, pictures: Any, settled: None
) -> None:
    one, other = (pictures.tree(SMALL, seed=seed) for seed in (0, 1))
    one, other = ({n: d.ljust(1000, b"\0") for n, d in files.items()} for files in (one, other))
    make = (
        (lambda f: pictures.tar(tmp_path / "a.tar", f)) if archive else (lambda f: pictures.folder(tmp_path / "a", f))
    )
    prints = []
    for files in (one, other):
        path = make(files)
        for p in [path, *path.rglob("*")]:
            os.utime(p, (1, 1))
        prints.append(ud.load_images(path, cache=cache).fingerprint)
    assert prints[1] == ud.load_images(path).fingerprint != prints[0]


@pytest.mark.parametrize(
    "reading",
    [ud.Reading(size=(8, 8)), ud.Reading(size=(8, 10)), ud.Reading(size=(8, 10), resize="pad")],
)  # fmt: skip
def test_other_settings_are_other_entries(reading: ud.Reading, cache: Path, photos: Path) -> None:
    for other in (ud.Reading(), ud.Reading(size=(8, 10), resize="squash")):
        ud.load_images(photos, other, cache=cache)
    assert ud.load_images(photos, reading, cache=cache).fingerprint == ud.load_images(photos, reading).fingerprint
    assert len(entries(cache)) == 3


@pytest.mark.parametrize("what", ["pillow", "revision"])
def test_another_decoder_makes_other_entries(what: str, cache: Path, photos: Path, monkeypatch: Any) -> None:
    ud.load_images(photos, cache=cache)
    if what == "pillow":
        monkeypatch.setattr(caching.PIL, "__version__", "0")
    else:
        monkeypatch.setattr(caching, "REVISION", 0)
    ud.load_images(photos, cache=cache)
    assert len(entries(cache)) == 2


def test_corrupt_files_are_an_error_also_when_an_entry_knows_of_them(cache: Path, photos: Path) -> None:
    (photos / "cat" / "bad.png").write_bytes(b"bad")
    skipped = ud.load_images(photos, ud.Reading(skip_corrupt=True), cache=cache)
    assert skipped.notes == ("1 corrupt files were left out: cat/bad.png",)
    with pytest.raises(ud.InputError) as without:
        ud.load_images(photos)
    with pytest.raises(ud.InputError) as within:
        ud.load_images(photos, cache=cache)
    assert str(within.value) == str(without.value)


# Damage


def rewritten(file: Path, change: Callable[[Any], object]) -> None:
    about = json.loads(file.read_text())
    change(about)
    file.write_text(json.dumps(about))


def flipped(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda e: os.truncate(e / "pixels.npy", 500),
    "emptied": lambda e: (e / "pixels.npy").write_bytes(b""),
    "a bit": lambda e: flipped(e / "pixels.npy"),
    "other pixels": lambda e: np.save(e / "pixels.npy", np.zeros((7, 1, 16, 15), np.uint8)),
    "objects": lambda e: np.save(e / "pixels.npy", np.array([{}]), allow_pickle=True),
    "no pixels": lambda e: (e / "pixels.npy").unlink(),
    "no index": lambda e: (e / "index.json").unlink(),
    "half an index": lambda e: os.truncate(e / "index.json", 20),
    "a list": lambda e: (e / "index.json").write_text("[1]"),
    "null": lambda e: (e / "index.json").write_text("null"),
    "binary": lambda e: (e / "index.json").write_bytes(b"\xff\xfe\0"),
    "wrong shape": lambda e: rewritten(e / "index.json", lambda about: about.update(shape=[1, 16, 17])),
    "wrong count": lambda e: rewritten(e / "index.json", lambda about: about.update(corrupt={"cat/000.png": "?"})),
    "missing key": lambda e: rewritten(e / "index.json", lambda about: about.pop("stamp")),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("mapped", [0, 2**30])
def test_a_damaged_entry_is_set_aside_and_made_again(
    damage: str, mapped: int, cache: Path, photos: Path, decoded: list[int], monkeypatch: Any
) -> None:
    monkeypatch.setattr(store, "MAPPED", mapped)
    whole = ud.load_images(photos, cache=cache).fingerprint
    (entry,) = entries(cache)
    DAMAGES[damage](cache / "images" / entry.id)
    assert ud.load_images(photos, cache=cache).fingerprint == whole
    assert len(decoded) == 14
    assert {e.id for e in entries(cache)} == {entry.id, f"{entry.id}.damaged"}
    assert ud.load_images(photos, cache=cache).fingerprint == whole
    assert len(decoded) == 14


def test_a_copied_cache_still_serves(cache: Path, photos: Path, decoded: list[int]) -> None:
    ud.load_images(photos, cache=cache)
    for file in cache.rglob("pixels.npy"):
        os.utime(file)
    ud.load_images(photos, cache=cache)
    assert len(decoded) == 7


@pytest.mark.parametrize("damage", ["", "x\n{}", "{}", "\ud800"])
def test_a_damaged_record_of_a_source_is_not_believed(
    damage: str, cache: Path, tmp_path: Path, pictures: Any, settled: None
) -> None:
    path = pictures.tar(tmp_path / "photos.tar", pictures.tree(SMALL))
    first = ud.load_images(path, cache=cache)
    (record,) = (cache / "sources").iterdir()
    record.write_text(damage, errors="surrogatepass")
    assert described(ud.load_images(path, cache=cache)) == described(first)


# Processes


LOAD = """
import os, sys, time
from pathlib import Path
import underdog as ud
from underdog.data import decode, entries
real = decode.decode_image
def slow(*given):
    with open(sys.argv[3], "a") as log:
        log.write("x")
    time.sleep(0.1)
    return real(*given)
decode.decode_image = slow
"""
SHOW = "print(ud.load_images(sys.argv[1], cache=Path(sys.argv[2])).fingerprint)\n"
KILL = """
put, images = entries.FileRows.put, []
def killed(rows, place, image):
    put(rows, place, image)
    images.append(image)
    if len(images) == 4:
        os.kill(os.getpid(), 9)
entries.FileRows.put = killed
"""


def test_of_processes_that_come_at_once_one_decodes(cache: Path, photos: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", LOAD + SHOW, str(photos), str(cache), str(tmp_path / "log")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    done = [process.communicate() for process in running]
    assert [d[1] for d in done] == [""] * 3
    assert {d[0].strip() for d in done} == {ud.load_images(photos).fingerprint}
    assert (tmp_path / "log").read_text() == "x" * 7


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
def test_a_process_that_is_killed_leaves_nothing_that_is_taken_for_an_entry(
    cache: Path, photos: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-c", LOAD + KILL + SHOW, str(photos), str(cache), str(tmp_path / "log")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert entries(cache) == []
    assert len([p for p in (cache / "images").iterdir() if p.is_dir()]) == 1
    assert ud.load_images(photos, cache=cache).fingerprint == ud.load_images(photos).fingerprint
    assert [p.name for p in (cache / "images").iterdir() if p.is_dir()] == [entries(cache)[0].id]


# Disks


@pytest.mark.parametrize("step", ["disk_usage", "fsync"])
def test_a_full_disk_is_noted_and_the_images_come_all_the_same(
    step: str, cache: Path, photos: Path, monkeypatch: Any
) -> None:
    def full(*given: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os if step == "fsync" else shutil, step, full)
    seen: list[int] = []
    source = ud.load_images(photos, progress=seen.append, cache=cache)
    assert sum(seen) == 7
    assert source.notes == (f"the images could not be kept in the cache {str(cache)!r}: No space left on device",)
    assert source.fingerprint == ud.load_images(photos).fingerprint
    assert [p.name for p in (cache / "images").iterdir() if p.is_dir()] == []


def test_a_disk_without_locks_has_a_cache_too(cache: Path, photos: Path, decoded: list[int], monkeypatch: Any) -> None:
    def refused(*given: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr(keeping.FileLock, "acquire", refused)
    for _ in range(2):
        ud.load_images(photos, cache=cache)
    assert len(decoded) == 7


@pytest.mark.parametrize("source", ["digits", "photos"])
def test_a_cache_that_cannot_be_written_is_refused(source: str, tmp_path: Path, photos: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ud.InputError, match=r"cache '.*file/in/it' cannot be written: '.*file' is no folder"):
        ud.load_images(photos if source == "photos" else source, cache=tmp_path / "file" / "in" / "it")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_permissions_count(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ud.InputError, match="not writable"):
        check_writable(tmp_path / "cache")
    tmp_path.chmod(0o700)


def test_nothing_is_made_before_it_is_needed(cache: Path, photos: Path) -> None:
    CachedSource(photos, cache)
    check_writable(cache)
    assert not cache.exists()


def test_clearing_leaves_what_is_somebody_elses(
    cache: Path, photos: Path, tmp_path: Path, pictures: Any, settled: None
) -> None:
    others = pictures.folder(cache, {"images/mine.png": b"", "images/d/x": b"", "sources/s.txt": b"", "y": b""})
    (cache / "images" / f".{'0' * 32}.left").mkdir()
    ud.load_images(photos, cache=cache)
    ud.load_images(pictures.tar(tmp_path / "photos.tar", pictures.tree(SMALL)), cache=cache)
    assert len(remove(cache)) == 2
    left = {str(p.relative_to(others)) for p in others.rglob("*") if p.is_file() or not any(p.iterdir())}
    assert left == {"images/mine.png", "images/d/x", "sources/s.txt", "y"}
