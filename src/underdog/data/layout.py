"""What the folders of a source mean: parts, and classes in them."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations

from underdog.data.archive import Member
from underdog.errors import InputError

__all__ = ["PARTS", "Placed", "check_classes", "place"]

#: What the parts of a split layout may be called.
PARTS = {
    "train": "train",
    "training": "train",
    "seg_train": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
    "seg_test": "test",
}
#: The folder beside parts with images that have no class.
UNLABELLED = "seg_pred"


@dataclass(frozen=True)
class Placed:
    """An image file, its part ("" where the source has no parts), and the folders below that part that it lies in."""

    member: Member
    part: str
    folders: tuple[str, ...]


def place(name: str, images: Sequence[Member], layout: str, labelled: bool) -> tuple[list[Placed], tuple[str, ...]]:
    """Find out which part each image belongs to, and what folders it lies in there.

    Args:
        name: of the source, for errors.
        images: the image files.
        layout: a name from ``names.LAYOUTS``.
        labelled: a table says the classes, so that folders need not.

    Returns:
        the images, and remarks about those that are left out.

    Raises:
        InputError: the folders can be read in two ways, or not in the way that ``layout`` says.
    """
    placed = _without_top([Placed(m, "", m.path.parts[:-1]) for m in images], () if layout == "classes" else PARTS)
    if layout == "classes":
        return placed, ()
    parts, others = _divide(placed)
    left_out = 0
    if not labelled and _has_classes(parts):
        left_out = sum(_top(p) == UNLABELLED for p in others)
        others = [p for p in others if _top(p) != UNLABELLED]
    if problem := _problem(parts, others, decided=labelled or layout == "split"):
        raise InputError(f"source {name!r}: {problem} ({_ADVICE})")
    if any(p.part == "train" for p in parts) and not others:
        remark = f"{left_out} images in {UNLABELLED}, which have no class, were left out"
        return parts, (remark,) if left_out else ()
    if layout == "split":
        raise InputError(f"source {name!r} has no folder called train ({_ADVICE})")
    return placed, ()


_ADVICE = (
    "--layout split takes train, val and test for parts with class folders in each; "
    "--layout classes takes every top folder for a class"
)


def _without_top(images: list[Placed], ends: Container[str]) -> list[Placed]:
    """Without the folders that everything lies in, such as an archive's own, down to one in ``ends``."""
    while len({p.folders[:1] for p in images}) == 1 and all(len(p.folders) > 1 for p in images):
        if _top(images[0]) in ends:
            break
        images = [replace(p, folders=p.folders[1:]) for p in images]
    return images


def _top(image: Placed) -> str:
    return image.folders[0].lower() if image.folders else ""


def _has_classes(parts: Iterable[Placed]) -> bool:
    return any(p.part == "train" and p.folders for p in parts)


def _divide(images: Iterable[Placed]) -> tuple[list[Placed], list[Placed]]:
    """The images in folders that are called like parts, placed there, and the others as they are."""
    named = defaultdict[str, list[Placed]](list)
    for image in images:
        named[_top(image)].append(image)
    parts = []
    for top in [top for top in named if top in PARTS]:
        own = named.pop(top)
        # A part with nothing in it but a folder of its own name, as some archives are packed.
        depth = 2 if all(len(p.folders) > 2 and p.folders[1].lower() == top for p in own) else 1
        parts += [Placed(p.member, PARTS[top], p.folders[depth:]) for p in own]
    return parts, list(chain.from_iterable(named.values()))


def _problem(parts: list[Placed], others: list[Placed], decided: bool) -> str:
    """Why it is not clear whether the folders are parts or classes, if it is not.

    With ``decided`` folders called like parts are parts, whatever is in them.
    """
    beside = sorted({p.folders[0] if p.folders else str(p.member.path) for p in others})
    training = any(p.part == "train" for p in parts)
    if parts and training and beside and (decided or _has_classes(parts)):
        return f"it has a training part and, beside it, folders that are no part: {', '.join(beside[:5])}"
    if parts and not training and decided:
        return f"it has a {parts[0].part} part and no training part"
    if decided or (training and beside):
        return ""  # parts; or a class that is called train
    if training:
        return _nothing_shared(parts)
    return _shared(parts, beside)


def _classes(parts: Iterable[Placed]) -> dict[str, dict[str, str]]:
    """The class folders of each part, by what is compared of their names."""
    found = defaultdict[str, dict[str, str]](dict)
    for p in parts:
        found[p.part].update({plain(folder): folder for folder in p.folders[:1]})
    return found


def _nothing_shared(parts: list[Placed]) -> str:
    """What speaks against a training part and others."""
    if not any(p.folders for p in parts):
        return "the folders called like parts have images in them, but no class folders"
    found = _classes(parts)
    for part, own in found.items():
        if own and found["train"] and not own.keys() & found["train"].keys():
            some, others = (", ".join(sorted(f.values())[:3]) for f in (found["train"], own))
            return f"the train and {part} folders have no class folder in common ({some}; {others})"
    return ""


def _shared(parts: list[Placed], beside: Sequence[str]) -> str:
    """What speaks against classes that happen to be called val and test."""
    found = {**_classes(parts), "train": {plain(folder): folder for folder in beside}}
    for a, b in combinations(found, 2):
        if both := sorted(found[a][key] for key in found[a].keys() & found[b].keys()):
            return (
                f"it has no training part, but folders called like parts, and {', '.join(both[:3])} in several of them"
            )
    return ""


def plain(name: str) -> str:
    """What is left of a name when case, spaces around and between words, and the form of accents do not count.

    >>> plain(" Basal  Cell ") == plain("basal cell")
    True
    """
    return unicodedata.normalize("NFC", " ".join(name.split()).casefold())


def check_classes(name: str, classes: Iterable[str]) -> None:
    """Refuse two classes that are most likely one.

    Raises:
        InputError: two names that differ only in case, spaces or the form of accents.
    """
    seen: dict[str, str] = {}
    for label in classes:
        if (other := seen.setdefault(plain(label), label)) != label:
            raise InputError(
                f"source {name!r} has two classes of one name, {other!a} and {label!a}: they differ only in case, "
                "spaces or the form of accents; give them one name, or clearly different ones"
            )
