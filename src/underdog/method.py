"""What is compared: a resampler and a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from underdog.attack.random_sign import RandomSign
from underdog.errors import InputError, unknown
from underdog.loss import Loss, LossRule, balanced_softmax, class_weighted, cross_entropy
from underdog.names import ALTERING, BUDGETS, METHODS, OVERSAMPLING, PARAMETERS
from underdog.resample.aos import aos
from underdog.resample.base import Chain, Every, NoResampling, Resampler
from underdog.resample.perturb import Perturb
from underdog.resample.random import EqualUpdates, RandomOverSampler, RandomUnderSampler
from underdog.resample.smote import SMOTE
from underdog.validate import check_positive

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


def powered(rule: Callable[..., Loss], power: float) -> Method:
    """A loss that weighs classes by a power of their counts."""
    check_positive("power", power)
    return Method(loss=partial(rule, power=power))


#: A method from those of its parameters (``names.PARAMETERS``) that are given.
_METHODS: dict[str, Callable[..., Method]] = {
    "baseline": Method,
    "class-weighted": lambda power=1.0: powered(class_weighted, power),
    "balanced-softmax": lambda power=1.0: powered(balanced_softmax, power),
    "rus": lambda ratio=1.0: Method(RandomUnderSampler(ratio)),
    "ros": lambda ratio=1.0: Method(RandomOverSampler(ratio)),
    "smote": lambda k=5: Method(SMOTE(k)),
    "noise": lambda eps, tau: Method(noise(eps, tau)),
    "aos": lambda eps, tau: Method(aos(eps, tau)),
}


def named_method(
    name: str,
    eps: float | None = None,
    tau: float | None = None,
    budget: str = "epochs",
    k: int | None = None,
    ratio: float | None = None,
    power: float | None = None,
) -> Method:
    """The method called ``name`` in the table of methods.

    Args:
        name: baseline, class-weighted, balanced-softmax, rus, ros, smote, noise or aos.
        eps, tau: parameters of noise and aos, which need them.
        budget: "epochs", or "updates" for epochs as long as random oversampling's.
        k: neighbours that smote interpolates with; 5 where None.
        ratio: of ros and rus, see ``RandomOverSampler`` and ``RandomUnderSampler``; 1 where None.
        power: of class-weighted and balanced-softmax, see ``class_weighted`` and ``balanced_softmax``; 1 where None.

    Raises:
        InputError: an unknown name; parameters missing, out of range or of another method.

    >>> named_method("aos", eps=8 / 255, tau=0.5) == Method(aos(8 / 255, 0.5))
    True
    >>> named_method("ros", ratio=0.5).resampler
    RandomOverSampler(ratio=0.5)
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    if budget not in BUDGETS:
        raise unknown("budget", budget, BUDGETS)
    given = {"eps": eps, "tau": tau, "k": k, "ratio": ratio, "power": power}
    own = {n: v for n, v in given.items() if v is not None}
    if foreign := sorted(set(own) - set(PARAMETERS[name])):
        raise InputError(f"method {name!r} has no {' or '.join(foreign)}")
    if name in ALTERING and len(own) < 2:
        raise InputError(f"method {name!r} needs eps and tau")
    method = _METHODS[name](**own)
    if budget == "updates" and (name not in OVERSAMPLING or ratio is not None):
        return replace(method, resampler=Chain(method.resampler, EqualUpdates()))
    return method
