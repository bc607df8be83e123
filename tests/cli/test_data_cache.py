"""``underdog data cache``, and which cache the commands use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import underdog as ud
from underdog.data.entries import entries

QUICK = "--epochs 1 --width 0.1 --batch 16 --method baseline"


@pytest.fixture
def photos(tmp_path: Path, pictures: Any) -> Path:
    return pictures.folder(tmp_path / "photos", pictures.tree({"ant": 12, "bee": 10}))


@pytest.fixture
def cache(tmp_path: Path, photos: Path) -> Path:
    """Two entries of one source."""
    for size in ((16, 16), (12, 20)):
        ud.load_images(photos, ud.Reading(size=size), cache=tmp_path / "cache")
    return tmp_path / "cache"


def test_entries_are_listed(cache: Path, photos: Path, underdog: Any) -> None:
    ran = underdog("data cache --cache", cache)
    assert ran.code == 0
    head, *rows, total = ran.out.splitlines()
    assert head.split() == ["entry", "source", "images", "shape", "size", "last", "used"]
    assert {tuple(row.split()[1:4]) for row in rows} == {(str(photos), "22", s) for s in ("1x16x16", "1x12x20")}
    assert total.startswith("2 entries, 0.0 MB in ")


def test_entries_are_listed_as_json(cache: Path, photos: Path, underdog: Any) -> None:
    listed = json.loads(underdog("data cache --json --cache", cache).out)
    assert listed["cache"] == str(cache)
    assert sorted(e["shape"] for e in listed["entries"]) == [[1, 12, 20], [1, 16, 16]]
    assert {(e["source"], e["images"]) for e in listed["entries"]} == {(str(photos), 22)}


@pytest.mark.parametrize("aside", [False, True])
def test_a_damaged_entry_is_listed_as_one(aside: bool, cache: Path, underdog: Any) -> None:
    entry = cache / "images" / entries(cache)[0].id
    if aside:
        entry.rename(entry.with_suffix(".damaged"))
    else:
        (entry / "index.json").write_text("")
    assert underdog("data cache --cache", cache).out.count("(damaged)") == 1


def test_a_source_of_any_name_is_one_line(tmp_path: Path, pictures: Any, underdog: Any) -> None:
    path = pictures.folder(tmp_path / "a\nb\x1b[31m", pictures.tree({"ant": 2, "bee": 2}))
    ud.load_images(path, cache=tmp_path / "cache")
    out = underdog("data cache --cache", tmp_path / "cache").out
    assert len(out.splitlines()) == 3
    assert "\x1b" not in out


def test_one_entry_or_all_are_removed(cache: Path, underdog: Any) -> None:
    first, second = entries(cache)
    assert underdog("data cache --cache", cache, "--clear", "nonsense").code == 2
    assert underdog("data cache --cache", cache, "--clear", first.id[:12]).code == 0
    assert entries(cache) == [second]
    assert "1 entry, 0.0 MB removed" in underdog("data cache --cache", cache, "--clear").out
    assert entries(cache) == []
    assert not [p for p in cache.rglob("*") if p.is_file()]


def test_there_may_be_no_cache_yet(tmp_path: Path, underdog: Any) -> None:
    assert underdog("data cache --cache", tmp_path / "none").out.startswith("0 entries")
    assert not (tmp_path / "none").exists()


def test_commands_use_the_cache_that_is_named_or_none(
    photos: Path, tmp_path: Path, underdog: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv("UNDERDOG_CACHE", str(tmp_path / "variable"))
    train = f"train {photos} {QUICK} --out {tmp_path / 'runs'}"
    assert underdog(f"{train} --no-cache").code == 0
    assert not (tmp_path / "variable").exists()
    assert underdog(f"{train} --cache {tmp_path / 'named'}").code == 0
    assert len(entries(tmp_path / "named")) == 1
    assert not (tmp_path / "variable").exists()
    assert underdog(train).code == 0
    assert len(entries(tmp_path / "variable")) == 1
    assert len(list((tmp_path / "runs").glob("*/result.json"))) == 1  # of one and the same run


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_cache_that_is_named_must_be_writable(
    by: str, photos: Path, tmp_path: Path, underdog: Any, monkeypatch: Any
) -> None:
    (tmp_path / "file").write_text("")
    if by == "variable":
        monkeypatch.setenv("UNDERDOG_CACHE", str(tmp_path / "file"))
    named = f"--cache {tmp_path / 'file'}" if by == "option" else ""
    before = set(tmp_path.rglob("*"))
    ran = underdog(f"train {photos} {QUICK} --out {tmp_path / 'runs'} {named}")
    assert ran.code == 2
    assert "file' cannot be written" in ran.err
    assert set(tmp_path.rglob("*")) == before


def test_the_users_own_cache_may_be_unwritable(photos: Path, tmp_path: Path, underdog: Any, monkeypatch: Any) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.delenv("UNDERDOG_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    ran = underdog(f"train {photos} {QUICK} --out {tmp_path / 'runs'}")
    assert ran.code == 0
    assert "is no folder; images are decoded every time" in ran.out
