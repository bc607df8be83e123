"""Optimisers and the course of their learning rate, by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from underdog.errors import unknown
from underdog.names import OPTIMIZERS, SCHEDULERS

__all__ = ["OptimizerRule", "Position", "SchedulerRule", "adam", "named_optimizer", "named_scheduler"]

#: Trainable parameters, or groups of them as torch.optim takes them, and a learning rate -> the optimiser.
OptimizerRule = Callable[[Iterable[nn.Parameter] | Iterable[dict[str, Any]], float], Optimizer]


class Position(NamedTuple):
    """How far a training has come: update ``update`` of ``updates`` in epoch ``epoch`` of ``epochs``, all from 0.

    >>> Position(1, 4, 5, 10).share
    0.375
    """

    epoch: int
    epochs: int
    update: int
    updates: int

    @property
    def total(self) -> int:
        """Updates of the whole training, if all epochs were as long as this one."""
        return self.epochs * self.updates

    @property
    def done(self) -> int:
        """Updates done, if all epochs were as long as this one: a share of ``total`` that ends at 1 whatever their lengths."""
        return self.epoch * self.updates + self.update

    @property
    def share(self) -> float:
        """The share in [0, 1) of the training that is done, each epoch counting alike."""
        return self.done / self.total


#: From how far a training has come to the factor of the learning rate for its next update.
SchedulerRule = Callable[[Position], float]


def adam(parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]], lr: float) -> Optimizer:
    """Adam with its default moments, no decay (section 4.1 of the paper)."""
    return Adam(parameters, lr=lr, fused=True)


def named_optimizer(name: str, weight_decay: float | None = None) -> OptimizerRule:
    """The rule that makes the optimiser called ``name``: adam, adamw, or sgd with a momentum of 0.9.

    Args:
        name: one of the table.
        weight_decay: of all parameters, at least 0; 0.01 for adamw and 0 for the others where None.

    Raises:
        InputError: an unknown name.

    *Source*: Kingma and Ba 2015; Loshchilov and Hutter 2019; the moments are torch's defaults.

    >>> layer = nn.Linear(2, 2)
    >>> named_optimizer("adamw")(layer.parameters(), 0.1).defaults["weight_decay"]
    0.01
    """
    if name not in OPTIMIZERS:
        raise unknown("optimizer", name, OPTIMIZERS)
    rules: dict[str, Callable[..., Optimizer]] = {
        "adam": partial(Adam, fused=True),
        "adamw": partial(AdamW, fused=True),
        "sgd": partial(SGD, momentum=0.9),
    }
    return partial(rules[name], weight_decay=OPTIMIZERS[name] if weight_decay is None else weight_decay)


#: The part of training that is done, in [0, 1] -> the factor of the learning rate.
_COURSES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "linear": lambda done: 1 - done,
    "step": lambda done: 0.1 ** ((done >= 1 / 2) + (done >= 3 / 4)),
}


def named_scheduler(name: str, warmup: int = 0) -> SchedulerRule | None:
    """The rule for the course of the learning rate called ``name``, or None where it never changes.

    With U updates in all, W of them in the warm-up, the rate of update u = 0, 1, ... is lr (u + 1) / W while u < W,
    and then lr f((u - W) / (U - W)), where f(d) is 1 for constant, (1 + cos(pi d)) / 2 for cosine, 1 - d for linear,
    and 1, 1/10, 1/100 from d = 0, 1/2, 3/4 for step. Where epochs are of different lengths, each counts alike.

    Args:
        name: one of the table.
        warmup: epochs in which the rate rises to its height, fewer than there are.

    Raises:
        InputError: an unknown name.

    *Source*: cosine: Loshchilov and Hutter 2017 without restarts; step: He et al. 2016, section 4.2.

    >>> course = named_scheduler("linear")
    >>> [course(Position(epoch, 2, update, 2)) for epoch in range(2) for update in range(2)]
    [1.0, 0.75, 0.5, 0.25]
    """
    if name not in SCHEDULERS:
        raise unknown("scheduler", name, SCHEDULERS)
    if name == "constant" and not warmup:
        return None

    def rule(now: Position) -> float:
        rising = warmup * now.updates
        if now.done < rising:
            return (now.done + 1) / rising
        return _COURSES[name]((now.done - rising) / max(1, now.total - rising))

    return rule
