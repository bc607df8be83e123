"""CIFAR's official binary files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import underdog as ud

NAMES = ["airplane", "automobile", "bird"]
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (36, 3, 32, 32), dtype=np.uint8)
LABELS = np.arange(36, dtype=np.uint8) % 3
Files = dict[str, bytes]


def records(part: slice, before: int = 1) -> bytes:
    """Images as the sets have them: a coarse label that is not wanted (CIFAR-100), the label, red, green, blue."""
    heads = [np.full((36, 1), 99, np.uint8), LABELS[:, None]][-before:]
    return np.hstack([*heads, PIXELS.reshape(36, -1)])[part].tobytes()


def cifar10() -> Files:
    batches = {f"data_batch_{n}.bin": records(slice(6 * n - 6, 6 * n)) for n in range(1, 6)}
    meta = "\n".join([*NAMES, "", ""]).encode()
    return batches | {"test_batch.bin": records(slice(30, 36)), "batches.meta.txt": meta, "readme.html": b"<html>"}


def cifar100() -> Files:
    names = {"fine_label_names.txt": "\n".join(NAMES).encode(), "coarse_label_names.txt": b"some\nothers"}
    return {"train.bin": records(slice(0, 30), 2), "test.bin": records(slice(30, 36), 2)} | names


@pytest.mark.parametrize("make", [cifar10, cifar100])
@pytest.mark.parametrize("kind", ["folder", "tar.gz", "zip"])
def test_images_and_classes_are_those_of_the_files(make: Any, kind: str, tmp_path: Path, pictures: Any) -> None:
    files = {f"cifar-10-batches-bin/{n}": d for n, d in sorted(make().items(), reverse=kind == "zip")}
    if kind == "folder":
        path = pictures.folder(tmp_path / "set", files)
    else:
        path = (pictures.zip if kind == "zip" else pictures.tar)(tmp_path / f"set.{kind}", files)
    source = ud.load_images(path)
    assert source.train.classes == tuple(NAMES)
    assert (source.train.images.numpy() == PIXELS[:30]).all()
    assert (source.test.images.numpy() == PIXELS[30:]).all()
    assert source.train.labels.tolist() == LABELS[:30].tolist()
    assert source.val is None


def test_a_size_and_a_missing_test_part_are_fine(tmp_path: Path, pictures: Any) -> None:
    files = cifar10()
    del files["test_batch.bin"]
    flat = np.full((3, 32, 32), [[[10]], [[20]], [[30]]], np.uint8).tobytes()
    path = pictures.folder(tmp_path, files | {"data_batch_1.bin": b"\0" + flat})
    source = ud.load_images(path, ud.Reading(size=(16, 24)))
    assert source.test is None
    assert source.train.shape == (3, 16, 24)
    assert (source.train.images[0].numpy() == np.array([10, 20, 30])[:, None, None]).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_batch_3.bin": None}, "no data_batch_3.bin"),
        ({"data_batch_3.bin": records(slice(0, 2))[:-1]}, "data_batch_3.bin is not a CIFAR file, or not whole: 6145 bytes"),
        ({"data_batch_3.bin": b""}, "data_batch_3.bin is not a CIFAR file"),
        ({"batches.meta.txt": b"airplane\nautomobile\n"}, "an image of class number 2, but 2 names"),
        ({"batches.meta.txt": b"bird\nbird\nbird\n"}, "classes must be named once each"),
        ({"batches.meta.txt": None}, "has no images"),
    ],
)  # fmt: skip
def test_files_that_are_not_whole_are_refused(
    change: dict[str, bytes | None], words: str, tmp_path: Path, pictures: Any, underdog: Any
) -> None:
    files = {name: data for name, data in (cifar10() | change).items() if data is not None}
    ran = underdog("train", pictures.folder(tmp_path / "set", files), "--method", "ros", "--out", tmp_path / "runs")
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert words in ran.err
    assert [p.name for p in tmp_path.iterdir()] == ["set"]


class Run:
    """A pickle that writes a file where it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.write_text, (self.path, "ran")


def test_the_pickled_version_is_refused_and_not_loaded(tmp_path: Path, pictures: Any) -> None:
    evil = pickle.dumps(Run(tmp_path / "trace"))
    path = pictures.folder(tmp_path / "cifar-10-batches-py", {"data_batch_1": evil, "batches.meta": evil})
    with pytest.raises(ud.InputError, match="binary version"):
        ud.load_images(path)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("option", [{"labels": "t.csv:a,b"}, {"groups": "t.csv:a,b"}, {"layout": "classes"}])
def test_tables_and_layouts_do_not_apply(option: dict[str, str], tmp_path: Path, pictures: Any) -> None:
    with pytest.raises(ud.InputError, match=f"--{next(iter(option))} does not apply"):
        ud.load_images(pictures.folder(tmp_path, cifar10()), ud.Reading(**option))


def test_a_folder_with_a_file_called_alike_is_a_folder_of_classes(tmp_path: Path, pictures: Any) -> None:
    files = pictures.tree({"cat": 2, "dog": 2}) | {"train.bin": b"x", "batches.meta.txt": b"x"}
    assert ud.load_images(pictures.folder(tmp_path, files)).train.classes == ("cat", "dog")
