"""What folders mean: classes, or parts with classes in them."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest

import underdog as ud

Files = dict[str, bytes]


@pytest.fixture
def image(pictures: Any) -> bytes:
    return pictures.encode(pictures.pixels(0))


def files(image: bytes, *folders: str, each: int = 2) -> Files:
    return {f"{folder}/{n}.png": image for folder in folders for n in range(each)}


def parts(source: ud.Source) -> dict[str, tuple[str, ...]]:
    """The classes that each part of a source has images of."""
    found = {"train": source.train, "val": source.val, "test": source.test}
    return {
        name: tuple(c for c, n in zip(p.classes, p.counts, strict=True) if n)
        for name, p in found.items()
        if p is not None
    }


AB = ("a", "b")


@pytest.mark.parametrize(
    ("folders", "layout", "expected"),
    [
        # as people have them
        (["a", "b"], "auto", {"train": AB}),
        (["train/a", "train/b", "test/a", "test/b"], "auto", {"train": AB, "test": AB}),
        (["seg_train/seg_train/a", "seg_train/seg_train/b", "seg_test/seg_test/a"], "auto", {"train": AB, "test": ("a",)}),
        (["x/seg_train/a", "x/seg_train/b", "x/seg_test/a"], "auto", {"train": AB, "test": ("a",)}),
        (["Images/a", "Images/b"], "auto", {"train": AB}),
        (["train/a", "train/b"], "auto", {"train": AB}),
        # classes called like parts
        (["test", "val"], "auto", {"train": ("test", "val")}),
        (["train", "car", "test"], "auto", {"train": ("car", "test", "train")}),
        (["test/one", "val/other"], "auto", {"train": ("test", "val")}),
        (["train/steam", "test/glass"], "classes", {"train": ("test", "train")}),
        (["train", "test"], "classes", {"train": ("test", "train")}),
        (["train/a", "train/b"], "classes", {"train": AB}),
        (["test/a", "val/a"], "classes", {"train": ("test", "val")}),
        (["train/a", "other/a"], "classes", {"train": ("other", "train")}),
        (["seg_pred", "a"], "auto", {"train": ("a", "seg_pred")}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_folders_are_understood(
    kind: str, folders: list[str], layout: str, expected: Any, tmp_path: Path, pictures: Any, image: bytes
) -> None:
    own = files(image, *folders)
    path = pictures.folder(tmp_path / "set", own) if kind == "folder" else pictures.zip(tmp_path / "set.zip", own)
    assert parts(ud.load_images(path, ud.Reading(layout=layout))) == expected


@pytest.mark.parametrize(
    ("folders", "layout", "words"),
    [
        (
            ["train/steam", "train/diesel", "test/glass"],
            "auto",
            "train and test folders have no class folder in common",
        ),
        (["train/a", "train/b", "test/a", "val/c"], "auto", "train and val folders have no class folder in common"),
        (["train", "test"], "auto", "no class folders"),
        (["train/a", "train/b", "extra/a"], "auto", "beside it, folders that are no part: extra"),
        (["test/a", "test/b", "val/a"], "auto", "no training part, but folders called like parts, and a in several"),
        (
            ["a", "b", "test/a", "test/b"],
            "auto",
            "no training part, but folders called like parts, and a, b in several",
        ),
        (["a", "b"], "split", "no folder called train"),
        (["test/a", "test/b"], "split", "it has a test part and no training part"),
        (["train/a", "train/b", "extra"], "split", "folders that are no part: extra"),
    ],
)
def test_folders_that_can_be_read_in_two_ways_are_asked_about(
    folders: list[str], layout: str, words: str, tmp_path: Path, pictures: Any, image: bytes
) -> None:
    with pytest.raises(ud.InputError, match=f"{words}.*--layout split .*--layout classes"):
        ud.load_images(pictures.folder(tmp_path, files(image, *folders)), ud.Reading(layout=layout))


def test_parts_without_a_class_in_common_are_parts_if_one_insists(tmp_path: Path, pictures: Any, image: bytes) -> None:
    path = pictures.folder(tmp_path, files(image, "train/a", "train/b", "test/c"))
    with pytest.raises(ud.InputError, match="class 'c' has no training image"):
        ud.load_images(path, ud.Reading(layout="split"))


def test_images_to_be_predicted_are_left_out_and_counted(tmp_path: Path, pictures: Any, image: bytes) -> None:
    path = pictures.folder(
        tmp_path, files(image, "seg_train/a", "seg_train/b", "seg_test/a", "seg_test/b", "seg_pred/seg_pred", each=3)
    )
    source = ud.load_images(path)
    assert source.notes == ("3 images in seg_pred, which have no class, were left out",)
    assert (len(source.train), len(source.test)) == (6, 6)


@pytest.mark.parametrize(
    "names",
    [
        ("Cat", "cat"),
        ("cat", "cat "),
        ("big  cat", "big cat"),
        ("K\u00e4se", unicodedata.normalize("NFD", "K\u00e4se")),
    ],
)
@pytest.mark.parametrize("top", [("", ""), ("train/", "test/")])
def test_one_class_by_two_names_is_refused(
    names: tuple[str, str], top: tuple[str, str], tmp_path: Path, pictures: Any, image: bytes
) -> None:
    own = files(image, top[0] + names[0], top[1] + names[1], top[0] + "dog")
    with pytest.raises(ud.InputError, match="two classes of one name") as refusal:
        ud.load_images(pictures.zip(tmp_path / "set.zip", own))
    assert all(ascii(name) in str(refusal.value) for name in names)


def test_classes_that_hold_files_of_equal_names_are_fine(tmp_path: Path, pictures: Any, image: bytes) -> None:
    source = ud.load_images(pictures.folder(tmp_path, files(image, "a", "b")))
    assert source.train.items.tolist() == ["a/0.png", "a/1.png", "b/0.png", "b/1.png"]


def test_an_unknown_layout_is_refused() -> None:
    with pytest.raises(ud.InputError, match=r"unknown layout 'clases'; did you mean 'classes'\?"):
        ud.Reading(layout="clases")


def test_the_layout_is_asked_for_and_given_on_the_command_line(
    tmp_path: Path, pictures: Any, image: bytes, underdog: Any
) -> None:
    path = pictures.folder(tmp_path / "set", files(image, "train/steam", "test/glass", each=9))
    command = f"train {path} --method ros --epochs 1 --width 0.1 --out {tmp_path / 'runs'}"
    ran = underdog(command)
    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert "--layout classes" in ran.err
    assert [p.name for p in tmp_path.iterdir()] == ["set"]
    ran = underdog(f"{command} --layout classes")
    assert ran.code == 0, ran.err
    assert underdog(f"{command} --layout magic").code == 2
