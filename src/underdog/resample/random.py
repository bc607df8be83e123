"""Random oversampling and undersampling."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

import numpy as np

from underdog.epoch import Epoch
from underdog.resample.base import Counts, Moment, NoResampling
from underdog.validate import check_ratio

__all__ = ["EqualUpdates", "RandomOverSampler", "RandomUnderSampler"]


@dataclass(frozen=True)
class RandomOverSampler(NoResampling):
    """ROS: repeat randomly chosen examples of every class until each has as many as the largest, or a share of that.

    A class of n_k examples gets max(n_k, floor(ratio * max_i n_i)) of them. Every example is kept; the repeats are drawn
    with replacement and come after them.

    Args:
        ratio: in (0, 1].

    Raises:
        InputError: ratio outside its range.

    *Source*: section 2 of the paper; the name and the distribution are imbalanced-learn's.
    *Deviation*: imbalanced-learn takes a ratio for two classes only; for those it is the same.

    >>> import torch
    >>> from underdog import ImageSet, Moment, RandomStreams
    >>> now = Moment(0, None, RandomStreams(0))
    >>> few = ImageSet(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 0, 0, 1]), ("a", "b"))
    >>> RandomOverSampler().start(Epoch.of(few), now).index
    array([0, 1, 2, 3, 4, 4, 4, 4])
    """

    ratio: float = 1.0

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    def start(self, epoch: Epoch, now: Moment) -> Epoch:
        labels, least = epoch.labels[epoch.index], int(self.ratio * max(epoch.shown))
        repeats = [
            now.rng("oversample", k).choice(epoch.index[labels == k], size=max(least - n, 0))
            for k, n in enumerate(epoch.shown)
            if n
        ]
        return replace(epoch, index=np.concatenate([epoch.index, *repeats]))

    def expected(self, shown: Counts, epoch: Epoch) -> Counts:
        least = int(self.ratio * max(shown))
        return tuple(max(n, least) if n else 0 for n in shown)


@dataclass(frozen=True)
class RandomUnderSampler(NoResampling):
    """RUS: keep randomly chosen examples of every class, as many as the smallest has, or a multiple of that.

    A class of n_k examples keeps min(n_k, floor(min_i n_i / ratio)), chosen without replacement, once, before training.

    Args:
        ratio: in (0, 1].

    Raises:
        InputError: ratio outside its range.

    *Source*: section 2 of the paper; the name and the distribution are imbalanced-learn's.
    *Deviation*: imbalanced-learn takes a ratio for two classes only; for those it is the same.

    >>> import torch
    >>> from underdog import ImageSet, Moment, RandomStreams
    >>> now = Moment(0, None, RandomStreams(0))
    >>> few = ImageSet(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 0, 0, 1]), ("a", "b"))
    >>> len(RandomUnderSampler().start(Epoch.of(few), now))
    2
    """

    ratio: float = 1.0

    def __post_init__(self) -> None:
        check_ratio(self.ratio)

    def start(self, epoch: Epoch, now: Moment) -> Epoch:
        labels, n = epoch.labels[epoch.index], int(min(n for n in epoch.shown if n) / self.ratio)
        kept = [
            now.rng("undersample", k).permutation(epoch.index[labels == k])[:n]
            for k, have in enumerate(epoch.shown)
            if have
        ]
        return replace(epoch, index=np.sort(np.concatenate(kept)))

    def expected(self, shown: Counts, epoch: Epoch) -> Counts:
        most = int(min(n for n in shown if n) / self.ratio)
        return tuple(min(n, most) for n in shown)


@dataclass(frozen=True)
class EqualUpdates(NoResampling):
    """Repeat all examples alike until an epoch is as long as random oversampling's; no class gains on another.

    An epoch of N examples becomes one of K * max_i |C_i|: floor(K max_i |C_i| / N) times all of them, and randomly
    chosen ones for the rest, each at most once. Longer epochs stay. Placed last in a ``Chain``, it gives every method
    the updates of random oversampling, and evaluations at the same points.

    *Deviation*: the paper compares equal epochs, in which oversampling takes several times the baseline's updates.

    >>> import torch
    >>> from underdog import ImageSet, Moment, RandomStreams
    >>> now = Moment(0, None, RandomStreams(0))
    >>> few = ImageSet(torch.zeros(5, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 0, 0, 1]), ("a", "b"))
    >>> len(EqualUpdates().start(Epoch.of(few), now))
    8
    """

    def start(self, epoch: Epoch, now: Moment) -> Epoch:
        return self._filled(epoch, now.rng("equal-updates"))

    def refresh(self, epoch: Epoch, now: Moment) -> Epoch:
        """Fill up again what another resampler has made shorter."""
        return self._filled(epoch, now.rng("equal-updates", now.t))

    @staticmethod
    def _filled(epoch: Epoch, rng: np.random.Generator) -> Epoch:
        length = max(epoch.counts) * sum(n > 0 for n in epoch.counts)
        if len(epoch) >= length:
            return epoch
        times, rest = divmod(length, len(epoch))
        again = np.concatenate([np.tile(np.arange(len(epoch)), times), rng.permutation(len(epoch))[:rest]])
        return epoch.repeated(again)

    def expected(self, shown: Counts, epoch: Epoch) -> Counts:
        longer = max(1.0, max(epoch.counts) * sum(n > 0 for n in epoch.counts) / sum(shown))
        ends = [round(end * longer) for end in accumulate(shown, initial=0)]  # so that their sum is exact
        return tuple(end - begin for begin, end in pairwise(ends))
