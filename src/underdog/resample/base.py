"""What a resampler is, and how resamplers are put together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from underdog.attack.base import Victim
from underdog.epoch import Epoch
from underdog.rng import RandomStreams
from underdog.validate import check_positive

__all__ = ["Chain", "Every", "From", "NoResampling", "Resampler"]


class Resampler(Protocol):
    """Two functions from an epoch to an epoch; parameters are fixed, the epoch is the only state.

    Both leave their arguments as they are, draw only from ``rng``, and share pixels instead of copying them.
    """

    def start(self, epoch: Epoch, rng: RandomStreams) -> Epoch:
        """Once, before training."""
        ...

    def refresh(self, epoch: Epoch, t: int, victim: Victim, rng: RandomStreams) -> Epoch:
        """Before epoch t = 0, 1, ..., given the epoch before it."""
        ...


@dataclass(frozen=True)
class NoResampling:
    """Show every image once: the paper's baseline, and what other resamplers inherit their silence from.

    >>> NoResampling().start("any epoch", RandomStreams(0))
    'any epoch'
    """

    def start(self, epoch: Epoch, rng: RandomStreams) -> Epoch:
        return epoch

    def refresh(self, epoch: Epoch, t: int, victim: Victim, rng: RandomStreams) -> Epoch:
        return epoch


@dataclass(frozen=True, init=False)
class Chain:
    """Apply resamplers one after the other, at both moments.

    >>> from underdog import FGSM, Perturb, RandomOverSampler, aos
    >>> Chain(RandomOverSampler(), Every(2, Perturb(FGSM(8 / 255), tau=0.5))) == aos(8 / 255, 0.5)
    True
    """

    resamplers: tuple[Resampler, ...]

    def __init__(self, *resamplers: Resampler) -> None:
        object.__setattr__(self, "resamplers", resamplers)

    def start(self, epoch: Epoch, rng: RandomStreams) -> Epoch:
        for resampler in self.resamplers:
            epoch = resampler.start(epoch, rng)
        return epoch

    def refresh(self, epoch: Epoch, t: int, victim: Victim, rng: RandomStreams) -> Epoch:
        for resampler in self.resamplers:
            epoch = resampler.refresh(epoch, t, victim, rng)
        return epoch


@dataclass(frozen=True)
class Every:
    """Refresh only before epochs 0, k, 2k, ...; the epochs between show the same again.

    *Source*: Algorithm 1 (line 3) of the paper, with k = 2.

    >>> Every(2, NoResampling()).k
    2
    """

    k: int
    resampler: Resampler

    def __post_init__(self) -> None:
        check_positive("k", self.k, whole=True)

    def start(self, epoch: Epoch, rng: RandomStreams) -> Epoch:
        return self.resampler.start(epoch, rng)

    def refresh(self, epoch: Epoch, t: int, victim: Victim, rng: RandomStreams) -> Epoch:
        return epoch if t % self.k else self.resampler.refresh(epoch, t, victim, rng)


@dataclass(frozen=True)
class From:
    """Refresh only before epoch t0 and later ones, so that an untrained network is not attacked.

    *Source*: the paper's text says that a random network's masks are useless, its Algorithm 1
    nevertheless begins at epoch 0; ``From`` offers the former.

    >>> From(4, NoResampling()).t0
    4
    """

    t0: int
    resampler: Resampler

    def start(self, epoch: Epoch, rng: RandomStreams) -> Epoch:
        return self.resampler.start(epoch, rng)

    def refresh(self, epoch: Epoch, t: int, victim: Victim, rng: RandomStreams) -> Epoch:
        return epoch if t < self.t0 else self.resampler.refresh(epoch, t, victim, rng)
