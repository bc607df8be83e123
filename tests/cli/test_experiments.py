"""Comparisons: several runs at once, a limit on the time, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pytest
import torch

import underdog as ud
from underdog.experiments.comparison import comparison, with_searches
from underdog.experiments.experiment import Experiment
from underdog.run.engine import Job, Outcome, Progress
from underdog.run.queue import steps
from underdog.run.spec import RunSpec

QUICK = "--rho 20 --mu 0.6 --epochs 2 --width 0.2 --batch 64"


def predictions(out: Path) -> dict[str, str]:
    return {path.parent.name: path.read_text(encoding="utf-8") for path in out.glob("**/predictions.csv")}


def test_results_do_not_depend_on_how_many_runs_are_made_at_once(tmp_path: Path, underdog: Any) -> None:
    options = f"compare digits {QUICK} --methods ros,aos --eps 16/255 --seeds 2"
    for workers in (1, 3):
        ran = underdog(f"{options} --workers {workers} --out {tmp_path / str(workers)} -o {tmp_path / 'page.html'}")
        assert ran.code == 0, ran.err
        assert f"on {workers} worker" in ran.out
        assert sum(line.startswith("[") for line in ran.out.splitlines()) == 4
    assert predictions(tmp_path / "1") == predictions(tmp_path / "3")
    assert {path.name for path in (tmp_path / "1").iterdir()} == set(predictions(tmp_path / "1"))


def test_a_run_that_fails_does_not_stop_the_others_and_is_named(
    tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fails.py").write_text(
        "import underdog as ud\n"
        "class Late(ud.NoResampling):\n"
        "    def refresh(self, epoch, now):\n"
        "        if now.epochs and now.t == 1: raise ValueError('too late')\n"
        "        return epoch\n"
        "def method(): return ud.Method(Late())\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    ran = underdog(f"compare digits {QUICK} --methods fails:method,ros --seeds 1")
    assert ran.code == 1
    assert "failed: resampler Late failed: ValueError: too late" in ran.out
    assert "ros seed 0: macro-F1" in ran.out
    assert "report: report.html" in ran.out
    assert "fails:method seed 0 failed: " in ran.err


def test_bfloat16_is_called_slow_where_it_is(tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for capability, slow in (("AVX2", True), ("AVX512", False)):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda found=capability: found)
        ran = underdog(f"train digits --method ros --rho 20 --mu 0.6 --lr -1 --precision bfloat16 --out {tmp_path}")
        assert ran.code == 2
        ran = underdog(
            f"train digits --method smote --rho 200 --mu 0.6 --precision bfloat16 --device cpu --out {tmp_path}"
        )
        assert ("neither AVX-512 nor AMX" in ran.out) == slow


@dataclass
class Timed:
    """An engine on a clock of its own: every run takes as long as it has epochs."""

    workers = 1
    now: float = 0.0

    def __post_init__(self) -> None:
        self.waiting: list[Job] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, job: Job) -> None:
        self.waiting.append(job)

    def wait(self) -> Outcome | Progress:
        job = self.waiting.pop()
        self.now += job.spec.epochs
        job.folder.mkdir(parents=True, exist_ok=True)
        seconds = {"data": 0.0, "train": float(job.spec.epochs)}
        scores = {"macro_f1": 0.5, "g_mean": 0.5}
        result = {"spec": job.spec.to_json(), "val": scores, "test": scores, "seconds": seconds}
        (job.folder / "result.json").write_text(json.dumps(result))
        return Outcome(job, seconds["train"])


@pytest.mark.parametrize(("limit", "made"), [(5, 2), (25, 2), (45, 4), (59, 4), (61, 6), (1000, 6)])
def test_a_time_limit_makes_whole_replicates_and_the_first_in_any_case(
    limit: float, made: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits, engine, said = ud.load_images("digits"), Timed(), list[str]()
    base = RunSpec(digits.fingerprint, "baseline", rho=20, mu=0.6, epochs=10, width=0.2)
    entries = with_searches(comparison(base, ["ros", "ros+focal"], 3))
    experiment = Experiment.of(steps(entries), {"": digits}, tmp_path / "runs", said.append)
    monkeypatch.setattr(experiment.runs, "check", lambda result: None)
    experiment.make(lambda sources: engine, said.append, limit=limit, clock=lambda: engine.now)
    if limit > 10:  # a run that is at work when the time is over is left
        assert len(list((tmp_path / "runs").glob("*/result.json"))) == made
    assert len(experiment.results()) % 2 == 0 or limit <= 10
    experiment.check(said.append)
    left = [line for line in said if "leaves" in line]
    assert bool(left) == (made < 6)


def test_what_is_reported_of_an_unfinished_comparison_are_whole_replicates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits, engine = ud.load_images("digits"), Timed()
    base = RunSpec(digits.fingerprint, "baseline", rho=20, mu=0.6, epochs=1, width=0.2)
    specs = comparison(base, ["ros", "rus"], 2)
    experiment = Experiment.of(steps(with_searches(specs)), {"": digits}, tmp_path / "runs", print)
    monkeypatch.setattr(experiment.runs, "check", lambda result: None)
    for n in range(3):
        engine.submit(Job("", "", specs[n], tmp_path / "runs"))
        engine.wait()
        found = [spec for spec, _ in experiment.results()]
        assert found == specs[: (1, 2, 2)[n]]
