"""From a name or a path to images in memory."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import blake2b
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from underdog.data.images import ImageSet
from underdog.errors import InputError, unknown

__all__ = ["Source", "load"]

IMAGE_SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2")
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
#: Images of different sizes, or larger than this, need a size to be brought to.
LARGEST = 256
#: Encoded images waiting to be decoded, at most.
WAITING = 512

Size = tuple[int, int]
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


@dataclass(frozen=True)
class Member:
    """A file of a source: its path inside, and how to get its bytes."""

    path: PurePosixPath
    read: Callable[[], bytes]


def load(
    source: str | Path, size: Size | None = None, skip_corrupt: bool = False, progress: Progress = lambda images: None
) -> Source:
    """Read a source of images.

    Args:
        source: "digits"; a folder or archive of MNIST-style idx files (gzipped or not); a folder or
            archive of class folders, as it is or in train/, val/ and test/.
        size: (height, width) to bring images to: resized to fill it, the overhang cut off evenly. Needed
            where sizes differ or exceed 256; digits are enlarged to 16x16 without.
        skip_corrupt: leave out files that cannot be decoded, and count them in the notes.
        progress: called with the number of images as they are decoded.

    Raises:
        InputError: no such source, nothing in it, a single class, a corrupt image, differing sizes.

    >>> digits = load("digits")
    >>> len(digits.train), digits.train.shape, digits.train.classes[:3]
    (1797, (1, 16, 16), ('0', '1', '2'))
    """
    if str(source) == "digits":
        return _digits(size or (16, 16))
    path = Path(source).expanduser()
    if not path.exists():
        if path.parent == Path() and not path.suffix:
            raise unknown("source (no such folder or file either)", str(source), ["digits"])
        raise InputError(f"source {str(source)!r}: no such folder or file")
    with _members(path) as members:
        if any(_idx_name(m.path) for m in members):
            return _idx(path.name, members, size)
        return _folders(path.name, members, size, skip_corrupt, progress)


@contextmanager
def _members(path: Path) -> Iterator[list[Member]]:
    """The files below a folder or in an archive, without the macOS and hidden ones. Nothing is unpacked to disk."""
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
        yield _visible(Member(PurePosixPath(*p.relative_to(path).parts), p.read_bytes) for p in files)
        return
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as z:
                infos = [i for i in z.infolist() if not i.is_dir()]
                yield _visible(Member(PurePosixPath(i.filename), partial(z.read, i)) for i in infos)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as tar:
                # Compressed archives can only be read from front to back: members keep the archive's order.
                files_in = [i for i in tar.getmembers() if i.isfile()]
                yield _visible(Member(PurePosixPath(i.name), partial(_extract, tar, i)) for i in files_in)
        else:
            raise InputError(f"source {str(path)!r} is neither a folder nor an archive ({', '.join(ARCHIVE_SUFFIXES)})")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise InputError(f"source {str(path)!r} cannot be read: {error}") from error


def _extract(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info)
    return b"" if file is None else file.read()


def _visible(members: Iterable[Member]) -> list[Member]:
    return [m for m in members if not any(part.startswith((".", "__MACOSX")) for part in m.path.parts)]


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


def _folders(name: str, members: list[Member], size: Size | None, skip_corrupt: bool, progress: Progress) -> Source:
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
    decoded, corrupt = _decode(files, size, skip_corrupt, progress)
    if corrupt:
        notes.append(
            f"{len(corrupt)} corrupt files were left out: {', '.join(corrupt[:5])}{' ...' if len(corrupt) > 5 else ''}"
        )
    colour = any(p.ndim == 3 for _, p in decoded)
    shapes = Counter((p.shape[1], p.shape[0]) for _, p in decoded)
    if len(shapes) > 1 or max(max(shapes)) > LARGEST:
        most = ", ".join(f"{w}x{h} ({n})" for (w, h), n in shapes.most_common(3))
        raise InputError(
            f"source {name!r} has images of {len(shapes)} sizes, such as {most}: say which to bring them to, such as --size 64"
        )

    def collect(part: str) -> ImageSet | None:
        own = sorted(((f, p) for f, p in decoded if f.part == part), key=lambda pair: pair[0].member.path)
        if not own:
            return None
        pixels = [
            np.moveaxis(np.broadcast_to(p if p.ndim == 3 else p[..., None], (*p.shape[:2], 3)), 2, 0)
            if colour
            else p[None]
            for _, p in own
        ]
        labels = torch.tensor([classes.index(f.label) for f, _ in own])
        return ImageSet(
            torch.from_numpy(np.stack(pixels)), labels, classes, items=np.array([str(f.member.path) for f, _ in own])
        )

    train = collect("train") or collect("")
    if train is None:
        raise InputError(f"source {name!r} has no images in its training part")
    _check_classes(name, train)
    return Source(name, train, collect("val"), collect("test"), tuple(notes))


def _labelled(name: str, images: list[Member]) -> list[Labelled]:
    """Part and class of every image, from the folders it lies in."""
    paths = [m.path.parts for m in images]
    while len({p[0] for p in paths}) == 1 and all(len(p) > 2 for p in paths) and paths[0][0].lower() not in PARTS:
        paths = [p[1:] for p in paths]  # an archive's own top folder
    split = {p[0].lower() for p in paths} <= PARTS.keys() and any(PARTS[p[0].lower()] == "train" for p in paths)
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


def _decode(
    files: list[Labelled], size: Size | None, skip_corrupt: bool, progress: Progress
) -> tuple[list[tuple[Labelled, npt.NDArray[np.uint8]]], list[str]]:
    """The pixels of every file, (H, W) or (H, W, 3), and the names of those that have none."""
    decoded, corrupt = [], []
    with ThreadPoolExecutor() as pool:
        for at in range(0, len(files), WAITING):
            part = files[at : at + WAITING]
            # Read here, in the archive's order; decode there, where Pillow lets go of the interpreter.
            for file, result in zip(
                part, pool.map(lambda d: _pixels(d, size), [f.member.read() for f in part]), strict=True
            ):
                if isinstance(result, str):
                    if not skip_corrupt:
                        raise InputError(
                            f"{file.member.path} cannot be decoded: {result} (--skip-corrupt leaves such files out)"
                        )
                    corrupt.append(str(file.member.path))
                else:
                    decoded.append((file, result))
            progress(len(part))
    return decoded, corrupt


def _pixels(data: bytes, size: Size | None) -> npt.NDArray[np.uint8] | str:
    """An encoded image as uint8 (H, W) or (H, W, 3), upright; or why there is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data)) as image:
                # For a JPEG, decode no more than twice the size that is wanted.
                if size is not None:
                    image.draft(None, (2 * size[1], 2 * size[0]))
                image.load()
                upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I"):
            upright = Image.fromarray((np.asarray(upright).astype(np.uint32) >> 8).astype(np.uint8))
        upright = upright.convert("L" if upright.mode in ("1", "L", "LA") else "RGB")
        if size is not None:
            upright = ImageOps.fit(upright, size[::-1], Image.Resampling.BICUBIC)
        return np.asarray(upright)
    except (
        OSError,
        UnidentifiedImageError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombWarning,
        Image.DecompressionBombError,
    ) as error:
        return str(error) or type(error).__name__
