"""Altered versions of images, in whatever form is smallest and exact: what an attack returns, and an epoch keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["Altered", "AlteredPixels", "AlteredSigns", "pack_signs", "unpack_signs"]

NO_DIRECTION = 0x55  # a byte of four zero signs
COUNTED = 1024  # altered rows that are looked at together


def pack_signs(signs: Tensor) -> Tensor:
    """Store signs in two bits each.

    Args:
        signs: (A, D) of -1, 0 and 1, any type.

    Returns:
        (A, ceil(D / 4)) uint8; bits 2j and 2j+1 of byte i hold sign 4i+j plus 1.

    >>> pack_signs(torch.tensor([[-1, 0, 1, 1, 0]])).tolist()
    [[164, 85]]
    """
    rows, d = signs.shape
    codes = torch.ones(rows, -(-d // 4) * 4, dtype=torch.uint8, device=signs.device)
    codes[:, :d] = signs.to(torch.int8).view(torch.uint8) + 1  # in bytes: wider ones would be the peak of a refresh
    quads = codes.view(rows, -1, 4)
    return quads[..., 0] | quads[..., 1] << 2 | quads[..., 2] << 4 | quads[..., 3] << 6


def unpack_signs(packed: Tensor, d: int) -> Tensor:
    """The (A, d) int8 signs that ``pack_signs`` stored.

    >>> unpack_signs(torch.tensor([[164, 85]], dtype=torch.uint8), 5).tolist()
    [[-1, 0, 1, 1, 0]]
    """
    shifts = torch.arange(0, 8, 2, dtype=torch.uint8, device=packed.device)
    codes = packed.unsqueeze(-1) >> shifts & 3
    return codes.flatten(1)[:, :d].to(torch.int8) - 1


class Altered(Protocol):
    """Altered versions of images, one a row, kept in whatever form is smallest and exact: what an attack returns."""

    def __len__(self) -> int: ...

    def show(self, x: Tensor, which: Tensor) -> Tensor:
        """The altered versions numbered ``which`` (B,) of their originals ``x`` (B, C, H, W) in [0, 1]."""
        ...

    def unmoved(self) -> int:
        """How many rows do not differ from their originals at all, as after a gradient that is all zero."""
        ...

    def rows(self) -> dict[str, Tensor]:
        """Everything that is kept of each row, by name: tensors (A, ...)."""
        ...

    def with_rows(self, rows: Mapping[str, Tensor]) -> Altered:
        """Other rows of the same kind."""
        ...


@dataclass(frozen=True, eq=False)
class AlteredSigns:
    """Images moved by x + eps * sign, kept as two bits a value.

    Args:
        packed: (A, ceil(C*H*W / 4)) uint8, see ``pack_signs``.
        eps: (A,) float64, length of each row's move, in pixel units of [0, 1].
        clip: whether the result is cut to [0, 1].
    """

    packed: Tensor
    eps: Tensor
    clip: bool = True

    def __len__(self) -> int:
        return len(self.packed)

    def show(self, x: Tensor, which: Tensor) -> Tensor:
        signs = unpack_signs(self.packed.index_select(0, which), x[0].numel()).view(x.shape).to(x.dtype)
        length = self.eps.index_select(0, which).to(x.dtype).view(-1, *[1] * (x.ndim - 1))
        moved = torch.addcmul(x, signs, length)  # the product is exact, and the sum rounded once
        return moved.clamp_(0, 1) if self.clip else moved

    def unmoved(self) -> int:
        # In parts, since a comparison takes as much memory as what is compared; summed on the device, to wait for it once.
        parts = zip(torch.split(self.packed, COUNTED), torch.split(self.eps, COUNTED), strict=True)
        return int(sum(((part == NO_DIRECTION).all(1) | (eps == 0)).sum() for part, eps in parts))

    def rows(self) -> dict[str, Tensor]:
        return {"packed": self.packed, "eps": self.eps}

    def with_rows(self, rows: Mapping[str, Tensor]) -> AlteredSigns:
        return replace(self, packed=rows["packed"], eps=rows["eps"])


@dataclass(frozen=True, eq=False)
class AlteredPixels:
    """Images altered in a way that is no single signed step, kept as float32 values.

    Args:
        pixels: (A, C, H, W) in [0, 1].
        moved: (A,) bool, whether the row differs from its original.
    """

    pixels: Tensor
    moved: Tensor

    def __len__(self) -> int:
        return len(self.pixels)

    def show(self, x: Tensor, which: Tensor) -> Tensor:
        return self.pixels.index_select(0, which)

    def unmoved(self) -> int:
        return int((~self.moved).sum())

    def rows(self) -> dict[str, Tensor]:
        return {"pixels": self.pixels, "moved": self.moved}

    def with_rows(self, rows: Mapping[str, Tensor]) -> AlteredPixels:
        return replace(self, pixels=rows["pixels"], moved=rows["moved"])
