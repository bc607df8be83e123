"""Images that stay on disk: the same figures as from memory, in bounded memory, and clear errors where that fails."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import underdog as ud
from underdog.data import memory as measuring
from underdog.data.entries import entries
from underdog.data.images import to_unit
from underdog.data.memory import available_memory
from underdog.data.pixels import PixelFile, in_parts, prefetch
from underdog.data.rows import FileRows
from underdog.evaluation import evaluate
from underdog.learner import Learner
from underdog.methods.expression import parse
from underdog.methods.table import METHODS
from underdog.ranks import Ranks
from underdog.resample import smote
from underdog.run.execute import execute
from underdog.run.spec import RunSpec

NOW = ud.Moment(0, None, ud.RandomStreams(0), started=False)
#: No image fits into it.
NOTHING = 0


@pytest.fixture
def photos(tmp_path: Path, pictures: Any) -> Path:
    return pictures.folder(tmp_path / "photos", pictures.tree({"cat": 40, "dog": 30, "owl": 12}, bands=3))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


# The same figures


def told(folder: Path) -> dict[str, Any]:
    """Everything a run has written, without times and remarks."""
    found: dict[str, Any] = {p.name: p.read_bytes() for p in folder.iterdir()}
    result = json.loads(found.pop("result.json"))
    epochs = [json.loads(line) for line in found.pop("epochs.jsonl").splitlines()]
    for own in (result, *epochs):
        del own["seconds"]
    result.pop("notes")
    return found | {"result": result, "epochs": epochs}


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_the_same_figures_from_disk_as_from_memory(
    method: str, photos: Path, cache: Path, tmp_path: Path
) -> None:
    some = {"eps": "8/255", "tau": "0.7"} if METHODS[method].role == "alteration" else {}
    expression, runs = str(parse(method).set(some)), []
    for name, memory in (("memory", None), ("disk", NOTHING)):
        source = ud.load_images(photos, cache=cache, memory=memory)
        assert isinstance(source.train.images, PixelFile) == (name == "disk")
        spec = RunSpec(source.fingerprint, expression, epochs=2, batch=16, width=0.1)
        execute(spec, source, tmp_path / name)
        runs.append(told(tmp_path / name / spec.id))
    assert runs[0] == runs[1]
    assert ("gallery.safetensors" in runs[0]) == bool(some)


def test_folds_groups_augmentation_and_an_induced_imbalance_are_the_same_too(
    photos: Path, cache: Path, tmp_path: Path
) -> None:
    names = sorted(str(p.relative_to(photos)) for p in photos.rglob("*.png"))
    table = tmp_path / "who.csv"
    table.write_text("image,who\n" + "".join(f"{n},{k // 2}\n" for k, n in enumerate(names)))
    reading = ud.Reading(groups=f"{table}:image,who")
    runs = []
    for name, memory in (("memory", None), ("disk", NOTHING)):
        source = ud.load_images(photos, reading, cache=cache, memory=memory)
        more = {"rho": 3, "minority": ("cat", "owl"), "folds": 3, "fold": 1, "augment": ("flip", "crop")}
        spec = RunSpec(source.fingerprint, "aos(eps=0.1,tau=0.5)", epochs=2, batch=16, width=0.1, **more)
        execute(spec, source, tmp_path / name)
        runs.append(told(tmp_path / name / spec.id))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("rank", [0, 1])
def test_ranks_have_the_same_shares_of_synthetic_and_other_batches(rank: int, photos: Path, cache: Path) -> None:
    epochs = [ud.Epoch.of(ud.load_images(photos, cache=cache, memory=m).train) for m in (None, NOTHING)]
    epochs = [ud.SMOTE().start(epoch, NOW) for epoch in epochs]
    shown = [list(epoch.batches(7, np.random.default_rng(0), Ranks(rank, 2))) for epoch in epochs]
    assert len(shown[0]) == len(shown[1]) == -(-120 // 7)
    assert all(torch.equal(a.x, b.x) and torch.equal(a.y, b.y) for a, b in zip(*shown, strict=True))


@pytest.mark.parametrize("kind", ["folder", "zip", "tar"])
def test_grey_and_corrupt_files_in_any_order_fill_the_same_rows(
    kind: str, cache: Path, tmp_path: Path, pictures: Any
) -> None:
    files = pictures.tree({"cat": 5, "dog": 4}) | pictures.tree({"cat/colour": 3}, bands=3)
    files |= {"cat/002.png": b"", "dog/000.png": b"x", "dog/003.png": b"x"}
    files = dict(sorted(files.items(), key=lambda item: item[0][::-1]))  # no order of paths
    make = {"folder": pictures.folder, "zip": pictures.zip, "tar": pictures.tar}[kind]
    path = make(tmp_path / ("photos" if kind == "folder" else f"photos.{kind}"), files)
    reading = ud.Reading(skip_corrupt=True)
    whole, there = ud.load_images(path, reading), ud.load_images(path, reading, cache=cache, memory=NOTHING)
    assert whole.train.shape == (3, 16, 16)
    assert torch.equal(there.train.images[:], whole.train.images)
    assert there.fingerprint == whole.fingerprint
    assert there.train.items.tolist() == whole.train.items.tolist()
    assert any("read from the cache" in note for note in there.notes)


# Reading


@pytest.fixture
def file(tmp_path: Path) -> tuple[PixelFile, torch.Tensor]:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 3, 4, 5), np.uint8)
    np.save(tmp_path / "pixels.npy", pixels)
    return PixelFile.open(tmp_path / "pixels.npy"), torch.from_numpy(pixels)


@pytest.mark.parametrize("preadv", [True, False])
@pytest.mark.parametrize("rows", [[3, 3, 19, 0, 1, 2, 2], [], [5, 4], list(range(20))])
def test_rows_are_read_as_a_tensor_gives_them(
    rows: list[int], preadv: bool, file: tuple[PixelFile, torch.Tensor], monkeypatch: Any
) -> None:
    if not preadv:
        monkeypatch.delattr(os, "preadv")
    there, pixels = file
    which = torch.tensor(rows, dtype=torch.int64)
    assert torch.equal(there[which], pixels[which])
    assert torch.equal(there.select(which.numpy())[:], pixels[which])
    again = pickle.loads(pickle.dumps(there.select(which.numpy())))
    assert torch.equal(again[:], pixels[which])
    assert there.shape == tuple(pixels.shape)


def test_disks_may_give_less_than_was_asked_for(file: tuple[PixelFile, torch.Tensor], monkeypatch: Any) -> None:
    there, pixels = file
    real = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, into, at: real(fd, [into[0][:7]], at))
    assert torch.equal(there[:], pixels)


@pytest.mark.parametrize(("first", "step"), [(0, 1), (0, 2), (1, 2), (3, 4)])
def test_parts_are_those_of_a_tensor(first: int, step: int, file: tuple[PixelFile, torch.Tensor]) -> None:
    found = [list(in_parts(pixels, 6, first, step)) for pixels in file]
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert len(found[0]) == len(range(first, 4, step))


def test_a_removed_file_is_still_read(file: tuple[PixelFile, torch.Tensor]) -> None:
    there, pixels = file
    there.file.path.unlink()
    assert torch.equal(there[:], pixels)


def test_other_files_are_not_taken_for_images(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3, 4, 5), np.uint16))
    with pytest.raises(ValueError, match="does not hold images"):
        PixelFile.open(tmp_path / "a.npy")


def test_a_failing_disk_is_an_error_that_says_so(file: tuple[PixelFile, torch.Tensor], monkeypatch: Any) -> None:
    def fails(*given: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "preadv", fails)
    with pytest.raises(ud.InputError, match=r"pixels.npy' cannot be read: Input/output error"):
        file[0][:1]


# Reading ahead


def test_what_a_thread_raises_is_raised_where_it_is_waited_for() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise ud.InputError("the disk is gone")

    shown = prefetch(items())
    assert [next(shown), next(shown)] == [1, 2]
    with pytest.raises(ud.InputError, match="the disk is gone"):
        next(shown)


def test_a_thread_is_never_more_than_its_depth_ahead_and_ends_with_the_loop() -> None:
    made = []
    shown = prefetch((made.append(n) or n for n in range(100)), depth=2)
    for n in range(10):
        assert next(shown) == n
        assert len(made) <= n + 3
    shown.close()
    assert len(made) <= 12
    assert not [t for t in threading.enumerate() if t.name.startswith("prefetch")]


def test_a_file_that_is_cut_while_training_is_an_error_and_made_again(
    photos: Path, cache: Path, tmp_path: Path, underdog: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(measuring, "available_memory", lambda: 0)
    command = f"train {photos} --cache {cache} --method aos --eps 0.1 --epochs 3 --batch 16 --width 0.1 --out"
    assert underdog(command, tmp_path / "whole").code == 0
    real, epochs = ud.Epoch.order, []

    def cut(epoch: ud.Epoch, *given: Any) -> Any:
        epochs.append(epoch)
        if len(epochs) == 3:
            (entry,) = entries(cache)
            os.truncate(cache / "images" / entry.id / "pixels.npy", 5000)
        return real(epoch, *given)

    monkeypatch.setattr(ud.Epoch, "order", cut)
    failed = underdog(command, tmp_path / "cut")
    assert failed.code == 2
    assert "cannot be read: it ends before its last image" in failed.err
    monkeypatch.setattr(ud.Epoch, "order", real)
    again = underdog(command, tmp_path / "cut")
    assert (again.code, "2 of 3 epochs are done" in again.out) == (0, True)
    (whole,), (cut_short,) = ((tmp_path / name).iterdir() for name in ("whole", "cut"))
    assert told(cut_short) == told(whole)


# Memory


LIMITED = """
import json, resource, sys
from pathlib import Path
import torch, underdog as ud
from underdog.cli import main, train
from underdog.data.memory import field
import underdog.run.execute, torch.distributed, sklearn.metrics, sklearn.neighbors
def status(name):
    return 1024 * field(Path("/proc/self/status").read_text(), name)
photos, cache, out, room = sys.argv[1:]
torch.optim.Adam(torch.nn.Conv2d(1, 1, 1).parameters())  # imports a lot
resource.setrlimit(resource.RLIMIT_DATA, (status("VmData") + int(room),) * 2)
before = status("VmRSS")
code = main(["train", photos, "--cache", cache, "--out", out, "--model", "pooled:net", "--mean", "0.5", "--std", "0.25",
             "--method", "aos", "--eps", "0.1", "--tau", "0.1", "--minority", "b", "--epochs", "1", "--batch", "16",
             "--test-fraction", "0.01", "--val-fraction", "0.01"])
told = {"code": code, "peak": status("VmHWM") - before}
try:
    ud.load_images(photos, cache=Path(cache), memory=10**12)
except MemoryError:
    told["whole"] = "MemoryError"
print(json.dumps(told))
"""
POOLED = """
from torch import nn
def net(channels, classes, size):
    return nn.Sequential(nn.AvgPool2d(32), nn.Flatten(), nn.Linear(channels * (size[0] // 32) * (size[1] // 32), classes))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts all memory on Linux only")
def test_more_images_than_memory_are_trained_on(cache: Path, tmp_path: Path, pictures: Any) -> None:
    files = {f"{c}/0.bmp": pictures.encode(pictures.pixels(k, (128, 128), 3), "BMP") for k, c in enumerate("ab")}
    path, room, images = pictures.folder(tmp_path / "large", files), 300 * 2**20, 8000
    for c in "ab":
        for k in range(1, images // 2):
            os.link(path / c / "0.bmp", path / c / f"{k}.bmp")
    (tmp_path / "pooled.py").write_text(POOLED)
    command = [sys.executable, "-c", LIMITED, *map(str, (path, cache, tmp_path / "runs", room))]
    modules = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    plain = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}  # the allocator as everybody has it
    done = subprocess.run(command, env=plain | {"PYTHONPATH": modules}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert room * 1.2 < images * 128 * 128 * 3
    assert found.pop("peak") < room
    assert found == {"code": 0, "whole": "MemoryError"}


def test_evaluation_holds_on_to_no_batch_of_answers() -> None:
    """Small ones left between large batches made memory grow by a batch with every batch."""

    class Watched(Learner):
        def logits(self, x: torch.Tensor) -> torch.Tensor:
            assert not [ref for ref in made if ref() is not None]
            answers = super().logits(x)
            made.append(weakref.ref(answers))
            return answers

    made: list[weakref.ref[torch.Tensor]] = []
    pixels = torch.arange(1100, dtype=torch.int32).to(torch.uint8).repeat_interleave(4).view(1100, 1, 2, 2)
    images = ud.ImageSet(pixels, torch.arange(1100) % 2, ("a", "b"))
    learner = Watched(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2)), classes=2)
    found = evaluate(learner, images).logits
    assert len(made) == 3
    assert np.array_equal(
        found, np.concatenate([Learner.logits(learner, to_unit(p)).numpy() for p in pixels.split(512)])
    )


def test_images_that_fit_neither_into_memory_nor_on_disk_are_an_error(
    photos: Path, cache: Path, monkeypatch: Any
) -> None:
    with pytest.raises(ud.InputError, match=r"82 decoded images need 0 MB, more than the 0 MB .* --no-cache"):
        ud.load_images(photos, memory=NOTHING)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(ud.InputError, match=r"could not be kept .* that are free; 82 decoded images need 0 MB"):
        ud.load_images(photos, cache=cache, memory=NOTHING)
    assert not list((cache / "images").glob(".*"))
    assert not entries(cache)


def test_a_disk_that_fills_up_in_the_middle_leaves_nothing(photos: Path, cache: Path, monkeypatch: Any) -> None:
    real, written = FileRows._write, []

    def full(rows: FileRows, place: int, image: Any) -> None:
        written.append(place)
        if len(written) == 50:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(rows, place, image)

    monkeypatch.setattr(FileRows, "_write", full)
    with pytest.raises(ud.InputError, match=r"could not be kept in the cache .* No space left on device; 82 decoded"):
        ud.load_images(photos, cache=cache, memory=NOTHING)
    assert not [p for p in (cache / "images").iterdir() if p.is_dir()]
    monkeypatch.setattr(FileRows, "_write", real)
    there = ud.load_images(photos, cache=cache, memory=NOTHING)
    assert there.fingerprint == ud.load_images(photos).fingerprint


def test_smote_says_what_it_would_have_to_hold(photos: Path, cache: Path, monkeypatch: Any) -> None:
    there = ud.load_images(photos, cache=cache, memory=NOTHING).train
    monkeypatch.setattr(smote, "available_memory", lambda: 400_000)
    with pytest.raises(
        ud.InputError, match=r"SMOTE holds its 38 new images .* of 30 images of a class there: that needs 0 MB"
    ):
        ud.SMOTE().start(ud.Epoch.of(there), NOW)
    monkeypatch.setattr(smote, "available_memory", lambda: 500_000)
    assert len(ud.SMOTE().start(ud.Epoch.of(there), NOW)) == 120


# How much there is


def system(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = "MemTotal:  9000 kB\nMemAvailable:    5000 kB\n"


def test_the_least_of_what_is_free_and_allowed_counts(tmp_path: Path) -> None:
    assert available_memory(system(tmp_path, proc__meminfo=MEMINFO)) == 5_120_000
    root = system(tmp_path, proc__self__cgroup="1:name=systemd:/\n0::/a/b\n")
    assert available_memory(root) == 5_120_000
    (root / "sys/fs/cgroup/a/b").mkdir(parents=True)
    (root / "sys/fs/cgroup/a/memory.max").write_text("4000000\n")
    (root / "sys/fs/cgroup/a/memory.stat").write_text("anon 1000000\nfile 2900000\n")
    (root / "sys/fs/cgroup/a/b/memory.max").write_text("max\n")
    assert available_memory(root) == 3_000_000


def test_older_control_groups_count_too(tmp_path: Path) -> None:
    root = system(tmp_path, proc__meminfo=MEMINFO, proc__self__cgroup="4:cpu,memory:/docker/x\n")
    group = root / "sys/fs/cgroup/memory"
    group.mkdir(parents=True)
    (group / "memory.limit_in_bytes").write_text("2000000")
    (group / "memory.stat").write_text("cache 7\ntotal_rss 1500000\n")
    assert available_memory(root) == 500_000


def test_where_nothing_is_known_everything_is_allowed(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None
