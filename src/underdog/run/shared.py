"""Images that several processes of one machine hold in memory once: files that each of them maps."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from underdog.data.images import ImageSet
from underdog.data.reading import Reading
from underdog.data.sources import Source

__all__ = ["map_source", "save_source"]

_ARRAYS = ("groups", "items")


def save_source(source: Source, folder: Path) -> Path:
    """Write a source for ``map_source``, and return its folder.

    Args:
        source: what ``load_images`` returned.
        folder: a new one.

    Raises:
        OSError: the disk is full or refuses.
    """
    folder.mkdir(parents=True)
    parts = {"train": source.train, "val": source.val, "test": source.test}
    for name, part in parts.items():
        if part is not None:
            _save_part(part, folder / name)
    about = {"name": source.name, "notes": source.notes, "reading": asdict(source.reading)}
    (folder / "source.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


def map_source(folder: Path) -> Source:
    """The source that ``save_source`` wrote; its pixels are read when they are used, and are one copy for all processes."""
    about = json.loads((folder / "source.json").read_text(encoding="utf-8"))
    reading = about["reading"]
    reading["size"] = reading["size"] and tuple(reading["size"])
    parts = {name: _map_part(folder / name) for name in ("train", "val", "test") if (folder / name).is_dir()}
    return Source(about["name"], **parts, notes=tuple(about["notes"]), reading=Reading(**reading))


def _save_part(part: ImageSet, folder: Path) -> None:
    folder.mkdir()
    np.save(folder / "images.npy", part.images.numpy(), allow_pickle=False)
    np.save(folder / "labels.npy", part.labels.numpy(), allow_pickle=False)
    for name in _ARRAYS:
        if (values := getattr(part, name)) is not None:
            np.save(folder / f"{name}.npy", values, allow_pickle=False)
    about = {"classes": part.classes, "minority": None if part.minority is None else sorted(part.minority)}
    (folder / "classes.json").write_text(json.dumps(about), encoding="utf-8")


def _map_part(folder: Path) -> ImageSet:
    about = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
    # Copy on write: torch wants memory that can be written to, and nobody writes.
    pixels = np.load(folder / "images.npy", mmap_mode="c", allow_pickle=False)
    more = {name: np.load(path, allow_pickle=False) for name in _ARRAYS if (path := folder / f"{name}.npy").exists()}
    return ImageSet(
        torch.from_numpy(pixels),
        torch.from_numpy(np.load(folder / "labels.npy", allow_pickle=False)),
        tuple(about["classes"]),
        minority=None if about["minority"] is None else frozenset(about["minority"]),
        **more,
    )
