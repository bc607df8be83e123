"""What is compared: a way to train on imbalanced data, as a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, nn

from underdog.epoch import Epoch
from underdog.errors import InputError
from underdog.loss import CrossEntropy, Loss, LossRule, cross_entropy, loss_of
from underdog.resample.base import Chain, NoResampling, Resampler, expected
from underdog.resample.random import EqualUpdates
from underdog.validate import check_callable, check_kind, check_positive

__all__ = [
    "Adjustment", "Method", "Place", "Posthoc", "Stage", "equal_updates", "expected_examples", "outside", "place_of",
    "preparations",
]  # fmt: skip


class Adjustment(nn.Module):
    """What is done to the logits of a trained network: the same in evaluation, ``load``, ``predict`` and ONNX files.

    A subclass defines ``forward``, from logits (B, K) to logits (B, K), and keeps its numbers in buffers.

    >>> import torch
    >>> Adjustment()(torch.zeros(1, 2))
    tensor([[0., 0.]])
    """

    def forward(self, logits: Tensor) -> Tensor:
        return logits

    def prior(self, prior: Sequence[float]) -> tuple[float, ...]:
        """(K,) class frequencies that adjusted logits speak for, of those that the network's own speak for."""
        return tuple(prior)


#: Given the (K,) counts of the data before resampling: the adjustment.
Posthoc = Callable[[tuple[int, ...]], Adjustment]


@dataclass(frozen=True)
class Stage:
    """A part of the training with one resampler and one loss.

    Args:
        resampler: what each epoch shows; it starts, from all images once, when the stage begins.
        loss: rule from the data's class counts to the loss of every image.
        share: of the training's epochs, above 0 and at most 1.
        prepare: called with the network when the stage begins, to freeze parts or to draw a head anew; a new optimiser and a
            new course of the learning rate begin with it.

    Raises:
        InputError: a share outside its range, or what is no function.

    >>> Stage(share=0.8).loss((5, 1))
    CrossEntropy()
    """

    resampler: Resampler = field(default_factory=NoResampling)
    loss: LossRule = cross_entropy
    share: float = 1.0
    prepare: Callable[[nn.Module], object] | None = None

    def __post_init__(self) -> None:
        check_positive("share", self.share)
        if self.share > 1:
            raise InputError(f"share must be at most 1, not {self.share:g}")
        if isinstance(self.resampler, type) or not all(hasattr(self.resampler, name) for name in ("start", "refresh")):
            raise InputError(
                f"resampler must have the functions start and refresh, as NoResampling() has: {self.resampler!r}"
            )
        if isinstance(self.loss, Loss):
            raise InputError(f"loss must be a rule, from class counts to a loss: loss=lambda counts: {self.loss!r}")
        check_kind("loss", self.loss, Callable, "a function from class counts to a loss")  # type: ignore[arg-type]
        check_callable("prepare", self.prepare, "a function of a network")


@dataclass(frozen=True, init=False)
class Method:
    """A way to train on imbalanced data: stages one after the other, and what is done to logits afterwards.

    Args:
        resampler, loss: of the only stage, see ``Stage``; or
        stages: several, whose shares add up to 1.
        posthoc: rule from the data's class counts to an ``Adjustment`` of the logits.
        lr_factor: what learning rates are multiplied with, above 0.

    Raises:
        InputError: shares that do not add up to 1, or a value outside its range.

    >>> from underdog import RandomOverSampler
    >>> Method(RandomOverSampler()).stages[0].loss((5, 1))
    CrossEntropy()
    >>> deferred = Method(stages=[Stage(share=0.8), Stage(RandomOverSampler(), share=0.2)])
    >>> [place_of(deferred, t, epochs=5) for t in (0, 4)]
    [Place(stage=0, t=0, epochs=4), Place(stage=1, t=0, epochs=1)]
    """

    stages: tuple[Stage, ...]
    posthoc: Posthoc | None
    lr_factor: float

    def __init__(
        self,
        resampler: Resampler = NoResampling(),  # noqa: B008 (a value)
        loss: LossRule = cross_entropy,
        *,
        stages: Sequence[Stage] = (),
        posthoc: Posthoc | None = None,
        lr_factor: float = 1.0,
    ) -> None:
        if stages and (resampler, loss) != (NoResampling(), cross_entropy):
            raise InputError("a method has stages, or a resampler and a loss, not both")
        own = tuple(stages) or (Stage(resampler, loss),)
        for stage in own:
            check_kind("stages", stage, Stage, "a list of Stage(resampler, loss, share)")
        if abs(sum(stage.share for stage in own) - 1) > 1e-9:
            raise InputError(f"the shares of the stages must add up to 1, not {sum(stage.share for stage in own):g}")
        check_callable("posthoc", posthoc, "a function from class counts to an Adjustment")
        check_positive("lr_factor", lr_factor)
        for name, value in (("stages", own), ("posthoc", posthoc), ("lr_factor", lr_factor)):
            object.__setattr__(self, name, value)

    def adjustment(self, counts: tuple[int, ...]) -> Adjustment | None:
        """What is done to the logits of a network for data of these class counts.

        Raises:
            InputError: the rule gives something else.
        """
        if self.posthoc is None:
            return None
        made = self.posthoc(counts)
        check_kind("posthoc", made, Adjustment, "a function that returns an Adjustment")
        return made

    @property
    def adjusts(self) -> bool:
        """Whether the loss corrects for class counts by itself, so that resampling beside it would correct twice."""
        try:
            priors = {loss_of(stage.loss, (2, 1)).prior((2.0, 1.0)) for stage in self.stages}
        except Exception:  # such as of a loss that has numbers of its own for each class
            return True
        return priors != {CrossEntropy().prior((2.0, 1.0))}


class Place(NamedTuple):
    """Where in a method an epoch stands: in which stage, as its epoch ``t`` of ``epochs`` (None where nobody knows)."""

    stage: int
    t: int
    epochs: int | None


def _bounds(method: Method, epochs: int) -> list[int]:
    """The first epoch of each stage, and the end; every stage has one at least.

    Raises:
        InputError: fewer epochs than stages.
    """
    n = len(method.stages)
    if epochs < n:
        raise InputError(f"a method of {n} stages needs at least {n} epochs, not {epochs}")
    bounds, done = [0], 0.0
    for number, stage in enumerate(method.stages[:-1], start=1):
        done += stage.share
        bounds.append(min(max(round(done * epochs), bounds[-1] + 1), epochs - (n - number)))
    return [*bounds, epochs]


def place_of(method: Method, t: int, epochs: int | None) -> Place:
    """Where epoch ``t`` of a training of ``epochs`` stands.

    Raises:
        InputError: fewer epochs than stages, or an unknown number of epochs for several stages.
    """
    if epochs is None:
        if len(method.stages) > 1:
            raise InputError("a method of several stages needs the number of epochs: Snapshot(..., epochs=20)")
        return Place(0, t, None)
    for number, (begin, end) in enumerate(pairwise(_bounds(method, epochs))):
        if t < end or number == len(method.stages) - 1:
            return Place(number, t - begin, end - begin)
    raise AssertionError


def preparations(method: Method, epochs: int) -> list[int]:
    """The epochs at which a new optimiser begins, 0 being the first of them, and the end."""
    bounds = _bounds(method, epochs)
    prepared = [at for at, stage in zip(bounds, method.stages, strict=False) if at and stage.prepare is not None]
    return [0, *prepared, epochs]


def expected_examples(method: Method, epoch: Epoch, epochs: int) -> int:
    """How many examples a training will show, without starting any resampler.

    Args:
        epoch: the one that shows every image once.

    Raises:
        InputError: the data do not allow the method.
    """
    return sum(
        (end - begin) * sum(expected(stage.resampler, epoch.shown, epoch))
        for stage, (begin, end) in zip(method.stages, pairwise(_bounds(method, epochs)), strict=True)
    )


def equal_updates(method: Method) -> Method:
    """The method with the updates of random oversampling: shorter epochs are filled up, see ``EqualUpdates``."""
    stages = [
        Stage(Chain(stage.resampler, EqualUpdates()), stage.loss, stage.share, stage.prepare) for stage in method.stages
    ]
    return Method(stages=stages, posthoc=method.posthoc, lr_factor=method.lr_factor)


def outside(part: object) -> bool:
    """Whether a part of a method is somebody's own, and so not proved by underdog's tests."""
    return not type(part).__module__.startswith("underdog.")
