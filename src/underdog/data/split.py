"""Training, validation and test parts that share no image and no group."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from underdog.data.images import ImageSet
from underdog.errors import InputError

__all__ = ["Split", "hold_out"]

#: Divisions to try before a class is said to be too small.
ATTEMPTS = 32


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


def hold_out(
    images: ImageSet, fraction: float, rng: np.random.Generator, part: str = "validation"
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

    Returns:
        (kept, held): positions, ascending.

    Raises:
        InputError: fraction outside its range, or a class too small (fewer than two groups) for both parts.

    >>> import torch
    >>> some = ImageSet(torch.zeros(40, 1, 8, 8, dtype=torch.uint8), torch.arange(40) % 2, ("a", "b"))
    >>> [len(part) for part in hold_out(some, 0.1, np.random.default_rng(0))]
    [36, 4]
    """
    if not 0 < fraction < 1:
        raise InputError(f"the {part} fraction must be in (0, 1), not {fraction}")
    labels, counts = images.labels.numpy(), images.counts
    group = np.arange(len(images)) if images.groups is None else np.unique(images.groups, return_inverse=True)[1]
    # Classes that share groups can take each other's last one: then the order of the draws decides.
    for _ in range(ATTEMPTS):
        held, failed = _draw(labels, counts, group, fraction, rng)
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
) -> tuple[npt.NDArray[np.bool_], tuple[int, ...]]:
    """Which groups (numbered for each image by ``group``) to hold out, and the classes that this fails: one or none."""
    held = np.zeros(group.max(initial=-1) + 1, dtype=bool)
    undecided = ~held
    for k in sorted(range(len(counts)), key=lambda k: (counts[k], k)):
        sizes = np.bincount(group[labels == k], minlength=len(held))  # images of this class in each group
        mine = np.flatnonzero(sizes)
        wanted, here = max(1, round(fraction * counts[k])), sizes[held].sum()
        for g in rng.permutation(mine[undecided[mine]]):
            if here >= wanted:
                break
            # A large group may overshoot: take it only if that ends nearer to the wanted number.
            if here and here + sizes[g] - wanted > wanted - here:
                continue
            held[g] = True
            here += sizes[g]
        undecided[mine] = False
        if here in (0, counts[k]):
            return held, (k,)
    return held, ()
