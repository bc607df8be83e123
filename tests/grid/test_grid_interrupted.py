"""Grids that are killed or interrupted leave no process behind, and go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import alive, until

from underdog.data.sources import load_images
from underdog.run.engine import Job
from underdog.run.local import LocalEngine
from underdog.run.spec import RunSpec

GRID = """\
datasets:
  digits: {rho: 20, mu: 0.6}
model: slow:net
epochs: 3
methods: [ros, smote]
"""
#: A network that takes its time, but for the last time.
SLOW = """
import os, time
from pathlib import Path
import underdog as ud

class Slow(ud.PaperNet):
    def forward(self, x):
        if not Path("quick").exists():
            Path(f"pid-{os.getpid()}").touch()
            time.sleep(0.05)
        return super().forward(x)

def net(channels, classes, size):
    return Slow(channels, classes, size, width=0.1)
"""


@pytest.fixture
def grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[str]]:
    """A grid that is at work on its second epochs with two workers, on a terminal of its own as it were."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    Path("slow.py").write_text(SLOW)
    Path("tiny.yaml").write_text(GRID)
    command = [sys.executable, "-m", "underdog", "grid", "tiny.yaml", "--workers", "2"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until(lambda: len([*Path("runs").glob("*/epochs.jsonl")]) == 2 or process.poll() is not None)
    yield process
    if process.poll() is None:
        process.kill()
    process.communicate()


@pytest.mark.parametrize("how", ["Ctrl-C", "kill -9"])
def test_a_grid_that_is_stopped_leaves_no_process_and_goes_on(
    how: str, grid: subprocess.Popen[str], underdog: Any
) -> None:
    if how == "Ctrl-C":
        os.killpg(grid.pid, signal.SIGINT)  # as a terminal does: to every process
        _, err = grid.communicate(timeout=120)
        assert grid.returncode == 130
        assert err == "underdog: error: interrupted; the same command resumes from the last finished epoch\n"
        assert not Path("runs/.shared-images").exists()
    else:
        grid.kill()
        grid.wait()
    workers = [int(path.name.removeprefix("pid-")) for path in Path().glob("pid-*")]
    assert len(workers) >= 2
    until(lambda: not any(map(alive, workers)))
    states = [*Path("runs").glob("*/state.safetensors")]
    assert len(states) == 2
    before = {path: path.with_name("epochs.jsonl").read_text().splitlines() for path in states}
    assert {len(lines) for lines in before.values()} <= {1, 2}
    assert not [*Path("runs").glob("*/failed.json")]
    Path("quick").touch()
    ran = underdog("grid tiny.yaml --workers 2")
    assert ran.code == 0, ran.err
    assert not any(state.exists() for state in states)
    assert not Path("runs/.shared-images").exists()
    after = {path: path.with_name("epochs.jsonl").read_text().splitlines() for path in states}
    assert {path: lines[: len(before[path])] for path, lines in after.items()} == before  # with the time that each took
    assert {len(lines) for lines in after.values()} == {3}


def test_a_run_that_was_being_started_is_ended_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = load_images("digits")
    spec = RunSpec(source.fingerprint, "ros", epochs=50, rho=20, mu=0.6)
    engine = LocalEngine({"digits": source}, tmp_path / "images", ["cpu"])
    started: list[int] = []
    begin = engine._context.Process.start

    def start(process: Any) -> None:
        begin(process)
        started.append(process.pid)
        os.kill(os.getpid(), signal.SIGINT)

    def submit() -> None:
        with engine:
            monkeypatch.setattr(engine._context.Process, "start", start)
            engine.submit(Job("a run", "digits", spec, tmp_path))

    with pytest.raises(KeyboardInterrupt):
        submit()
    (pid,) = started
    assert not alive(pid)
