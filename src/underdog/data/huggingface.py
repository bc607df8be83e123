"""Folders that Hugging Face's ``datasets`` wrote with ``save_to_disk``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from underdog.data.archive import Member
from underdog.data.folders import Labelled, Listing, finish
from underdog.data.layout import PARTS
from underdog.data.reading import Reading
from underdog.errors import InputError

__all__ = ["is_dataset", "list_dataset"]


def is_dataset(paths: Sequence[PurePosixPath]) -> bool:
    """Whether files are those of a ``datasets`` folder, of one split or several."""
    tops = {str(path) for path in paths}
    return "dataset_dict.json" in tops or {"state.json", "dataset_info.json"} <= tops


def list_dataset(folder: Path, members: list[Member], reading: Reading) -> Listing:
    """The rows of a dataset, each as an image file with part and class; its path is SPLIT/NUMBER.

    Raises:
        InputError: ``datasets`` is not installed, damaged files, columns that are not there or ambiguous, rows without an
            image or a class, a table that does not fit.
    """
    for option in ("labels", "layout"):
        if getattr(reading, option) != getattr(Reading(), option):
            raise InputError(
                f"--{option} does not apply to {folder.name!r}, a dataset that has classes and parts of its own"
            )
    files: list[Labelled] = []
    for split, part, path in _splits(folder):
        files += _rows(_load(path), split, part)
    if not files:
        raise InputError(f"dataset {folder.name!r} has no rows")
    return finish(Listing(folder.name, tuple(files)), members, reading)


def _splits(folder: Path) -> Iterator[tuple[str, str, Path]]:
    """Name, part and folder of each split; nothing and the folder itself where it has none."""
    if not (folder / "dataset_dict.json").is_file():
        yield "", "", folder
        return
    splits = _json(folder / "dataset_dict.json").get("splits")
    if not isinstance(splits, list) or not all(isinstance(s, str) and s.lower() in PARTS for s in splits):
        raise InputError(f"dataset {folder.name!r} has splits {splits}; known are {', '.join(PARTS)}")
    for split in splits:
        yield split, PARTS[split.lower()], folder / split


def _json(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"dataset file {str(file)!r} cannot be read: {error}") from error


def _load(folder: Path) -> Any:
    """One split, its images as bytes."""
    try:
        from datasets import Image, load_from_disk  # noqa: PLC0415  (an extra, and slow to import)
    except ImportError as error:
        raise InputError(
            f"{str(folder)!r} is a dataset: reading it needs pip install 'underdog[huggingface]'"
        ) from error
    files = _json(folder / "state.json").get("_data_files")
    if not isinstance(files, list) or not all(_is_name(f) for f in files):
        raise InputError(f"dataset {str(folder)!r} names files outside of its folder, or none")
    try:
        data = load_from_disk(str(folder))
        for name, feature in data.features.items():
            if isinstance(feature, Image):
                data = data.cast_column(name, Image(decode=False))
        return data
    except Exception as error:  # foreign files make it fail in any way, and each has the same consequence
        raise InputError(f"dataset {str(folder)!r} cannot be read: {error}") from error


def _is_name(file: object) -> bool:
    """Whether an entry of "_data_files" is a file in the same folder."""
    return isinstance(file, dict) and isinstance(name := file.get("filename"), str) and name == Path(name).name


@dataclass(frozen=True)
class _Columns:
    """The columns with the image and with its class, and the class of each value."""

    image: str
    label: str
    name: Callable[[Any], str | None]


def _columns(data: Any) -> _Columns:
    """Found by what they hold: the one with images, and the one with classes, or else the one with text."""
    from datasets import ClassLabel, Image  # noqa: PLC0415

    kinds: dict[str, list[str]] = {"image": [], "class": [], "text": [], "several classes": []}
    for name, feature in data.features.items():
        if isinstance(feature, Image):
            kinds["image"].append(name)
        elif isinstance(feature, ClassLabel):
            kinds["class"].append(name)
        elif getattr(feature, "dtype", None) in ("string", "large_string"):
            kinds["text"].append(name)
        elif isinstance(getattr(feature, "feature", None), ClassLabel):
            kinds["several classes"].append(name)
    label = kinds["class"] or kinds["text"]
    if not label and (several := kinds["several classes"]):
        raise InputError(f"column {several[0]!r} lists several classes an image: multi-label data are not supported")
    for what, found in (("images (Image)", kinds["image"]), ("classes (ClassLabel, or else text)", label)):
        if len(found) != 1:
            some = f"{len(found)} columns with {what}: {', '.join(found)}" if found else f"no column with {what}"
            raise InputError(f"a dataset needs one column with images and one with classes, but this has {some}")
    names = getattr(data.features[label[0]], "names", None)
    return _Columns(kinds["image"][0], label[0], partial(_numbered, names) if names is not None else _text)


def _numbered(names: Sequence[str], value: Any) -> str | None:
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else None


def _text(value: Any) -> str | None:
    return str(value) or None if value is not None else None


def _rows(data: Any, split: str, part: str) -> Iterator[Labelled]:
    columns = _columns(data)
    images = data.select_columns([columns.image])
    for n, value in enumerate(data.select_columns([columns.label])[columns.label]):
        path = PurePosixPath(split, f"{n:06}")
        label = columns.name(value)
        if label is None:
            raise InputError(f"dataset row {path}: {value!r} in column {columns.label!r} is no class")
        yield Labelled(Member(path, partial(_bytes, images, n, columns.image, path)), part, label)


def _bytes(images: Any, n: int, column: str, path: PurePosixPath) -> bytes:
    try:
        value = images[n][column]
    except Exception as error:  # as in _load
        raise InputError(f"dataset row {path} cannot be read: {error}") from error
    data = value.get("bytes") if isinstance(value, dict) else None
    if not isinstance(data, bytes):
        # A path there may name any file of this computer.
        raise InputError(f"dataset row {path} has no image in itself; only images saved in the dataset are read")
    return data
