"""The gallery of altered images, and pictures inside a page."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from underdog.errors import InputError
from underdog.reporting.collect import Aside
from underdog.reporting.summary import Group
from underdog.run.gallery import Gallery, load_gallery

__all__ = ["PIXELATED", "Alteration", "Named", "Pictures", "pictures", "png", "signs_png"]

#: Larger images are smoothed by the browser instead of shown as squares.
PIXELATED = 64


@dataclass(frozen=True)
class Named:
    """What the network said of an image: a class, its probability, and whether it is right."""

    name: str
    probability: float
    right: bool


@dataclass(frozen=True, eq=False)
class Alteration:
    """An image, where it was altered, and the result, as pixels; its class, and the network's two answers."""

    name: str
    before: Named
    after: Named
    original: npt.NDArray[np.uint8]
    signs: npt.NDArray[np.int8]
    altered: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Pictures:
    """The gallery of one run of a method.

    Attributes:
        label: the method.
        seed: of the run.
        eps, attack: how far images were altered, and by what.
        changed: images for which the network names another class after the change.
        before, after: mean probabilities of the true class.
        images: the pictures.
    """

    label: str
    seed: int
    eps: float
    attack: str
    changed: int
    before: float
    after: float
    images: tuple[Alteration, ...]


def pictures(group: Group) -> tuple[Pictures | None, list[Aside]]:
    """The gallery of the first run of a method that has one, and galleries that could not be read."""
    asides = []
    for run in group.runs:
        try:
            gallery = load_gallery(run)
        except InputError as error:
            asides.append(Aside(run.name, f"its gallery only; {error}"))
            continue
        if gallery is not None:
            return _pictures(group.label, run.spec.seed, gallery, run.classes), asides
    return None, asides


def _pictures(label: str, seed: int, gallery: Gallery, classes: tuple[str, ...]) -> Pictures:
    def named(probabilities: npt.NDArray[np.float32], i: int) -> Named:
        k = int(probabilities[i].argmax())
        return Named(classes[k], float(probabilities[i, k]), k == int(gallery.labels[i]))

    rows = np.arange(len(gallery.labels))
    return Pictures(
        label=label,
        seed=seed,
        eps=gallery.eps,
        attack=gallery.attack,
        changed=int((gallery.before.argmax(1) != gallery.after.argmax(1)).sum()),
        before=float(gallery.before[rows, gallery.labels].mean()),
        after=float(gallery.after[rows, gallery.labels].mean()),
        images=tuple(
            Alteration(
                name=classes[gallery.labels[i]],
                before=named(gallery.before, i),
                after=named(gallery.after, i),
                original=gallery.original[i],
                signs=gallery.signs[i],
                altered=(gallery.altered[i] * 255).round().astype(np.uint8),
            )
            for i in range(len(rows))
        ),
    )


def png(pixels: npt.NDArray[Any], largest: int | None = None) -> str:
    """A data address of (C, H, W) uint8 pixels, C being 1 or 3.

    Pictures wider or higher than ``largest`` pixels are shrunk to it.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]))
    if largest is not None:
        image.thumbnail((largest, largest))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def signs_png(signs: npt.NDArray[np.int8]) -> str:
    """A data address of a change: -1, 0 and 1 become black, grey and white in each channel."""
    return png(np.array([0, 128, 255], dtype=np.uint8)[signs + 1])
