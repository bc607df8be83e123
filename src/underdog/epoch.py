"""What one epoch shows the network, as a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from underdog.data.images import ImageSet, sent, to_unit
from underdog.data.imbalance import minority_by_count
from underdog.data.pixels import CPU, PixelFile, Pixels, ahead, gather
from underdog.errors import InputError
from underdog.ranks import ALONE, Ranks

__all__ = ["Altered", "AlteredPixels", "AlteredSigns", "Batch", "Epoch", "pack_signs", "unpack_signs"]

Indices = npt.NDArray[np.int64]

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
    """Altered versions of images, one a row, kept in whatever form is smallest and exact."""

    def __len__(self) -> int: ...

    def show(self, x: Tensor, which: Tensor) -> Tensor:
        """The altered versions numbered ``which`` (B,) of their originals ``x`` (B, C, H, W) in [0, 1]."""
        ...

    def unmoved(self) -> int:
        """How many rows do not differ from their originals at all, as after a gradient that is all zero."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Everything that has to be saved, by name."""
        ...


@dataclass(frozen=True, eq=False)
class AlteredSigns:
    """Images moved by x + eps * sign, kept as two bits a value.

    Args:
        packed: (A, ceil(C*H*W / 4)) uint8, see ``pack_signs``.
        eps: length of the move, in pixel units of [0, 1].
        clip: whether the result is cut to [0, 1].
    """

    packed: Tensor
    eps: float
    clip: bool = True

    def __len__(self) -> int:
        return len(self.packed)

    def show(self, x: Tensor, which: Tensor) -> Tensor:
        signs = unpack_signs(self.packed.index_select(0, which), x[0].numel()).view(x.shape)
        moved = x.add(signs, alpha=self.eps)
        return moved.clamp_(0, 1) if self.clip else moved

    def unmoved(self) -> int:
        if not self.eps:
            return len(self)
        # In parts, since a comparison takes as much memory as what is compared; summed on the device, to wait for it once.
        return int(sum((part == NO_DIRECTION).all(1).sum() for part in torch.split(self.packed, COUNTED)))

    def tensors(self) -> dict[str, Tensor]:
        return {
            "packed": self.packed,
            "eps": torch.tensor(self.eps, dtype=torch.float64),
            "clip": torch.tensor(self.clip),
        }


@dataclass(frozen=True, eq=False)
class AlteredPixels:
    """Images altered in a way that is no single signed step, kept as float32 values (A, C, H, W)."""

    pixels: Tensor
    moved: Tensor  # (A,) bool: whether the row differs from its original

    def __len__(self) -> int:
        return len(self.pixels)

    def show(self, x: Tensor, which: Tensor) -> Tensor:
        return self.pixels.index_select(0, which)

    def unmoved(self) -> int:
        return int((~self.moved).sum())

    def tensors(self) -> dict[str, Tensor]:
        return {"pixels": self.pixels, "moved": self.moved}


def altered_from(tensors: dict[str, Tensor]) -> Altered:
    """The altered rows that ``Altered.tensors`` described."""
    if "packed" in tensors:
        return AlteredSigns(tensors["packed"], tensors["eps"].item(), bool(tensors["clip"].item()))
    return AlteredPixels(tensors["pixels"], tensors["moved"])


class Batch(NamedTuple):
    """Images (B, C, H, W), float32 in [0, 1], and their classes (B,), on the training device."""

    x: Tensor
    y: Tensor


@dataclass(frozen=True, eq=False)
class Epoch:
    """What one epoch of training shows the network: a value that resamplers map to other values.

    Rows are numbered images first, then synthetic images, then altered ones. Pixels stay on the training
    device (or on disk, where they do not fit) in their stored type and are never copied; everything that says
    which row is shown, of which class and from where, is small and on the CPU, where random choices are made.

    Attributes:
        images: (M, C, H, W) uint8, the original images, a tensor or a ``PixelFile``.
        synthetic: (P, C, H, W) uint8, images that have several parents or none, such as SMOTE's.
        altered: A altered versions of earlier rows, or None.
        labels: (M + P + A,) the class of every row.
        origin: (M + P + A,) the row that every row was made from; its own number for images and synthetic rows.
        index: (N,) which row each training example of this epoch shows, repeats allowed.
        classes: the K class names.
        counts: (K,) images of each class before any resampling.
        minority: the class numbers that count as minority.
        notes: remarks of the resamplers for the result, such as a parameter that had to be lowered.
    """

    images: Pixels
    synthetic: Tensor
    altered: Altered | None
    labels: Indices
    origin: Indices
    index: Indices
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    minority: frozenset[int]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, images: ImageSet, device: torch.device | str = "cpu") -> Epoch:
        """The epoch that shows every image of a set once.

        The minority is the set's own where it is marked, otherwise the classes with at most half
        the largest's images.

        >>> epoch = Epoch.of(ImageSet(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 1]), ("a", "b")))
        >>> epoch.index, epoch.minority
        (array([0, 1, 2]), frozenset({1}))
        """
        every, pixels = np.arange(len(images)), images.images.to(device)
        minority = minority_by_count(images.counts) if images.minority is None else images.minority
        return cls(
            pixels, pixels[:0], None, images.labels.numpy(), every, every, images.classes, images.counts, minority
        )

    def __len__(self) -> int:
        """How many examples the epoch shows."""
        return len(self.index)

    @property
    def originals(self) -> int:
        """How many rows are their own origin: images and synthetic ones."""
        return len(self.images) + len(self.synthetic)

    def with_synthetic(self, pixels: Tensor, labels: Indices) -> Epoch:
        """Append rows of their own (P, C, H, W) uint8 of classes (P,), and show each once."""
        epoch = self.without_altered()
        new, rows = pixels.to(epoch.images.device), epoch.originals + np.arange(len(labels))
        return replace(
            epoch,
            synthetic=torch.cat([epoch.synthetic, new]) if len(epoch.synthetic) else new,
            labels=np.concatenate([epoch.labels, labels]),
            origin=np.concatenate([epoch.origin, rows]),
            index=np.concatenate([epoch.index, rows]),
        )

    def with_altered(self, altered: Altered, origin: Indices, positions: Indices, rows: Indices) -> Epoch:
        """Append altered versions of the rows ``origin`` (A,), and let ``positions`` show number ``rows`` of them."""
        index = self.index.copy()
        index[positions] = self.originals + rows
        return replace(
            self,
            altered=altered,
            labels=np.concatenate([self.labels, self.labels[origin]]),
            origin=np.concatenate([self.origin, origin]),
            index=index,
        )

    def without_altered(self) -> Epoch:
        """Forget the altered rows: whatever showed one shows its origin again (Algorithm 1, line 4)."""
        if self.altered is None:
            return self
        n = self.originals
        return replace(
            self, altered=None, labels=self.labels[:n], origin=self.origin[:n], index=self.origin[self.index]
        )

    def pixels(self, rows: Indices) -> Tensor:
        """(B, C, H, W) uint8 of rows that are their own origin."""
        return self._pixels(sent(rows, self.images.device))

    def unit(self, rows: Indices) -> Tensor:
        """(B, C, H, W) in [0, 1] of rows that are their own origin, as attacks get them."""
        return self._unit(sent(rows, self.images.device))

    def _unit(self, rows: Tensor) -> Tensor:
        return to_unit(self._pixels(rows))

    def _pixels(self, rows: Tensor) -> Tensor:
        if not len(self.synthetic):
            return gather(self.images, rows)
        m, device = len(self.images), self.images.device
        own = (rows < m).view(-1, 1, 1, 1).to(device)
        made = (rows - m).clamp(min=0).to(device)
        return torch.where(own, gather(self.images, rows.clamp(max=m - 1)), gather(self.synthetic, made))

    def _show(self, origin: Tensor, rows: Tensor) -> Tensor:
        x = self._unit(origin)
        if self.altered is None:
            return x
        number = (rows - self.originals).to(x.device)
        # A mask instead of a boolean index: the latter would wait for the device in every batch.
        return torch.where((number >= 0).view(-1, 1, 1, 1), self.altered.show(x, number.clamp(min=0)), x)

    def show(self, rows: Indices) -> Tensor:
        """(B, C, H, W) float32 in [0, 1] on the device: the rows as the network sees them."""
        device = self.images.device
        return self._show(sent(self.origin[rows], device), sent(rows, device))

    def batches(self, size: int, rng: np.random.Generator, ranks: Ranks = ALONE) -> Iterator[Batch]:
        """The batches of ``order``."""
        return self.read(self.order(size, rng, ranks))

    def order(self, size: int, rng: np.random.Generator, ranks: Ranks = ALONE) -> tuple[Tensor, ...]:
        """The numbers of all examples in random order, ``size`` at a time; the last batch may be smaller.

        Those of a batch are (3, B) int64: its examples' origins, rows and classes. They lie on the device, to which all that
        an epoch needs cross at once; where images are on disk, on the CPU. Of several ranks each gets its share of every
        batch, which is empty where a batch has fewer examples than that.
        """
        rows = self.index[rng.permutation(len(self.index))]
        device = CPU if isinstance(self.images, PixelFile) else self.images.device
        numbers = sent(np.stack([self.origin[rows], rows, self.labels[rows]]), device)
        return tuple(part[:, ranks.rank :: ranks.world] for part in torch.split(numbers, size, dim=1))

    def read(self, order: Iterable[Tensor]) -> Iterator[Batch]:
        """The batches of these numbers; images that are on disk are read ahead by a thread."""
        batches = map(self.batch, order)
        return ahead(batches) if isinstance(self.images, PixelFile) else batches

    def batch(self, numbers: Tensor) -> Batch:
        """The batch of (3, B) numbers: nothing but work for the device, where the images lie there."""
        origin, row, y = numbers.unbind()
        return Batch(self._show(origin, row), y.to(self.images.device))

    @cached_property
    def shown(self) -> tuple[int, ...]:
        """(K,) examples of each class that the epoch shows."""
        return tuple(np.bincount(self.labels[self.index], minlength=len(self.counts)).tolist())

    @property
    def altered_examples(self) -> int:
        """How many examples show an altered row."""
        return int((self.index >= self.originals).sum())

    @property
    def altered_rows(self) -> int:
        """How many altered rows there are."""
        return 0 if self.altered is None else len(self.altered)

    @property
    def zero_gradients(self) -> int:
        """How many altered rows do not differ from their originals."""
        return 0 if self.altered is None else self.altered.unmoved()

    def state(self) -> dict[str, Tensor]:
        """The tensors from which ``restored`` rebuilds this epoch out of the first one of the same images."""
        numbers = {"labels": self.labels, "origin": self.origin, "index": self.index}
        rows = {} if self.altered is None else {f"altered.{k}": v for k, v in self.altered.tensors().items()}
        # Copies, since two of the arrays may be one.
        return {k: torch.tensor(v) for k, v in numbers.items()} | {"synthetic": self.synthetic} | rows

    def restored(self, state: dict[str, Tensor], notes: tuple[str, ...] = ()) -> Epoch:
        """The epoch whose ``state`` was saved; ``self`` provides the images.

        Raises:
            InputError: the state is not whole, or of other images.
        """
        device = self.images.device
        rows = {k.removeprefix("altered."): v.to(device) for k, v in state.items() if k.startswith("altered.")}
        epoch = replace(
            self,
            synthetic=state["synthetic"].to(device),
            altered=altered_from(rows) if rows else None,
            labels=state["labels"].numpy(),
            origin=state["origin"].numpy(),
            index=state["index"].numpy(),
            notes=notes,
        )
        if (found := epoch.originals + epoch.altered_rows) != len(epoch.labels):
            raise InputError(f"a state of {len(epoch.labels)} rows cannot be put back where {found} are")
        return epoch
