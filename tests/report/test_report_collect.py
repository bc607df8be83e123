"""Reading run folders: what is whole is read exactly, what is not is set aside with its reason."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_run

from underdog.errors import InputError
from underdog.reporting.collect import collect, tuning_runs
from underdog.run.gallery import load_gallery
from underdog.run.saved import run_of


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    confusion = np.array([[8, 1, 1], [0, 20, 0], [3, 3, 4]])
    folder = write_run(tmp_path, "aos", seed=4, confusion=confusion, gallery=True, notes=["a note"])
    (run,) = collect([folder]).runs
    assert (run.key, run.part, run.notes, run.folder) == ((4, 4, -1), "test", ("a note",), folder)
    assert run.minority == {0}
    assert (run.train, run.shown) == ((5, 50, 50), (50, 50, 50))
    assert run.prior == (50, 50, 50)
    assert run.sizes == {"train": 105, "val": 30, "test": 90}
    np.testing.assert_array_equal(run.best.confusion, confusion)
    written = json.loads((folder / "result.json").read_text())
    assert run.best.macro_f1 == written["test"]["macro_f1"]
    assert run.curve is not None
    assert run.curve.loss == (1, 1 / 2, 1 / 3)
    gallery = load_gallery(run)
    assert gallery is not None
    assert gallery.original.shape == (3, 1, 8, 8)


def test_a_run_without_test_images_is_scored_on_validation(tmp_path: Path) -> None:
    (run,) = collect([write_run(tmp_path, "aos", tuning=True)]).runs
    assert run.part == "validation"
    assert "test" not in run.sizes


BROKEN = {
    "truncated": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "a list": lambda text: "[]",
    "a number": lambda text: "3",
    "another program's": lambda text: '{"accuracy": 0.9}',
    "binary": lambda text: "\x00\x01",
    "nested": lambda text: "[" * 100_000,
    "another shape": lambda text: json.dumps(json.loads(text) | {"classes": ["a", "b"]}),
    "repeated classes": lambda text: text.replace('"dog"', '"cat"'),
    "no updates": lambda text: text.replace('"updates"', '"update"'),
    "infinite": lambda text: text.replace('"updates": 40', '"updates": 1e999'),
    "not finite": lambda text: text.replace('"updates": 40', '"updates": NaN'),
    "unknown method": lambda text: text.replace('"method": "ros"', '"method": "roses"'),
    "unknown setting": lambda text: text.replace('"lr"', '"rl"'),
    "nothing counted": lambda text: json.dumps(json.loads(text) | {"test": {"confusion": [[0] * 3] * 3}}),
    "no prior": lambda text: text.replace('"prior"', '"before"'),
    "a prior of fewer classes": lambda text: json.dumps(json.loads(text) | {"prior": [1, 1]}),
    "a prior that is not finite": lambda text: json.dumps(json.loads(text) | {"prior": [1, 1, float("inf")]}),
    "a negative prior": lambda text: json.dumps(json.loads(text) | {"prior": [1, 1, -1]}),
    "a prior of nothing": lambda text: json.dumps(json.loads(text) | {"prior": [0, 0, 0]}),
    "another revision": lambda text: text.replace('"revision": 2', '"revision": 1'),
    "a method that is no text": lambda text: text.replace('"method": "ros"', '"method": 3'),
    "an open bracket": lambda text: text.replace('"method": "ros"', '"method": "ros("'),
    "negative counts": lambda text: json.dumps(json.loads(text) | {"test": {"confusion": [[9, -1, 0]] * 3}}),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_result_is_set_aside(tmp_path: Path, kind: str) -> None:
    good, bad = write_run(tmp_path, "baseline"), write_run(tmp_path, "ros")
    path = bad / "result.json"
    path.write_text(BROKEN[kind](path.read_text(encoding="utf-8")), encoding="utf-8")
    found = collect([bad, good])
    assert [run.name for run in found.runs] == [good.name]
    (aside,) = found.asides
    assert aside.name == bad.name
    assert aside.reason.startswith("result.json: ")
    assert str(tmp_path) not in aside.reason


def test_a_missing_folder_is_set_aside(tmp_path: Path) -> None:
    found = collect([write_run(tmp_path, "ros"), tmp_path / "nowhere"])
    assert [(a.name, a.reason) for a in found.asides] == [("nowhere", "result.json: No such file or directory")]


def test_an_error_names_the_folders_when_none_is_left(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: result\.json: No such file"):
        collect([tmp_path / "nowhere"])


def test_a_run_given_twice_counts_once(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "ros")
    found = collect([folder, folder])
    assert len(found.runs) == 1
    assert [a.reason for a in found.asides] == [f"the same run as {folder.name}"]


@pytest.mark.parametrize("lines", ["", '{"epoch": 0', '{"loss": 1, "val": {"macro_f1": 1}}\n' * 2, "[]\n[]\n[]\n"])
def test_broken_curves_cost_the_curves_only(tmp_path: Path, lines: str) -> None:
    folder = write_run(tmp_path, "ros")
    (folder / "epochs.jsonl").write_text(lines)
    found = collect([folder])
    assert found.runs[0].curve is None
    assert "its curves only" in found.asides[0].reason


def test_a_broken_or_foreign_gallery_is_refused(tmp_path: Path) -> None:
    mine, other = write_run(tmp_path, "aos", gallery=True), write_run(tmp_path, "noise", shape=(3, 4, 4), gallery=True)
    (run,) = collect([mine]).runs
    path = mine / "gallery.safetensors"
    for content in (path.read_bytes()[:100], b"", (other / path.name).read_bytes()):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"gallery\.safetensors: "):
            load_gallery(run)
    path.unlink()
    assert load_gallery(run) is None


def test_tuning_runs_lie_beside_the_runs(tmp_path: Path) -> None:
    (run,) = collect([write_run(tmp_path, "aos")]).runs
    search = write_run(tmp_path / "tuning", "aos", seed=1_000_003, tuning=True)
    write_run(tmp_path / "tuning", "aos", seed=3)  # no search, though it lies there
    broken = write_run(tmp_path / "tuning", "noise", tuning=True)
    (broken / "result.json").write_text("{")
    found = tuning_runs([run])
    assert [r.name for r in found.runs] == [search.name]
    assert [a.name for a in found.asides] == [f"tuning/{broken.name}"]


def test_counts_of_other_classes_are_refused(tmp_path: Path) -> None:
    result = json.loads((write_run(tmp_path, "ros") / "result.json").read_text())
    result["counts"]["train"] = {"cat": 1}
    with pytest.raises(ValueError, match="other classes"):
        run_of(result)


def test_a_result_of_another_run_is_set_aside(tmp_path: Path) -> None:
    ros, rus, smote = (write_run(tmp_path, method) for method in ("ros", "rus", "smote"))
    for folder in (ros, rus):
        (folder / "spec.json").write_text(json.dumps(json.loads((folder / "result.json").read_text())["spec"]))
    (rus / "result.json").write_bytes((ros / "result.json").read_bytes())
    (smote / "result.json").write_bytes((ros / "result.json").read_bytes())
    mine = ros.rename(tmp_path / "my-best")  # a name that says nothing
    found = collect([rus, smote, mine])
    assert [run.name for run in found.runs] == ["my-best"]
    assert [(a.name, a.reason) for a in found.asides] == [
        (rus.name, "result.json: it is not the run in spec.json"),
        (smote.name, "result.json: it is not the run that the folder's name says"),
    ]
