"""What a data set's items are made of, and what a worker makes of one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from underdog.altered import unpack_signs
from underdog.errors import InputError
from underdog.loop.units import Units
from underdog.rng import RandomStreams

__all__ = ["Augment", "ChangedPixels", "ChangedSigns", "Items", "ShownIndex", "ShownItems", "seeded"]

#: (C, H, W) as the data set gives it -> what the network is to see.
Augment = Callable[[Tensor], Any]

#: (256,) the four int8 signs in every byte that ``pack_signs`` can make, side by side in one number: a table is
#: four times as fast as shifting, and one number as fast as four.
SIGNS = unpack_signs(torch.arange(256, dtype=torch.uint8).view(-1, 1), 4).numpy().view(np.int32)[:, 0]

#: What dictionaries call the image.
IMAGES = ("pixel_values", "image", "img", "images")


class ChangedSigns(NamedTuple):
    """An altered row as two bits a value."""

    packed: npt.NDArray[np.uint8]
    eps: float
    clip: bool

    def show(self, x: Tensor, units: Units) -> Tensor:
        """The altered row of an image (C, H, W), both as the network sees them."""
        signs = torch.from_numpy(SIGNS.take(self.packed).view(np.int8)[: x.numel()]).view(x.shape)
        if units.plain:  # without the views that channels need, which cost a small image as much as its move
            return units.move(x, signs, self.eps, self.clip)
        return units.move(x[None], signs[None], self.eps, self.clip)[0]


class ChangedPixels(NamedTuple):
    """An altered row as float32 pixels in [0, 1]."""

    values: npt.NDArray[np.float32]

    def show(self, x: Tensor, units: Units) -> Tensor:
        """The altered row, as the network sees it, in the type of the image."""
        return units.to_input(torch.from_numpy(self.values)[None])[0].to(x.dtype)


class ShownIndex(NamedTuple):
    """The index a worker gets: which image, where in which epoch, and the altered row it is to show.

    The row itself travels with its number, so that workers of any kind and age, also persistent ones that were
    started many epochs ago, need nothing but their index. Arrays, not tensors: each of those would take a file.
    """

    position: int
    row: int
    epoch: int
    change: ChangedSigns | ChangedPixels | None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from ``seed``, and leave the random state of torch, numpy and Python as it was."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])


def _tensor(image: object) -> Tensor:
    """(C, H, W) floating point of a tensor, array or picture.

    Bytes stay numbers up to 255: whoever divides them, in the loop or behind the loader, would do so twice.
    """
    if not isinstance(image, Tensor):
        array = np.array(image)
        if array.dtype != np.uint8 or array.ndim not in (2, 3):
            raise InputError(
                f"images must be tensors, pictures or arrays of bytes, not {type(image).__name__} of {array.dtype}: "
                "end the data set's transform with ToTensor"
            )
        image = torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1).copy())
    return image.float() if image.dtype == torch.uint8 else image


@dataclass(frozen=True, eq=False)
class Items:
    """Reads the images of a data set.

    Args:
        dataset: any map-style one, of tuples that begin with the image and the label, or of dictionaries.
        units: what its images are.
        key: what its dictionaries call the image; found where None.
    """

    dataset: Dataset[Any]
    units: Units
    key: str | None = None

    def _key(self, item: Mapping[str, Any]) -> str:
        names = [n for n in ((self.key,) if self.key else IMAGES) if n in item]
        if not names:
            raise InputError(f"items have no image among {', '.join(map(repr, item))}: name it with image=")
        return names[0]

    def image(self, item: Any) -> Tensor:
        """(C, H, W) of an item, as the network would see it unaltered."""
        if isinstance(item, tuple | list) and item:
            return _tensor(item[0])
        if isinstance(item, Mapping):
            return _tensor(item[self._key(item)])
        raise InputError(f"items must be tuples (image, label, ...) or dictionaries, not {type(item).__name__}")

    def with_image(self, item: Any, image: Any) -> Any:
        """The same item with another image."""
        if isinstance(item, Mapping):
            return {**item, self._key(item): image}
        if hasattr(item, "_replace"):
            return item._replace(**{item._fields[0]: image})
        return type(item)([image, *item[1:]])

    def read(self, rows: npt.NDArray[np.int64]) -> Tensor:
        """(B, C, H, W) images, each read once.

        Raises:
            InputError: images of different sizes.
        """
        distinct, back = np.unique(rows, return_inverse=True)
        images = [self.image(self.dataset[int(row)]) for row in distinct]
        if len(shapes := {tuple(x.shape) for x in images}) > 1:
            raise InputError(
                f"images must be of one size, not {shapes}: resize or crop them in the data set's transform"
            )
        return torch.stack(images)[torch.from_numpy(back)]


class ShownItems(Dataset[Any]):
    """What a ``DataLoader`` reads: items as an epoch shows them, each addressed by a ``ShownIndex``."""

    def __init__(self, items: Items, augment: Augment | None, seed: int) -> None:
        self.items, self.augment, self.rng = items, augment, RandomStreams(seed)

    def __len__(self) -> int:
        return len(self.items.dataset)  # type: ignore[arg-type]

    def __getitem__(self, shown: ShownIndex) -> Any:
        if not isinstance(shown, ShownIndex):
            raise InputError(f"this data set is read through its own sampler, not by the index {shown!r}")
        item = self.items.dataset[shown.row]
        x: Any = self.items.image(item)
        if shown.change is not None:
            x = shown.change.show(x, self.items.units)
        if self.augment is not None:
            with seeded(self.rng.torch_seed("augment", shown.epoch, shown.position)):
                x = self.augment(x)
        return self.items.with_image(item, x)
