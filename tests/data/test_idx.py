"""Reading MNIST-style idx files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import underdog as ud

RNG = np.random.default_rng(0)
TRAIN, TEST = RNG.integers(0, 256, (30, 18, 20), dtype=np.uint8), RNG.integers(0, 256, (12, 18, 20), dtype=np.uint8)
TRAIN_Y, TEST_Y = (np.arange(30) % 3).astype(np.uint8), (np.arange(12) % 3).astype(np.uint8)


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape) + array.tobytes()


def files(**changes: bytes) -> dict[str, bytes]:
    whole = {
        "train-images-idx3-ubyte": idx(TRAIN),
        "train-labels-idx1-ubyte": idx(TRAIN_Y),
        "t10k-images-idx3-ubyte": idx(TEST),
        "t10k-labels-idx1-ubyte": idx(TEST_Y),
    }
    return whole | {k.replace("_", "-"): v for k, v in changes.items()}


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("kind", ["folder", "tar", "tar.gz", "zip"])
def test_every_form_gives_the_same_images(kind: str, zipped: bool, tmp_path: Path, pictures: Any) -> None:
    own = {f"{n}.gz": gzip.compress(d) for n, d in files().items()} if zipped else files()
    own = {f"top/{n}": d for n, d in sorted(own.items(), reverse=zipped)}
    if kind == "folder":
        path = pictures.folder(tmp_path / "set", own)
    else:
        path = (pictures.zip if kind == "zip" else pictures.tar)(tmp_path / f"set.{kind}", own)
    source = ud.load_images(path)
    assert torch.equal(source.train.images, torch.from_numpy(TRAIN)[:, None])
    assert torch.equal(source.test.images, torch.from_numpy(TEST)[:, None])
    assert (source.train.labels.tolist(), source.test.labels.tolist()) == (TRAIN_Y.tolist(), TEST_Y.tolist())
    assert source.train.classes == ("0", "1", "2")
    assert source.val is None


def test_dotted_names_sizes_and_a_missing_test_part_are_fine(tmp_path: Path, pictures: Any) -> None:
    own = {n.replace("-idx", ".idx"): d for n, d in files().items() if n.startswith("train")}
    source = ud.load_images(pictures.folder(tmp_path, own), ud.Reading(size=(16, 24)))
    assert source.train.shape == (1, 16, 24)
    assert source.test is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train_images_idx3_ubyte": idx(TRAIN)[:-1]}, "train-images-idx3-ubyte is not an idx file of bytes, or not whole"),
        ({"train_images_idx3_ubyte": idx(TRAIN, kind=13)}, "not an idx file of bytes"),
        ({"train_images_idx3_ubyte": b""}, "not a readable idx file"),
        ({"train_images_idx3_ubyte": idx(TRAIN)[:9]}, "not a readable idx file"),
        ({"train_images_idx3_ubyte": gzip.compress(idx(TRAIN))[:-200]}, "not a readable idx file"),
        ({"train_images_idx3_ubyte": gzip.compress(idx(TRAIN))[:40] + bytes(range(256))}, "train-images-idx3-ubyte"),
        ({"train_labels_idx1_ubyte": idx(TRAIN_Y[:-1])}, "do not describe the same images"),
        ({"train_labels_idx1_ubyte": idx(TRAIN)}, "do not describe the same images"),
        ({"train_labels_idx1_ubyte": idx(TRAIN_Y * 2)}, "class '1' has no training image"),
        ({"train_labels_idx1_ubyte": idx(TRAIN_Y * 0), "t10k_labels_idx1_ubyte": idx(TEST_Y * 0)}, "one class only"),
        ({"train_images_idx3_ubyte": idx(TRAIN[:0]), "train_labels_idx1_ubyte": idx(TRAIN_Y[:0])}, "no .*image"),
        ({"t10k_images_idx3_ubyte": idx(TEST[:0]), "t10k_labels_idx1_ubyte": idx(TEST_Y[:0])}, "no .*image"),
        ({"t10k_images_idx3_ubyte": idx(TEST[:, :9])}, "image shape|sizes"),
    ],
)  # fmt: skip
def test_files_that_are_broken_or_do_not_fit_are_named(
    changes: dict[str, bytes], words: str, tmp_path: Path, pictures: Any
) -> None:
    with pytest.raises(ud.InputError, match=words):
        ud.prepare(ud.load_images(pictures.folder(tmp_path, files(**changes))))


@pytest.mark.parametrize("missing", list(files()))
def test_a_missing_file_is_named(missing: str, tmp_path: Path, pictures: Any) -> None:
    own = {n: d for n, d in files().items() if n != missing}
    with pytest.raises(ud.InputError, match=f"no {missing}"):
        ud.load_images(pictures.folder(tmp_path, own))
