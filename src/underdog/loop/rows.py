"""The items of a data set as the rows of an epoch."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from zlib import crc32

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from underdog.altered import Altered, AlteredPixels, AlteredSigns
from underdog.data.images import ImageSet
from underdog.epoch import Epoch
from underdog.errors import InputError
from underdog.loop.items import ChangedPixels, ChangedSigns, Items
from underdog.validate import check_classes

__all__ = ["RowsOf", "as_written", "change_at", "differing"]


@dataclass(frozen=True, eq=False)
class RowsOf(Epoch):
    """An epoch whose images are the items of a data set, read when they are asked for; ``images`` only counts them.

    What is read, for an attack, is checked; ``readings`` are the check sums of the images read so far, in this epoch and
    those before it.
    """

    items: Items | None = None
    readings: dict[int, int] = field(default_factory=dict)

    @classmethod
    def reading(cls, items: Items, labels: npt.NDArray[np.int64], minority: Collection[int] | None) -> RowsOf:
        """The epoch that shows every item once, of classes (N,); the rare ones are found where they are not named."""
        rare = None if minority is None else check_classes("minority", minority)
        names = tuple(str(k) for k in range(int(labels.max()) + 1))
        counted = torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(len(labels), -1, -1, -1)
        epoch = Epoch.of(ImageSet(counted, torch.from_numpy(labels), names, minority=rare))
        return cls(**{f.name: getattr(epoch, f.name) for f in fields(epoch)}, items=items)

    def unit(self, rows: npt.NDArray[np.int64]) -> Tensor:
        assert self.items is not None
        images = self.items.read(rows)
        self.items.units.check(images)
        for row, image in dict(zip(rows.tolist(), images, strict=True)).items():
            now = crc32(image.cpu().contiguous().view(torch.uint8).numpy())
            if self.readings.setdefault(row, now) != now:
                raise differing(row)
        return self.items.units.to_pixels(images)

    def _pixels(self, rows: Tensor) -> Tensor:
        raise InputError(
            "this resampler needs the bytes of all images at once (SMOTE does): load them as an ImageSet and use underdog.fit"
        )


def differing(row: int) -> InputError:
    """What is wrong with a data set that does not give the same image twice."""
    return InputError(
        f"two readings of image {row} differ, so the data set augments at random, and an alteration made for one reading "
        "would not fit the next: take what is random out of its transform and give it as augment=, which is applied after "
        "the alteration; or use underdog.perturb_batch"
    )


def change_at(epoch: Epoch, row: int) -> ChangedSigns | ChangedPixels | None:
    """What a row of an epoch is, if it is an altered one."""
    number = row - epoch.originals
    for altered in epoch.altered if number >= 0 else ():
        if number < len(altered):
            return change_of(altered, number)
        number -= len(altered)
    return None


def change_of(altered: Altered, number: int) -> ChangedSigns | ChangedPixels | None:
    """An altered row as it travels to a worker; None where it does not differ from its origin by definition."""
    if isinstance(altered, AlteredSigns):
        eps = float(altered.eps[number])
        return ChangedSigns(altered.packed[number].numpy(), eps, altered.clip) if eps else None
    assert isinstance(altered, AlteredPixels)
    return ChangedPixels(altered.pixels[number].float().numpy())


def as_written(numbers: Tensor, like: Tensor | None) -> Tensor:
    """Class numbers (B,) as the data set writes its labels, of which ``like`` is a one-hot one."""
    return numbers if like is None else functional.one_hot(numbers, like.numel()).to(like.dtype)
