"""``underdog data info``: tables for people, JSON for programs, a page for eyes."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from underdog.cli import main
from underdog.reporting.terminal import width

HOSTILE = ["<script>alert(1)<\x1b[31m>", "猫" * 9, "two\nlines\r", "\u202eevil", "x" * 150]


@pytest.fixture
def folder(tmp_path: Path, pictures: Any) -> Path:
    """Two classes, one equal pair across them, one file that is no image, and two sizes."""
    files = pictures.tree({"cat": 20, "dog": 8}) | pictures.tree({"emu": 5}, (20, 24), 3)
    files |= {"dog/003.png": files["cat/007.png"], "emu/bad.png": b"?", "read.me": b"hello"}
    return pictures.folder(tmp_path / "photos", files)


def test_the_table_says_what_is_there(folder: Path, underdog: Any) -> None:
    ran = underdog("data info", folder)
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[0] == "photos: 33 images of 3 classes"
    table = {line.split()[0]: line.split()[1:] for line in lines if line.startswith(("cat ", "dog ", "emu ", "all "))}
    assert table == {
        "cat": ["20", "14", "2", "4"],
        "dog": ["*", "8", "5", "1", "2"],
        "emu": ["*", "5", "3", "1", "1"],
        "all": ["33", "22", "4", "7"],
    }
    assert "sizes          16x16 (28), 24x20 (5)" in lines
    assert "  cat/007.png = dog/003.png  (different labels)" in lines
    assert "  emu/bad.png: no image in a format that is known" in lines
    assert "note: 1 files that are no images were ignored" in lines
    assert any(line.startswith("warning: images differ in size") and "--size 16" in line for line in lines)


def test_json_is_all_there_is_on_standard_output(folder: Path, tmp_path: Path, underdog: Any) -> None:
    page = tmp_path / "page.html"
    ran = underdog("data info --json --rho 2 --minority cat", folder, "-o", page)
    data = json.loads(ran.out)
    assert ran.code == 0
    assert data["images"] == 33
    assert data["remaining"]["minority"] == ["cat"]
    assert [c["path"] for c in data["corrupt"]] == ["emu/bad.png"]
    assert "photos" in page.read_text(encoding="utf-8")


def test_the_same_options_give_the_counts_of_a_run(folder: Path, tmp_path: Path, underdog: Any) -> None:
    options = "--size 16 --skip-corrupt --rho 2 --mu 0.4 --val-fraction 0.3 --data-seed 3"
    data = json.loads(underdog(f"data info --json {options}", folder).out)
    training = "--method ros --epochs 1 --batch 8 --width 0.25 --depth 1 --device cpu"
    assert underdog(f"train {options} {training}", folder, "--out", tmp_path / "runs").code == 0
    (result,) = (tmp_path / "runs").glob("*/result.json")
    counts = json.loads(result.read_text())["counts"]
    for own in data["classes"]:
        assert own["remaining"]["train"] == counts["train"][own["name"]]
        assert own["remaining"]["val"] == counts["val"][own["name"]]
        assert own["remaining"]["test"] == counts["test"][own["name"]]


def test_hostile_names_leave_the_terminal_as_it_is(tmp_path: Path, pictures: Any, underdog: Any) -> None:
    files = pictures.tree(dict.fromkeys(HOSTILE, 12))
    files |= {f"{HOSTILE[0]}/bad\x1b]8;;\x07.png": b"?", f"{HOSTILE[2]}/999.png": files[f"{HOSTILE[0]}/000.png"]}
    files["g.csv"] = "\n".join(["i,g", *(f'"{n}","\x1b[2J{n[:3]}"' for n in files)]).encode()
    ran = underdog("data info", pictures.folder(tmp_path / "photos", files), "--groups", "g.csv:i,g")
    assert ran.code == 0
    assert all(c == "\n" or c.isprintable() for c in ran.out)
    assert "two\\nlines\\r" in ran.out
    head = next(line for line in ran.out.splitlines() if line.startswith("class "))
    table = ran.out.split(head)[1].split("\nall ")[0].splitlines()[1:]
    assert len(table) == 5
    assert {width(line) for line in table} == {len(head)}


def test_a_terminal_that_knows_no_such_letters_is_shown_numbers(
    tmp_path: Path, pictures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pictures.folder(tmp_path, pictures.tree({"猫": 6, "dog": 6}))
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    assert main(["data", "info", str(path)]) == 0
    assert "\n\\u732b" in written.getvalue().decode("ascii")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--rho 2", "rho needs mu"),
        ("--mu 0.5", "mu needs rho"),
        ("--rho 900 --mu 0.5", "rho must be at most"),
        ("--minority cow", "unknown class in minority 'cow'"),
        ("--groups absent.csv:a,b", "absent.csv"),
        ("-o absent/page.html", "cannot be written"),
        ("--val-fraction 2", "val-fraction must be in (0, 1)"),
    ],
)
def test_what_cannot_be_is_refused(options: str, message: str, folder: Path, underdog: Any) -> None:
    ran = underdog("data info", folder, *options.split())
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_a_source_that_is_not_there_is_refused(tmp_path: Path, underdog: Any) -> None:
    assert underdog("data info", tmp_path / "absent").code == 2
    assert underdog("data").code == 2


def test_help_has_examples(underdog: Any) -> None:
    ran = underdog("data info --help")
    assert ran.code == 0
    assert "\n  underdog data info photos/" in ran.out.split("examples")[-1]
