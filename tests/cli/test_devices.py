"""A run on two devices: its files, its end, and its identity."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_commands import fails, sleeps
from test_interrupted import kept

import underdog as ud
from conftest import Ran
from underdog.cli import main
from underdog.cli.devices import devices, on_all
from underdog.run.execute import execute
from underdog.run.spec import RunSpec

RUN = "--epochs 3 --batch 16 --lr 0.01 --method aos --eps 16/255 --tau 0.6 --model deadly:net --device cpu --devices 2"
#: A network that kills the process of rank 1 in training batch number UNDERDOG_TEST_DIE_AT.
DEADLY = """
import os, signal
import torch
import underdog as ud

class Deadly(ud.PaperNet):
    batches = 0

    def forward(self, x):
        self.batches += self.training
        last = self.batches == int(os.environ.get("UNDERDOG_TEST_DIE_AT", -1))
        if last and torch.distributed.is_initialized() and torch.distributed.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(x)

def net(channels, classes, size):
    return Deadly(channels, classes, size, width=0.1)
"""


@pytest.fixture
def spawning(
    tmp_path: Path, pictures: Any, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], Ran]:
    """The command line, whose processes write where this one does, in a folder with pictures and a network."""
    pictures.folder(tmp_path / "photos", pictures.tree({"ant": 46, "bee": 40, "yak": 14}))
    (tmp_path / "deadly.py").write_text(DEADLY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "deadly", raising=False)

    def run(command: str) -> Ran:
        capfd.readouterr()
        code = main(command.split())
        assert multiprocessing.active_children() == []
        return Ran(code, *capfd.readouterr())

    return run


@pytest.mark.timeout(600)  # nine processes that import torch
def test_a_run_on_two_devices_whose_rank_dies_goes_on_to_the_same_files(
    spawning: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("UNDERDOG_TEST_DIE_AT", "12")  # of 7 batches an epoch
        died = spawning(f"train photos {RUN} --out died")
    assert died.code == 1
    assert died.err == (
        "underdog: error: the process of device 1 (cpu) was ended by SIGKILL, and so the others were too; the same command "
        "resumes from the last finished epoch\n"
    )
    assert [*(tmp_path / "died").glob("*/state.safetensors")]
    resumed, whole = spawning(f"train photos {RUN} --out died"), spawning(f"train photos {RUN} --out whole")
    assert (resumed.code, whole.code) == (0, 0), resumed.err + whole.err
    assert "1 of 3 epochs are done" in resumed.out
    assert kept(tmp_path / "died") == kept(tmp_path / "whole")
    (folder,) = (tmp_path / "whole").iterdir()
    assert whole.out.count("saved in") == 1  # one process speaks
    result = json.loads((folder / "result.json").read_text())
    assert result["spec"]["devices"] == 2
    assert (result["updates"], result["images_seen"]) == (21, 3 * 3 * 33)


@pytest.mark.parametrize(
    ("how", "kind", "said"),
    [
        ("input", ud.InputError, "^the disk of rank 1 is gone$"),
        ("any", ud.TrainingError, r"device 1 \(cpu\) failed:\n(.*\n)*ZeroDivisionError: by rank 1"),
        ("killed", ud.TrainingError, r"device 1 \(cpu\) was ended by SIGKILL"),
    ],
)
def test_what_ends_one_rank_ends_all(how: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        on_all(fails, Namespace(how=how), ["cpu", "cpu"])
    assert multiprocessing.active_children() == []


def test_ctrl_c_ends_all_ranks_without_a_word_of_theirs(tmp_path: Path, monkeypatch: Any, capfd: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        on_all(sleeps, Namespace(interrupt=True), ["cpu", "cpu"])
    assert multiprocessing.active_children() == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert capfd.readouterr().err == ""


def test_ranks_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = Path(__file__).with_name("rank_commands.py")
    with subprocess.Popen([sys.executable, script], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended may wait for somebody to ask how."""
    try:
        os.kill(pid, 0)
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def test_devices_are_gpus_or_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert devices("cuda", 3) == ["cuda:0", "cuda:1", "cuda:2"]
    assert devices("cuda:1", 1) == ["cuda:1"]
    assert devices("cpu", 2) == ["cpu", "cpu"]
    with pytest.raises(ud.InputError, match="torch sees, 3, not 4"):
        devices("cuda", 4)
    with pytest.raises(ud.InputError, match="counted from the first"):
        devices("cuda:1", 2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--devices 0", "devices must be a whole number above 0"),
        ("--devices 9 --batch 8", "images of a batch, 8, not 9"),
    ],
)
def test_bad_numbers_of_devices_start_nothing(options: str, said: str, underdog: Any, tmp_path: Path) -> None:
    ran = underdog(f"train digits --method ros --device cpu {options} --out", tmp_path / "runs")
    assert ran.code == 2
    assert said in ran.err
    assert not (tmp_path / "runs").exists()


def test_the_number_of_devices_is_part_of_what_a_run_is(tmp_path: Path) -> None:
    digits = ud.load_images("digits")
    one, two = (RunSpec(digits.fingerprint, "ros", devices=n) for n in (1, 2))
    assert one.id != two.id
    with pytest.raises(ud.InputError, match="2 devices needs as many ranks, not 1"):
        execute(two, digits, tmp_path)
