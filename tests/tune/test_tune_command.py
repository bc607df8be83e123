"""``underdog tune``, and ``--tuned`` after it."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from underdog.methods.expression import parse
from underdog.methods.table import METHODS
from underdog.run.spec import RunSpec
from underdog.run.tune import values_of

QUICK = "--rho 20 --mu 0.6 --batch 256 --epochs 1 --width 0.1"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def best(out: Path, method: str) -> dict[str, float]:
    (path,) = (out / "tuning").glob(f"study-{method}-*.json")
    return json.loads(path.read_text())["best"]


def specs(out: Path) -> list[RunSpec]:
    return [RunSpec.from_json(json.loads(p.read_text())["spec"]) for p in out.glob("*/result.json")]


def test_what_was_tuned_is_what_train_and_compare_use(out: Path, underdog: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(out.parent)
    command = f"tune digits {QUICK} --method baseline,aos --trials 2 --out {out}"
    ran = underdog(command)
    assert ran.code == 0, ran.err
    assert "4 runs (2 methods, 2 trials each, seed 1000003, not reported), 0 of them done" in ran.out
    assert ran.out.count("best: ") == 2
    tuning = specs(out / "tuning")
    assert len(tuning) == 4
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.json") if not p.name.startswith("study")}
    again = underdog(command)
    assert "4 of them done" in again.out
    tables = "\nbaseline\ntrial"
    assert again.out[again.out.index(tables) :] == ran.out[ran.out.index(tables) :]
    assert {p: p.stat().st_mtime_ns for p in before} == before
    compared = underdog(f"compare digits {QUICK} --methods baseline,aos --tuned --seeds 1 --out {out}")
    assert compared.code == 0, compared.err
    done = {spec.expression.name.removeprefix("baseline+"): spec for spec in specs(out)}
    assert {method: values_of(spec) for method, spec in done.items()} == {m: best(out, m) for m in done}
    assert underdog(f"train digits {QUICK} --method aos --tuned --out {out}").out.count("finished before") == 1
    assert "of 2 trials the one with the highest" in Path("report.html").read_text(encoding="utf-8")


def test_methods_of_a_comparison_are_tuned_as_they_are_written(out: Path, underdog: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(out.parent)
    methods = "rus(ratio=1/2),smote(k=3),smote,aos(eps=0.1)+focal"
    ran = underdog(f"compare digits {QUICK} --methods {methods} --seeds 1 --out {out}")
    assert ran.code == 0, ran.err
    assert {s.method: values_of(s) for s in specs(out)} == {
        "rus(ratio=0.5)": {"ratio": 0.5},
        "smote(k=3)": {"k": 3},
        "smote": {"k": 5},
        "aos(eps=0.1)+focal": {"eps": 0.1, "tau": 0.5, "gamma": 2.0},
    }


def test_what_is_searched_for_is_in_the_help_of_every_method(underdog: Any) -> None:
    out = " ".join(underdog("tune --help").out.split())
    assert "'underdog methods NAME' says what is searched for" in out
    for method, entry in METHODS.items():
        assert f"{method} {entry.about}" in out
        card = " ".join(underdog(f"methods {method}").out.split())
        for name, one in parse(method).parts[0].parameters.items():
            assert f"{name} " in card
            if (axis := one.about.search) is not None:
                assert f"'underdog tune' tries {one.write(axis.values[0])} to {one.write(axis.values[-1])}" in card


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("tune digits --trials 0", ["trials must be from 1 to 12", "0"]),
        ("tune digits --trials 13", ["trials must be from 1 to 12", "13"]),
        ("tune digits --method ros --trials 21", ["trials must be from 1 to 20", "21"]),
        ("tune digits --method smoot", ["unknown method 'smoot'", "'smote'", "known: baseline"]),
        ("tune digits --method ros,ros()", ["method 'ros' is there twice"]),
        ("tune digits --method aos(eps=0.1),aos", ["method 'aos' is there twice"]),
        ("tune digits --eps 0.1", ["--eps"]),
        ("tune digits --epochs 0", ["epochs must be"]),
        ("train digits --method ros --tuned --ratio 0.5", ["--ratio"]),
        ("train digits --method ros --k 3", ["--k"]),
        ("train digits --method balanced-softmax --power 0.5", ["--power"]),
        ("train digits --tuned --tau 0.5", ["--tuned", "excludes --tau"]),
        ("compare digits --tuned --tau 0.5 --eps 0.1", ["--tuned", "excludes --eps, --tau"]),
        ("train digits --rho 5 --mu 0.2 --method ros --tuned", ["no complete search for ros", "underdog tune SOURCE --method ros"]),
        ("train digits --rho 5 --mu 0.2 --method ros(ratio=0.5) --tuned", ["no complete search for ros", "--method ros'"]),
        ("train digits --method ros(k=3)", ["ros has no parameter 'k' (it has ratio)"]),
        ("train digits --method ros(ratio=2)", ["ratio must be a number above 0 and at most 1, not 2"]),
        ("train digits --method smote(k=2.5)", ["smote: k must be a whole number, not 2.5"]),
        ("train digits --method balanced-softmax(power=0)", ["power must be a number above 0, not 0"]),
        ("train digits --method ros --eps 8/255", ["none of the methods ros has eps"]),
        ("compare digits --methods ros,smote --tau 0.5", ["none of the methods ros, smote has tau"]),
        ("compare digits --methods ros --tuned --folds 3", ["tuning excludes folds"]),
    ],
)  # fmt: skip
def test_bad_input_is_explained_and_leaves_nothing_behind(
    command: str, said: list[str], out: Path, underdog: Any, monkeypatch: Any
) -> None:
    out.parent.mkdir(exist_ok=True)
    monkeypatch.chdir(out.parent)
    ran = underdog(f"{command} --out {out}")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert all(text in ran.err for text in said), ran.err
    assert not out.exists()


def test_without_optuna_the_extra_is_named_before_the_data_are_read(out: Path, underdog: Any, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    ran = underdog(f"tune {out.parent} {QUICK} --out {out}")
    assert (ran.code, ran.err) == (2, "underdog: error: tuning needs Optuna: pip install 'underdog[tune]'\n")


def test_a_search_that_was_interrupted_makes_the_trials_that_are_left(out: Path, underdog: Any) -> None:
    command = f"tune digits {QUICK} --method ros --trials 3 --out {out}"
    assert underdog(command).code == 0
    whole = {path: path.read_bytes() for path in (out / "tuning").glob("study-*.json")}
    (study,) = whole
    last = json.loads(study.read_text())["trials"][-1]["run"]
    study.unlink()
    shutil.rmtree(out / "tuning" / last)
    before = {path: path.stat().st_mtime_ns for path in (out / "tuning").glob("*/result.json")}
    ran = underdog(command)
    assert ran.code == 0
    assert "2 of them done" in ran.out
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {path: path.read_bytes() for path in (out / "tuning").glob("study-*.json")} == whole
