"""Runs that were killed, or stopped anywhere, go on to the same figures."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from safetensors import safe_open

import underdog as ud

RUN = "--epochs 5 --width 0.1 --batch 16 --lr 0.01"
AOS = f"{RUN} --method aos --eps 16/255 --tau 0.6"
SMOTE = f"{RUN} --method smote"
#: A second stage with an optimiser of its own, mixed images, and logits that are adjusted at the end.
STAGES = f"{RUN} --method smote+mixup+crt(start=0.5)+logit-adjust"
#: A network that kills its own process in training batch number UNDERDOG_TEST_DIE_AT.
DEADLY = """
import os, signal
import underdog as ud

class Deadly(ud.PaperNet):
    batches = 0

    def forward(self, x):
        self.batches += self.training
        if self.batches == int(os.environ.get("UNDERDOG_TEST_DIE_AT", -1)):
            os.kill(os.getpid(), getattr(signal, os.environ["UNDERDOG_TEST_SIGNAL"]))
        return super().forward(x)

def net(channels, classes, size):
    return Deadly(channels, classes, size, width=0.1)
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: Any, pictures: Any) -> Path:
    """81 training images, 33 a class once balanced: 7 batches of 16 an epoch."""
    return pictures.folder(tmp_path_factory.mktemp("photos"), pictures.tree({"ant": 46, "bee": 40, "yak": 14}))


def kept(out: Path) -> dict[str, Any]:
    """Everything that was written, but for how long it took."""
    found: dict[str, Any] = {}
    for path in sorted(p for p in out.rglob("*") if p.is_file()):
        name = str(path.relative_to(out))
        if path.name == "result.json":
            found[name] = json.loads(path.read_text()) | {"seconds": None}
        elif path.name == "epochs.jsonl":
            found[name] = [json.loads(line) | {"seconds": None} for line in path.read_text().splitlines()]
        elif path.suffix == ".safetensors":  # the order of the metadata in the file is the library's
            with safe_open(path, framework="np") as file:
                tensors = {k: (file.get_tensor(k).shape, file.get_tensor(k).tobytes()) for k in file.keys()}  # noqa: SIM118
                found[name] = tensors, file.metadata()
        else:
            found[name] = path.read_bytes()
    return found


def start(cwd: Path, *arguments: object, die_at: int = -1, by: str = "SIGKILL") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "underdog", *map(str, arguments)],
        cwd=cwd,
        env=os.environ | {"UNDERDOG_TEST_DIE_AT": str(die_at), "UNDERDOG_TEST_SIGNAL": by},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, from which ``--model deadly:net`` is found, here and in other processes."""
    (tmp_path / "deadly.py").write_text(DEADLY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "deadly", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "die_at", [12, 24]
)  # in epochs 1 and 3, which show the altered images of the epoch before again
def test_a_run_killed_in_the_middle_of_an_epoch_goes_on_to_the_same_files(
    die_at: int, photos: Path, deadly: Path, underdog: Any
) -> None:
    options = f"train {photos} --epochs 4 --batch 16 --lr 0.01 --method aos --eps 16/255 --tau 0.6 --model deadly:net --out".split()
    killed = start(deadly, *options, "killed", die_at=die_at)
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    (folder,) = (deadly / "killed").iterdir()
    assert (folder / "state.safetensors").exists()
    assert not (folder / "result.json").exists()
    ran = underdog("", *options, "killed")
    assert ran.code == 0
    assert "resuming" in ran.out
    assert underdog("", *options, "whole").code == 0
    assert kept(deadly / "killed") == kept(deadly / "whole")
    result = json.loads(next((deadly / "whole").glob("*/result.json")).read_text())
    assert (
        result["best_epoch"] < 2
    )  # the best weights of the second case came out of the state, not out of the last epoch


def test_a_comparison_killed_from_outside_goes_on_to_the_same_files(
    photos: Path, tmp_path: Path, underdog: Any
) -> None:
    options = f"compare {photos} {RUN} --methods ros,aos --eps 16/255 --seeds 2".split()
    killed = start(tmp_path, *options, "--out", "killed", "-o", "killed.html")
    deadline = time.monotonic() + 120
    while not [*(tmp_path / "killed").glob("aos-*/state.safetensors")] and time.monotonic() < deadline:
        time.sleep(0.002)
    killed.kill()
    killed.communicate()
    results = [*(tmp_path / "killed").glob("*/result.json")]
    before = {p: p.stat().st_mtime_ns for p in results}
    assert len(results) < 4
    ran = underdog("", *options, "--out", tmp_path / "killed", "-o", tmp_path / "killed.html")
    assert ran.code == 0
    assert f"4 runs (2 methods, 2 seeds), {len(results)} of them done" in ran.out
    assert {p: p.stat().st_mtime_ns for p in results} == before
    assert underdog("", *options, "--out", tmp_path / "whole", "-o", tmp_path / "whole.html").code == 0
    # A process that is killed while it writes cannot take its temporary file away.
    found = {k: v for k, v in kept(tmp_path / "killed").items() if "/." not in k}
    assert found == kept(tmp_path / "whole")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("method", [AOS, SMOTE, STAGES], ids=["aos", "smote", "stages"])
def test_a_run_stopped_before_or_after_any_write_goes_on_to_the_same_files(
    method: str, after: bool, photos: Path, tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = f"train {photos} {method} --epochs 3 --out"
    underdog(options, tmp_path / "whole")
    whole, replace, left = kept(tmp_path / "whole"), Path.replace, [0]

    def stops(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] == 0 and not after:
            raise KeyboardInterrupt
        moved = replace(self, target)
        if left[0] == 0:
            raise KeyboardInterrupt
        return moved

    monkeypatch.setattr(Path, "replace", stops)
    for write in range(1, 99):
        out, left[0] = tmp_path / str(write), write
        if underdog(options, out).code == 0:
            break
        assert underdog(options, out).code == 0
        assert kept(out) == whole, f"stopped at write {write}"
    assert write > 11  # spec, two of each epoch, model, predictions, decision, result


def interrupted(underdog: Any, options: str, monkeypatch: pytest.MonkeyPatch, epochs: int) -> Path:
    """The state of a run that was stopped after so many more epochs."""
    advance, left = ud.Training.advance, [epochs]

    def stops(self: ud.Training) -> object:
        if not left[0]:
            raise KeyboardInterrupt
        left[0] -= 1
        return advance(self)

    with monkeypatch.context() as patch:
        patch.setattr(ud.Training, "advance", stops)
        assert underdog(options).code == 130
    (state,) = Path(options.rsplit(maxsplit=1)[-1]).glob("*/state.safetensors")
    return state


def test_synthetic_images_are_made_again_and_not_saved(
    photos: Path, tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = f"train {photos} {SMOTE} --epochs 3 --out {tmp_path / 'runs'}"
    state = interrupted(underdog, options, monkeypatch, epochs=1)
    with safe_open(state, framework="pt") as file:
        names = set(file.keys())
    assert "epoch.labels" in names
    assert not [name for name in names if name.startswith("epoch.made") and name.endswith("images")]
    note = "the resampler made other images when the run went on than when it was begun"
    start = ud.SMOTE.start
    with monkeypatch.context() as patch:
        patch.setattr(
            ud.SMOTE, "start", lambda self, epoch, now: start(self, epoch, replace(now, streams=ud.RandomStreams(99)))
        )
        ran = underdog(options)
    assert ran.code == 0
    assert note in ran.out
    assert any(note in each for each in json.loads(state.with_name("result.json").read_text())["notes"])
    again = interrupted(underdog, f"{options}-2", monkeypatch, epochs=1)
    assert note not in underdog(f"{options}-2").out
    assert note not in again.with_name("result.json").read_text()


def test_ctrl_c_says_how_to_go_on(photos: Path, deadly: Path, underdog: Any) -> None:
    options = f"compare {photos} --epochs 200 --batch 16 --methods ros --seeds 1 --width 0.1 --out runs".split()
    stopped = start(deadly, *options)
    deadline = time.monotonic() + 120
    while not [*(deadly / "runs").glob("*/state.safetensors")] and time.monotonic() < deadline:
        time.sleep(0.01)
    stopped.send_signal(signal.SIGINT)
    _, err = stopped.communicate(timeout=120)
    assert stopped.returncode == 130
    assert err == "underdog: error: interrupted; the same command resumes from the last finished epoch\n"
    assert [*(deadly / "runs").glob("*/state.safetensors")]
    assert {path.name for path in (deadly / "runs").iterdir()} == {
        path.name for path in (deadly / "runs").glob("ros-*")
    }


def test_a_state_that_cannot_be_read_is_named_and_kept(
    photos: Path, deadly: Path, underdog: Any, monkeypatch: Any
) -> None:
    options = f"train {photos} {RUN} --method ros --out runs"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("underdog.train.Training.finish", stop)
        assert underdog(options).code == 130
    (state,) = (deadly / "runs").glob("*/state.safetensors")
    broken = state.read_bytes()[:-10]
    state.write_bytes(broken)
    ran = underdog(options)
    assert ran.code == 1
    assert str(state.relative_to(deadly)) in ran.err
    assert "remove it" in ran.err
    assert state.read_bytes() == broken


def test_a_resume_elsewhere_says_so(photos: Path, deadly: Path, underdog: Any, monkeypatch: Any) -> None:
    options = f"train {photos} {RUN} --method ros --out runs"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("underdog.train.Training.finish", stop)
        underdog(options)
    monkeypatch.setattr("torch.get_num_threads", lambda: 77)
    ran = underdog(options)
    assert ran.code == 0
    assert "threads" in ran.out
    assert "results may differ" in ran.out


def test_a_folder_in_use_is_left_alone(photos: Path, tmp_path: Path, underdog: Any) -> None:
    options = f"train {photos} {RUN} --method ros --out"
    underdog(options, tmp_path / "runs")
    (folder,) = (tmp_path / "runs").iterdir()
    before = kept(tmp_path)
    (folder / "result.json").unlink()
    before.pop(f"runs/{folder.name}/result.json")
    with FileLock(folder / ".lock"):
        ran = underdog(options, tmp_path / "runs")
        assert ran.code == 2
        assert f"{folder} is in use by another process" in ran.err
        assert {k: v for k, v in kept(tmp_path).items() if not k.endswith(".lock")} == before
