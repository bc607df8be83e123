"""What was found in a source of images, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from underdog.data.reading import Size

__all__ = ["WHOLE", "Balance", "Corrupt", "Equal", "Groups", "ImagePlace", "Inspection", "Sample"]

#: What the one part of a source without parts is called.
WHOLE = "all"


@dataclass(frozen=True)
class ImagePlace:
    """Where an image is: its path in the source (or number), part, class, and group ("" where there are none)."""

    path: str
    part: str
    label: str
    group: str = ""


@dataclass(frozen=True)
class Corrupt:
    """A file that cannot be decoded, and why."""

    place: ImagePlace
    reason: str


@dataclass(frozen=True, eq=False)
class Sample:
    """An image made small, (h, w) or (h, w, 3) uint8."""

    place: ImagePlace
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Equal:
    """Images of equal pixels, and, of the first such sets, what they look like."""

    places: tuple[ImagePlace, ...]
    pixels: npt.NDArray[np.uint8] | None = None

    @property
    def across_parts(self) -> bool:
        """Whether they lie in several parts of the source."""
        return len({p.part for p in self.places}) > 1

    @property
    def labels_differ(self) -> bool:
        """Whether they have several classes."""
        return len({p.label for p in self.places}) > 1


@dataclass(frozen=True)
class Balance:
    """Images of each class in each part, and the imbalance of those to train on.

    Attributes:
        counts: part -> (K,) images of each class; the first part is the one to train on.
        rho, mu: imbalance ratio and minority share of that part.
        minority: names of the classes that count as rare in it.
        why: what makes them so.
    """

    counts: Mapping[str, tuple[int, ...]]
    rho: float
    mu: float
    minority: tuple[str, ...]
    why: str


@dataclass(frozen=True)
class Groups:
    """What belongs together.

    Attributes:
        count: number of groups.
        largest: images of the largest one.
        per_class: (K,) groups with images of each class.
        across_parts: group -> the several parts of the source that it has images in.
        of_several_classes: groups whose images have several classes.
    """

    count: int
    largest: int
    per_class: tuple[int, ...]
    across_parts: Mapping[str, tuple[str, ...]]
    of_several_classes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Inspection:
    """What ``inspect_images`` found.

    Attributes:
        name: of the source.
        classes: the K class names.
        images: number of images that can be decoded; everything but ``corrupt`` is about these.
        sizes: (height, width) of the upright images -> how many, the most frequent first.
        formats, modes: Pillow's names for the files' formats and pixels, before any conversion -> how many.
        suggested_size: (height, width) to ask for, where images have to be brought to one size and none is asked for.
        balance: of the source as it comes.
        remaining: what a run would train, choose and report on; None where the source cannot be divided.
        equal: sets of images of equal pixels: with several classes first, then across parts, then by path.
        corrupt: files that cannot be decoded.
        groups: None where none were given.
        samples: class -> some of its training images, made small.
        notes: remarks of the reader.
        warnings: what should be looked at before anything is trained.

    >>> from underdog import inspect_images
    >>> found = inspect_images("digits")
    >>> found.sizes, found.equal, found.balance.minority, len(found.samples["8"])
    ({(8, 8): 1797}, (), (), 8)
    """

    name: str
    classes: tuple[str, ...]
    images: int
    sizes: Mapping[Size, int]
    formats: Mapping[str, int]
    modes: Mapping[str, int]
    suggested_size: Size | None
    balance: Balance
    remaining: Balance | None
    equal: tuple[Equal, ...]
    corrupt: tuple[Corrupt, ...]
    groups: Groups | None
    samples: Mapping[str, tuple[Sample, ...]]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything but the pictures, as plain data.

        >>> from underdog import inspect_images
        >>> found = inspect_images("digits").to_json()
        >>> found["images"], found["sizes"], found["classes"][8]["images"], found["classes"][8]["minority"]
        (1797, [{'height': 8, 'width': 8, 'images': 1797}], {'all': 174}, False)
        """
        size = self.suggested_size
        return {
            "source": self.name,
            "images": self.images,
            "classes": [self._class_json(k) for k in range(len(self.classes))],
            "parts": {part: sum(own) for part, own in self.balance.counts.items()},
            "sizes": [{"height": h, "width": w, "images": n} for (h, w), n in self.sizes.items()],
            "suggested_size": size and {"height": size[0], "width": size[1]},
            "formats": dict(self.formats),
            "modes": dict(self.modes),
            **_balance_json(self.balance),
            "remaining": self.remaining and _balance_json(self.remaining),
            "corrupt": [_place_json(c.place) | {"reason": c.reason} for c in self.corrupt],
            "equal_images": [
                {
                    "images": [_place_json(p) for p in e.places],
                    "across_parts": e.across_parts,
                    "labels_differ": e.labels_differ,
                }
                for e in self.equal
            ],
            "groups": self.groups
            and {
                "count": self.groups.count,
                "largest": self.groups.largest,
                "across_parts": {g: list(parts) for g, parts in self.groups.across_parts.items()},
                "of_several_classes": list(self.groups.of_several_classes),
            },
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }

    def _class_json(self, k: int) -> dict[str, Any]:
        return {
            "name": self.classes[k],
            "images": {part: own[k] for part, own in self.balance.counts.items()},
            "minority": self.classes[k] in self.balance.minority,
            "groups": self.groups and self.groups.per_class[k],
            "remaining": self.remaining and {part: own[k] for part, own in self.remaining.counts.items()},
        }


def _place_json(place: ImagePlace) -> dict[str, str]:
    return {"path": place.path, "part": place.part, "class": place.label}


def _balance_json(balance: Balance) -> dict[str, Any]:
    return {"rho": balance.rho, "mu": balance.mu, "minority": list(balance.minority), "minority_because": balance.why}
