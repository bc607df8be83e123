"""A report as JSON says what the page says, in numbers that anybody can read."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import HOSTILE, write_run
from scipy import stats

import underdog as ud
from underdog.metrics import Metrics
from underdog.reporting import report_json, write_report

DOCUMENT = Path(__file__).parents[2] / "docs" / "tables.md"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("json") / "runs"
    for method in ("baseline", "ros", "aos"):
        for seed in range(5):
            rare = ["cat"] if seed else ["dog"]
            write_run(home, method, seed, minority=rare, gallery=True, predictions=True, notes=["a note"])
    for n in (8, 16):
        write_run(home / "tuning", "aos", 99, eps=n / 255, tuning=True)
    write_run(home, "ros", classes=[f"c{k}" for k in range(25)], minority=["c3"], data="f" * 32, fold=1, folds=3)
    (home / "broken").mkdir()
    (home / "broken" / "result.json").write_text("{")
    return home


def folders_of(home: Path) -> list[Path]:
    return sorted(path.parent for path in home.glob("*/result.json"))


@pytest.fixture(scope="module")
def found(runs: Path) -> Any:
    return json.loads(report_json(folders_of(runs)))


def problem(found: Any) -> Any:
    return next(p for p in found["problems"] if p["decision"])


def macro_f1(runs: Path, method: str) -> list[float]:
    results = [
        json.loads((folder / "result.json").read_text()) for folder in folders_of(runs) if "broken" not in folder.name
    ]
    own = [r for r in results if r["spec"]["method"].split("(")[0] == method and len(r["classes"]) == 3]
    own.sort(key=lambda r: int(r["spec"]["seed"]))
    return [Metrics(np.array(r["test"]["confusion"])).macro_f1 for r in own]


def test_scores_and_paired_differences_are_those_of_the_runs(runs: Path, found: Any) -> None:
    own, scores = problem(found), {m: macro_f1(runs, m) for m in ("baseline", "ros", "aos")}
    assert {m: own["methods"][m]["best"]["macro_f1"]["values"] for m in scores} == scores
    spread = own["methods"]["aos"]["best"]["macro_f1"]
    assert (spread["n"], spread["mean"]) == (5, pytest.approx(np.mean(scores["aos"])))
    assert spread["sd"] == pytest.approx(np.std(scores["aos"], ddof=1))
    assert [r["seed"] for r in own["methods"]["aos"]["replicates"]] == list(range(5))
    (difference,) = (d for d in own["differences"] if (d["label"], d["reference"]) == ("aos", "ros"))
    interval = stats.ttest_rel(scores["aos"], scores["ros"]).confidence_interval(0.95)
    assert difference["spread"]["interval"] == pytest.approx([interval.low, interval.high])
    assert difference["spread"]["values"] == pytest.approx(np.subtract(scores["aos"], scores["ros"]))


def test_the_page_shows_these_numbers(runs: Path, found: Any, tmp_path: Path) -> None:
    write_report(folders_of(runs), tmp_path / "page.html")
    page = html.unescape(re.sub(r"<[^>]*>", "|", (tmp_path / "page.html").read_text(encoding="utf-8")))
    own = problem(found)
    for text in (own["verdict"]["headline"], *own["verdict"]["details"], own["title"], found["set_aside"][0]["reason"]):
        assert text in page
    for method in own["methods"].values():
        for which in ("best", "last"):
            spread = method[which]["balanced_accuracy"]
            assert f"|{spread['mean']:.3f} ± {spread['sd']:.3f}|" in page
    for c in own["decision"]["classes"]:
        for method in c["methods"].values():
            for name in ("average_precision", "threshold_recall", "threshold_precision"):
                value, low, high = (method[name][part] for part in ("value", "low", "high"))
                assert f"|{value:.3f} |{low:.3f} to {high:.3f}|" in page
            assert f"|{sum(t is not None for t in method['thresholds'])} of {len(method['thresholds'])}|" in page
    for c in own["recalls"]:
        assert all(f"|{m['rare']['mean']:.3f}|" in page for m in c["methods"].values() if m["rare"])
    assert own["notes"] == [{"text": "a note", "runs": 15}]
    assert [t["values"] for t in own["searches"][0]["tried"]] == [{"eps": 8 / 255}, {"eps": 16 / 255}]


def test_each_class_and_problem_is_there(found: Any) -> None:
    own, other = problem(found), next(p for p in found["problems"] if not p["decision"])
    assert found["runs"] == 16
    assert [a["name"] for a in found["set_aside"]] == ["broken"]
    assert [(c["name"], c["rare"]) for c in own["recalls"]] == [("cat", 4), ("dog", 1), ("owl", 0)]
    assert own["recalls"][0]["methods"]["ros"]["rare"]["n"] == 4
    assert np.shape(own["confusions"]["ros"]) == (3, 3)
    assert (other["confusions"], [m["name"] for m in other["mistakes"]["ros"]]) == ({}, ["c3"])
    assert other["methods"]["ros"]["replicates"] == [{"seed": 0, "data_seed": 0, "fold": 1}]
    assert own["methods"]["ros"]["replicates"][0]["fold"] is None
    assert (own["settings"]["lr"], "seed" in own["settings"]) == (0.001, False)


def keys(value: Any) -> Iterator[str]:
    """The names of fields at any depth, but for those of tables that are documented elsewhere."""
    if isinstance(value, dict):
        for name, own in value.items():
            yield name
            yield from () if name in ("settings", "environment", "about", "corrections") else keys(own)
    elif isinstance(value, list):
        for own in value:
            yield from keys(own)


def test_every_key_is_documented(found: Any) -> None:
    section = DOCUMENT.read_text(encoding="utf-8").split("## A report as JSON")[1].split("\n## ")[0].split("```")[-1]
    documented = set(re.findall(r"`([^`]+)`", section))
    names = {"baseline", "ros", "aos", "cat", "dog", "owl", *(f"c{k}" for k in range(25))}
    assert set(keys(found)) - names - documented == set()


def test_names_may_be_anything_and_numbers_are_finite(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "ros", 0, (*HOSTILE, "\udcff"), HOSTILE[:3], predictions=True)
    path = folder / "epochs.jsonl"
    text = report_json([folder])
    assert path.exists()
    assert text.isascii()

    def refuse(name: str) -> float:
        raise AssertionError(name)

    own = json.loads(text, parse_constant=refuse)["problems"][0]
    assert own["classes"] == [*HOSTILE, "\udcff"]
    assert all(math.isfinite(v) for v in own["methods"]["ros"]["best"]["macro_f1"]["values"])


def test_from_python_the_name_of_the_file_says_what_is_written(runs: Path, found: Any, tmp_path: Path) -> None:
    assert json.loads(ud.report(runs, tmp_path / "report.json").read_text()) == found
    assert (found["schema"], found["underdog"]) == (1, ud.__version__)


def test_the_command_writes_a_file_or_standard_output(
    runs: Path, found: Any, tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where no page lies yet, such as the demo's
    ran = underdog("report", runs, "--json", "-")
    assert (ran.code, json.loads(ran.out)) == (0, found)
    ran = underdog("report", runs, "--json", tmp_path / "numbers", "-o", tmp_path / "page.html")
    assert ran.code == 0, ran.err
    assert json.loads((tmp_path / "numbers").read_text()) == found
    assert (tmp_path / "page.html").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"numbers", "page.html"}


def test_standard_output_takes_nothing_else(runs: Path, tmp_path: Path, underdog: Any) -> None:
    ran = underdog("report", runs, "--json", "-", "-o", tmp_path / "page.html")
    assert (ran.code, ran.out) == (2, "")
    assert "--json - fills standard output" in ran.err
    ran = underdog("report", runs, "--json", tmp_path / "nowhere" / "x.json")
    assert ran.code == 2
    assert "cannot be written" in ran.err
