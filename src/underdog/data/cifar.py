"""The official binary files of CIFAR-10 and CIFAR-100."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import torch

from underdog.data.archive import Member
from underdog.data.idx import all_resized
from underdog.data.images import ImageSet
from underdog.data.reading import Reading
from underdog.errors import InputError

__all__ = ["cifar_sets", "is_cifar_name", "read_cifar"]

#: Of each set, the files of its parts, the file with the names of its classes, and the label bytes before an image, of
#: which the last is the class (CIFAR-100 has a coarser one before it).
SETS = (
    (tuple(f"data_batch_{n}.bin" for n in range(1, 6)), "test_batch.bin", "batches.meta.txt", 1),
    (("train.bin",), "test.bin", "fine_label_names.txt", 2),
)
PIXELS = (3, 32, 32)
#: Files by which the versions that are not read are known.
FOREIGN = (
    ({"data_batch_1", "batches.meta"}, "Python version, whose files are pickles, which can run any program"),
    ({"data_batch_1.mat", "batches.meta.mat"}, "Matlab version"),
)
_NAMES = set().union(*(names for names, _ in FOREIGN), *({*train, test, meta} for train, test, meta, _ in SETS))


def is_cifar_name(path: PurePosixPath) -> bool:
    """Whether a file is called like one of a CIFAR set, in any of its versions."""
    return path.name in _NAMES


def cifar_sets(paths: Sequence[PurePosixPath]) -> list[str]:
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
    return [meta for train, test, meta, _ in SETS if meta in names and names & {*train, test}]


def read_cifar(name: str, members: Sequence[Member], reading: Reading) -> dict[str, ImageSet]:
    """The images of every part that is there.

    Raises:
        InputError: a file that is missing, not whole, or has labels without a name.
    """
    files = {member.path.name: member for member in members}
    train, test, meta, before = next(s for s in SETS if s[2] in files)
    for expected in (*train, meta):
        if expected not in files:
            raise InputError(f"source {name!r} has files of CIFAR, but no {expected}")
    # In the order of the archive, which may only be readable from front to back.
    contents = {file: member.read() for file, member in files.items() if file in (*train, test, meta)}
    classes = tuple(contents[meta].decode("utf-8", "replace").split())
    parts = {"train": train} | ({"test": (test,)} if test in files else {})
    return {
        part: _images(name, b"".join(_whole(files[n], contents[n], before) for n in own), before, classes, reading)
        for part, own in parts.items()
    }


def _whole(member: Member, data: bytes, before: int) -> bytes:
    record = before + int(np.prod(PIXELS))
    if not data or len(data) % record:
        raise InputError(
            f"{member.path} is not a CIFAR file, or not whole: {len(data)} bytes are no multiple of {record}"
        )
    return data


def _images(name: str, data: bytes, before: int, classes: tuple[str, ...], reading: Reading) -> ImageSet:
    """Records of the label and the red, green and blue values of an image."""
    records = np.frombuffer(data, np.uint8).reshape(-1, before + int(np.prod(PIXELS)))
    labels = records[:, before - 1].astype(np.int64)
    if labels.max() >= len(classes):
        raise InputError(
            f"source {name!r} has an image of class number {labels.max()}, but {len(classes)} names of classes"
        )
    pixels = records[:, before:].reshape(-1, *PIXELS).copy()
    return ImageSet(all_resized(pixels, reading), torch.from_numpy(labels), classes)
