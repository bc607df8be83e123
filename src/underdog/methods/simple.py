"""The paper's rivals of AOS, and losses that correct for class counts."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from underdog.loss import balanced_softmax as shifted
from underdog.loss import class_weighted as weighted
from underdog.methods.method import Method
from underdog.methods.parameters import Axis, Parameter
from underdog.resample.random import RandomOverSampler, RandomUnderSampler
from underdog.resample.smote import SMOTE
from underdog.validate import check_positive

__all__ = ["balanced_softmax", "baseline", "class_weighted", "ros", "rus", "smote"]

#: From next to nothing to their usual value, where that is the strongest, or to twice as much, where it is not.
RATIO = Axis(tuple(n / 20 for n in range(1, 21)), first=1.0)
POWER = Axis(tuple(n / 10 for n in range(1, 21)), first=1.0)
LR_FACTOR = Axis(tuple(4 ** (n / 10) for n in range(-10, 11)), first=1.0)
NEIGHBOURS = Axis(tuple(range(1, 21)), first=5, log=True)


def baseline(
    lr_factor: Annotated[float, Parameter("what the learning rate is multiplied with", LR_FACTOR)] = 1.0,
) -> Method:
    """The images as they are, with plain cross-entropy: J = -log softmax(z)_y.

    It has no parameter of its own; where methods are tuned it gets its learning rate, which can only favour it.

    *Source*: section 4 of the paper.

    >>> baseline() == Method()
    True
    """
    return Method(lr_factor=lr_factor)


def class_weighted(
    power: Annotated[float, Parameter("of the class counts by whose inverse images are weighted", POWER)] = 1.0,
) -> Method:
    """Cross-entropy in which each image weighs n_y^-power, scaled to a mean of 1 over the images.

    *Source*: for power 1 the usual "balanced" weights, as scikit-learn's ``compute_class_weight``.

    >>> class_weighted().stages[0].loss((30, 10)).weights.tolist()[1]
    2.0
    """
    check_positive("power", power)
    return Method(loss=partial(weighted, power=power))


def balanced_softmax(
    power: Annotated[float, Parameter("times which logits are shifted by the logarithms of class counts", POWER)] = 1.0,
) -> Method:
    """Cross-entropy of z + power * log n, with n the class counts; predictions use z alone.

    *Source*: Ren et al. 2020, "Balanced Meta-Softmax for Long-Tailed Visual Recognition", equation 4; with a power Menon et
    al. 2021, "Long-tail learning via logit adjustment", equation 10.

    >>> balanced_softmax().adjusts
    True
    """
    check_positive("power", power)
    return Method(loss=partial(shifted, power=power))


def rus(
    ratio: Annotated[float, Parameter("images of the smallest class in relation to another's, at least", RATIO)] = 1.0,
) -> Method:
    """Random undersampling: every class keeps as many randomly chosen images as the smallest has, or that divided by ratio.

    *Source*: section 2 of the paper.

    >>> rus(0.5).stages[0].resampler
    RandomUnderSampler(ratio=0.5)
    """
    return Method(RandomUnderSampler(ratio))


def ros(
    ratio: Annotated[float, Parameter("images of a class in relation to the largest's, at least", RATIO)] = 1.0,
) -> Method:
    """Random oversampling: randomly chosen images of every class are repeated until it has ratio times as many as the largest.

    *Source*: section 2 of the paper.

    >>> ros().stages[0].resampler
    RandomOverSampler(ratio=1.0)
    """
    return Method(RandomOverSampler(ratio))


def smote(k: Annotated[int, Parameter("nearest neighbours to interpolate with", NEIGHBOURS)] = 5) -> Method:
    """SMOTE: every class is brought to the size of the largest by images x' = a + u (b - a) between neighbours a and b of it.

    *Source*: Chawla et al. 2002, as imbalanced-learn does it, which the paper uses.
    *Deviation*: see ``SMOTE``.

    >>> smote(3).stages[0].resampler
    SMOTE(k=3)
    """
    return Method(SMOTE(k))
