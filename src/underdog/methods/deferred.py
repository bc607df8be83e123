"""Correcting late: the first epochs learn features from the data as they are, the last ones correct for class counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch

from underdog.errors import InputError
from underdog.loss import ClassWeighted, Loss, LossRule, loss_of
from underdog.methods.method import Method, Stage
from underdog.methods.mixup import Mixup
from underdog.methods.parameters import Axis, Parameter
from underdog.resample.base import Chain, NoResampling, Resampler, chained
from underdog.resample.random import RandomOverSampler

__all__ = ["Reweighted", "drs", "drw", "in_two", "late_sampler"]

START = Parameter("share of the epochs before", Axis(tuple(n / 20 for n in range(8, 20)), first=0.8))


@dataclass(frozen=True)
class Reweighted:
    """The rule "a loss, weighted by the inverse effective number of images": w_k proportional to (1 - beta) / (1 - beta^n_k).

    Args:
        rule: of the loss.
        beta: in [0, 1); 0 weighs all alike, towards 1 it becomes the inverse frequency.

    *Source*: Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of Samples", equation 2.
    *Deviation*: the weights have mean 1 over the images, which is what torch's weighted mean makes of them in a batch.

    >>> from underdog.loss import cross_entropy
    >>> Reweighted(cross_entropy, 0.9999)((30, 10)).weights
    tensor([0.6670, 1.9990])
    """

    rule: LossRule
    beta: float

    def __post_init__(self) -> None:
        if not 0 <= self.beta < 1:
            raise InputError(f"beta must be a number from 0 to below 1, not {self.beta:g}")

    def __call__(self, counts: tuple[int, ...]) -> Loss:
        n = torch.tensor(counts, dtype=torch.float64).clamp(min=1)
        weights = (1 - self.beta) / (1 - self.beta**n)
        weights = weights * n.sum() / (weights * n).sum()
        return ClassWeighted(weights.float(), loss_of(self.rule, counts))


def in_two(method: Method, start: float, first: Stage, second: Stage) -> Method:
    """A method of one stage in two stages, of which the second begins after a share of the epochs.

    Raises:
        InputError: a share outside (0, 1), or a method that has stages already.
    """
    if not 0 < start < 1:
        raise InputError(f"start must be a share of the epochs above 0 and below 1, not {start:g}")
    if len(method.stages) > 1:
        raise InputError("the rest of the sum has stages already")
    shares = (start, 1 - start)
    stages = [Stage(s.resampler, s.loss, share, s.prepare) for s, share in zip((first, second), shares, strict=True)]
    return Method(stages=stages, posthoc=method.posthoc, lr_factor=method.lr_factor)


def late_sampler(resampler: Resampler) -> tuple[Resampler, Resampler]:
    """What a stage without the sampler of a sum shows, and one with it; random oversampling where there is none.

    Images are mixed in both.
    """
    parts = resampler.resamplers if isinstance(resampler, Chain) else (resampler,)
    mixing = [part for part in parts if isinstance(part, Mixup)]
    others = [part for part in parts if part not in (*mixing, NoResampling())]
    return chained(*mixing), chained(*(others or [RandomOverSampler()]), *mixing)


def drw(
    start: Annotated[float, START] = 0.8,
    beta: Annotated[float, Parameter("of the effective number of images; 0 weighs all alike")] = 0.9999,
) -> Callable[[Method], Method]:
    """Deferred re-weighting: after a share of the epochs the loss of the sum is multiplied by class weights
    w_k = (1 - beta) / (1 - beta^n_k), scaled to a mean of 1 over the images; cross-entropy where the sum names no loss.

    *Source*: Cao et al. 2019, "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", section 3.3.

    >>> drw()(Method()).stages[1].loss((30, 10)).weights
    tensor([0.6670, 1.9990])
    """

    def change(method: Method) -> Method:
        stage = method.stages[0]
        weighted = Stage(stage.resampler, Reweighted(stage.loss, beta))
        return in_two(method, start, stage, weighted)

    Reweighted(Method().stages[0].loss, beta)  # which checks it
    return change


def drs(start: Annotated[float, START] = 0.8) -> Callable[[Method], Method]:
    """Deferred re-sampling: every image once for a share of the epochs, then what the sum shows, a sampler or altered images,
    which start only then; random oversampling where the sum names none.

    *Source*: Cao et al. 2019, section 3.3, "DRS".

    >>> [type(stage.resampler).__name__ for stage in drs()(Method()).stages]
    ['NoResampling', 'RandomOverSampler']
    """

    def change(method: Method) -> Method:
        stage = method.stages[0]
        before, after = late_sampler(stage.resampler)
        return in_two(method, start, Stage(before, stage.loss), Stage(after, stage.loss))

    return change
