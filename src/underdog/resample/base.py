"""What a resampler is, and how resamplers are put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from underdog.attack.base import Victim
from underdog.epoch import Epoch, Maker
from underdog.errors import InputError
from underdog.rng import RandomStreams
from underdog.validate import check_positive

__all__ = ["Chain", "Counts", "Every", "Moment", "NoResampling", "Resampler", "chained", "expected", "leaves"]

#: (K,) examples of each class.
Counts = tuple[int, ...]


def _made_anew(name: str, make: Callable[[], Tensor]) -> Tensor:
    return make()


@dataclass(frozen=True, eq=False)
class Moment:
    """When and where a resampler is asked: everything that it may look at beside the epoch.

    Attributes:
        t: the epoch that is about to begin, 0, 1, ..., counted from the beginning of the method's stage.
        epochs: how many the stage has; None where nobody knows, as in a loop of one's own that did not say.
        streams: the run's random streams; a resampler draws from ``rng``.
        network: the network as it is now; see ``victim``.
        stage, place: where in the method the resampler stands.
        twins: how many of its kind stand before it there, at each level.
        started: whether this is before an epoch, and not the start of the stage.
        keep: see ``kept``.
        progress: called with the share in [0, 1] of long work that is done.

    >>> moment = Moment(0, 20, RandomStreams(0))
    >>> moment.at(1, twins=0).rng == moment.rng, moment.at(1, twins=1).rng == moment.rng
    (True, False)
    """

    t: int
    epochs: int | None
    streams: RandomStreams
    network: Victim | None = None
    stage: int = 0
    place: tuple[int, ...] = ()
    twins: tuple[int, ...] = ()
    started: bool = True
    keep: Callable[[str, Callable[[], Tensor]], Tensor] = _made_anew
    progress: Callable[[float], object] = lambda share: None

    @property
    def victim(self) -> Victim:
        """The network as it is now.

        Raises:
            InputError: there is none yet, as at the start of a ``Snapshot``.
        """
        if self.network is None:
            raise InputError("this resampler looks at the network when it starts, and no network is bound yet")
        return self.network

    @property
    def rng(self) -> RandomStreams:
        """Random streams of the stage, in which two resamplers of one kind draw apart."""
        return replace(self.streams, within=(self.stage, *self.twins))

    @property
    def maker(self) -> Maker:
        """Who makes rows now, for ``Epoch.with_synthetic`` and ``Epoch.with_altered``."""
        return Maker(self.place, self.t if self.started else -1)

    def kept(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """A tensor that is too dear to be made twice, such as generated images; ``make`` is called where it is not there.

        It lies in the run's folder until the run is finished, and is this resampler's own whatever its name.
        """
        return self.keep("-".join([*map(str, (self.stage, *self.place)), name]), make)

    @property
    def done(self) -> float:
        """The share in [0, 1] of the stage's epochs that is done: 0 before the first, 1 before the last.

        Raises:
            InputError: the number of epochs is not known.
        """
        if self.epochs is None:
            raise InputError("what changes over the epochs needs their number: Snapshot(..., epochs=20)")
        return min(1.0, self.t / max(1, self.epochs - 1))

    def at(self, place: int, twins: int) -> Moment:
        """The same moment for the resampler at a place within this one, after so many of its kind."""
        return replace(self, place=(*self.place, place), twins=(*self.twins, twins))


class Resampler(Protocol):
    """Functions from an epoch to an epoch; parameters are fixed, the epoch is the only state.

    They leave their arguments as they are, draw only from ``now.rng``, and share pixels instead of copying them. A class of
    one's own inherits from ``NoResampling`` what it does not need.
    """

    def start(self, epoch: Epoch, now: Moment) -> Epoch:
        """When its stage begins, given the epoch that shows every image once."""
        ...

    def refresh(self, epoch: Epoch, now: Moment) -> Epoch:
        """Before epoch ``now.t`` = 0, 1, ..., given the epoch before it."""
        ...

    def expected(self, shown: Counts, epoch: Epoch) -> Counts:
        """How many examples of each class the first epoch will show, where ``shown`` are shown before it; starts nothing.

        Raises:
            InputError: the data do not allow it.
        """
        ...


@dataclass(frozen=True)
class NoResampling:
    """Show every image once: the paper's baseline, and what other resamplers inherit their silence from.

    >>> NoResampling().start("any epoch", Moment(0, None, RandomStreams(0)))
    'any epoch'
    """

    def start(self, epoch: Epoch, now: Moment) -> Epoch:
        return epoch

    def refresh(self, epoch: Epoch, now: Moment) -> Epoch:
        return epoch

    def expected(self, shown: Counts, epoch: Epoch) -> Counts:
        return shown


@dataclass(frozen=True, init=False)
class Chain:
    """Apply resamplers one after the other, at both moments.

    Those of one kind draw different random numbers; the first of each kind draws what it would draw alone.

    >>> from underdog import FGSM, Perturb, RandomOverSampler, aos
    >>> Chain(RandomOverSampler(), Every(2, Perturb(FGSM(), eps=8 / 255, tau=0.5))) == aos(8 / 255, 0.5)
    True
    """

    resamplers: tuple[Resampler, ...]

    def __init__(self, *resamplers: Resampler) -> None:
        flat = [part for r in resamplers for part in (r.resamplers if isinstance(r, Chain) else (r,))]
        object.__setattr__(self, "resamplers", tuple(flat))

    def _each(self, now: Moment) -> Iterator[tuple[Resampler, Moment]]:
        """The resamplers with their moments: of those in which the same kind occurs, no two draw alike."""
        last: dict[type, int] = {}
        for place, resampler in enumerate(self.resamplers):
            kinds = {type(leaf) for leaf in leaves(resampler)}
            twins = 1 + max((last.get(kind, -1) for kind in kinds), default=-1)
            last |= dict.fromkeys(kinds, twins)
            yield resampler, now.at(place, twins)

    def start(self, epoch: Epoch, now: Moment) -> Epoch:
        for resampler, own in self._each(now):
            epoch = resampler.start(epoch, own)
        return epoch

    def refresh(self, epoch: Epoch, now: Moment) -> Epoch:
        for resampler, own in self._each(now):
            epoch = resampler.refresh(epoch, own)
        return epoch

    def expected(self, shown: Counts, epoch: Epoch) -> Counts:
        for resampler in self.resamplers:
            shown = expected(resampler, shown, epoch)
        return shown


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

    def start(self, epoch: Epoch, now: Moment) -> Epoch:
        return self.resampler.start(epoch, now)

    def refresh(self, epoch: Epoch, now: Moment) -> Epoch:
        return epoch if now.t % self.k else self.resampler.refresh(epoch, now)

    def expected(self, shown: Counts, epoch: Epoch) -> Counts:
        return expected(self.resampler, shown, epoch)


def chained(*resamplers: Resampler) -> Resampler:
    """Resamplers one after the other: none, the only one, or a ``Chain``.

    >>> chained(), chained(Every(2, NoResampling()))
    (NoResampling(), Every(k=2, resampler=NoResampling()))
    """
    return Chain(*resamplers) if len(resamplers) > 1 else resamplers[0] if resamplers else NoResampling()


def leaves(resampler: Resampler) -> Iterator[Resampler]:
    """The resamplers that a composition is made of, in order."""
    if isinstance(resampler, Chain):
        for part in resampler.resamplers:
            yield from leaves(part)
    elif isinstance(resampler, Every):
        yield from leaves(resampler.resampler)
    else:
        yield resampler


def expected(resampler: Resampler, shown: Counts, epoch: Epoch) -> Counts:
    """``Resampler.expected``; of a resampler that does not say, what was shown before it."""
    own = getattr(resampler, "expected", None)
    return shown if own is None else tuple(own(shown, epoch))
