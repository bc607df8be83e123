"""Labelled images in memory, and the one conversion from bytes to numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from underdog.data.pixels import Pixels, at_a_time, in_parts, index_select
from underdog.errors import InputError

__all__ = ["ImageSet", "to_device", "to_unit"]

#: Images whose pixels are hashed at a time, and their bytes, at most.
CHUNK, BYTES = 1024, 2**22


def to_unit(images: Tensor) -> Tensor:
    """Turn bytes 0..255 into float32 in [0, 1]: x / 255, the same on every device.

    Everything in underdog that needs numbers comes through here, since x / 255 and x * (1/255)
    differ in the last bit for half of all values, and a device may turn the division by a
    constant into the product. The divisor is therefore a tensor on the device.

    >>> to_unit(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])
    """
    return images.to(torch.float32, copy=True).div_(torch.full((), 255.0, device=images.device))


def to_device(values: Tensor | npt.NDArray[Any], device: torch.device) -> Tensor:
    """Put numbers on a device without waiting: a GPU copies them from pinned memory.

    >>> to_device(np.arange(3), torch.device("cpu"))
    tensor([0, 1, 2])
    """
    own = torch.as_tensor(values)
    fetched = device.type == "cuda" and own.device.type == "cpu" and own.numel()
    return own.pin_memory().to(device, non_blocking=True) if fetched else own.to(device)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images of one size.

    Args:
        images: (N, C, H, W) uint8, a tensor; or a ``PixelFile``, which reads what is indexed from disk.
        labels: (N,) int64, class numbers in [0, K).
        classes: the K class names, each once.
        groups: (N,) names of what images belong together (a patient, a lesion, a video), or None.
        items: (N,) names of the images, such as file names; their numbers where None.
        minority: the class numbers that are known to be rare, or None where that is decided by the counts.

    Raises:
        InputError: lengths, types or ranges do not agree.

    >>> ImageSet(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1]), ("cat", "dog")).counts
    (1, 1)
    """

    images: Pixels
    labels: Tensor
    classes: tuple[str, ...]
    groups: npt.NDArray[np.str_] | None = None
    items: npt.NDArray[np.str_] | None = None
    minority: frozenset[int] | None = None

    def __post_init__(self) -> None:
        n = len(self.images)
        if isinstance(self.images, Tensor) and (self.images.dtype != torch.uint8 or self.images.ndim != 4):
            shape = tuple(self.images.shape)
            raise InputError(f"images must be uint8 of shape (N, C, H, W), not {self.images.dtype} of {shape}")
        if self.labels.dtype != torch.int64 or self.labels.shape != (n,):
            raise InputError(
                f"labels must be int64 of shape ({n},), not {self.labels.dtype} of {tuple(self.labels.shape)}"
            )
        if n and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.classes):
            raise InputError(f"labels must lie in [0, {len(self.classes)}), one number for each of the classes")
        if len(set(self.classes)) != len(self.classes):
            raise InputError(f"classes must be named once each, not {self.classes}")
        for name in ("groups", "items"):
            values = getattr(self, name)
            if values is not None and len(values) != n:
                raise InputError(f"{name} must name each of the {n} images, not {len(values)}")
        if self.minority is not None and not self.minority <= set(range(len(self.classes))):
            raise InputError(f"minority must be class numbers in [0, {len(self.classes)}), not {set(self.minority)}")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        _, c, h, w = self.images.shape
        return c, h, w

    @property
    def counts(self) -> tuple[int, ...]:
        """(K,) images of each class."""
        return tuple(torch.bincount(self.labels, minlength=len(self.classes)).tolist())

    @property
    def names(self) -> npt.NDArray[np.str_]:
        """(N,) the items, or the images' numbers where they have no names."""
        return np.arange(len(self)).astype(np.str_) if self.items is None else self.items

    def select(self, indices: npt.NDArray[np.int64] | Sequence[int]) -> ImageSet:
        """The images at ``indices``, in that order: copies of those in memory; of a file nothing is read."""
        at = np.asarray(indices, dtype=np.int64)
        return replace(
            self,
            images=index_select(self.images, at),
            labels=self.labels[torch.from_numpy(at)],
            groups=None if self.groups is None else self.groups[at],
            items=None if self.items is None else self.items[at],
        )

    @cached_property
    def fingerprint(self) -> str:
        """128 bits of a hash of the pixels, labels, names of classes and groups: what a run's identity calls its data."""
        digest = blake2b(digest_size=16)
        for part in (
            repr((tuple(self.images.shape), self.classes, self.minority)).encode(),
            self.labels.numpy().tobytes(),
        ):
            digest.update(part)
        for pixels in in_parts(self.images, at_a_time(self.images, CHUNK, BYTES)) if len(self) else ():
            digest.update(pixels.contiguous().numpy().data)
        if self.groups is not None:
            digest.update("\0".join(self.groups.tolist()).encode())
        return digest.hexdigest()
