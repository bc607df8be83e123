"""Images that several processes of one machine hold in memory once: files that each of them maps."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from underdog.data.images import ImageSet
from underdog.data.pixels import PixelFile, Pixels, at_a_time, in_parts
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
    _save_pixels(part.images, folder / "images.npy")
    np.save(folder / "labels.npy", part.labels.numpy(), allow_pickle=False)
    for name in _ARRAYS:
        if (values := getattr(part, name)) is not None:
            np.save(folder / f"{name}.npy", values, allow_pickle=False)
    on_disk = isinstance(part.images, PixelFile)
    about = {
        "classes": part.classes,
        "on_disk": on_disk,
        "minority": None if part.minority is None else sorted(part.minority),
    }
    (folder / "classes.json").write_text(json.dumps(about), encoding="utf-8")


def _save_pixels(pixels: Pixels, path: Path) -> None:
    """Write images as numpy does, a part of them at a time, since they may not fit into memory."""
    with path.open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": tuple(pixels.shape)}
        np.lib.format.write_array_header_1_0(file, header)
        for part in in_parts(pixels, at_a_time(pixels, images=len(pixels), values=2**24)):
            file.write(part.contiguous().numpy().data)


def _map_pixels(path: Path, on_disk: bool) -> Pixels:
    if on_disk:
        return PixelFile.open(path)
    # Copy on write: torch wants memory that can be written to, and nobody writes.
    return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))


def _map_part(folder: Path) -> ImageSet:
    about = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
    more = {name: np.load(path, allow_pickle=False) for name in _ARRAYS if (path := folder / f"{name}.npy").exists()}
    return ImageSet(
        _map_pixels(folder / "images.npy", about["on_disk"]),
        torch.from_numpy(np.load(folder / "labels.npy", allow_pickle=False)),
        tuple(about["classes"]),
        minority=None if about["minority"] is None else frozenset(about["minority"]),
        **more,
    )
