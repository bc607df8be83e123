"""Processes that do one run after the other, as on a GPU, here on the CPU."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from processes import alive, until

from underdog.data.sources import Source, load_images
from underdog.run.engine import Job, Outcome
from underdog.run.execute import execute
from underdog.run.local import LocalEngine, _lasts
from underdog.run.spec import RunSpec

#: A network that says which process trains it, and fails or dies by its run's seed.
NETWORK = """
import os, signal, threading, time
from pathlib import Path
import torch
import underdog as ud

def net(channels, classes, size):
    print("network", os.getpid())
    with Path("pids").open("a") as file:
        print(os.getpid(), file=file)
    if Path("fail").exists():
        raise ZeroDivisionError("no such number")
    if Path("die").exists():
        print("a last word", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if Path("lost").exists():  # as a GPU that fails after the run: heard of when its memory is given back
        def lost():
            raise RuntimeError("device lost")
        torch.cuda.empty_cache = lost
    if Path("hold").exists():
        threading.Thread(target=time.sleep, args=(600,)).start()
    return ud.PaperNet(channels, classes, size, width=0.1)
"""


@pytest.fixture(scope="module")
def source() -> Source:
    return load_images("digits")


@pytest.fixture
def engine(tmp_path: Path, source: Source, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalEngine]:
    """One worker that lasts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("own.py").write_text(NETWORK)
    monkeypatch.setattr("underdog.run.local._lasts", lambda device: True)
    with LocalEngine({"digits": source}, tmp_path / "images", ["cpu"]) as entered:
        yield entered


def job(source: Source, seed: int, **changes: Any) -> Job:
    spec = RunSpec(source.fingerprint, "aos(eps=0.1)", epochs=2, rho=20, mu=0.6, seed=seed, model="own:net")
    return Job(f"run {seed}", "digits", replace(spec, **changes), Path("runs"))


def done(engine: LocalEngine, *jobs: Job) -> list[Outcome]:
    for each in jobs:
        engine.submit(each)
    found: list[Outcome] = []
    while len(found) < len(jobs):
        if isinstance(event := engine.wait(), Outcome):
            found.append(event)
    return found


def pids() -> list[int]:
    return [int(line) for line in Path("pids").read_text().split()]


def test_one_process_does_all_runs_to_the_figures_of_processes_of_their_own(
    engine: LocalEngine, source: Source
) -> None:
    outcomes = done(
        engine, *(job(source, seed, precision=p) for seed, p in enumerate(("bfloat16", "float32", "float32")))
    )
    assert [o.error for o in outcomes] == ["", "", ""]
    assert len(set(pids())) == 1
    for each in (o.job for o in outcomes):
        execute(each.spec, source, Path("alone"))
        for name in ("predictions.csv", "model.safetensors"):
            assert (each.folder / name).read_bytes() == (Path("alone") / each.spec.id / name).read_bytes()


def test_a_run_that_failed_or_died_takes_its_process_with_it_and_the_next_has_another(
    engine: LocalEngine, source: Source
) -> None:
    (first,) = done(engine, job(source, 0))
    Path("fail").touch()
    (failed,) = done(engine, job(source, 1))
    Path("fail").unlink()
    Path("die").touch()
    (died,) = done(engine, job(source, 2))
    Path("die").unlink()
    (last,) = done(engine, job(source, 3))
    assert (first.error, died.error, last.error) == ("", "its process was ended by SIGKILL", "")
    assert failed.error.endswith("no such number")
    a, b, c, d = pids()
    assert a == b
    assert len({b, c, d}) == 3
    assert died.details == f"network {c}\na last word"


def test_a_process_whose_device_fails_after_a_run_does_no_other(engine: LocalEngine, source: Source) -> None:
    Path("lost").touch()
    outcomes = done(engine, job(source, 0), job(source, 1))
    assert [o.error for o in outcomes] == ["", ""]
    assert len(set(pids())) == 2


def test_a_process_that_does_not_end_is_ended(
    engine: LocalEngine, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("underdog.run.local._lasts", lambda device: False)
    Path("hold").touch()
    (outcome,) = done(engine, job(source, 0))
    assert outcome.error == ""
    assert not alive(*pids())


def test_a_process_that_was_killed_between_two_runs_is_replaced(engine: LocalEngine, source: Source) -> None:
    done(engine, job(source, 0))
    (pid,) = pids()
    os.kill(pid, signal.SIGKILL)
    until(lambda: not engine._idle[0].process.is_alive())
    (outcome,) = done(engine, job(source, 1))
    assert outcome.error == ""
    assert len(set(pids())) == 2


def test_idle_processes_end_with_the_engine(engine: LocalEngine, source: Source) -> None:
    done(engine, job(source, 0))
    (pid,) = pids()
    assert alive(pid)
    engine.__exit__(None, None, None)
    assert not alive(pid)


def test_on_the_cpu_every_run_has_a_process_of_its_own() -> None:
    assert not _lasts("cpu")
    assert _lasts("cuda:0")
