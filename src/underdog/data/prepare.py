"""From a source to the parts of one experiment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from underdog.data.images import ImageSet
from underdog.data.imbalance import class_numbers, make_imbalance
from underdog.data.sources import Source
from underdog.data.split import Split, folds, hold_out
from underdog.errors import InputError
from underdog.rng import RandomStreams

__all__ = ["Division", "Prepared", "prepare"]

#: Seed of the test part of sources that have none. It does not follow the data's seed, so
#: that no image that some replicate reports on has been used for choosing anything in another.
TEST_SEED = 0
TEST_FRACTION = 0.2
VAL_FRACTION = 0.1


@dataclass(frozen=True, eq=False)
class Prepared:
    """The parts of an experiment, and which of the source's training images are in its training part.

    Attributes:
        split: training part as it will be used, validation and test parts as they came.
        kept: positions of the training images in ``source.train``, ascending.
    """

    split: Split
    kept: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Division:
    """How to hold out the parts that a source does not have.

    Args:
        val_fraction: share of the training images to hold out for validation, before any imbalance; default 0.1.
        test_fraction: share of all images to hold out for the test; default 0.2.
        folds, fold: instead of a test fraction: the test part is fold number ``fold`` (from 0) of ``folds``.

    Raises:
        InputError: a fraction outside (0, 1), a fold that there is not, or both a test fraction and folds.

    *Deviation*: the paper does not say how it made validation sets.

    >>> Division(folds=5, fold=4).fold
    4
    """

    val_fraction: float | None = None
    test_fraction: float | None = None
    folds: int | None = None
    fold: int | None = None

    def __post_init__(self) -> None:
        for name in ("val_fraction", "test_fraction"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise InputError(f"{name.replace('_', '-')} must be in (0, 1), not {value}")
        if (self.folds is None) != (self.fold is None):
            raise InputError("folds and fold belong together: into how many to divide, and which one is the test part")
        if self.folds is not None and self.fold is not None:
            if self.test_fraction is not None:
                raise InputError("test-fraction and folds exclude each other: both say which images are the test part")
            if self.folds < 2 or not 0 <= self.fold < self.folds:
                raise InputError(
                    f"fold must be one of 0 to folds - 1 and folds at least 2, not {self.fold} of {self.folds}"
                )


def prepare(
    source: Source,
    data_seed: int = 0,
    rho: float | None = None,
    mu: float | None = None,
    minority: Iterable[str] | None = None,
    division: Division | None = None,
    majority_size: int | None = None,
) -> Prepared:
    """Hold out test and validation images, then cut the training part to the imbalance asked for.

    Args:
        source: what ``load_images`` returned. Its own validation and test parts are used where it has them.
        data_seed: of the validation part and the imbalance; the held-out test part is always the same.
        rho, mu: imbalance ratio and minority share; natural counts where rho is None.
        minority: names of the classes that are rare; by default see ``make_imbalance`` and ``Epoch.of``.
        division: how large the parts are that the source does not have; by default a tenth and a fifth.
        majority_size: training images to leave in each class that is not made rare; by default as many as the smallest has.

    Raises:
        InputError: a class too small to be divided, rho or mu out of range, unknown class names, a test part to be
            held out of a source that has its own.

    >>> from underdog import load_images
    >>> split = prepare(load_images("digits"), rho=20, mu=0.6).split
    >>> sorted(split.train.counts), len(split.val), len(split.test)
    ([6, 6, 6, 6, 6, 6, 125, 125, 125, 125], 143, 359)
    """
    division = division or Division()
    _check_parts(source, division)
    rng = RandomStreams(data_seed)
    every = np.arange(len(source.train))
    train, test, val = source.train, source.test, source.val
    if test is None:
        kept, held = _test_part(train, division, leave=1 if val else 2)
        every, train, test = every[kept], train.select(kept), train.select(held)
    if val is None:
        kept, held = hold_out(train, division.val_fraction or VAL_FRACTION, rng("validation"))
        every, train, val = every[kept], train.select(kept), train.select(held)
    if rho is not None:
        cut = make_imbalance(train, rho, mu, rng, minority, majority_size)
        every, train = every[cut.kept], cut.images
    elif minority is not None:
        marked = class_numbers(train.classes, minority)
        if len(marked) == len(train.classes):
            raise InputError("minority must leave at least one class as majority")
        train = replace(train, minority=marked)
    return Prepared(Split(train, val, test), every)


def _test_part(images: ImageSet, division: Division, leave: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Positions of what stays and of what is held out for the test: the same for every data seed."""
    streams = RandomStreams(TEST_SEED)
    if division.folds is None or division.fold is None:
        return hold_out(images, division.test_fraction or TEST_FRACTION, streams("test"), "test", leave)
    held = folds(images, division.folds, lambda i: streams("fold", i))[division.fold]
    return np.setdiff1d(np.arange(len(images)), held), held


def _check_parts(source: Source, division: Division) -> None:
    """Every class needs an image, or a group of images, in each part: the source's own and those to be held out."""
    asked = {
        "test": "folds" if division.folds else "test-fraction" if division.test_fraction else "",
        "validation": "val-fraction" if division.val_fraction else "",
    }
    for name, part in (("test", source.test), ("validation", source.val)):
        if part is not None and asked[name]:
            raise InputError(
                f"source {source.name!r} has its own {name} part, so that {asked[name]} cannot make another"
            )
    classes = source.train.classes
    for name, part in (("validation", source.val), ("test", source.test)):
        if part is not None and 0 in part.counts:
            raise InputError(f"class {classes[part.counts.index(0)]!r} has no image in the source's own {name} part")
    parts = ["training", *(["test"] if source.test is None else []), *(["validation"] if source.val is None else [])]
    labels, groups = source.train.labels.numpy(), source.train.groups
    for k, name in enumerate(classes):
        n = source.train.counts[k] if groups is None else len(np.unique(groups[labels == k]))
        what = ("image" if groups is None else "group") + "s" * (n != 1)
        if n < (division.folds or 0):
            raise InputError(f"class {name!r} has {n} {what}, too few for {division.folds} folds: each needs one")
        if n < len(parts):
            raise InputError(
                f"class {name!r} has {n} {what}: nothing would be left for {parts[n]} (one each for {', '.join(parts)})"
            )
