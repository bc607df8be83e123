"""The gallery of altered images as pictures inside the page."""

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
from underdog.reporting.methods import eps_text
from underdog.reporting.summary import Group
from underdog.reporting.words import plural
from underdog.run.gallery import Gallery, load_gallery

__all__ = ["Answer", "Picture", "Pictures", "pictures", "png"]

#: Larger images are smoothed by the browser instead of shown as squares.
PIXELATED = 64


@dataclass(frozen=True)
class Answer:
    """What the network said of an image: a class, its probability, and whether it is right."""

    name: str
    probability: str
    right: bool


@dataclass(frozen=True)
class Picture:
    """An image, where it was altered, and the result, as data addresses; the class, and the network's two answers."""

    original: str
    signs: str
    altered: str
    label: str
    before: Answer
    after: Answer


@dataclass(frozen=True)
class Pictures:
    """The gallery of one run of a method."""

    label: str
    method: str
    seed: int
    eps: str
    attack: str
    pixelated: bool
    pictures: tuple[Picture, ...]
    remark: str


def png(pixels: npt.NDArray[Any], largest: int | None = None) -> str:
    """A data address of (C, H, W) uint8 pixels, C being 1 or 3; of other numbers of channels the first is shown.

    Pictures wider or higher than ``largest`` pixels are shrunk to it.
    """
    image = Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 2, 0) if len(pixels) == 3 else pixels[0]))
    if largest is not None:
        image.thumbnail((largest, largest))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def probability(p: float) -> str:
    """A share in percent that is never rounded up to certainty.

    >>> probability(0.99991), probability(0.981)
    ('>99.9%', '98.1%')
    """
    return ">99.9%" if 0.9995 < p < 1 else f"{100 * p:.1f}%"


def _answer(probabilities: npt.NDArray[np.float32], label: int, classes: tuple[str, ...]) -> Answer:
    k = int(probabilities.argmax())
    return Answer(classes[k], probability(float(probabilities[k])), k == label)


def _picture(gallery: Gallery, i: int, classes: tuple[str, ...]) -> Picture:
    label = int(gallery.labels[i])
    return Picture(
        original=png(gallery.original[i]),
        # -1, 0 and 1 become black, grey and white in each channel.
        signs=png(np.array([0, 128, 255], dtype=np.uint8)[gallery.signs[i] + 1]),
        altered=png((gallery.altered[i] * 255).round().astype(np.uint8)),
        label=classes[label],
        before=_answer(gallery.before[i], label, classes),
        after=_answer(gallery.after[i], label, classes),
    )


def _remark(gallery: Gallery) -> str:
    """How far the change moved the network's answers."""
    n = len(gallery.labels)
    changed = int((gallery.before.argmax(1) != gallery.after.argmax(1)).sum())
    before, after = (
        probability(float(p[np.arange(n), gallery.labels].mean())) for p in (gallery.before, gallery.after)
    )
    return (
        f"The change makes the network name another class for {changed} of {plural(n, 'image')}; "
        f"the mean probability of the true class goes from {before} to {after}."
    )


def pictures(group: Group) -> tuple[Pictures | None, list[Aside]]:
    """The gallery of the first run of a method that has one, and galleries that could not be read."""
    asides = []
    for run in group.runs:
        try:
            gallery = load_gallery(run)
        except InputError as error:
            asides.append(Aside(run.name, f"its gallery only; {error}"))
            continue
        if gallery is None:
            continue
        shown = tuple(_picture(gallery, i, run.classes) for i in range(len(gallery.labels)))
        found = Pictures(
            label=group.label,
            method=group.method,
            seed=run.spec.seed,
            eps=eps_text(gallery.eps),
            attack=gallery.attack,
            pixelated=max(run.image_shape[1:]) <= PIXELATED,
            pictures=shown,
            remark=_remark(gallery),
        )
        return found, asides
    return None, asides
