"""How far, how often and which: numbers for the rows that a resampler alters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from underdog.data.images import to_device
from underdog.epoch import Epoch, Indices
from underdog.errors import InputError
from underdog.resample.base import Moment

__all__ = ["Amount", "ByClass", "ByLoss", "Ramp", "Select", "Uniform", "amounts", "chances", "weights"]

Numbers = npt.NDArray[np.float64]

#: A number, or a function from rows (n,) of an epoch to a number for each: ``ByClass``, ``Ramp``, ``Uniform`` or one's own.
Amount = float | Callable[[Epoch, Indices, Moment], Numbers]

#: From rows (n,) of an epoch to how much each is wanted, at least 0; only their relations count. Such as ``ByLoss()``.
Select = Callable[[Epoch, Indices, Moment], Numbers]

#: Rows whose loss is taken together.
CHUNK = 512


def _checked(name: str, rule: str, values: object, n: int, most: float) -> Numbers:
    found = np.asarray(values, dtype=np.float64)
    if found.shape != (n,) or not bool(((found >= 0) & (found <= most)).all()):  # a nan is outside too
        some = f"values from {found.min():g} to {found.max():g}" if found.size else "nothing"
        raise InputError(f"{name} must give {rule} for each of {n} rows, not {some} of shape {found.shape}")
    return found


def amounts(name: str, amount: Amount, epoch: Epoch, rows: Indices, now: Moment) -> Numbers:
    """(n,) numbers in [0, 1] for rows.

    Raises:
        InputError: a function that gives something else.
    """
    if not callable(amount):
        return np.full(len(rows), amount, dtype=np.float64)
    # Two functions of one kind draw apart.
    found = amount(epoch, rows, now.at(0, twins=int(name == "tau")))
    return _checked(name, "a number in [0, 1]", found, len(rows), 1)


def weights(select: Select, epoch: Epoch, rows: Indices, now: Moment) -> Numbers:
    """(n,) weights of rows, whose mean is 1 (or which are all 0).

    Raises:
        InputError: a function that gives something else than numbers of at least 0.
    """
    found = select(epoch, rows, now.at(0, twins=2))
    found = _checked("select", "a finite number of at least 0", found, len(rows), np.finfo(float).max)
    return found / (found.mean() or 1.0)


def chances(tau: Numbers, wanted: Numbers) -> Numbers:
    """(n,) probabilities in [0, 1] in proportion to weights (n,), with the sum of ``tau`` (n,) as far as there are rows for it.

    >>> chances(np.full(4, 0.5), np.array([8.0, 1, 1, 0]))
    array([1. , 0.5, 0.5, 0. ])
    """
    found, total = tau * wanted, tau.sum()
    for _ in range(len(tau)):
        full = found >= 1
        rest = total - full.sum()
        open_sum = found[~full].sum()
        if not full.any() or open_sum <= 0 or np.isclose(open_sum, rest):
            break
        found = np.where(full, 1.0, found * rest / open_sum)
    return np.minimum(found, 1.0)


@dataclass(frozen=True)
class ByClass:
    """One amount for each of some classes, by number, and another one for the rest.

    >>> import torch
    >>> from underdog import ImageSet, RandomStreams
    >>> epoch = Epoch.of(ImageSet(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 1]), ("a", "b")))
    >>> ByClass({1: 0.25})(epoch, np.array([0, 2]), Moment(0, None, RandomStreams(0)))
    array([0.  , 0.25])
    """

    values: Mapping[int, float] = field(hash=False)
    rest: float = 0.0

    def __call__(self, epoch: Epoch, rows: Indices, now: Moment) -> Numbers:
        table = np.array([self.values.get(k, self.rest) for k in range(len(epoch.classes))])
        return np.asarray(table[epoch.labels[rows]])


@dataclass(frozen=True)
class Ramp:
    """An amount that goes in a straight line from ``first``, before the stage's first epoch, to ``last``, before its last one.

    >>> from underdog import RandomStreams
    >>> [Ramp(0, 0.5)(None, np.zeros(1), Moment(t, 5, RandomStreams(0))).item() for t in range(5)]
    [0.0, 0.125, 0.25, 0.375, 0.5]
    """

    first: float
    last: float

    def __call__(self, epoch: Epoch, rows: Indices, now: Moment) -> Numbers:
        return np.full(len(rows), self.first + (self.last - self.first) * now.done)


@dataclass(frozen=True)
class Uniform:
    """An amount drawn for each row between two numbers, anew before every refresh.

    >>> from underdog import RandomStreams
    >>> values = Uniform(0.1, 0.2)(None, np.zeros(1000), Moment(0, None, RandomStreams(0)))
    >>> bool(values.min() >= 0.1), bool(values.max() < 0.2)
    (True, True)
    """

    low: float
    high: float

    def __call__(self, epoch: Epoch, rows: Indices, now: Moment) -> Numbers:
        return now.rng("uniform", now.t).uniform(self.low, self.high, len(rows))


@dataclass(frozen=True)
class ByLoss:
    """Images are wanted in proportion to their training loss under the network as it is now: the hard ones more often.

    *Source*: the paper's outlook ("more instances basing on most unsafe minority examples"), by the network's own measure.

    >>> from underdog import FGSM, Perturb
    >>> Perturb(FGSM(), eps=8 / 255, tau=0.5, select=ByLoss()).select
    ByLoss()
    """

    def __call__(self, epoch: Epoch, rows: Indices, now: Moment) -> Numbers:
        distinct, back = np.unique(rows, return_inverse=True)
        parts = []
        for at in range(0, len(distinct), CHUNK):
            own = distinct[at : at + CHUNK]
            logits = now.victim.logits(epoch.unit(own))
            parts.append(
                now.victim.objective(logits, to_device(epoch.labels[own], logits.device))
                .detach()
                .double()
                .cpu()
                .numpy()
            )
        found = np.concatenate(parts).clip(min=0)
        return found[back] if found.any() else np.ones(len(rows))
