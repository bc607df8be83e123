"""How the numbers a script's network sees relate to pixels in [0, 1]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from underdog.errors import InputError

__all__ = ["Channels", "Units"]

#: One number for all channels, or one for each.
Channels = float | Sequence[float] | Tensor

#: How far beyond the range rounding may carry a value, as a share of the range.
SLACK = {torch.float16: 1e-2, torch.bfloat16: 2e-2}


def _numbers(name: str, values: Channels) -> tuple[float, ...]:
    try:
        numbers = tuple(torch.as_tensor(values, dtype=torch.float64).flatten().tolist())
    except (TypeError, ValueError, RuntimeError):
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise InputError(f"{name} must be one finite number for each channel, not {values!r}")
    return numbers


@lru_cache(maxsize=64)
def _constant(values: tuple[float, ...], dtype: torch.dtype, device: torch.device, ndim: int) -> Tensor:
    """(1, C, 1, ...) of ``ndim`` dimensions, to be read only; kept, since making one takes as long as using it."""
    shape = (1, -1, *[1] * (ndim - 2)) if ndim else ()
    with torch.inference_mode(False):  # what is made under inference mode is of no use outside
        return torch.tensor(values, dtype=dtype, device=device).view(shape)


@dataclass(frozen=True)
class Units:
    """v = (q - mean) / std with q = low + (high - low) * p, for a value v the network sees and a pixel p in [0, 1].

    Args:
        mean, std: one number for each channel, in the units of q; None where the network normalises itself.
        low, high: what the darkest and the brightest pixel are before normalisation, such as 0 and 255.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    low: float = 0.0
    high: float = 1.0

    @classmethod
    def of(cls, mean: Channels | None, std: Channels | None, low: float, high: float) -> Units:
        """Units as people write them.

        Raises:
            InputError: one of mean and std without the other, a deviation not above 0, an empty range.
        """
        if not low < high:
            raise InputError(f"low must be less than high, not {low:g} and {high:g}")
        if (mean is None) != (std is None):
            raise InputError("mean and std belong together: give both, or none where inputs are not normalised")
        if mean is None or std is None:
            return cls(low=float(low), high=float(high))
        means, stds = _numbers("mean", mean), _numbers("std", std)
        if min(stds) <= 0:
            raise InputError(f"std must be above 0 in every channel, not {min(stds):g}")
        if len(means) != len(stds):
            raise InputError(f"mean and std must have one number for each channel, not {len(means)} and {len(stds)}")
        return cls(means, stds, float(low), float(high))

    @property
    def plain(self) -> bool:
        """Whether what the network sees are pixels in [0, 1]."""
        return self.mean is None and (self.low, self.high) == (0.0, 1.0)

    def _channels(self, values: tuple[float, ...] | None, x: Tensor, default: float) -> Tensor:
        """(1, C, 1, ...) on the device and in the type of x (B, C, ...)."""
        if values is None:
            return _constant((default,), x.dtype, x.device, 0)
        if x.ndim < 2 or len(values) not in (1, x.shape[1]):
            raise InputError(
                f"mean and std have {len(values)} numbers, which does not fit images of shape {tuple(x.shape)}: "
                "one for each channel, in the dimension after the batch"
            )
        return _constant(values, x.dtype, x.device, x.ndim)

    def _mean_std(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self._channels(self.mean, x, 0.0), self._channels(self.std, x, 1.0)

    def bounds(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the network sees of the darkest and the brightest pixel, in the shape of a channel."""
        mean, std = self._mean_std(x)
        return (self.low - mean) / std, (self.high - mean) / std

    def step(self, x: Tensor, eps: float) -> Tensor:
        """How long a move of eps (a share of the pixel range) is in the network's numbers."""
        return eps * (self.high - self.low) / self._channels(self.std, x, 1.0)

    def check(self, x: Tensor) -> None:
        """Refuse images (B, C, ...) whose values cannot be what was declared.

        Raises:
            InputError: not floating point, or outside [low, high] before normalisation.
        """
        if not x.is_floating_point():
            raise InputError(
                f"images must be floating point to be altered by less than a whole step, not {x.dtype}: "
                "convert them first, with underdog.to_unit(x), or with x.float() and high=255"
            )
        low, high = self.bounds(x)
        slack = SLACK.get(x.dtype, 1e-3) * (high - low)
        if not bool(((x >= low - slack) & (x <= high + slack)).all()):  # a nan is outside too
            said = "" if self.mean is None else f" after normalisation by mean {self.mean} and std {self.std}"
            raise InputError(
                f"images must lie in [{self.low:g}, {self.high:g}]{said}, but their values go from {x.min().item():g} to "
                f"{x.max().item():g}: declare what they are with low= and high= (such as high=255 for bytes, which are not "
                "divided for you), and with mean= and std= if they are normalised; or make them what is declared before, "
                "such as by underdog.to_unit or ToTensor in the data set's transform"
            )

    def move(self, x: Tensor, signs: Tensor, eps: float, clip: bool = True) -> Tensor:
        """x' = clip(x + eps * signs) in pixel units, (B, C, ...); signs are whole numbers, or of the type of x."""
        if self.plain:
            moved = torch.add(x, signs, alpha=eps)
            return moved.clamp_(0, 1) if clip else moved
        moved = (signs * self.step(x, eps)).add_(x)
        return moved.clamp_(*self.bounds(x)) if clip else moved

    def to_pixels(self, x: Tensor) -> Tensor:
        """The pixels in [0, 1] of what the network sees: exact enough that ``to_input`` gives x back, bit for bit."""
        if self.plain:
            return x
        wide = x.double()
        mean, std = self._mean_std(wide)
        return (wide * std + mean - self.low) / (self.high - self.low)

    def to_input(self, pixels: Tensor) -> Tensor:
        """What the network sees, float32, of pixels in [0, 1]."""
        if self.plain:
            return pixels
        wide = pixels.double()
        mean, std = self._mean_std(wide)
        return ((wide * (self.high - self.low) + self.low - mean) / std).float()
