"""A small run to predict with, and its files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import underdog as ud
from underdog.run.execute import execute
from underdog.run.spec import RunSpec

CLASSES = ("ant", "bee", "yak")


class Trained(NamedTuple):
    """A run's folder, the source it was trained on, and what it said of its test part."""

    run: Path
    source: Path

    @property
    def result(self) -> dict[str, Any]:
        return json.loads((self.run / "result.json").read_text(encoding="utf-8"))

    def answers(self, part: str = "test") -> dict[str, np.ndarray]:
        """(K,) logits of the best epoch, by the item's name."""
        with (self.run / "predictions.csv").open(newline="", encoding="utf-8") as file:
            rows = [r for r in csv.DictReader(file) if (r["part"], r["epoch"]) == (part, "best")]
        names = [c for c in rows[0] if c.startswith("logit:")]
        return {r["item"]: np.array([r[c] for c in names], dtype=np.float32) for r in rows}


def mixed_files(pictures: Any) -> dict[str, bytes]:
    """Three classes in three parts, of many sizes and kinds: grey, colour, palette, transparent, turned, large JPEG."""
    sizes = [(16, 16), (40, 24), (24, 40), (90, 160)]
    files = {}
    for k, (label, n) in enumerate(zip(CLASSES, (24, 20, 8), strict=True)):
        for part, m in (("train", n), ("val", 4), ("test", 8)):
            for i in range(m):
                pixels = pictures.pixels(
                    i + 100 * k + 1000 * len(part), sizes[i % 4], 1 if i % 3 == 0 else 3, 60 + 60 * k
                )
                files[f"{part}/{label}/{i:02}"] = encoded(pictures, Image.fromarray(pixels), i)
    return {name + (".jpg" if data[:2] == b"\xff\xd8" else ".png"): data for name, data in files.items()}


def encoded(pictures: Any, image: Image.Image, i: int) -> bytes:
    if i % 4 == 3:
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned by a quarter
        return pictures.encode(image, "JPEG", quality=90, exif=exif)
    if i % 5 == 1:
        return pictures.encode(image.convert("P"))
    return pictures.encode(image.convert("RGBA") if i % 5 == 2 else image)


def train(source: Path, out: Path, reading: ud.Reading, **settings: Any) -> Trained:
    """A run of one epoch."""
    images = ud.load_images(source, reading)
    usual = {"method": "ros", "epochs": 2, "width": 0.1, "batch": 16, "lr": 0.01}
    spec = RunSpec(images.fingerprint, **usual | settings)  # type: ignore[arg-type]
    execute(spec, images, out)
    return Trained(out / spec.id, source)
