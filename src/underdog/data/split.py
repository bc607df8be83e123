"""Training, validation and test parts that share no image and no group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from underdog.data.images import ImageSet
from underdog.errors import InputError

__all__ = ["Split", "folds", "group_numbers", "hold_out"]

#: Divisions to try before a class is said to be too small.
ATTEMPTS = 32
#: Validation images of a class below which choosing by them is mostly chance.
FEW = 10


@dataclass(frozen=True, eq=False)
class Split:
    """The parts of one experiment: ``train`` to learn from, ``val`` to choose by, ``test`` to report on (or None)."""

    train: ImageSet
    val: ImageSet
    test: ImageSet | None = None

    def __post_init__(self) -> None:
        for name in ("train", "val", "test"):
            part = getattr(self, name)
            if part is not None and not len(part):
                raise InputError(f"{name} must have at least one image")
            if part is not None and (part.classes, part.shape) != (self.train.classes, self.train.shape):
                raise InputError(f"{name} must have the classes and the image shape of train")

    @property
    def notes(self) -> tuple[str, ...]:
        """Warnings: classes of which fewer than 10 images are left to choose by."""
        few = [f"{name} ({n})" for name, n in zip(self.val.classes, self.val.counts, strict=True) if n < FEW]
        if not few:
            return ()
        return (f"fewer than {FEW} validation images of {', '.join(few)}: what is chosen by them is chosen by chance",)


def group_numbers(images: ImageSet) -> npt.NDArray[np.int64]:
    """(N,) a number for each image's group; every image is its own where there are none."""
    if images.groups is None:
        return np.arange(len(images))
    return np.unique(images.groups, return_inverse=True)[1].astype(np.int64)


def hold_out(
    images: ImageSet, fraction: float, rng: np.random.Generator, part: str = "validation", leave: int = 1
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Divide a set at random into what stays and what is held out, class by class, whole groups only.

    Rare classes are served first. Each class gives up groups in random order until round(fraction * n)
    of its images, at least one, are held out; without groups every image is its own. A group of
    several classes goes where its rarest class sends it.

    Args:
        images: the set to divide.
        fraction: share to hold out, in (0, 1).
        rng: the generator to draw from.
        part: what the held-out part is called in errors.
        leave: groups of each class that have to stay, such as 2 where another part is to be held out of the rest.

    Returns:
        (kept, held): positions, ascending.

    Raises:
        InputError: fraction outside its range, or a class too small (fewer than leave + 1 groups) for all parts.

    >>> import torch
    >>> some = ImageSet(torch.zeros(40, 1, 8, 8, dtype=torch.uint8), torch.arange(40) % 2, ("a", "b"))
    >>> [len(part) for part in hold_out(some, 0.1, np.random.default_rng(0))]
    [36, 4]
    """
    if not 0 < fraction < 1:
        raise InputError(f"the {part} fraction must be in (0, 1), not {fraction}")
    labels, counts, group = images.labels.numpy(), images.counts, group_numbers(images)
    # Classes that share groups can take each other's last one: then the order of the draws decides.
    for _ in range(ATTEMPTS):
        held, failed = _draw(labels, counts, group, fraction, rng, leave)
        if not failed:
            break
    else:
        k = failed[0]
        mine = len(np.unique(group[labels == k]))
        what = "image" if images.groups is None else "group"
        raise InputError(
            f"class {images.classes[k]!r} has {mine} {what}{'s' * (mine != 1)}: nothing would be left for "
            f"{part if mine < 2 else 'training'}; every class needs at least one {what} in each part"
        )
    chosen = held[group]
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _draw(
    labels: npt.NDArray[np.int64],
    counts: tuple[int, ...],
    group: npt.NDArray[np.int64],
    fraction: float,
    rng: np.random.Generator,
    leave: int,
) -> tuple[npt.NDArray[np.bool_], tuple[int, ...]]:
    """Which groups (numbered for each image by ``group``) to hold out, and the classes that this fails: one or none."""
    held = np.zeros(group.max(initial=-1) + 1, dtype=bool)
    undecided = ~held
    for k in sorted(range(len(counts)), key=lambda k: (counts[k], k)):
        sizes = np.bincount(group[labels == k], minlength=len(held))  # images of this class in each group
        mine = np.flatnonzero(sizes)
        wanted, here, staying = max(1, round(fraction * counts[k])), sizes[held].sum(), (~held[mine]).sum()
        for g in rng.permutation(mine[undecided[mine]]):
            if here >= wanted or staying <= leave:
                break
            # A large group may overshoot: take it only if that ends nearer to the wanted number.
            if here and here + sizes[g] - wanted > wanted - here:
                continue
            held[g] = True
            here, staying = here + sizes[g], staying - 1
        undecided[mine] = False
        if counts[k] and (not here or staying < leave):
            return held, (k,)
    return held, ()


def folds(images: ImageSet, k: int, rng: Callable[[int], np.random.Generator]) -> list[npt.NDArray[np.int64]]:
    """Divide a set into k parts alike in size and classes, whole groups only.

    Fold i is held out of what the folds before it left, by ``hold_out``; every class has a group in each.

    Args:
        images: the set to divide.
        k: number of folds, at least 2.
        rng: the generator of each fold's draw.

    Returns:
        the positions of each fold's images, ascending.

    Raises:
        InputError: fewer than two folds, or a class with fewer groups than folds.

    >>> import torch
    >>> some = ImageSet(torch.zeros(40, 1, 8, 8, dtype=torch.uint8), torch.arange(40) % 2, ("a", "b"))
    >>> [len(fold) for fold in folds(some, 5, np.random.default_rng)]
    [8, 8, 8, 8, 8]
    """
    if k < 2:
        raise InputError(f"folds must be at least 2, not {k}")
    bare = torch.empty(len(images), 1, 0, 0, dtype=torch.uint8)  # selecting from it copies no pixels
    images = replace(images, images=bare)
    rest, parts = np.arange(len(images)), []
    for i in range(k - 1):
        kept, held = hold_out(images.select(rest), 1 / (k - i), rng(i), f"fold {i}", leave=k - 1 - i)
        parts.append(rest[held])
        rest = rest[kept]
    return [*parts, rest]
