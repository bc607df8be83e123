"""MNIST-style idx files."""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
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

__all__ = ["all_resized", "idx_name", "read_idx"]

IDX = {
    part: (f"{name}-images-idx3-ubyte", f"{name}-labels-idx1-ubyte")
    for part, name in (("train", "train"), ("test", "t10k"))
}


def idx_name(path: PurePosixPath) -> str | None:
    """The standard name of an idx file ("t10k.images-idx3" and ".gz" forms included), or None."""
    name = path.name.removesuffix(".gz").replace(".idx", "-idx")
    return name if any(name in pair for pair in IDX.values()) else None


def read_idx(name: str, members: list[Member], reading: Reading) -> dict[str, ImageSet]:
    """The images of every part that is there."""
    files = {found: m for m in members if (found := idx_name(m.path))}
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
            parts[part] = all_resized(pixels[:, None], reading), torch.from_numpy(y)
    if not all(len(y) for _, y in parts.values()):
        raise InputError(f"source {name!r} has idx files with no image in them")
    classes = tuple(map(str, range(int(max(y.max() for _, y in parts.values())) + 1)))
    return {part: ImageSet(x, y, classes) for part, (x, y) in parts.items()}


def all_resized(pixels: npt.NDArray[np.uint8], reading: Reading) -> torch.Tensor:
    """(N, C, H, W) pixels, C = 1 or 3, brought to the size that is asked for, if any."""
    if reading.size is None:
        return torch.from_numpy(pixels)
    images = np.moveaxis(pixels, 1, 3) if pixels.shape[1] == 3 else pixels[:, 0]
    small = np.stack([np.asarray(resized(Image.fromarray(image), reading)) for image in images])
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(small, 3, 1)) if small.ndim == 4 else small[:, None])


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
