"""Sources whose files hold many images each: MNIST-style idx files and CIFAR's binary files."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from underdog.data.archive import LARGEST, Member
from underdog.data.decode import resized
from underdog.data.images import ImageSet
from underdog.data.reading import Reading
from underdog.errors import InputError

__all__ = ["Arrays", "find_arrays"]


@dataclass(frozen=True)
class Arrays:
    """The files of one set, and what reads them."""

    members: list[Member]
    reader: Callable[[str, list[Member], Reading], dict[str, ImageSet]]

    def read(self, name: str, reading: Reading) -> dict[str, ImageSet]:
        """The images of every part that is there."""
        return self.reader(name, self.members, reading)


def find_arrays(name: str, members: Sequence[Member]) -> Arrays | None:
    """The files of the set that lies nearest to the top of a source, None where there is none.

    Raises:
        InputError: several sets lie equally near; CIFAR's files for Python, which are pickles.
    """
    special = [m for m in members if _idx_name(m.path) or _is_cifar_name(m.path)]
    for depth in sorted({len(m.path.parts) for m in special}):
        level = [m for m in special if len(m.path.parts) == depth]
        sets = _cifar_sets([m.path for m in level]) + ["idx"] * any(_idx_name(m.path) for m in level)
        if sets:
            _check_single(name, level, sets)
            return Arrays(level, _read_idx if sets == ["idx"] else _read_cifar)
    return None


def _check_single(name: str, level: Sequence[Member], sets: Sequence[str]) -> None:
    """Refuse to choose between several sets."""
    # A file beside its own gzipped form is still one file.
    files = {(m.path.parent, _idx_name(m.path) or m.path.name) for m in level}
    often = Counter(file for _, file in files)
    if len(sets) > 1 or max(often.values()) > 1:
        folders = ", ".join(sorted({str(folder) for folder, _ in files}))
        raise InputError(f"source {name!r} has several sets of images (in {folders}): name the folder of one")


def _check_there(name: str, kind: str, files: Mapping[str, Member], expected: Iterable[str]) -> None:
    for file in expected:
        if file not in files:
            raise InputError(f"source {name!r} has {kind}, but no {file}")


def _resized(pixels: npt.NDArray[np.uint8], reading: Reading) -> torch.Tensor:
    """(N, C, H, W) pixels, C = 1 or 3, brought to the size that is asked for, if any."""
    if reading.size is None:
        return torch.from_numpy(pixels)
    images = np.moveaxis(pixels, 1, 3) if pixels.shape[1] == 3 else pixels[:, 0]
    small = np.stack([np.asarray(resized(Image.fromarray(image), reading)) for image in images])
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(small, 3, 1)) if small.ndim == 4 else small[:, None])


# MNIST's

IDX = {
    part: (f"{name}-images-idx3-ubyte", f"{name}-labels-idx1-ubyte")
    for part, name in (("train", "train"), ("test", "t10k"))
}


def _idx_name(path: PurePosixPath) -> str | None:
    """The standard name of an idx file ("t10k.images-idx3" and ".gz" forms included), or None."""
    name = path.name.removesuffix(".gz").replace(".idx", "-idx")
    return name if any(name in pair for pair in IDX.values()) else None


def _read_idx(name: str, members: list[Member], reading: Reading) -> dict[str, ImageSet]:
    """The images of every part that is there."""
    files = {found: m for m in members if (found := _idx_name(m.path))}
    _check_there(name, "idx files", files, IDX["train"] + (IDX["test"] if files.keys() & set(IDX["test"]) else ()))
    # In the order of the archive, which may only be readable from front to back.
    arrays = {found: _idx_array(m) for found, m in files.items()}
    parts = {}
    for part, (images, labels) in IDX.items():
        if images in arrays:
            pixels, y = arrays[images], arrays[labels].astype(np.int64)
            if pixels.ndim != 3 or y.ndim != 1 or len(pixels) != len(y):
                raise InputError(f"source {name!r}: {images} and {labels} do not describe the same images")
            parts[part] = _resized(pixels[:, None], reading), torch.from_numpy(y)
    if not all(len(y) for _, y in parts.values()):
        raise InputError(f"source {name!r} has idx files with no image in them")
    classes = tuple(map(str, range(int(max(y.max() for _, y in parts.values())) + 1)))
    return {part: ImageSet(x, y, classes) for part, (x, y) in parts.items()}


def _idx_array(member: Member) -> npt.NDArray[np.uint8]:
    """An idx file: two zero bytes, the type (8: uint8), the number of axes, their lengths, the values."""
    raw = member.read()
    try:
        data = _unzipped(raw) if raw[:2] == b"\x1f\x8b" else raw
        zero, kind, axes = struct.unpack_from(">HBB", data)
        shape = struct.unpack_from(f">{axes}I", data, 4)
    except (struct.error, EOFError, OSError, zlib.error) as error:
        raise InputError(f"{member.path} is not a readable idx file: {error}") from error
    if zero or kind != 8 or len(data) != 4 + 4 * axes + math.prod(shape):
        raise InputError(f"{member.path} is not an idx file of bytes, or not whole")
    return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape).copy()


def _unzipped(raw: bytes) -> bytes:
    with gzip.GzipFile(fileobj=io.BytesIO(raw)) as file:
        data = file.read(LARGEST)
        if file.read(1):
            raise OSError(f"it unpacks to more than {LARGEST:,} bytes")
    return data


# CIFAR's

#: Of each set, the files of its parts, the file with the names of its classes, and the label bytes before an image, of
#: which the last is the class (CIFAR-100 has a coarser one before it).
CIFAR_SETS = (
    (tuple(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin", "batches.meta.txt", 1),
    (("train.bin",), "test.bin", "fine_label_names.txt", 2),
)
CIFAR_SHAPE = (3, 32, 32)
#: Files by which the versions that are not read are known.
FOREIGN = (
    ({"data_batch_1", "batches.meta"}, "Python version, whose files are pickles, which can run any program"),
    ({"data_batch_1.mat", "batches.meta.mat"}, "Matlab version"),
)
_NAMES = set().union(*(names for names, _ in FOREIGN), *({*train, test, meta} for train, test, meta, _ in CIFAR_SETS))


def _is_cifar_name(path: PurePosixPath) -> bool:
    """Whether a file is called like one of a CIFAR set, in any of its versions."""
    return path.name in _NAMES


def _cifar_sets(paths: Sequence[PurePosixPath]) -> list[str]:
    """The CIFAR sets that files belong to, each by the name of the file with the names of its classes.

    Raises:
        InputError: they are those of CIFAR-10's versions for Python or Matlab.
    """
    names = {path.name for path in paths}
    for own, version in FOREIGN:
        if own <= names:
            raise InputError(
                f"this is CIFAR-10's {version}: underdog reads the binary version "
                "(cifar-10-binary.tar.gz, which 'underdog data fetch cifar10 --to DIR' gets)"
            )
    return [meta for train, test, meta, _ in CIFAR_SETS if meta in names and names & {*train, test}]


def _read_cifar(name: str, members: Sequence[Member], reading: Reading) -> dict[str, ImageSet]:
    """The images of every part that is there.

    Raises:
        InputError: a file that is missing, not whole, or has labels without a name.
    """
    files = {member.path.name: member for member in members}
    train, test, meta, before = next(s for s in CIFAR_SETS if s[2] in files)
    _check_there(name, "files of CIFAR", files, (*train, meta))
    # In the order of the archive, which may only be readable from front to back.
    contents = {file: member.read() for file, member in files.items() if file in (*train, test, meta)}
    classes = tuple(contents[meta].decode("utf-8", "replace").split())
    parts = {"train": train} | ({"test": (test,)} if test in files else {})
    return {
        part: _images(name, b"".join(_whole(files[n], contents[n], before) for n in own), before, classes, reading)
        for part, own in parts.items()
    }


def _whole(member: Member, data: bytes, before: int) -> bytes:
    record = before + int(np.prod(CIFAR_SHAPE))
    if not data or len(data) % record:
        raise InputError(
            f"{member.path} is not a CIFAR file, or not whole: {len(data)} bytes are no multiple of {record}"
        )
    return data


def _images(name: str, data: bytes, before: int, classes: tuple[str, ...], reading: Reading) -> ImageSet:
    """Records of the label and the red, green and blue values of an image."""
    records = np.frombuffer(data, np.uint8).reshape(-1, before + int(np.prod(CIFAR_SHAPE)))
    labels = records[:, before - 1].astype(np.int64)
    if labels.max() >= len(classes):
        raise InputError(
            f"source {name!r} has an image of class number {labels.max()}, but {len(classes)} names of classes"
        )
    pixels = records[:, before:].reshape(-1, *CIFAR_SHAPE).copy()
    return ImageSet(_resized(pixels, reading), torch.from_numpy(labels), classes)
