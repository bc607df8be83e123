"""From a name or a path to images in memory."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from hashlib import blake2b
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from underdog.data.archive import Member, open_members
from underdog.data.arrays import Arrays, find_arrays
from underdog.data.cache import CachedSource, check_writable
from underdog.data.decode import Decoded, decode
from underdog.data.folders import Listing, list_images
from underdog.data.frozen import FrozenNetwork
from underdog.data.huggingface import is_dataset, list_dataset
from underdog.data.images import ImageSet
from underdog.data.memory import image_memory
from underdog.data.reading import Progress, Reading, Size
from underdog.errors import InputError
from underdog.paths import existing_source

__all__ = ["Source", "find_files", "load_images"]


@dataclass(frozen=True, eq=False)
class Source:
    """Images as they come, in the parts they come in.

    Attributes:
        name: what the source is called in reports.
        train: the training part, or everything where the source has no parts.
        val, test: the source's own parts, or None.
        notes: remarks, such as how many files were no images.
        reading: how its files were read, for whoever is to read others alike.
        frozen: the network whose features the images are; None where they are images.
    """

    name: str
    train: ImageSet
    val: ImageSet | None = None
    test: ImageSet | None = None
    notes: tuple[str, ...] = ()
    reading: Reading = field(default_factory=Reading)
    frozen: FrozenNetwork | None = None

    @property
    def parts(self) -> dict[str, ImageSet]:
        """The parts that are there, by name: "train", "val", "test"."""
        return {name: part for name in ("train", "val", "test") if (part := getattr(self, name)) is not None}

    @cached_property
    def fingerprint(self) -> str:
        """128 bits of a hash of everything in the source but its name."""
        parts = [p.fingerprint if p else "" for p in (self.train, self.val, self.test)]
        return blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def load_images(
    source: str | Path,
    reading: Reading | None = None,
    progress: Progress = lambda images: None,
    cache: Path | None = None,
    memory: int | None = None,
) -> Source:
    """Read a source of images.

    Args:
        source: "digits"; a folder or archive of class folders, as it is or in train/, val/ and test/; one of
            any images whose classes a table has (``Reading.labels``); one of MNIST-style idx files (gzipped or not) or
            CIFAR's binary files; a folder that Hugging Face's ``datasets`` saved.
        reading: size, tables, and what to do about what is wrong.
        progress: called with the number of images as they are decoded.
        cache: folder for decoded images, from where they come the next time; default none.
        memory: bytes that decoded images may take, by default a third of what is available (also within ``ulimit -d`` and
            control groups). What exceeds them stays in the cache, and is read while training; results are the same.

    Raises:
        InputError: no such source, nothing in it, a single class, a corrupt image, differing sizes, tables that
            do not fit, groups in several parts, a cache that cannot be written; images that exceed the memory, without one.

    >>> digits = load_images("digits")
    >>> len(digits.train), digits.train.shape, digits.train.classes[:3]
    (1797, (1, 16, 16), ('0', '1', '2'))
    """
    reading = reading or Reading()
    if cache:
        check_writable(cache)
    if str(source) == "digits":
        _check_plain("digits", reading)
        return replace(_digits(reading.size or (16, 16)), reading=reading)
    path = existing_source(source)
    memory = image_memory() if memory is None else memory
    kept = CachedSource(path, cache, memory) if cache else None
    with kept.members() if kept else open_members(path) as members:
        files = find_files(path, members, reading)
        if isinstance(files, Arrays):
            found = _arrays(path.name, files, reading)
        else:
            decoding = kept.decode if kept else partial(decode, memory=memory)
            found = _labelled(files, decoding(files.members, reading, progress), reading)
    _check_classes(found.name, found.train)
    return replace(_check_leak(found, reading.allow_group_leak), reading=reading)


def find_files(path: Path, members: list[Member], reading: Reading) -> Listing | Arrays:
    """The image files of a source with what is known of each, or its files where each holds many images.

    Args:
        path: of the source.
        members: what ``open_members`` found there.
        reading: layout and tables.

    Raises:
        InputError: as ``list_images``, ``list_dataset`` and ``find_arrays``.
    """
    if path.is_dir() and is_dataset([m.path for m in members]):
        return list_dataset(path, members, reading)
    return find_arrays(path.name, members) or list_images(path.name, members, reading)


def _arrays(name: str, arrays: Arrays, reading: Reading) -> Source:
    """A source whose files hold many images each."""
    _check_plain(name, reading)
    parts = arrays.read(name, reading)
    return Source(name, parts["train"], test=parts.get("test"))


def _check_plain(name: str, reading: Reading) -> None:
    """Refuse tables and layouts where images are no files."""
    for option in ("layout", "labels", "groups"):
        if getattr(reading, option) != getattr(Reading(), option):
            raise InputError(f"--{option} does not apply to {name!r}, whose images are not files of their own")


def _labelled(listing: Listing, decoded: Decoded, reading: Reading) -> Source:
    """The images of a listing, part by part, in the order of their paths."""
    files, classes = listing.files, listing.classes
    notes = (*listing.notes, *decoded.notes)
    if decoded.corrupt:
        some = ", ".join(list(decoded.corrupt)[:5]) + (" ..." if len(decoded.corrupt) > 5 else "")
        notes = (*notes, f"{len(decoded.corrupt)} corrupt files were left out: {some}")

    def collect(part: str) -> ImageSet | None:
        rows = [row for row, n in enumerate(decoded.kept) if files[n].part == part]
        if not rows:
            return None
        of = [files[decoded.kept[row]] for row in rows]
        labels = torch.tensor([classes.index(f.label) for f in of])
        groups = np.array([f.group for f in of]) if reading.groups else None
        items = np.array([str(f.member.path) for f in of])
        return ImageSet(decoded.some(rows), labels, classes, groups, items)

    train = collect("train") or collect("")
    if train is None:
        raise InputError(f"source {listing.name!r} has no images in its training part")
    return Source(listing.name, train, collect("val"), collect("test"), notes)


def _digits(size: Size) -> Source:
    """scikit-learn's 1,797 scans of 8x8 pixels with 17 levels, enlarged."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  (slow to import, and only needed here)

    bunch = load_digits()
    small = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(s).resize(size[::-1], Image.Resampling.BILINEAR)) for s in small]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    images = ImageSet(torch.from_numpy(np.stack(large))[:, None], labels, tuple("0123456789"))
    return Source("digits", images)


def _check_leak(source: Source, allowed: bool) -> Source:
    """Refuse groups that are in several of a source's own parts; or note them."""
    parts = {"training": source.train, "validation": source.val, "test": source.test}
    own = {name: set(p.groups.tolist()) for name, p in parts.items() if p is not None and p.groups is not None}
    leaks = []
    for a, b in itertools.combinations(own, 2):
        if shared := sorted(own[a] & own[b]):
            some = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
            leaks.append(f"{len(shared)} group{'s' * (len(shared) != 1)} in both the {a} and the {b} part ({some})")
    if not leaks:
        return source
    if not allowed:
        raise InputError(
            f"source {source.name!r} has {'; '.join(leaks)}: scores on such images flatter; "
            "--allow-group-leak accepts it and says so in the report"
        )
    return replace(source, notes=(*source.notes, f"groups leak: {'; '.join(leaks)}, so scores may flatter"))


def _check_classes(name: str, train: ImageSet) -> None:
    for label, n in zip(train.classes, train.counts, strict=True):
        if not n:
            raise InputError(f"source {name!r}: class {label!r} has no training image")
    if len(train.classes) < 2:
        raise InputError(f"source {name!r} has one class only")
