"""From a name or a path to images in memory."""

from __future__ import annotations

import gzip
import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps

from underdog.data.archive import Member, open_members
from underdog.data.decode import Size, decode
from underdog.data.images import ImageSet
from underdog.data.tables import Column, missing
from underdog.errors import InputError, nearest

__all__ = ["Source", "load_images"]

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
IDX = {
    part: (f"{name}-images-idx3-ubyte", f"{name}-labels-idx1-ubyte")
    for part, name in (("train", "train"), ("test", "t10k"))
}

Progress = Callable[[int], object]


@dataclass(frozen=True, eq=False)
class Source:
    """Images as they come, in the parts they come in.

    Attributes:
        name: what the source is called in reports.
        train: the training part, or everything where the source has no parts.
        val, test: the source's own parts, or None.
        notes: remarks, such as how many files were no images.
    """

    name: str
    train: ImageSet
    val: ImageSet | None = None
    test: ImageSet | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def fingerprint(self) -> str:
        """128 bits of a hash of everything in the source but its name."""
        parts = [p.fingerprint if p else "" for p in (self.train, self.val, self.test)]
        return blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()


def load_images(
    source: str | Path,
    size: Size | None = None,
    skip_corrupt: bool = False,
    progress: Progress = lambda images: None,
    groups: str | None = None,
    allow_group_leak: bool = False,
) -> Source:
    """Read a source of images.

    Args:
        source: "digits"; a folder or archive of MNIST-style idx files (gzipped or not); a folder or
            archive of class folders, as it is or in train/, val/ and test/.
        size: (height, width) to bring images to: resized to fill it, the overhang cut off evenly. Needed
            where sizes differ or exceed 256; digits are enlarged to 16x16 without.
        skip_corrupt: leave out files that cannot be decoded, and count them in the notes.
        progress: called with the number of images as they are decoded.
        groups: "FILE.csv:IMAGE,GROUP", the table on disk or in the source whose column GROUP says what images
            belong together (a patient, a lesion, a video).
        allow_group_leak: accept groups that are in several of the source's own parts, and note it.

    Raises:
        InputError: no such source, nothing in it, a single class, a corrupt image, differing sizes.

    >>> digits = load_images("digits")
    >>> len(digits.train), digits.train.shape, digits.train.classes[:3]
    (1797, (1, 16, 16), ('0', '1', '2'))
    """
    if str(source) == "digits":
        return _digits(size or (16, 16))
    path = Path(source).expanduser()
    if not path.exists():
        near = nearest(str(source), ["digits", *(p.name for p in _siblings(path))])
        raise InputError(f"source {str(source)!r}: no such folder or file{near}")
    with open_members(path) as members:
        if any(_idx_name(m.path) for m in members):
            return _idx(path.name, members, size)
        found = _folders(path.name, members, size, skip_corrupt, progress, Column.parse(groups) if groups else None)
    return _check_leak(found, allow_group_leak)


def _siblings(path: Path) -> list[Path]:
    return list(path.parent.iterdir()) if path.parent.is_dir() else []


# Digits


def _digits(size: Size) -> Source:
    """scikit-learn's 1,797 scans of 8x8 pixels with 17 levels, enlarged."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  (slow to import, and only needed here)

    bunch = load_digits()
    small = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(s).resize(size[::-1], Image.Resampling.BILINEAR)) for s in small]
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    images = ImageSet(torch.from_numpy(np.stack(large))[:, None], labels, tuple("0123456789"))
    return Source("digits", images)


# idx


def _idx_name(path: PurePosixPath) -> str | None:
    """The standard name of an idx file ("t10k.images-idx3" and ".gz" forms included), or None."""
    name = path.name.removesuffix(".gz").replace(".idx", "-idx")
    return name if any(name in pair for pair in IDX.values()) else None


def _idx(name: str, members: list[Member], size: Size | None) -> Source:
    files = {found: m for m in members if (found := _idx_name(m.path))}
    for expected in IDX["train"] + (IDX["test"] if files.keys() & set(IDX["test"]) else ()):
        if expected not in files:
            raise InputError(f"source {name!r} has idx files, but no {expected}")
    # In the order of the archive, which may only be readable from front to back.
    arrays = {found: _idx_array(m) for found, m in files.items()}
    parts = {}
    for part, (images, labels) in IDX.items():
        if images in arrays:
            pixels, y = arrays[images], arrays[labels].astype(np.int64)
            if pixels.ndim != 3 or y.ndim != 1 or len(pixels) != len(y):
                raise InputError(f"source {name!r}: {images} and {labels} do not describe the same images")
            if size is not None:
                pixels = np.stack([np.asarray(ImageOps.fit(Image.fromarray(p), size[::-1])) for p in pixels])
            parts[part] = torch.from_numpy(pixels)[:, None], torch.from_numpy(y)
    if not all(len(y) for _, y in parts.values()):
        raise InputError(f"source {name!r} has idx files with no image in them")
    classes = tuple(map(str, range(int(max(y.max() for _, y in parts.values())) + 1)))
    sets = {part: ImageSet(x, y, classes) for part, (x, y) in parts.items()}
    _check_classes(name, sets["train"])
    return Source(name, sets["train"], test=sets.get("test"))


def _idx_array(member: Member) -> npt.NDArray[np.uint8]:
    """An idx file: two zero bytes, the type (8: uint8), the number of axes, their lengths, the values."""
    raw = member.read()
    try:
        data = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        zero, kind, axes = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{axes}I", data, 4)
    except (struct.error, EOFError, OSError, gzip.BadGzipFile) as error:
        raise InputError(f"{member.path} is not a readable idx file: {error}") from error
    if zero or kind != 8 or len(data) != 4 + 4 * axes + int(np.prod(shape)):
        raise InputError(f"{member.path} is not an idx file of bytes, or not whole")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape).copy()


# Class folders


@dataclass(frozen=True)
class Labelled:
    """An image file with its part ("" where the source has no parts) and class."""

    member: Member
    part: str
    label: str


def _folders(
    name: str,
    members: list[Member],
    size: Size | None,
    skip_corrupt: bool,
    progress: Progress,
    groups: Column | None,
) -> Source:
    images = [m for m in members if m.path.suffix.lower() in IMAGE_SUFFIXES]
    notes = [f"{n} files that are no images were ignored"] if (n := len(members) - len(images)) else []
    if not images:
        raise InputError(f"source {name!r} has no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    files = _labelled(name, images)
    classes = tuple(sorted({f.label for f in files}))
    if len(classes) < 2:
        raise InputError(
            f"source {name!r} has images of one class only ({classes[0]!r}); at least two folders are needed"
        )
    group = _groups([f.member.path for f in files], members, groups)
    decoded, corrupt = decode([f.member for f in files], size, skip_corrupt, progress)
    if corrupt:
        some = ", ".join(corrupt[:5]) + (" ..." if len(corrupt) > 5 else "")
        notes.append(f"{len(corrupt)} corrupt files were left out: {some}")
    channels = 3 if any(p is not None and p.ndim == 3 for p in decoded) else 1

    def collect(part: str) -> ImageSet | None:
        at = [n for n, f in enumerate(files) if f.part == part and decoded[n] is not None]
        if not at:
            return None
        at.sort(key=lambda n: files[n].member.path)
        own: npt.NDArray[np.uint8] | None = None
        for row, n in enumerate(at):
            pixels = decoded[n]
            decoded[n] = None  # so that the images are in memory once, not twice
            if pixels is not None:
                own = np.empty((len(at), channels, *pixels.shape[:2]), np.uint8) if own is None else own
                own[row] = np.moveaxis(pixels, 2, 0) if pixels.ndim == 3 else pixels
        labels = torch.tensor([classes.index(files[n].label) for n in at])
        items = np.array([str(files[n].member.path) for n in at])
        return ImageSet(torch.from_numpy(own), labels, classes, group if group is None else group[at], items)

    train = collect("train") or collect("")
    if train is None:
        raise InputError(f"source {name!r} has no images in its training part")
    _check_classes(name, train)
    return Source(name, train, collect("val"), collect("test"), tuple(notes))


def _groups(paths: list[PurePosixPath], members: list[Member], groups: Column | None) -> npt.NDArray[np.str_] | None:
    """The group of every image, from a table that has to name each."""
    if groups is None:
        return None
    found = groups.values(paths, members)
    if absent := [p for p, g in zip(paths, found, strict=True) if g is None]:
        raise missing(groups.file, absent)
    return np.array(found)


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


def _check_classes(name: str, train: ImageSet) -> None:
    for label, n in zip(train.classes, train.counts, strict=True):
        if not n:
            raise InputError(f"source {name!r}: class {label!r} has no training image")
    if len(train.classes) < 2:
        raise InputError(f"source {name!r} has one class only")
