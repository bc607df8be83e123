"""One self-contained page on a source of images."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from underdog.inspect.inspection import Balance, Inspection, Sample
from underdog.reporting.data_text import facts_of, remark, size_text
from underdog.reporting.images import PIXELATED
from underdog.reporting.page import environment, write_page
from underdog.reporting.terminal import printable
from underdog.reporting.words import plural, thousands

__all__ = ["write_data_page"]

PARTS = {"all": "images", "train": "training", "val": "validation", "test": "test"}


class Bar(NamedTuple):
    """A number as text, and how far its bar goes, in [0, 1]."""

    text: str
    depth: float = 0.0


class ClassBars(NamedTuple):
    """A class, whether it is rare, and its numbers."""

    name: str
    rare: str
    cells: tuple[Bar, ...]


@dataclass(frozen=True)
class Sampled:
    """An image as a data address, and whether its pixels are to be shown as squares."""

    address: str
    path: str
    pixelated: bool


@dataclass(frozen=True)
class ClassSamples:
    """Pictures of a class."""

    name: str
    images: str
    rare: str
    pictures: tuple[Sampled, ...]


@dataclass(frozen=True)
class EqualSet:
    """Images of equal pixels: what they look like (for some sets), what is wrong, and where they are."""

    picture: Sampled | None
    remark: str
    places: tuple[tuple[str, str], ...]


def write_data_page(found: Inspection, output: Path) -> None:
    """Write what is in a source, with sample images; the page opens without a network and runs no script.

    Args:
        found: what ``inspect_images`` found.
        output: the page; written whole or not at all.
    """
    templates = environment()
    templates.globals |= {"plural": plural, "thousands": thousands, "parts": PARTS, "printable": printable}
    page = templates.get_template("data.html.j2").render(
        found=found,
        headline=_headline(found),
        facts=[(name, printable(value)) for name, value in facts_of(found).items()],
        rows=_rows(found),
        samples=_samples(found),
        equal=_equal(found),
        sizes=_sizes(found),
    )
    write_page(page, output)


def _headline(found: Inspection) -> str:
    come, run = found.balance, found.remaining
    if run is None or run.minority == come.minority:
        return _rarity(come, len(found.classes))
    return f"As it comes: {_rarity(come, len(found.classes))}. In a run: {_rarity(run, len(found.classes))}"


def _rarity(balance: Balance, classes: int) -> str:
    n = len(balance.minority)
    rare = "no class is" if not n else f"{n} of {plural(classes, 'class', 'classes')} {'is' if n == 1 else 'are'}"
    return f"{rare} rare, rho = {balance.rho:.4g}, mu = {balance.mu:.3g}"


def _rows(found: Inspection) -> tuple[ClassBars, ...]:
    """Images of each class in each part, as they come and in a run, then groups."""
    counts = [*found.balance.counts.values(), *(found.remaining.counts.values() if found.remaining else ())]
    largest = max(n for own in counts for n in own)
    groups = found.groups

    def row(k: int, name: str) -> ClassBars:
        cells = [Bar(thousands(own[k]), own[k] / largest) for own in counts]
        cells += [Bar(thousands(groups.per_class[k]))] if groups else []
        return ClassBars(name, _rare(found, name), tuple(cells))

    return tuple(row(k, name) for k, name in enumerate(found.classes))


def _rare(found: Inspection, name: str) -> str:
    return "rare" if name in (found.remaining or found.balance).minority else ""


def _samples(found: Inspection) -> tuple[ClassSamples, ...]:
    def images(k: int) -> str:
        return ", ".join(f"{PARTS[part]} {thousands(own[k])}" for part, own in found.balance.counts.items())

    return tuple(
        ClassSamples(name, images(k), _rare(found, name), tuple(_picture(sample) for sample in found.samples[name]))
        for k, name in enumerate(found.classes)
    )


def _equal(found: Inspection) -> Iterable[EqualSet]:
    for equal in found.equal:
        shown = None if equal.pixels is None else _picture(Sample(equal.places[0], equal.pixels))
        yield EqualSet(shown, remark(equal), tuple((p.path, p.label) for p in equal.places))


def _sizes(found: Inspection) -> tuple[tuple[str, Bar], ...]:
    """Frequencies of sizes, where there are several."""
    if len(found.sizes) == 1:
        return ()
    most = max(found.sizes.values())
    return tuple((size_text(size), Bar(thousands(n), n / most)) for size, n in found.sizes.items())


def _picture(sample: Sample) -> Sampled:
    small = max(sample.pixels.shape[:2]) <= PIXELATED
    return Sampled(_address(sample.pixels, "PNG" if small else "JPEG"), sample.place.path, small)


def _address(pixels: npt.NDArray[np.uint8], kind: str) -> str:
    """A data address of (h, w) or (h, w, 3) pixels: small images without loss, others a tenth as long."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, optimize=True, **({"quality": 85} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
