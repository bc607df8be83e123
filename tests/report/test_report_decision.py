"""The section on decisions: from predictions alone, and whatever lies with a run."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import HOSTILE, write_run
from safetensors.numpy import save_file

from underdog import decision_report, read_predictions
from underdog.data.sources import load_images
from underdog.reporting import write_report
from underdog.reporting.collect import collect
from underdog.reporting.decision import Decision, decision
from underdog.reporting.summary import variants
from underdog.run.decide import load_errors
from underdog.run.execute import execute, split_of
from underdog.run.saved import run_of
from underdog.run.spec import RunSpec

TITLE = "What a decision needs"


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    return [write_run(tmp_path, m, s, predictions=True) for m in ("baseline", "ros", "aos") for s in range(2)]


def section(folders: list[Path], target: float | None = None) -> tuple[Decision | None, list[str]]:
    (variant,) = variants(collect(folders).runs)
    found, asides = decision(variant, target)
    return found, [a.reason for a in asides]


def page(folders: list[Path], out: Path) -> str:
    write_report(folders, out / "page.html")
    return re.sub(r"\s+", " ", (out / "page.html").read_text(encoding="utf-8"))


def test_results_are_means_over_seeds_of_what_one_run_reports(runs: list[Path], tmp_path: Path) -> None:
    found, asides = section(runs)
    assert found is not None
    assert asides == []
    reports = []
    for seed in range(2):
        parts = read_predictions(runs[2 + seed] / "predictions.csv")
        reports.append(decision_report(parts["val"], parts["test"], [50, 50, 50], ["cat"], replicates=10))
    cat, own = found.classes[0], found.classes[0].methods["ros"]
    cats = [report["classes"]["cat"] for report in reports]
    assert own.average_precision.value == pytest.approx(np.mean([c["average_precision"] for c in cats]))
    assert own.recall_at_precision.value == pytest.approx(np.mean([c["recall_at_precision"]["recall"] for c in cats]))
    assert own.threshold_recall.value == pytest.approx(np.mean([c["threshold"]["recall"] for c in cats]))
    assert own.thresholds == tuple(r["rule"]["thresholds"][0]["value"] for r in reports)
    assert own.expected == pytest.approx([np.mean([c["expected"][w] for c in cats]) for w in ("before", "after")])
    assert (cat.images, cat.groups, set(cat.validation)) == (30, 15, {10})
    assert "30 test images in 15 groups; thresholds from 10 validation images" in page(runs, tmp_path)
    scores = [r["decisions"]["argmax"]["test"]["macro_f1"] for r in reports]
    assert found.methods["ros"].decisions["test"]["argmax"] == pytest.approx(np.mean(scores))
    assert found.methods["ros"].macro_f1.value == pytest.approx(np.mean(scores), abs=1e-6)
    assert {r: tuple(own) for r, own in found.differences.items()} == {
        "ros": ("baseline", "aos"),
        "baseline": ("ros", "aos"),
    }


def test_another_target_moves_the_recalls(runs: list[Path]) -> None:
    found = [section(runs, target)[0] for target in (0.3, 1.0)]
    recalls = [f.classes[0].methods["baseline"].recall_at_precision.value or 0 for f in found if f is not None]
    assert recalls[0] > recalls[1]
    assert [f.target for f in found if f is not None] == [0.3, 1.0]


def test_runs_without_predictions_have_no_section(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, m) for m in ("ros", "aos")]
    assert section(folders) == (None, [])
    assert TITLE not in page(folders, tmp_path)
    assert write_report(folders, tmp_path / "page.html") == ""


def test_tuning_runs_have_no_section(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "aos", tuning=True, predictions=True)
    assert section([folder]) == (None, [])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace("test,", "tets,"), "no line of the test part"),
        (
            lambda text: text.replace("logit:cat", "logit:cow").replace(",cat,", ",cow,"),
            "other classes than result.json",
        ),
        (lambda text: text.replace("test/cat/0", "test/cat/x"), "other test images than the first run's"),
        (lambda text: text[:-30], "line"),
        (lambda text: "", "not a table of predictions"),
    ],
)
def test_predictions_that_do_not_fit_are_set_aside(
    runs: list[Path], tmp_path: Path, spoil: Callable[[str], str], message: str
) -> None:
    path = runs[3] / "predictions.csv"
    path.write_text(spoil(path.read_text(encoding="utf-8")), encoding="utf-8")
    found, asides = section(runs)
    assert found is not None
    assert len(asides) == 1
    assert message in asides[0]
    assert "its decision figures only" in page(runs, tmp_path)
    counts = {label: len(own.thresholds) for label, own in found.classes[0].methods.items()}
    assert (counts["ros"], counts["aos"]) == (1, 2)


@pytest.mark.parametrize("content", ["no safetensors", "another size", "another type"])
def test_pictures_that_do_not_fit_are_set_aside(runs: list[Path], content: str) -> None:
    path = runs[0] / "errors.safetensors"
    kind = np.float32 if content == "another type" else np.uint8
    plain = {"plain": json.dumps({"items": ["test/cat/0"]})}
    save_file({"images": np.zeros((1, 1, 4, 4), kind)}, path, metadata=plain)
    if content == "no safetensors":
        path.write_bytes(b"\0" * 20)
    found, asides = section(runs)
    assert found is not None
    assert [e.seed for e in found.errors] == [1, 0, 0]
    assert len(asides) == 1
    assert "its worst errors only; errors.safetensors" in asides[0]


def test_each_error_has_its_own_picture(runs: list[Path]) -> None:
    found, _ = section(runs[4:5])
    assert found is not None
    (errors,) = found.errors
    assert len({answer.pixels.tobytes() for answer in errors.answers}) == len(errors.answers) > 0
    assert all(answer.name == "cat" and answer.item.startswith("test/cat/") for answer in errors.answers)
    assert set(load_errors(runs[4])) >= {answer.item for answer in errors.answers}


@pytest.mark.parametrize(
    "hostile", [[], "x", {}, {"rule": None}, {"rule": {"classes": []}}, {"rule": {"temperature": 1e999}}]
)
def test_a_result_with_a_hostile_rule_is_set_aside(runs: list[Path], tmp_path: Path, hostile: object) -> None:
    path = runs[0] / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"decision": hostile}), encoding="utf-8")
    collected = collect(runs)
    assert len(collected.runs) == 5
    assert collected.asides[0].reason.startswith("result.json")
    assert "set aside" in page(runs, tmp_path)


def test_results_without_a_decision_have_no_rule(runs: list[Path]) -> None:
    assert [run.rule for run in collect(runs).runs] == [None] * 6


@pytest.mark.parametrize("rare", [1, 20])
def test_many_classes(tmp_path: Path, rare: int) -> None:
    names = [f"class {k}" for k in range(30)]
    folders = [write_run(tmp_path, "ros", 0, names, names[:rare], predictions=True)]
    found, _ = section(folders)
    assert found is not None
    assert (len(found.classes), found.hidden) == (min(rare, 12), max(rare - 12, 0))
    assert (f"{found.hidden} more are not shown" in page(folders, tmp_path)) == (rare == 20)


def test_classes_rare_with_some_seeds_count_only_those(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path, m, s, ("cat", "dog", "owl"), [["cat"], ["dog"], ["cat"]][s], predictions=True)
        for m in ("ros", "aos")
        for s in range(3)
    ]
    found, _ = section(folders)
    assert found is not None
    assert {c.name: len(c.methods["ros"].thresholds) for c in found.classes} == {"cat": 2, "dog": 1}
    remark = "figures of a class are of the seeds with which it is rare"
    assert [remark in page(some, tmp_path) for some in (folders, folders[::3])] == [True, False]


def test_hostile_names_are_text(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "ros", 0, HOSTILE, HOSTILE[:3], predictions=True)
    text = page([folder], tmp_path)
    assert TITLE in text
    assert "test/&lt;script&gt;alert(1)" in text
    assert "<script" not in text


def test_a_real_run_keeps_its_decision(tmp_path: Path) -> None:
    source = load_images("digits")
    spec = RunSpec(source.fingerprint, "class-weighted", rho=20, mu=0.6, epochs=1)
    result = execute(spec, source, tmp_path, target_precision=0.7)
    folder = tmp_path / spec.id
    parts = read_predictions(folder / "predictions.csv")
    again = decision_report(parts["val"], parts["test"], [1] * 10, result["minority"], 0.7)
    assert json.loads((folder / "result.json").read_text())["decision"] == again == result["decision"]
    run = run_of(result)
    assert run.rule is not None
    assert run.rule.target_precision == 0.7
    pictures = load_errors(folder)
    assert list(pictures) == [error["item"] for error in again["errors"]]
    assert len(pictures) == 12
    test = split_of(spec, source).test
    assert test is not None
    assert all((test.images[int(item)].numpy() == pixels).all() for item, pixels in pictures.items())
    found, asides = section([folder])
    assert asides == []
    assert found is not None
    assert found.target == 0.7


def test_tuning_results_say_that_there_is_none(tmp_path: Path) -> None:
    source = load_images("digits")
    spec = RunSpec(source.fingerprint, "aos(eps=0)", rho=20, mu=0.6, epochs=1, tuning=True)
    result = execute(spec, source, tmp_path)
    assert result["decision"] is None
    assert run_of(result).rule is None
    assert not (tmp_path / spec.id / "errors.safetensors").exists()


def test_the_command_prints_the_figures(runs: list[Path], tmp_path: Path, underdog: Callable[..., Any]) -> None:
    ran = underdog("report", tmp_path, "--target-precision", "0.5", "-o", tmp_path / "page.html")
    assert ran.code == 0
    assert "recall at 50% precision" in ran.out
    assert re.search(r"cat +ros +0\.\d{3} \(0\.\d{3} to 0\.\d{3}\)", ran.out)
    ran.out.encode("ascii")


@pytest.mark.parametrize("target", ["0", "1.5", "nan", "-1"])
def test_a_wrong_target_is_refused(tmp_path: Path, runs: list[Path], underdog: Callable[..., Any], target: str) -> None:
    ran = underdog("report", tmp_path, f"--target-precision={target}", "-o", tmp_path / "page.html")
    assert ran.code == 2
    assert "target" in ran.err
    assert not (tmp_path / "page.html").exists()


def test_evidence_is_paired_over_the_same_groups(runs: list[Path]) -> None:
    found, _ = section(runs)
    assert found is not None
    assert (found.groups, found.images) == (45, 90)
