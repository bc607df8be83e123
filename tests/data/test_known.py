"""The table of data sets, and where they are looked for."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import underdog as ud
from underdog.data.known import KNOWN, find_dataset


@pytest.mark.parametrize("name", KNOWN)
def test_the_table_is_sound(name: str, tmp_path: Path) -> None:
    for download in KNOWN[name].downloads:
        assert urlsplit(download.address).scheme in ("http", "https")
        algorithm, _, digest = download.checksum.partition(":")
        assert len(digest) == 2 * hashlib.new(algorithm).digest_size
        assert set(digest) <= set("0123456789abcdef")
        (tmp_path / download.name).parent.mkdir(exist_ok=True)
        (tmp_path / download.name).touch()
    if KNOWN[name].downloads:  # where it is downloaded to is where it is looked for first
        assert find_dataset(name, tmp_path) == KNOWN[name].places[0].find(tmp_path)
    else:
        assert KNOWN[name].by_hand


@pytest.mark.parametrize(
    ("name", "files", "found"),
    [
        ("cifar10", ["cifar10_jpeg.tar.xz", "cifar-10-binary.tar.gz"], "cifar-10-binary.tar.gz"),
        ("cifar10", ["cifar10_jpeg.tar.xz", "cifar-10-batches-bin/batches.meta.txt"], "cifar-10-batches-bin"),
        ("mnist", ["mnist.tar"], "mnist.tar"),
        ("mnist", ["MNIST/raw/t10k-labels-idx1-ubyte"], "MNIST/raw"),
        ("mnist", ["train-images-idx3-ubyte.gz"], "."),
        ("mnist", ["train-images.idx3-ubyte"], "."),
        ("mnist", [d.name.removesuffix(".gz") for d in KNOWN["mnist"].downloads], "mnist"),
        ("intel", ["intel/seg_train/sea/1.jpg"], "intel"),
        ("intel", ["intel/archive.zip", "intel_scenes_150.tar.xz"], "intel_scenes_150.tar.xz"),
        ("mnist", ["mnist/MNIST/raw/t10k-labels-idx1-ubyte", "mnist.tar"], "mnist.tar"),
        ("mnist", ["mnist/MNIST/raw/t10k-labels-idx1-ubyte"], "mnist/MNIST/raw"),
        ("mit67", ["mit67/indoorCVPR_09.tar", "mit67/TrainImages.txt"], "mit67/indoorCVPR_09.tar"),
        ("scene15", ["scene15/coast/1.jpg"], "scene15"),
        ("intel", ["archive/seg_train/sea/1.jpg"], "archive"),
        ("intel", ["seg_train/sea/1.jpg"], "."),
        ("mit67", ["Images/bar/1.jpg"], "Images"),
        ("scene15", ["scene15_128.tar.xz"], "scene15_128.tar.xz"),
    ],
)
def test_data_sets_are_found_under_their_names(
    name: str, files: list[str], found: str, tmp_path: Path, pictures: Any
) -> None:
    pictures.folder(tmp_path, dict.fromkeys(files, b""))
    assert find_dataset(name, tmp_path) == tmp_path / found


def test_an_archive_of_any_name_is_looked_into(tmp_path: Path, pictures: Any) -> None:
    archive = pictures.zip(tmp_path / "archive.zip", {"seg_train/sea/1.jpg": b""})
    assert find_dataset("intel", tmp_path) == archive
    for other in (b"no zip", pictures.zip(tmp_path / "x.zip", {"Images/bar/seg_train.jpg": b""}).read_bytes()):
        archive.write_bytes(other)
        with pytest.raises(ud.InputError, match=r"intel is not in .*looked for: intel-image-classification\.zip, arch"):
            find_dataset("intel", tmp_path)


def test_what_is_missing_is_named_with_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(
        ud.InputError, match=f"'underdog data fetch mit67 --to {re.escape(os.fspath(tmp_path))}' gets it"
    ):
        find_dataset("mit67", tmp_path)
    with pytest.raises(ud.InputError, match="says how to get it"):
        find_dataset("intel", tmp_path)
    with pytest.raises(ud.InputError, match="no such folder"):
        find_dataset("mnist", tmp_path / "nowhere")
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "train-images-idx3-ubyte.gz").touch()
    with pytest.raises(ud.InputError, match=r"lacks train-labels-idx1-ubyte\.gz, t10k-im.*, t10k-labels"):
        find_dataset("mnist", tmp_path)


def test_a_folder_in_which_nothing_has_come_is_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "scene15").mkdir()
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / ".fetch").mkdir()
    for name in ("scene15", "mnist"):
        with pytest.raises(ud.InputError, match=rf"{name} is not in .*'underdog data fetch {name} "):
            find_dataset(name, tmp_path)
