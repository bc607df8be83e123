"""How imbalanced data are, and how to make them so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from underdog.data.images import ImageSet
from underdog.errors import InputError, unknown
from underdog.rng import RandomStreams

__all__ = ["Imbalanced", "class_numbers", "imbalance_ratio", "make_imbalance", "minority_by_count", "minority_share"]


def exact(name: str, value: float | str | Fraction) -> Fraction:
    """The number that was meant: 0.6 is 3/5 and 0.3333333333333333 is 1/3, not the nearest double.

    Raises:
        InputError: not a finite number.

    >>> exact("mu", 0.6), exact("mu", 1 / 3), exact("mu", "2/7")
    (Fraction(3, 5), Fraction(1, 3), Fraction(2, 7))
    """
    try:
        number = Fraction(value)
    except (ValueError, OverflowError, ZeroDivisionError) as error:
        raise InputError(f"{name} must be a finite number, not {value}") from error
    near = number.limit_denominator(1_000_000)
    return near if isinstance(value, float) and float(near) == value else number


def minority_by_count(counts: Sequence[int]) -> frozenset[int]:
    """The classes with at most half as many images as the largest: underdog's reading of "minority" on natural data.

    *Deviation*: the paper only has induced data, where the minority classes are the marked ones.

    >>> sorted(minority_by_count([100, 51, 50, 3]))
    [2, 3]
    """
    return frozenset(k for k, n in enumerate(counts) if 0 < 2 * n <= max(counts))


def imbalance_ratio(labels: npt.ArrayLike) -> float:
    """rho = max_i |C_i| / min_i |C_i|, over the classes that occur among (N,) labels.

    *Source*: section 2 of the paper.

    >>> imbalance_ratio([0, 0, 0, 0, 1, 1])
    2.0
    """
    counts = np.unique(np.asarray(labels), return_counts=True)[1]
    if len(counts) == 0:
        raise InputError("labels must name at least one image")
    return float(counts.max() / counts.min())


def minority_share(labels: npt.ArrayLike, minority: Iterable[int] | None = None) -> float:
    """mu = |minority classes| / |classes|, over the classes that occur among (N,) labels.

    Args:
        labels: (N,) class numbers.
        minority: the classes that count as minority; by default those with at most half the largest's images.

    *Source*: section 2 of the paper (after Buda et al. 2018).

    >>> minority_share([0, 0, 0, 0, 1, 1])
    0.5
    """
    present, counts = np.unique(np.asarray(labels), return_counts=True)
    if len(counts) == 0:
        raise InputError("labels must name at least one image")
    rare = {int(present[k]) for k in minority_by_count(counts.tolist())} if minority is None else set(minority)
    return len(rare & set(present.tolist())) / len(present)


def class_numbers(classes: Sequence[str], names: Iterable[str]) -> frozenset[int]:
    """The numbers of the classes called ``names``."""
    if isinstance(names, str):
        raise InputError(f"minority must be a list of class names, not the text {names!r}")
    for name in (names := list(names)):
        if name not in classes:
            raise unknown("class in minority", name, classes)
    return frozenset(classes.index(name) for name in names)


@dataclass(frozen=True, eq=False)
class Imbalanced:
    """What ``make_imbalance`` made: the images left, with their minority marked, and which ones they are.

    Attributes:
        images: the images that were kept, in their original order.
        kept: (M,) positions of those images in the original set, ascending, fit to be published.
    """

    images: ImageSet
    kept: npt.NDArray[np.int64]


def make_imbalance(
    images: ImageSet,
    rho: float | str | Fraction,
    mu: float | str | Fraction | None,
    rng: RandomStreams,
    minority: Iterable[str] | None = None,
    majority_size: int | None = None,
) -> Imbalanced:
    """Cut a set down to imbalance ratio rho in a share mu of its classes.

    The four steps: find the smallest class, of n images (or say n yourself); cut every class to n at random; mark
    floor(mu * K) classes chosen at random as minority; cut these to floor(n / rho) at random.
    Arithmetic is exact: mu = 0.2 of 6 classes is 1 class, mu = 0.29 of 100 is 29.

    Args:
        images: the set to cut.
        rho: imbalance ratio, at least 1.
        mu: share of minority classes in [0, 1); not needed when ``minority`` names them.
        rng: streams of the *data's* seed. For one seed, the minority classes of a smaller mu are
            among those of a larger one, and the images of a larger rho among those of a smaller.
        minority: class names to use instead of a random choice.
        majority_size: n, to study smaller sets; the images of a smaller n are among those of a larger one.

    Raises:
        InputError: rho, mu or the size outside its range, a class emptied, an unknown class name.

    *Source*: section 4.1 of the paper, "the procedure of artificially inducing class imbalance".

    >>> import torch
    >>> ten = ImageSet(torch.zeros(40, 1, 8, 8, dtype=torch.uint8), torch.arange(40) % 2, ("a", "b"))
    >>> make_imbalance(ten, rho=5, mu=0.5, rng=RandomStreams(0)).images.counts
    (4, 20)
    """
    rho, counts = exact("rho", rho), images.counts
    share = None if mu is None else exact("mu", mu)
    smallest = min(counts, default=0)
    if rho < 1:
        raise InputError(f"rho must be at least 1, not {float(rho):g}")
    if not len(images):
        raise InputError("the set to cut has no image")
    if smallest == 0:
        raise InputError(f"class {images.classes[counts.index(0)]!r} has no training image to begin with")
    if majority_size is not None and not 1 <= majority_size <= smallest:
        raise InputError(
            f"majority-size must be from 1 to the smallest class's {smallest} training images, not {majority_size}"
        )
    smallest = majority_size or smallest
    if minority is not None and share is not None:
        raise InputError("mu and minority exclude each other: the one draws the rare classes, the other names them")
    if minority is not None:
        marked = class_numbers(images.classes, minority)
    elif share is None:
        raise InputError("mu must be given (a share of the classes in [0, 1)) unless minority names the classes")
    elif not 0 <= share < 1:
        raise InputError(f"mu must be in [0, 1), not {float(share):g}")
    else:
        order = rng("minority-classes").permutation(len(counts))
        marked = frozenset(order[: int(share * len(counts))].tolist())
    if len(marked) == len(counts):
        raise InputError("minority must leave at least one class as majority")
    rare = int(smallest / rho)
    if marked and rare == 0:
        raise InputError(
            f"rho must be at most {smallest}, the images left in a majority class, or the minority classes are emptied; "
            f"not {float(rho):g}"
        )
    labels = images.labels.numpy()
    kept = [
        rng("imbalance", k).permutation(np.flatnonzero(labels == k))[: rare if k in marked else smallest]
        for k in range(len(counts))
    ]
    at = np.sort(np.concatenate(kept))
    return Imbalanced(replace(images.select(at), minority=marked), at)
