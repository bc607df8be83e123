"""What one epoch shows the network, as a value."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from underdog.altered import Altered, AlteredPixels, AlteredSigns
from underdog.data.images import ImageSet, to_device, to_unit
from underdog.data.imbalance import minority_by_count
from underdog.data.pixels import CPU, PixelFile, Pixels, gather, prefetch
from underdog.errors import InputError
from underdog.ranks import ALONE, Ranks

__all__ = ["Batch", "Epoch", "Made", "Maker", "Mixture", "Partner"]

Indices = npt.NDArray[np.int64]


class Maker(NamedTuple):
    """Which resampler made rows, by its place in the method, and before which epoch; -1 is the start."""

    place: tuple[int, ...] = ()
    t: int = -1


@dataclass(frozen=True, eq=False)
class Made:
    """Rows that a resampler appended to an epoch.

    Attributes:
        rows: (P, C, H, W) uint8 images with several parents or none, which are their own origin; or altered versions of
            earlier rows.
        maker: who made them.
    """

    rows: Tensor | Altered
    maker: Maker

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def synthetic(self) -> bool:
        return isinstance(self.rows, Tensor)

    def selected(self, rows: Indices) -> Made:
        """Some of the rows."""
        if len(rows) == len(self):
            return self
        if isinstance(self.rows, Tensor):
            return replace(self, rows=self.rows[torch.from_numpy(rows).to(self.rows.device)])
        own = self.rows.rows()
        return replace(
            self, rows=self.rows.with_rows({k: v[torch.from_numpy(rows).to(v.device)] for k, v in own.items()})
        )

    def tensors(self) -> dict[str, Tensor]:
        """Everything that has to be saved, by name."""
        maker = torch.tensor([self.maker.t, *self.maker.place])
        if isinstance(self.rows, Tensor):
            return {"images": self.rows, "maker": maker}
        clip = {"clip": torch.tensor(self.rows.clip)} if isinstance(self.rows, AlteredSigns) else {}
        return {**self.rows.rows(), **clip, "maker": maker}

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> Made:
        """What ``tensors`` described."""
        t, *place = tensors["maker"].tolist()
        rows: Tensor | Altered
        if "images" in tensors:
            rows = tensors["images"]
        elif "packed" in tensors:
            rows = AlteredSigns(tensors["packed"], tensors["eps"], bool(tensors["clip"].item()))
        else:
            rows = AlteredPixels(tensors["pixels"], tensors["moved"])
        return cls(rows, Maker(tuple(place), t))


@dataclass(frozen=True, eq=False)
class Mixture:
    """An optional part of an epoch: example i also shows example ``partner[i]``, a part of it or faintly.

    The image is w x_i + (1 - w) x_partner with w = ``pixels[i]``, or, with a ``box``, x_i with the box of x_partner pasted
    in. The loss is v J(z, y_i) + (1 - v) J(z, y_partner) with v = ``labels[i]``: losses see hard labels only.

    Args:
        partner: (N,) numbers of examples.
        pixels, labels: (N,) float32 in [0, 1].
        box: (N, 4) int64 top, bottom, left and right of the pasted box, or None.
    """

    partner: Indices
    pixels: npt.NDArray[np.float32]
    labels: npt.NDArray[np.float32]
    box: Indices | None = None

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Its arrays by name."""
        return {k: v for k, v in vars(self).items() if v is not None}


class Partner(NamedTuple):
    """What a batch is mixed with: images (B, C, H, W) and classes (B,); weights (B,) and boxes (B, 4) as in ``Mixture``."""

    x: Tensor
    y: Tensor
    pixels: Tensor
    labels: Tensor
    box: Tensor | None

    def mixed(self, x: Tensor) -> Tensor:
        """(B, C, H, W) images mixed with these."""
        if self.box is None:
            return torch.lerp(self.x, x, self.pixels.view(-1, 1, 1, 1))
        rows, columns = (torch.arange(n, device=x.device) for n in x.shape[2:])
        top, bottom, left, right = (side.view(-1, 1) for side in self.box.unbind(1))
        high, wide = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
        return torch.where((high[:, :, None] & wide[:, None, :])[:, None], self.x, x)


class Batch(NamedTuple):
    """Images (B, C, H, W), float32 in [0, 1], their classes (B,), and what they are mixed with, on the training device."""

    x: Tensor
    y: Tensor
    partner: Partner | None = None


@dataclass(frozen=True, eq=False)
class Epoch:
    """What one epoch of training shows the network: a value that resamplers map to other values.

    Rows are numbered images first, then synthetic images, then altered ones. Pixels stay on the training
    device (or on disk, where they do not fit) in their stored type and are never copied; everything that says
    which row is shown, of which class and from where, is small and on the CPU, where random choices are made.

    Attributes:
        images: (M, C, H, W) uint8, the original images, a tensor or a ``PixelFile``.
        made: the rows that resamplers appended: P synthetic images, such as SMOTE's, then A altered versions of rows.
        labels: (M + P + A,) the class of every row.
        origin: (M + P + A,) the row that every row was made from; its own number for images and synthetic rows.
        index: (N,) which row each training example of this epoch shows, repeats allowed.
        classes: the K class names.
        counts: (K,) images of each class before any resampling.
        minority: the class numbers that count as minority.
        notes: remarks of the resamplers for the result, such as a parameter that had to be lowered.
        mixture: what each example is mixed with, or None.

    Raises:
        InputError: a mixture of another number of examples.
    """

    images: Pixels
    made: tuple[Made, ...]
    labels: Indices
    origin: Indices
    index: Indices
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    minority: frozenset[int]
    notes: tuple[str, ...] = ()
    mixture: Mixture | None = None

    def __post_init__(self) -> None:
        if self.mixture is not None and len(self.mixture.partner) != len(self.index):
            raise InputError(
                f"a mixture of {len(self.mixture.partner)} examples does not fit an epoch that shows {len(self.index)}: mix "
                "after everything that changes how many examples are shown"
            )

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
        return cls(pixels, (), images.labels.numpy(), every, every, images.classes, images.counts, minority)

    def __len__(self) -> int:
        """How many examples the epoch shows."""
        return len(self.index)

    @cached_property
    def synthetic(self) -> Tensor:
        """(P, C, H, W) uint8, images that have several parents or none."""
        parts = [made.rows for made in self.made if isinstance(made.rows, Tensor)]
        if len(parts) > 1:
            return torch.cat(parts)
        return parts[0] if parts else self.images[:0]

    @cached_property
    def altered(self) -> tuple[Altered, ...]:
        """Altered versions of earlier rows, by the resampler that made them."""
        return tuple(made.rows for made in self.made if not isinstance(made.rows, Tensor))

    @cached_property
    def originals(self) -> int:
        """How many rows are their own origin: images and synthetic ones."""
        return len(self.images) + len(self.synthetic)

    def with_synthetic(self, pixels: Tensor, labels: Indices, maker: Maker = Maker()) -> Epoch:  # noqa: B008 (a value)
        """Append rows of their own (P, C, H, W) uint8 of classes (P,), and show each once.

        They replace those that the same maker made before another epoch.
        """
        if pixels.dtype != torch.uint8 or pixels.shape != (len(labels), *self.images.shape[1:]):
            raise InputError(
                f"synthetic images must be uint8 of shape {(len(labels), *self.images.shape[1:])}, one for each label, not "
                f"{pixels.dtype} of shape {tuple(pixels.shape)}"
            )
        epoch = self.without(maker.place, but=maker.t)
        m, altered = epoch.originals, sum(map(len, epoch.altered))
        new = Made(pixels.to(epoch.images.device), maker)
        # Altered rows come last, so that they are numbered anew.
        shift = np.concatenate([np.arange(m), len(new) + m + np.arange(altered)])
        rows = m + np.arange(len(new))
        front = [made for made in epoch.made if made.synthetic]
        return replace(
            epoch,
            made=(*front, new, *(made for made in epoch.made if not made.synthetic)),
            labels=np.concatenate([epoch.labels[:m], labels, epoch.labels[m:]]),
            origin=np.concatenate([shift[epoch.origin[:m]], rows, shift[epoch.origin[m:]]]),
            index=np.concatenate([shift[epoch.index], rows]),
            mixture=None,
        )

    def with_altered(
        self,
        altered: Altered,
        origin: Indices,
        positions: Indices,
        rows: Indices,
        maker: Maker = Maker(),  # noqa: B008
    ) -> Epoch:
        """Append altered versions of the rows ``origin`` (A,), and let ``positions`` show number ``rows`` of them."""
        index = self.index.copy()
        index[positions] = len(self.labels) + rows
        return replace(
            self,
            made=(*self.made, Made(altered, maker)),
            labels=np.concatenate([self.labels, self.labels[origin]]),
            origin=np.concatenate([self.origin, origin]),
            index=index,
        )

    def repeated(self, examples: Indices) -> Epoch:
        """The epoch that shows some of the examples, repeats allowed, mixed with what they were mixed with."""
        mixture = self.mixture
        if mixture is not None:
            mixture = Mixture(**{k: v[examples] for k, v in mixture.arrays().items()})
        return replace(self, index=self.index[examples], mixture=mixture)

    def without(self, place: tuple[int, ...], but: int | None = None) -> Epoch:
        """Forget the rows that the resampler at a place made, other than before epoch ``but``, and those made from them.

        Whatever showed an altered one shows its origin again (Algorithm 1, line 4); examples of synthetic ones vanish.
        """
        if not any(made.maker.place == place and made.maker.t != but for made in self.made):
            return self
        kept, at = np.ones(len(self.labels), dtype=bool), len(self.images)
        for made in self.made:
            kept[at : at + len(made)] = made.maker.place != place or made.maker.t == but
            at += len(made)
        kept &= kept[self.origin]
        shows = np.where(kept[self.index], self.index, self.origin[self.index])
        number = np.cumsum(kept) - 1
        parts, at = [], len(self.images)
        for made in self.made:
            left = np.flatnonzero(kept[at : at + len(made)])
            parts += [made.selected(left)] if len(left) else []
            at += len(made)
        index = number[shows[kept[shows]]]
        return replace(
            self,
            made=tuple(parts),
            labels=self.labels[kept],
            origin=number[self.origin[kept]],
            index=index,
            mixture=self.mixture if len(index) == len(self.index) else None,
        )

    def pixels(self, rows: Indices) -> Tensor:
        """(B, C, H, W) uint8 of rows that are their own origin."""
        return self._pixels(to_device(rows, self.images.device))

    def unit(self, rows: Indices) -> Tensor:
        """(B, C, H, W) in [0, 1] of rows that are their own origin, as attacks get them."""
        return self._unit(to_device(rows, self.images.device))

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
        x, at = self._unit(origin), self.originals
        for number, altered in enumerate(self.altered):
            row = (rows - at).to(x.device)
            # A mask instead of a boolean index: the latter would wait for the device in every batch.
            own = row >= 0
            if number < len(self.altered) - 1:
                own &= row < len(altered)
                row = row.clamp(max=len(altered) - 1)
            x = torch.where(own.view(-1, 1, 1, 1), altered.show(x, row.clamp(min=0)), x)
            at += len(altered)
        return x

    def show(self, rows: Indices) -> Tensor:
        """(B, C, H, W) float32 in [0, 1] on the device: the rows as the network sees them, unmixed."""
        device = self.images.device
        return self._show(to_device(self.origin[rows], device), to_device(rows, device))

    def batches(self, size: int, rng: np.random.Generator, ranks: Ranks = ALONE) -> Iterator[Batch]:
        """The batches of ``order``."""
        return self.read(self.order(size, rng, ranks))

    @property
    def _near(self) -> torch.device:
        """Where the numbers of batches lie: with the images, or on the CPU where those are on disk."""
        return CPU if isinstance(self.images, PixelFile) else self.images.device

    def _numbers(self, examples: Indices) -> Indices:
        """(3, B) origins, rows and classes of examples."""
        rows = self.index[examples]
        return np.stack([self.origin[rows], rows, self.labels[rows]])

    def order(self, size: int, rng: np.random.Generator, ranks: Ranks = ALONE) -> tuple[Tensor, ...]:
        """The numbers of all examples in random order, ``size`` at a time; the last batch may be smaller.

        Those of a batch are (3, B) int64: its examples' origins, rows and classes; of mixed ones (4, B), their own numbers
        too. They lie on the device, to which all that an epoch needs cross at once; where images are on disk, on the CPU. Of
        several ranks each gets its share of every batch, which is empty where a batch has fewer examples than that.
        """
        examples = rng.permutation(len(self.index))
        numbers = self._numbers(examples)
        if self.mixture is not None:
            numbers = np.concatenate([numbers, examples[None]])
        parts = torch.split(to_device(numbers, self._near), size, dim=1)
        return tuple(part[:, ranks.rank :: ranks.world] for part in parts)

    def read(self, order: Iterable[Tensor]) -> Iterator[Batch]:
        """The batches of these numbers; images that are on disk are read ahead by a thread."""
        batches = map(self.batch, order)
        return prefetch(batches) if isinstance(self.images, PixelFile) else batches

    def batch(self, numbers: Tensor) -> Batch:
        """The batch of (3, B) numbers: nothing but work for the device, where the images lie there."""
        origin, row, y = numbers[:3].unbind()
        x, device = self._show(origin, row), self.images.device
        if self.mixture is None:
            return Batch(x, y.to(device))
        theirs, weights, boxes = self._partners
        origin, row, other = theirs[:, numbers[3]].unbind()
        at = numbers[3].to(device)
        pixels, labels = weights[:, at].unbind()
        partner = Partner(
            self._show(origin, row), other.to(device), pixels, labels, None if boxes is None else boxes[at]
        )
        return Batch(x, y.to(device), partner)

    @cached_property
    def _partners(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """(3, N) numbers of what the examples are mixed with, (2, N) weights and (N, 4) boxes, where batches are made."""
        mixture, device = self.mixture, self.images.device
        assert mixture is not None
        weights = to_device(np.stack([mixture.pixels, mixture.labels]), device)
        boxes = None if mixture.box is None else to_device(mixture.box, device)
        return to_device(self._numbers(mixture.partner), self._near), weights, boxes

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
        return sum(map(len, self.altered))

    @property
    def zero_gradients(self) -> int:
        """How many altered rows do not differ from their originals."""
        return sum(altered.unmoved() for altered in self.altered)

    def state(self) -> dict[str, Tensor]:
        """The tensors from which ``restored`` rebuilds this epoch out of the first one of the same images."""
        numbers = {"labels": self.labels, "origin": self.origin, "index": self.index}
        if self.mixture is not None:
            numbers |= {f"mixture.{k}": v for k, v in self.mixture.arrays().items()}
        rows = {f"made.{n}.{k}": v for n, made in enumerate(self.made) for k, v in made.tensors().items()}
        return {k: torch.tensor(v) for k, v in numbers.items()} | rows  # copies, since two of the arrays may be one

    def restored(self, state: dict[str, Tensor], notes: tuple[str, ...] = ()) -> Epoch:
        """The epoch whose ``state`` was saved; ``self`` provides the images.

        Raises:
            InputError: the state is not whole, or of other images.
        """
        groups: dict[str, dict[str, Tensor]] = {}
        for key, value in state.items():
            group, _, name = key.rpartition(".")
            groups.setdefault(group, {})[name] = value
        numbers, mixed = groups.pop(""), groups.pop("mixture", None)
        own = sorted(groups, key=lambda group: int(group.removeprefix("made.")))
        device = self.images.device
        epoch = replace(
            self,
            made=tuple(Made.of({k: v.to(device) for k, v in groups[group].items()}) for group in own),
            labels=numbers["labels"].numpy(),
            origin=numbers["origin"].numpy(),
            index=numbers["index"].numpy(),
            notes=notes,
            mixture=None if mixed is None else Mixture(**{k: v.numpy() for k, v in mixed.items()}),
        )
        if (found := epoch.originals + epoch.altered_rows) != len(epoch.labels):
            raise InputError(f"a state of {len(epoch.labels)} rows cannot be put back where {found} are")
        return epoch
