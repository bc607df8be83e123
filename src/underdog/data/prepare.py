"""From a source to the parts of one experiment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from underdog.data.images import ImageSet
from underdog.data.imbalance import class_numbers, make_imbalance
from underdog.data.sources import Source
from underdog.data.split import Split, hold_out
from underdog.errors import InputError
from underdog.rng import RandomStreams

__all__ = ["Prepared", "prepare"]

#: Seed of the test part of sources that have none. It does not follow the data's seed, so
#: that no image that some replicate reports on has been used for choosing anything in another.
TEST_SEED = 0


@dataclass(frozen=True, eq=False)
class Prepared:
    """The parts of an experiment, and which of the source's training images are in its training part.

    Attributes:
        split: training part as it will be used, validation and test parts as they came.
        kept: positions of the training images in ``source.train``, ascending.
    """

    split: Split
    kept: npt.NDArray[np.int64]


def prepare(
    source: Source,
    data_seed: int = 0,
    rho: float | None = None,
    mu: float | None = None,
    minority: Iterable[str] | None = None,
    val_fraction: float = 0.1,
    test_fraction: float = 0.2,
) -> Prepared:
    """Hold out test and validation images, then cut the training part to the imbalance asked for.

    Args:
        source: what ``load`` returned. Its own validation and test parts are used where it has them.
        data_seed: of the validation part and the imbalance; the held-out test part is always the same.
        rho, mu: imbalance ratio and minority share; natural counts where rho is None.
        minority: names of the classes that are rare; without, see ``make_imbalance`` and ``Epoch.of``.
        val_fraction: share of the training images to hold out for validation, before the imbalance.
        test_fraction: share of all images to hold out for the test.

    Raises:
        InputError: a class too small to be divided, rho or mu out of range, unknown class names.

    *Deviation*: the paper does not say how it made validation sets.

    >>> from underdog import load_images
    >>> split = prepare(load_images("digits"), rho=20, mu=0.6).split
    >>> sorted(split.train.counts), len(split.val), len(split.test)
    ([6, 6, 6, 6, 6, 6, 125, 125, 125, 125], 143, 359)
    """
    _check_parts(source)
    rng = RandomStreams(data_seed)
    every = np.arange(len(source.train))
    train, test, val = source.train, source.test, source.val

    def take(
        rest: ImageSet, fraction: float, streams: RandomStreams, part: str
    ) -> tuple[npt.NDArray[np.int64], ImageSet]:
        kept, held = hold_out(rest, fraction, streams(part), part)
        return kept, rest.select(held)

    if test is None:
        kept, test = take(train, test_fraction, RandomStreams(TEST_SEED), "test")
        every, train = every[kept], train.select(kept)
    if val is None:
        kept, val = take(train, val_fraction, rng, "validation")
        every, train = every[kept], train.select(kept)
    if rho is not None:
        cut = make_imbalance(train, rho, mu, rng, minority)
        every, train = every[cut.kept], cut.images
    elif minority is not None:
        marked = class_numbers(train.classes, minority)
        if len(marked) == len(train.classes):
            raise InputError("minority must leave at least one class as majority")
        train = replace(train, minority=marked)
    return Prepared(Split(train, val, test), every)


def _check_parts(source: Source) -> None:
    """Every class needs an image, or a group of images, in each part: the source's own and those to be held out."""
    classes = source.train.classes
    for name, part in (("validation", source.val), ("test", source.test)):
        if part is not None and 0 in part.counts:
            raise InputError(f"class {classes[part.counts.index(0)]!r} has no image in the source's own {name} part")
    parts = ["training", *(["test"] if source.test is None else []), *(["validation"] if source.val is None else [])]
    labels, groups = source.train.labels.numpy(), source.train.groups
    for k, name in enumerate(classes):
        n = source.train.counts[k] if groups is None else len(np.unique(groups[labels == k]))
        if n < len(parts):
            what = ("image" if groups is None else "group") + "s" * (n != 1)
            raise InputError(
                f"class {name!r} has {n} {what}: nothing would be left for {parts[n]} (one each for {', '.join(parts)})"
            )
