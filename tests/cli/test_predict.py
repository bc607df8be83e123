"""underdog predict: what it shows, what it writes, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import underdog as ud
from underdog.run.execute import execute
from underdog.run.spec import RunSpec

HOSTILE = ("=1+1", "\x1b[2J", "plain")


@pytest.fixture(scope="module")
def run(tmp_path_factory: Any, pictures: Any) -> Path:
    """A run whose classes have names that harm spreadsheets and terminals; the second is rare."""
    root = tmp_path_factory.mktemp("hostile")
    tree = pictures.tree(dict(zip(HOSTILE, (40, 16, 36), strict=True)), bands=3)
    source = ud.load_images(pictures.folder(root / "photos", tree))
    spec = RunSpec(source.fingerprint, "ros", epochs=4, width=0.2, batch=16, lr=0.01)
    execute(spec, source, root / "runs")
    return root / "runs" / spec.id


@pytest.fixture
def new(tmp_path: Path, pictures: Any) -> Path:
    """Two images of every brightness, and what is none."""
    images = {f"{i}.png": pictures.encode(pictures.pixels(i, (30, 20), 3, 40 + 35 * i)) for i in range(6)}
    others = {"=x.jpg": b"none", "sub/\x1b[31m.png": b"", "notes.txt": b"x", "sub/-7.png": images["3.png"]}
    return pictures.folder(tmp_path / "new", images | others)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_table_says_class_probability_and_what_cannot_be_read(run: Path, new: Path, underdog: Any) -> None:
    ran = underdog("predict", run, new)
    lines = ran.out.splitlines()
    assert ran.code == 0
    assert lines[0].split() == ["class", "probability", "file"]
    assert len(lines) == 10
    own = ud.load(run)
    for line, p in zip(lines[1:], own.stream([new]), strict=True):
        if p.error is not None:
            assert p.error in ("the file is empty", "no image in a format that is known")
            assert line.endswith(f"unreadable: {p.error}")
        else:
            shown = p.probabilities[own.classes.index(p.label)]
            assert line.replace("\\x1b", "\x1b").split()[:3] == [p.label, f"{shown:.3f}", p.file]
            assert ("flagged: " in line) == bool(p.flags)
    assert ran.err == ("underdog: 2 of 9 files could not be read\nunderdog: 1 files that are no images were ignored\n")


def test_nothing_shown_moves_the_cursor(run: Path, new: Path, underdog: Any) -> None:
    for more in ("", "--json"):
        ran = underdog(f"predict {more}", run, new)
        assert "\x1b" not in ran.out + ran.err
        assert "x1b[31m" in ran.out or "u001b[31m" in ran.out
    ran = underdog("predict", run, new, "--csv", new.parent / "out.csv")
    assert "\\x1b[2J" in ran.out
    assert "\x1b" not in ran.out + ran.err


def test_a_csv_file_has_every_probability_and_no_formula(run: Path, new: Path, underdog: Any) -> None:
    out = new.parent / "out.csv"
    ran = underdog("predict", run, new, "--csv", out, "--batch", 2)
    rows = table(out)
    assert ran.code == 0
    assert f"predictions: {out}" in ran.out
    assert list(rows[0]) == ["file", "class", *(f"probability:{c}" for c in sorted(HOSTILE)), "flags", "error"]
    predictions = list(ud.load(run).stream([new]))
    assert len(predictions) == 9
    for row, p in zip(rows, predictions, strict=True):
        assert row["file"] == p.file
        assert row["class"].removeprefix("'") == (p.label or "")
        found = [float(v) for c, v in row.items() if c.startswith("probability:") and v]
        assert found == pytest.approx([] if p.probabilities is None else list(p.probabilities), abs=1e-5)
        assert row["flags"].removeprefix("'") == "; ".join(p.flags)
        assert row["error"] == (p.error or "")
    assert any(p.label == "=1+1" for p in predictions)
    assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())


def test_names_that_look_like_formulas_are_quoted_and_found_again(
    run: Path, new: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(new)
    underdog("predict", run, "=x.jpg", "./0.png", "sub", "--csv", "out.csv")
    assert [row["file"] for row in table(new / "out.csv")] == ["'=x.jpg", "0.png", "sub/\x1b[31m.png", "sub/-7.png"]
    monkeypatch.chdir(new / "sub")
    underdog("predict", run, "--csv", "out.csv", "--", "-7.png")
    assert [row["file"] for row in table(new / "sub" / "out.csv")] == ["'-7.png"]


def test_json_has_a_line_for_every_file(run: Path, new: Path, underdog: Any) -> None:
    found = [json.loads(line) for line in underdog("predict --json", run, new).out.splitlines()]
    predictions = list(ud.load(run).stream([new]))
    assert [f["file"] for f in found] == [p.file for p in predictions]
    for f, p in zip(found, predictions, strict=True):
        if p.error is not None:
            assert f == {"file": p.file, "error": p.error}
        else:
            assert (f["class"], f["flags"]) == (p.label, list(p.flags))
            np.testing.assert_allclose(list(f["probabilities"].values()), p.probabilities)
            assert list(f["probabilities"]) == sorted(HOSTILE)


def test_only_rare_classes_are_flagged_and_the_summary_counts_them(run: Path, new: Path, underdog: Any) -> None:
    classifier = ud.load(run)
    flagged = sum(bool(p.flags) for p in classifier.stream([new]))
    assert flagged > 0
    assert classifier.rare == ("\x1b[2J",)
    assert classifier.rule.flags(np.eye(3) * 50).sum() >= 2
    ran = underdog("predict", run, new, "--csv", new.parent / "out.csv")
    line = next(line for line in ran.out.splitlines() if line.startswith("\\x1b[2J"))
    assert line.split()[-1] == str(flagged)


def test_a_file_name_that_is_no_text_is_escaped(run: Path, tmp_path: Path, pictures: Any, underdog: Any) -> None:
    (tmp_path / "odd\udcff.png").write_bytes(pictures.encode(pictures.pixels(0, (16, 16), 3)))
    assert "odd\\udcff.png" in underdog("predict", run, tmp_path).out
    assert underdog("predict", run, tmp_path, "--csv", tmp_path / "out.csv").code == 0
    assert table(tmp_path / "out.csv")[0]["file"].endswith("odd\\udcff.png")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ("{run} {new}/absent", "no such file or folder"),
        ("{run} {new}/nem", "no such file or folder; did you mean 'new'"),
        ("{runs}/ros-s0-x {new}", "is no finished run (a folder with result.json); did you mean 'ros-s0-"),
        ("{runs} {new}", "is a folder of 1 runs: name one of them (ros-s0-"),
        ("{run} {new}/empty", "no images in "),
        ("{run} {new}/empty --csv {new}/out.csv", "(1 other files)"),
        ("{run} {new} --csv {new}/absent/out.csv", "cannot be written: no writable folder"),
        ("{run} {new} --csv {new}", "cannot be written: it is a folder"),
        ("{run} {new} --csv {new}/out.csv --json", "csv and json exclude each other"),
        ("{run} {new} --batch 0", "batch must be a whole number above 0"),
        ("{run} {new} --batch x", "is not a whole number"),
        ("{run} {new} --device gpu", "unknown device 'gpu'"),
        ("{run}", "required: FILES-OR-FOLDERS"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: str, reason: str, run: Path, tmp_path: Path, pictures: Any, underdog: Any
) -> None:
    files = {"new/0.png": pictures.encode(pictures.pixels(0)), "empty/notes.txt": b"x"}
    new = pictures.folder(tmp_path / "in", files)
    before = sorted(new.rglob("*"))
    ran = underdog("predict", *arguments.format(run=run, runs=run.parent, new=new).split())
    assert (ran.code, ran.out) == (2, "")
    assert reason in ran.err
    assert sorted(new.rglob("*")) == before


def test_a_failure_in_the_middle_keeps_the_old_file(
    run: Path, new: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = new.parent / "out.csv"
    out.write_text("old")
    decode_some = ud.run.classifier.decode_some  # type: ignore[attr-defined]
    calls: list[int] = []

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise OSError(28, "No space left on device")
        return decode_some(*arguments)

    monkeypatch.setattr("underdog.run.classifier.decode_some", failing)
    ran = underdog("predict", run, new, "--csv", out, "--batch", 2)
    assert (ran.code, out.read_text()) == (2, "old")
    assert "No space left on device" in ran.err
    assert {p.name for p in new.parent.iterdir()} == {"new", "out.csv"}


def test_an_interrupted_prediction_is_not_said_to_go_on(
    run: Path, new: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("underdog.run.classifier.decode_some", interrupt)
    ran = underdog("predict", run, new)
    assert (ran.code, ran.err) == (130, "underdog: error: interrupted\n")
