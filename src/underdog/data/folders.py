"""Image files with a class for each: which they are, before any is decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from underdog.data.archive import Member
from underdog.data.reading import Reading
from underdog.data.tables import Column, missing
from underdog.errors import InputError

__all__ = ["Labelled", "Listing", "list_images"]

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
#: What the parts of a split layout may be called.
PARTS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True)
class Labelled:
    """An image file with its part ("" where the source has no parts), class, and group ("" where there are none)."""

    member: Member
    part: str
    label: str
    group: str = ""


@dataclass(frozen=True)
class Listing:
    """The image files of a source.

    Attributes:
        name: of the source.
        files: in the order of the source, which may only be readable from front to back.
        notes: remarks, such as how many files were no images.
    """

    name: str
    files: tuple[Labelled, ...]
    notes: tuple[str, ...] = ()

    @property
    def members(self) -> list[Member]:
        """The files without what is known of them."""
        return [f.member for f in self.files]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of all classes, sorted."""
        return tuple(sorted({f.label for f in self.files}))


def list_images(name: str, members: list[Member], reading: Reading) -> Listing:
    """Find the images among the files of a source, with part, class and group.

    Raises:
        InputError: no images, images in no class folder, a single class, a table that does not fit.
    """
    images = [m for m in members if m.path.suffix.lower() in IMAGE_SUFFIXES]
    notes = (f"{n} files that are no images were ignored",) if (n := len(members) - len(images)) else ()
    if not images:
        raise InputError(f"source {name!r} has no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    listing = Listing(name, tuple(_grouped(_labelled(name, images), members, reading)), notes)
    if len(listing.classes) < 2:
        raise InputError(
            f"source {name!r} has images of one class only ({listing.classes[0]!r}); at least two folders are needed"
        )
    return listing


def _grouped(files: list[Labelled], members: list[Member], reading: Reading) -> list[Labelled]:
    """The same files with the groups of a table that has to name each."""
    if reading.groups is None:
        return files
    column = Column.parse(reading.groups)
    found = column.values([f.member.path for f in files], members)
    if absent := [f.member.path for f, g in zip(files, found, strict=True) if g is None]:
        raise missing(column.file, absent)
    return [replace(f, group=g) for f, g in zip(files, found, strict=True) if g is not None]


def _labelled(name: str, images: list[Member]) -> list[Labelled]:
    """Part and class of every image, from the folders it lies in."""
    paths = [m.path.parts for m in images]
    while len({p[0] for p in paths}) == 1 and all(len(p) > 2 for p in paths) and paths[0][0].lower() not in PARTS:
        paths = [p[1:] for p in paths]  # an archive's own top folder
    tops = {p[0].lower() for p in paths}
    training = any(PARTS.get(p[0].lower()) == "train" and len(p) > 2 for p in paths)
    if training and (others := sorted(tops - PARTS.keys())):
        raise InputError(
            f"source {name!r} has a training part and, beside it, folders that are no part: {', '.join(others[:5])} "
            f"(parts are called {', '.join(PARTS)})"
        )
    split = tops <= PARTS.keys() and any(PARTS[top] == "train" for top in tops)
    files = []
    for member, parts in zip(images, paths, strict=True):
        if len(parts) < 2 + split:
            raise InputError(f"source {name!r}: {member.path} lies in no class folder")
        files.append(Labelled(member, PARTS[parts[0].lower()] if split else "", parts[split]))
    return files
