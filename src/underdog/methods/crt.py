"""Classifier re-training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from torch import nn

from underdog.errors import InputError
from underdog.methods.deferred import START, in_two, late_sampler
from underdog.methods.method import Method, Stage
from underdog.model.layers import freeze_until, head

__all__ = ["crt", "new_head"]


def new_head(network: nn.Module) -> None:
    """Freeze all of a network but its classifier head, and draw that anew.

    Raises:
        InputError: a head that does not know how to draw its weights.

    >>> network = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    >>> new_head(network)
    >>> [p.requires_grad for p in network.parameters()]
    [False, False, True, True]
    """
    name = head(network)
    freeze_until(network, name)
    layer: Any = dict(network.named_modules())[name]
    if not hasattr(layer, "reset_parameters"):
        raise InputError(f"the classifier head {name!r} has no reset_parameters() to draw its weights anew")
    layer.reset_parameters()


def crt(start: Annotated[float, START] = 0.8) -> Callable[[Method], Method]:
    """Classifier re-training: every image once for a share of the epochs; then all but the head is frozen, and a new head is
    trained, with a new optimiser and course of the learning rate, on the sampler of the sum, or on random oversampling.

    *Source*: Kang et al. 2020, "Decoupling Representation and Classifier for Long-Tailed Recognition", section 4.1 (cRT).

    >>> [stage.prepare is not None for stage in crt()(Method()).stages]
    [False, True]
    """

    def change(method: Method) -> Method:
        stage = method.stages[0]
        before, after = late_sampler(stage.resampler)
        return in_two(method, start, Stage(before, stage.loss), Stage(after, stage.loss, prepare=new_head))

    return change
