"""Balanced epochs as an order of indices, for any loader."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from underdog.data.imbalance import minority_by_count
from underdog.errors import InputError
from underdog.loop.labels import find_labels
from underdog.ranks import Ranks
from underdog.rng import RandomStreams
from underdog.validate import check_same, check_whole

__all__ = ["BalancedSampler", "fingerprint", "share"]

Indices = npt.NDArray[np.int64]

#: Whole iterations that are taken for a look at the data where no epoch was ever announced.
LOOKS = 2

#: Indices turned into Python numbers at a time.
CHUNK = 65536


def share(order: Indices, rank: int, world: int) -> Indices:
    """What rank ``rank`` of ``world`` shows of an epoch: every world-th example.

    Nothing is left out, and the ranks' i-th batches together are the i-th batch of one process. Where the length
    is no multiple of ``world``, as many examples as are missing are repeated from the beginning of the order.

    >>> [share(np.arange(5), rank, 2).tolist() for rank in (0, 1)]
    [[0, 2, 4], [1, 3, 0]]
    """
    return np.resize(order, -(-len(order) // world) * world)[rank::world]


def fingerprint(labels: Indices) -> str:
    """A hash of labels (N,), different for others and for the same in another order."""
    return blake2b(labels.tobytes(), digest_size=16).hexdigest()


def check_world(state: Mapping[str, Any], world: int) -> None:
    """What is left of an epoch depends on how many ranks share it.

    Raises:
        InputError: the state is from within an epoch of another number of ranks.
    """
    if state["seen"] and state["world"] != world:
        raise InputError(
            f"the state is from within an epoch of {state['world']} ranks, and there are {world} now: "
            "resume with as many, or from the end of an epoch"
        )


def warn_unannounced(what: object) -> None:
    """Of what shows the same epoch in every iteration because none was ever announced."""
    warnings.warn(
        f"a {type(what).__name__} shows the same epoch in every iteration: call its set_epoch(t) before every training epoch "
        "t = 0, 1, ...",
        UserWarning,
        stacklevel=3,
    )


class BalancedSampler(Sampler[int]):
    """Show as many images of every class as the largest one has, shuffled.

    Each class is walked through in random orders, one after the other and on into the next epoch, so that every
    image is shown before any is shown again. An epoch depends on the seed and its number alone. Ranks see
    their shares of the same epoch: ``share`` says what is repeated where its length is no multiple of ``world``.

    Each training epoch is announced with ``set_epoch(t)``, which Lightning and the Trainer of Transformers do by
    themselves. Every iteration shows the epoch announced last: those for other reasons, such as metrics, change nothing.

    Args:
        dataset: in which labels can be found without decoding images, or (N,) class numbers themselves.
        seed: any integer.
        rank, world: the number of this process and how many there are.
        labels: (N,) class numbers or a function from an index to one, where the data set does not offer them.

    Attributes:
        counts: (K,) images of each class.
        minority: the classes with at most half as many images as the largest.
        epoch: the number of the epoch that iterations show, 0 at first.

    Raises:
        InputError: labels that cannot be found or are no class numbers; a rank outside [0, world).

    Warns:
        UserWarning: when a third iteration begins and no epoch was ever announced.

    *Source*: section 2 of the paper (random oversampling).
    *Deviation*: repeats are drawn without replacement, where the paper and ``RandomOverSampler`` draw with it, and anew
    in every epoch.

    >>> sampler = BalancedSampler([0, 0, 0, 0, 1, 1])
    >>> len(sampler), sampler.minority
    (8, frozenset({1}))
    >>> sorted(sampler)
    [0, 1, 2, 3, 4, 4, 5, 5]
    """

    def __init__(self, dataset: object, seed: int = 0, rank: int = 0, world: int = 1, *, labels: object = None) -> None:
        Ranks(rank, world), RandomStreams(seed)  # which say what is wrong with them
        numbers = find_labels(dataset, labels)
        self.seed, self.rank, self.world = seed, rank, world
        self._labels = fingerprint(numbers)
        self.counts: tuple[int, ...] = tuple(np.bincount(numbers).tolist())
        self.minority = minority_by_count(self.counts)
        self._members = [(k, np.flatnonzero(numbers == k)) for k, n in enumerate(self.counts) if n]
        self.epoch = self._seen = self._resume = 0
        self._unannounced: int | None = 0  # whole iterations before the first epoch was announced

    def __len__(self) -> int:
        return math.ceil(len(self._members) * max(self.counts) / self.world)

    def order(self, epoch: int) -> Indices:
        """(N,) the images that an epoch shows, of all ranks together."""
        rng, size = RandomStreams(self.seed), max(self.counts)
        shown = np.empty(len(self._members) * size, dtype=np.int64)
        for row, (k, members) in zip(shown.reshape(-1, size), self._members, strict=True):
            # The k-th class's endless walk, in blocks of whole rounds: this epoch's stretch lies in one or two of them.
            rounds = -(-size // len(members))
            block, skipped = divmod(epoch * size, rounds * len(members))
            blocks = [np.tile(members, (rounds, 1)) for _ in range(1 + (skipped + size > rounds * len(members)))]
            for number, own in enumerate(blocks, block):
                rng("balanced", k, number).permuted(own, axis=1, out=own)
            row[:] = np.concatenate(blocks).reshape(-1)[skipped : skipped + size]
        return rng("balanced-shuffle", epoch).permutation(shown)

    def __iter__(self) -> Iterator[int]:
        if self._unannounced == LOOKS:
            warn_unannounced(self)
        self._seen = self._resume
        mine = share(self.order(self.epoch), self.rank, self.world)
        for at in range(self._seen, len(mine), CHUNK):
            for index in mine[at : at + CHUNK].tolist():
                self._seen += 1
                yield index
        if self._unannounced is not None:
            self._unannounced += 1

    def set_epoch(self, epoch: int) -> None:
        """Let the next iterations show this epoch; what is left of it, if its state was loaded."""
        epoch, self._unannounced = check_whole("epoch", epoch), None
        if epoch != self.epoch:
            self.epoch, self._seen, self._resume = epoch, 0, 0

    def state_dict(self, epoch: int | None = None, seen: int | None = None) -> dict[str, Any]:
        """What ``load_state_dict`` needs to resume, also in the middle of an epoch.

        Args:
            epoch, seen: the epoch in training and how many of its examples this rank has trained on. Without,
                those that the newest iteration has drawn: within an epoch that is right without workers only, since these
                draw some batches ahead, and where nothing else has iterated since.
        """
        if (epoch is None) != (seen is None):
            raise InputError("epoch and seen belong together: give both, or none")
        if epoch is None or seen is None:
            epoch, seen = self.epoch, self._seen
        epoch, seen = check_whole("epoch", epoch), check_whole("seen", seen, most=len(self))
        if seen == len(self):
            epoch, seen = epoch + 1, 0
        return {"epoch": epoch, "seen": seen, "world": self.world, **self._same()}

    def _same(self) -> dict[str, Any]:
        """What must be the same where a state is put back."""
        return {"images": sum(self.counts), "labels": self._labels, "seed": int(self.seed)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume where ``state_dict`` was called; the next iteration shows what was left of that epoch.

        Raises:
            InputError: no state of a sampler; one of other data or another seed, or, within an epoch, of another number
                of ranks.
        """
        check_same(state, self._same())
        check_world(state, self.world)
        self.epoch, self._seen, self._resume = int(state["epoch"]), int(state["seen"]), int(state["seen"])
