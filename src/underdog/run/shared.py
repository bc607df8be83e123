"""Images that several processes of one machine hold in memory once: files that each of them maps."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from underdog.data import store
from underdog.data.frozen import FrozenNetwork
from underdog.data.images import ImageSet
from underdog.data.pixels import PixelFile
from underdog.data.reading import Reading
from underdog.data.sources import Source

__all__ = ["map_source", "save_source"]


def save_source(source: Source, folder: Path) -> Path:
    """Write a source for ``map_source``, and return its folder.

    Args:
        source: what ``load_images`` returned.
        folder: a new one.

    Raises:
        OSError: the disk is full or refuses.
    """
    folder.mkdir(parents=True)
    for name, part in source.parts.items():
        _save_part(part, folder / name)
    about: dict[str, Any] = {
        "parts": list(source.parts),
        "name": source.name,
        "notes": source.notes,
        "reading": asdict(source.reading),
    }
    about["frozen"] = source.frozen and source.frozen.to_json()
    (folder / "source.json").write_text(json.dumps(about), "utf-8")
    return folder


def map_source(folder: Path) -> Source:
    """The source that ``save_source`` wrote; its pixels are read when they are used, and are one copy for all processes."""
    about = json.loads((folder / "source.json").read_text("utf-8"))
    reading = about["reading"]
    reading["size"] = reading["size"] and tuple(reading["size"])
    parts = {name: _map_part(folder / name) for name in about["parts"]}
    frozen = about["frozen"] and FrozenNetwork.from_json(about["frozen"])
    return Source(about["name"], **parts, notes=tuple(about["notes"]), reading=Reading(**reading), frozen=frozen)


def _save_part(part: ImageSet, folder: Path) -> None:
    folder.mkdir()
    store.write_pixels(folder, part.images)
    named = {name: values for name in ("groups", "items") if (values := getattr(part, name)) is not None}
    np.savez(folder / "arrays.npz", labels=part.labels.numpy(), **named)
    minority = None if part.minority is None else sorted(part.minority)
    on_disk = isinstance(part.images, PixelFile)
    store.describe(folder, {"on_disk": on_disk, "classes": part.classes, "minority": minority})


def _map_part(folder: Path) -> ImageSet:
    pixels, about = store.load(folder, mapped=True)
    with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
        return ImageSet(
            pixels if isinstance(pixels, PixelFile) else torch.from_numpy(pixels),
            torch.from_numpy(arrays["labels"]),
            tuple(about["classes"]),
            arrays.get("groups"),
            arrays.get("items"),
            None if about["minority"] is None else frozenset(about["minority"]),
        )
