"""Random changes of training images, a batch at a time on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from underdog.errors import InputError, unknown
from underdog.names import AUGMENTATIONS
from underdog.rng import RandomStreams

__all__ = ["Augment"]

#: The part of an image's side by which ``crop`` shifts at most: 4 of 32 pixels.
REACH = 1 / 8
#: How far from 1 the factors of ``color`` are at most.
STRENGTH = 0.2


def _each(values: Tensor) -> Tensor:
    """(B,) -> (B, 1, 1, 1), one value for each image."""
    return values.view(-1, 1, 1, 1)


def flip(x: Tensor, u: Tensor) -> Tensor:
    return torch.where(_each(u[:, 0] < 0.5), x.flip(3), x)


def vflip(x: Tensor, u: Tensor) -> Tensor:
    return torch.where(_each(u[:, 0] < 0.5), x.flip(2), x)


def rotate90(x: Tensor, u: Tensor) -> Tensor:
    if x.shape[2] != x.shape[3]:
        raise InputError(f"rotate90 needs square images, not {x.shape[3]}x{x.shape[2]} pixels (see --size)")
    turns = _each((u[:, 0] * 4).floor())
    for k in (1, 2, 3):
        x = torch.where(turns >= k, x.rot90(1, (2, 3)), x)
    return x


def crop(x: Tensor, u: Tensor) -> Tensor:
    rows, columns = (_shifted(x.shape[2 + axis], u[:, axis]) for axis in (0, 1))
    images = torch.arange(len(x), device=x.device).view(-1, 1, 1, 1)
    channels = torch.arange(x.shape[1], device=x.device).view(1, -1, 1, 1)
    return x[images, channels, rows[:, None, :, None], columns[:, None, None, :]]


def _shifted(side: int, u: Tensor) -> Tensor:
    """(B, side) which pixel stands where after a shift; beyond the border the image is mirrored."""
    reach = int(side * REACH)
    shift = (u * (2 * reach + 1)).floor().long() - reach
    at = (torch.arange(side, device=u.device) + shift[:, None]).abs()
    return side - 1 - (side - 1 - at).abs()


def color(x: Tensor, u: Tensor) -> Tensor:
    brightness, contrast, saturation = (_each(1 + STRENGTH * (2 * u[:, i] - 1)) for i in range(3))
    x = x * brightness
    x = torch.lerp(x.mean((1, 2, 3), keepdim=True).expand_as(x), x, contrast.expand_as(x))
    x = torch.lerp(x.mean(1, keepdim=True).expand_as(x), x, saturation.expand_as(x))
    return x.clamp(0, 1)


class Change(NamedTuple):
    """A random change: how many numbers it needs for an image, and how it applies (B, numbers) of them to a batch."""

    numbers: int
    apply: Callable[[Tensor, Tensor], Tensor]


CHANGES: dict[str, Change] = {
    "flip": Change(1, flip),
    "vflip": Change(1, vflip),
    "rotate90": Change(1, rotate90),
    "crop": Change(2, crop),
    "color": Change(3, color),
}


@dataclass(frozen=True)
class Augment:
    """Random changes of the images that training shows, other ones for every example in every epoch.

    ``flip`` and ``vflip`` mirror half of the images; ``rotate90`` turns them by a random multiple of 90 degrees;
    ``crop`` shifts them by up to an eighth of their side and mirrors the border; ``color`` multiplies brightness,
    contrast (the distance from the image's mean) and saturation (the distance from the mean of the channels) by
    factors in [0.8, 1.2] and cuts to [0, 1]. Altered images are changed like all others, after their alteration;
    images that are evaluated or attacked never are.

    The random numbers are drawn on the CPU from ``RandomStreams(seed)("augment", epoch, name)``, so that a change does
    not depend on the device, on an interruption, nor on which other changes there are.

    Args:
        names: the changes, in any order; they are applied in the order above.

    Raises:
        InputError: an unknown name.

    *Source*: flip and crop as He et al. 2016, section 4.2. *Deviation*: the border is mirrored, not black.

    >>> augment = Augment(["crop", "flip"])
    >>> augment.names
    ('flip', 'crop')
    >>> x = torch.rand(8, 3, 16, 16)
    >>> augment(x, augment.draw(8, RandomStreams(0), epoch=3)).shape
    torch.Size([8, 3, 16, 16])
    """

    names: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.names, str):
            raise InputError(
                f"names must be a list of augmentations such as [{self.names!r}], not the text {self.names!r}"
            )
        for name in self.names:
            if name not in CHANGES:
                raise unknown("augmentation", name, AUGMENTATIONS)
        object.__setattr__(self, "names", tuple(name for name in CHANGES if name in self.names))

    def draw(self, n: int, rng: RandomStreams, epoch: int) -> Tensor:
        """(n, D) random numbers in [0, 1) for the n examples of an epoch, in the order in which they are shown."""
        columns = [rng("augment", epoch, k).random((n, CHANGES[k].numbers), dtype=np.float32) for k in self.names]
        return torch.from_numpy(np.concatenate([np.empty((n, 0), np.float32), *columns], axis=1))

    def __call__(self, x: Tensor, numbers: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1], changed as (B, D) numbers of ``draw`` say, on their device; the very images if nothing is to do.

        Raises:
            InputError: images that are not square where they are to be turned.
        """
        at = 0
        for change in (CHANGES[name] for name in self.names):
            x = change.apply(x, numbers[:, at : at + change.numbers])
            at += change.numbers
        return x
