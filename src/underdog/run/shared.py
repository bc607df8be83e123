"""Images that several processes of one machine hold in memory once: files that each of them maps."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from underdog.data import store
from underdog.data.images import ImageSet
from underdog.data.pixels import PixelFile
from underdog.data.reading import Reading
from underdog.data.sources import Source

__all__ = ["map_source", "save_source"]

_PARTS = ("train", "val", "test")


def save_source(source: Source, folder: Path) -> Path:
    """Write a source for ``map_source``, and return its folder.

    Args:
        source: what ``load_images`` returned.
        folder: a new one.

    Raises:
        OSError: the disk is full or refuses.
    """
    folder.mkdir(parents=True)
    for name in _PARTS:
        if (part := getattr(source, name)) is not None:
            _save_part(part, folder / name)
    about = {"name": source.name, "notes": source.notes, "reading": asdict(source.reading)}
    (folder / "source.json").write_text(json.dumps(about), "utf-8")
    return folder


def map_source(folder: Path) -> Source:
    """The source that ``save_source`` wrote; its pixels are read when they are used, and are one copy for all processes."""
    about = json.loads((folder / "source.json").read_text("utf-8"))
    reading = about["reading"]
    reading["size"] = reading["size"] and tuple(reading["size"])
    parts = {name: _map_part(folder / name) for name in _PARTS if (folder / name).is_dir()}
    return Source(about["name"], **parts, notes=tuple(about["notes"]), reading=Reading(**reading))


def _save_part(part: ImageSet, folder: Path) -> None:
    folder.mkdir()
    store.write_pixels(folder, part.images)
    about = {
        "on_disk": isinstance(part.images, PixelFile),
        "labels": part.labels.tolist(),
        "classes": part.classes,
        "groups": None if part.groups is None else part.groups.tolist(),
        "items": None if part.items is None else part.items.tolist(),
        "minority": None if part.minority is None else sorted(part.minority),
    }
    store.describe(folder, about)


def _map_part(folder: Path) -> ImageSet:
    pixels, about = store.load(folder, mapped=True)
    return ImageSet(
        PixelFile.open(folder / store.PIXELS) if about["on_disk"] else torch.from_numpy(pixels),
        torch.tensor(about["labels"]),
        tuple(about["classes"]),
        None if about["groups"] is None else np.array(about["groups"]),
        None if about["items"] is None else np.array(about["items"]),
        None if about["minority"] is None else frozenset(about["minority"]),
    )
