"""Image files with a class for each: which they are, before any is decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace

from underdog.data.archive import Member
from underdog.data.layout import Placed, check_classes, place
from underdog.data.reading import Reading
from underdog.data.tables import CsvColumn, check_labels
from underdog.errors import InputError

__all__ = ["IMAGE_SUFFIXES", "Labelled", "Listing", "finish", "list_images"]

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}

#: Lists that come beside MIT Indoor 67; they name 6,700 of its 15,620 images.
UNUSED_LISTS = {"TestImages.txt", "TrainImages.txt"}


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
        InputError: no images, images in no class folder, folders that can be read in two ways, a single class, one class
            by two names, a table that does not fit.
    """
    images = [m for m in members if m.path.suffix.lower() in IMAGE_SUFFIXES]
    notes = []
    if ignored := len(members) - len(images):
        notes.append(f"{ignored} files that are no images were ignored")
    if lists := sorted({m.path.name for m in members} & UNUSED_LISTS):
        notes.append(
            f"{' and '.join(lists)} were not used: all images are divided, not only those that are listed there"
        )
    if not images:
        raise InputError(f"source {name!r} has no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    placed, more = place(name, images, reading.layout, reading.labels is not None)
    if reading.labels is None:
        files = [_in_class_folder(name, p) for p in placed]
    else:
        table = CsvColumn.parse(reading.labels, "labels").read(members)
        check_labels(table)
        labels = table.values([p.member.path for p in placed])
        files = [Labelled(p.member, p.part, label) for p, label in zip(placed, labels, strict=True)]
    return finish(Listing(name, tuple(files), (*notes, *more)), members, reading)


def finish(listing: Listing, members: list[Member], reading: Reading) -> Listing:
    """The listing with its groups, and checked.

    Raises:
        InputError: a table of groups that does not fit, a single class, one class by two names.
    """
    if reading.groups is not None:
        groups = CsvColumn.parse(reading.groups, "groups").read(members).values([m.path for m in listing.members])
        listing = replace(listing, files=tuple(replace(f, group=g) for f, g in zip(listing.files, groups, strict=True)))
    if len(listing.classes) < 2:
        raise InputError(f"source {listing.name!r} has images of one class only ({listing.classes[0]!r})")
    check_classes(listing.name, listing.classes)
    return listing


def _in_class_folder(name: str, placed: Placed) -> Labelled:
    if not placed.folders:
        raise InputError(
            f"source {name!r}: {placed.member.path} lies in no class folder (--labels takes the classes from a table)"
        )
    return Labelled(placed.member, placed.part, placed.folders[0])
