"""Bad input: one clear line, exit code 2, nothing written. A run that fails: exit code 1, what was saved is kept."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

QUICK = "--epochs 1 --width 0.1 --batch 16"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: Any, pictures: Any) -> Path:
    return pictures.folder(tmp_path_factory.mktemp("photos"), pictures.tree({"ant": 30, "bee": 28, "yak": 26}))


@pytest.fixture
def refused(underdog: Any, tmp_path: Path) -> Callable[..., str]:
    """Run a command that must be refused with nothing written, and return its complaint."""

    def run(command: str, *words: str, code: int = 2) -> str:
        before = {p for p in tmp_path.rglob("*") if p.name != "__pycache__" and p.suffix != ".pyc"}
        page = f"-o {tmp_path / 'page.html'}" if command.startswith("compare") and " -o " not in command else ""
        ran = underdog(f"{command} --out {tmp_path / 'runs'} {page}")
        assert ran.code == code, ran
        (complaint,) = ran.err.splitlines()
        assert "error: " in complaint
        for word in words:
            assert word in complaint
        assert {p for p in tmp_path.rglob("*") if p.name != "__pycache__" and p.suffix != ".pyc"} == before
        return complaint

    return run


@pytest.mark.parametrize("command", ["train", "compare"])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--rho 0.5 --mu 0.5", ["rho must be", "at least 1", "0.5"]),
        ("--rho -1 --mu 0.5", ["rho must be", "at least 1", "-1"]),
        ("--rho x --mu 0.5", ["--rho", "'x'"]),
        ("--rho 999 --mu 0.5", ["rho must be at most", "emptied", "999"]),
        ("--rho 2 --mu 1", ["mu must be in [0, 1)", "1"]),
        ("--rho 2 --mu -0.1", ["mu must be in [0, 1)", "-0.1"]),
        ("--rho 2 --mu nan", ["--mu", "'nan'"]),
        ("--rho 2", ["rho needs mu", "--minority"]),
        ("--mu 0.5", ["mu needs rho"]),
        ("--majority-size 3", ["majority-size needs rho"]),
        ("--rho 2 --mu 0.5 --majority-size 0", ["majority-size must be a whole number above 0", "0"]),
        ("--rho 2 --mu 0.5 --majority-size 999", ["majority-size must be from 1 to", "999"]),
        ("--rho 2 --minority yak,gnu", ["minority", "'gnu'", "ant, bee, yak"]),
        ("--rho 2 --minority ant,bee,yak", ["at least one class as majority"]),
        ("--tau 1.1 --eps 0.1 --minority yak", ["tau must be a probability in [0, 1]", "1.1"]),
        ("--tau -0.1 --eps 0.1 --minority yak", ["tau must be a probability in [0, 1]", "-0.1"]),
        ("--tau half --minority yak", ["--tau", "'half'"]),
        ("--eps -1 --minority yak", ["eps must be", "[0, 1]", "-1"]),
        ("--eps=-8/255 --minority yak", ["eps must be", "-0.0313725"]),
        ("--eps 8 --minority yak", ["eps must be", "8/255"]),
        ("--eps nan --minority yak", ["--eps", "'nan'", "not a number"]),
        ("--eps 8/0 --minority yak", ["--eps", "'8/0'", "not a number"]),
        ("--eps eight --minority yak", ["--eps", "'eight'", "not a number"]),
        ("--lr 0", ["lr must be a number above 0", "0"]),
        ("--lr -0.1", ["lr must be a number above 0", "-0.1"]),
        ("--lr inf", ["--lr", "'inf'"]),
        ("--batch 0", ["batch must be a whole number above 0", "0"]),
        ("--batch -4", ["batch must be a whole number above 0", "-4"]),
        ("--batch 1.5", ["--batch", "'1.5'", "whole"]),
        ("--epochs 0", ["epochs must be a whole number above 0", "0"]),
        ("--epochs many", ["--epochs", "'many'", "whole"]),
        ("--width 0", ["width must be a number above 0", "0"]),
        ("--depth 0", ["depth must be a whole number above 0", "0"]),
        ("--model papper", ["unknown model 'papper'", "'paper'"]),
        ("--model resnet20 --depth 2", ["depth", "'resnet20'"]),
        ("--model nowhere.to:be_found", ["width and depth apply to underdog's own networks"]),
        ("--device gpu", ["unknown device 'gpu'", "'cpu'"]),
        ("--device cuda:99", ["'cuda:99'", "is not there"]),
        ("--precision float16", ["--precision", "'float16'", "float32"]),
        ("--depth 3", ["16x16 pixels are too small", "at least 32x32"]),
        ("--size 15", ["15x15 pixels are too small", "at least 16x16"]),
        ("--size 20x15", ["20x15 pixels are too small", "at least 16x16"]),
        ("--size 0", ["--size", "'0'"]),
        ("--size big", ["--size", "'big'"]),
        ("--unheard-of", ["--unheard-of"]),
        ("--eps 0.1", ["no minority", "--minority"]),  # balanced data
        ("", ["no minority", "--minority"]),  # before eps is searched for
    ],
)
def test_settings_out_of_range_are_named_with_their_rule_and_value(
    command: str, options: str, words: list[str], photos: Path, refused: Any
) -> None:
    altering = "--method aos" if command == "train" else "--methods baseline,aos --seeds 1"
    complaint = refused(f"{command} {photos} {QUICK} {altering} {options}")
    assert [word for word in words if word not in complaint] == []


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("train {} --method aoss", ["unknown method 'aoss'", "'aos'", "'ros'"]),
        ("train {} --method ros+aoss(eps=0.1)", ["'ros+aoss(eps=0.1)'", "unknown method 'aoss'", "'aos'"]),
        ("train {} --method aos(ep=0.1)", ["aos has no parameter 'ep'", "'eps'", "it has eps, tau"]),
        ("compare {} --methods ros,aos(eps=0.1", ["--methods", "'ros,aos(eps=0.1'", "not closed"]),
        ("compare {} --methods ros,ros(ratio=1)", ["method 'ros' is there twice"]),
        ("compare {} --methods ros,smoot", ["unknown method 'smoot'", "'smote'"]),
        ("compare {} --methods ,", ["--methods", "at least one method"]),
        ("compare {} --seeds 0", ["seeds must be a whole number above 0"]),
        ("compare {} -o {}/no/page.html", ["page.html cannot be written"]),
        ("compare {} -o {}", ["cannot be written: it is a folder"]),
        ("train {} --seed x", ["--seed", "'x'"]),
        ("train digit", ["'digit'", "no such folder or file", "'digits'"]),
        ("train {}/nothing", ["nothing'", "no such folder or file"]),
        ("train {}.zip", [".zip'", "no such folder or file"]),
    ],
)
def test_unknown_names_come_with_the_nearest_ones(command: str, words: list[str], photos: Path, refused: Any) -> None:
    complaint = refused(command.replace("{}", str(photos)))
    assert [word for word in words if word not in complaint] == []


@pytest.mark.parametrize("method", ["ros", "baseline"])
@pytest.mark.parametrize("option", ["--eps -1", "--tau 7", "--eps 8/255", "--tau 0.5"])
def test_a_setting_that_none_of_the_methods_has_is_refused_right_or_wrong(
    method: str, option: str, photos: Path, refused: Any
) -> None:
    name = option[2:5]
    complaint = refused(f"train {photos} {QUICK} --method {method} {option}")
    assert f"none of the methods {method} has {name}" in complaint
    complaint = refused(f"compare {photos} {QUICK} --methods {method},smote {option}")
    assert f"none of the methods {method}, smote has {name}" in complaint


SOURCES: dict[str, tuple[dict[str, int], dict[str, bytes], list[str]]] = {
    "nothing": ({}, {}, ["has no images"]),
    "no images": ({}, {"ant/notes.txt": b"hello"}, ["has no images"]),
    "one class": ({"ant": 9}, {}, ["one class only", "'ant'"]),
    "a class of one": ({"ant": 9, "bee": 1}, {}, ["'bee'", "nothing would be left for test"]),
    "a class of two": ({"ant": 9, "bee": 2}, {}, ["'bee'", "nothing would be left for validation"]),
    "a corrupt image": (
        {"ant": 9, "bee": 9},
        {"ant/003.png": b"x"},
        ["ant/003.png cannot be decoded", "--skip-corrupt"],
    ),
    "an empty file": ({"ant": 9, "bee": 9}, {"bee/new.jpg": b""}, ["bee/new.jpg cannot be decoded"]),
    "no class folder": ({"ant": 9, "bee": 9}, {"top.png": b"x"}, ["top.png lies in no class folder"]),
}


@pytest.mark.parametrize("name", SOURCES)
def test_sources_that_cannot_be_used_are_explained(name: str, tmp_path: Path, refused: Any, pictures: Any) -> None:
    counts, more, words = SOURCES[name]
    (tmp_path / "source").mkdir()
    pictures.folder(tmp_path / "source", pictures.tree(counts) | more if counts else more)
    complaint = refused(f"train {tmp_path / 'source'} {QUICK} --method ros")
    assert [word for word in words if word not in complaint] == []


def test_one_training_image_of_a_class_is_too_few_for_smote_and_enough_for_ros(
    tmp_path: Path, refused: Any, pictures: Any, underdog: Any
) -> None:
    source = pictures.folder(tmp_path / "source", pictures.tree({"ant": 20, "bee": 3}))
    for command in ("train {} --method smote", "compare {} --methods ros,smote --seeds 1"):
        refused(f"{command.format(source)} {QUICK}", "SMOTE needs at least 2 images", "'bee' has 1")
    assert underdog(f"train {source} {QUICK} --method ros --out {tmp_path / 'runs'}").code == 0


FACTORIES = """
from torch import nn
def flat(k, c, s): return nn.Sequential(nn.Flatten(), nn.Linear(c * s[0] * s[1], k))
def too_many(c, k, s): return flat(k + 1, c, s)
def raises(c, k, s): raise ZeroDivisionError
def no_module(c, k, s): return "a network"
def two_arguments(c, k): return flat(k, c, (16, 16))
def other_size(c, k, s): return flat(k, c, (99, 99))
def frozen(c, k, s): return flat(k, c, s).requires_grad_(False)
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("too_many", ["logits of shape", "3)", "4)"]),
        ("no_module", ["Module"]),
        ("two_arguments", ["two_arguments"]),
        ("frozen", ["nothing to train"]),
        ("not_there", ["cannot be imported"]),
    ],
)
@pytest.mark.parametrize("command", ["train {} --method ros", "compare {} --methods ros --seeds 1"])
def test_a_network_of_ones_own_that_does_not_fit_is_explained(
    command: str, name: str, words: list[str], photos: Path, tmp_path: Path, refused: Any, monkeypatch: Any
) -> None:
    (tmp_path / "bad_factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    complaint = refused(f"{command.format(photos)} --epochs 1 --model bad_factories:{name}")
    assert [word for word in words if word not in complaint] == []


@pytest.mark.parametrize("name", ["raises", "other_size"])
def test_a_network_of_ones_own_that_breaks_leaves_nothing(
    name: str, photos: Path, tmp_path: Path, underdog: Any, monkeypatch: Any
) -> None:
    (tmp_path / "bad_factories.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with suppress(ZeroDivisionError, RuntimeError):  # a traceback into one's own code is welcome
        assert underdog(f"train {photos} --epochs 1 --method ros --model bad_factories:{name} --out runs").code == 2
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["report {0}/empty", "report {0}/nowhere", "report {0}/empty -o {0}/no/page.html"])
def test_a_report_on_nothing_is_refused(command: str, tmp_path: Path, underdog: Any) -> None:
    (tmp_path / "empty").mkdir()
    more = "" if " -o " in command else f" -o {tmp_path / 'page.html'}"
    ran = underdog(command.format(tmp_path) + more)
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "has no finished run" in ran.err or "cannot be written" in ran.err
    assert [p.name for p in tmp_path.rglob("*")] == ["empty"]


@pytest.mark.parametrize("file", ["spec.json", "result.json"])
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data | {"lr": 0.5},
        lambda data: data | {"unknown": 1},
        lambda data: {k: v for k, v in data.items() if k != "data"},
        lambda data: data | {"method": "magic"},
        lambda data: data | {"method": "no_such_module:method"},
        lambda data: data | {"revision": 1},
        lambda data: [data],
        lambda data: "{" if isinstance(data, dict) else data,
    ],
    ids=[
        "another value",
        "a key more",
        "a key less",
        "another method",
        "somebody's method",
        "another revision",
        "a list",
        "no JSON",
    ],
)
def test_a_folder_of_another_run_is_left_alone_and_named(
    change: Callable[[Any], Any], file: str, photos: Path, tmp_path: Path, underdog: Any
) -> None:
    command = f"train {photos} {QUICK} --method ros --out {tmp_path}"
    underdog(command)
    (folder,) = tmp_path.iterdir()
    data = json.loads((folder / file).read_text())
    new = change(data) if file == "spec.json" else data | {"spec": change(data["spec"])}
    (folder / file).write_text("{" if "{" in (new, isinstance(new, dict) and new.get("spec")) else json.dumps(new))
    before = {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}
    ran = underdog(command)
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert str(folder) in ran.err
    assert {p: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()} == before


@pytest.mark.parametrize("command", ["train {} --method ros", "compare {} --methods ros --seeds 1 -o {}/../page.html"])
def test_an_output_folder_that_is_a_file_is_refused(command: str, photos: Path, tmp_path: Path, underdog: Any) -> None:
    (tmp_path / "runs").write_text("mine")
    ran = underdog(f"{command.format(photos, tmp_path)} {QUICK} --out {tmp_path / 'runs'}")
    assert ran.code == 2
    assert str(tmp_path / "runs") in ran.err
    assert (tmp_path / "runs").read_text() == "mine"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts an empty disk of a few kilobytes, where that is allowed."""
    disk = tmp_path / "disk"
    disk.mkdir()

    def mount(kilobytes: int) -> Path:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "none", disk], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("mounting a small disk needs the rights of root")
        return disk

    try:
        yield mount
    finally:
        if disk.is_mount():
            subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("kilobytes", [4, 8, 24, 60])
def test_a_full_disk_is_said_and_a_run_that_got_nowhere_leaves_nothing(
    kilobytes: int, photos: Path, small_disk: Any, underdog: Any
) -> None:
    disk = small_disk(kilobytes)
    ran = underdog(f"train {photos} --epochs 3 --width 0.25 --method ros --out {disk / 'runs'}")
    assert ran.code == 2
    assert ran.err.count("\n") == 1
    assert "No space left on device" in ran.err
    left = [p for p in disk.rglob("*") if p.is_file() and p.name != ".lock"]
    if not any(p.name == "state.safetensors" for p in left):
        assert not (disk / "runs").exists() or not [*(disk / "runs").iterdir()]
    assert not [p for p in left if p.name.startswith(".")]
    assert not [p for p in left if p.name == "result.json"]


def test_no_space_in_the_middle_keeps_what_was_saved(
    photos: Path, tmp_path: Path, underdog: Any, monkeypatch: Any
) -> None:
    command = f"train {photos} --epochs 3 --width 0.1 --method ros --out"
    assert underdog(command, tmp_path / "whole").code == 0
    count, replace = [0], Path.replace

    def full(self: Path, target: Path) -> Path:
        count[0] += 1
        if count[0] == 4:  # the state after the second epoch
            raise OSError(28, "No space left on device", str(target))
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        assert underdog(command, tmp_path / "runs").code == 2
    (folder,) = (tmp_path / "runs").iterdir()
    assert {"spec.json", "state.safetensors", "epochs.jsonl"} <= {p.name for p in folder.iterdir()}
    assert underdog(command, tmp_path / "runs").code == 0
    (whole,) = (tmp_path / "whole").iterdir()
    figures = [json.loads((p / "result.json").read_text())["test"] for p in (folder, whole)]
    assert figures[0] == figures[1]


FRAGILE = """
import underdog as ud
class Fragile(ud.PaperNet):
    batches = 0
    def forward(self, x):
        self.batches += self.training
        return super().forward(x) * (float("nan") if self.batches == 9 else 1)
def net(c, k, s): return Fragile(c, k, s, width=0.1)
"""


def test_a_loss_that_is_no_number_stops_the_run_names_the_epoch_and_keeps_what_was_saved(
    photos: Path, tmp_path: Path, underdog: Any, monkeypatch: Any
) -> None:
    (tmp_path / "fragile_net.py").write_text(
        FRAGILE
    )  # 61 training images: 4 batches an epoch, so it breaks in the third
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    ran = underdog(f"train {photos} --epochs 5 --batch 16 --method baseline --model fragile_net:net --out runs")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "loss became nan" in ran.err
    assert "epoch 2" in ran.err or "epoch 3" in ran.err
    (folder,) = (tmp_path / "runs").iterdir()
    assert {"spec.json", "epochs.jsonl", "state.safetensors"} <= {p.name for p in folder.iterdir()}
    assert not (folder / "result.json").exists()
    assert len((folder / "epochs.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize("command", ["train {} --method ros", "compare {} --methods ros --seeds 1"])
def test_a_learning_rate_far_too_high_ends_with_exit_code_1(
    command: str, photos: Path, tmp_path: Path, underdog: Any
) -> None:
    more = f"-o {tmp_path / 'page.html'}" if command.startswith("compare") else ""
    ran = underdog(f"{command.format(photos)} {QUICK} --lr 1e30 --out {tmp_path / 'runs'} {more}")
    assert ran.code == 1
    assert ran.err.count("\n") == 1
    assert "loss" in ran.err
    assert "epoch" in ran.err
    assert not (tmp_path / "page.html").exists()
