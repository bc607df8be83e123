"""What is compared: a resampler and a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from underdog.attack.random_sign import RandomSign
from underdog.errors import InputError, unknown
from underdog.loss import LossRule, balanced_softmax, class_weighted, cross_entropy
from underdog.names import ALTERING, BUDGETS, METHODS, OVERSAMPLING
from underdog.resample.aos import aos
from underdog.resample.base import Chain, Every, NoResampling, Resampler
from underdog.resample.perturb import Perturb
from underdog.resample.random import EqualUpdates, RandomOverSampler, RandomUnderSampler
from underdog.resample.smote import SMOTE

__all__ = ["Method", "named_method"]


@dataclass(frozen=True)
class Method:
    """A way to train on imbalanced data.

    Args:
        resampler: what each epoch shows.
        loss: rule from the data's class counts and the epoch's number to the training loss.

    >>> Method(RandomOverSampler()).loss((5, 1), 0)
    CrossEntropy()
    """

    resampler: Resampler = field(default_factory=NoResampling)
    loss: LossRule = cross_entropy


def noise(eps: float, tau: float) -> Chain:
    """AOS with a random sign in the place of the gradient's: the control."""
    return Chain(RandomOverSampler(), Every(2, Perturb(RandomSign(eps), tau)))


_PLAIN: dict[str, Callable[[], Method]] = {
    "baseline": Method,
    "class-weighted": lambda: Method(loss=class_weighted),
    "balanced-softmax": lambda: Method(loss=balanced_softmax),
    "rus": lambda: Method(RandomUnderSampler()),
    "ros": lambda: Method(RandomOverSampler()),
    "smote": lambda: Method(SMOTE()),
}

_ALTERING: dict[str, Callable[[float, float], Method]] = {
    "noise": lambda eps, tau: Method(noise(eps, tau)),
    "aos": lambda eps, tau: Method(aos(eps, tau)),
}


def named_method(name: str, eps: float | None = None, tau: float | None = None, budget: str = "epochs") -> Method:
    """The method called ``name`` in the table of methods.

    Args:
        name: baseline, class-weighted, balanced-softmax, rus, ros, smote, noise or aos.
        eps, tau: parameters of noise and aos; others have none.
        budget: "epochs", or "updates" for epochs as long as random oversampling's.

    Raises:
        InputError: an unknown name; parameters missing or out of range.

    >>> named_method("aos", eps=8 / 255, tau=0.5) == Method(aos(8 / 255, 0.5))
    True
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    if budget not in BUDGETS:
        raise unknown("budget", budget, BUDGETS)
    if name in ALTERING:
        if eps is None or tau is None:
            raise InputError(f"method {name!r} needs eps and tau")
        return _ALTERING[name](eps, tau)
    method = _PLAIN[name]()
    if budget == "updates" and name not in OVERSAMPLING:
        return replace(method, resampler=Chain(method.resampler, EqualUpdates()))
    return method
