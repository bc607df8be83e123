"""Adversarial OverSampling: the paper's method, as a composition."""

from __future__ import annotations

from underdog.attack.fgsm import FGSM
from underdog.resample.base import Chain, Every
from underdog.resample.perturb import Perturb
from underdog.resample.random import RandomOverSampler

__all__ = ["aos"]


def aos(eps: float, tau: float) -> Chain:
    """AOS: balance by random oversampling; every second epoch, alter a part of the minority by FGSM.

    Args:
        eps: length of the alteration in pixel units of [0, 1] (the paper never gives it).
        tau: probability in [0, 1] that a minority example is altered (0.4 to 0.8 in the paper's Table 2).

    Raises:
        InputError: eps or tau outside its range.

    *Source*: Algorithm 1 of the paper.

    >>> aos(eps=8 / 255, tau=0.5).resamplers[1].k
    2
    """
    return Chain(RandomOverSampler(), Every(2, Perturb(FGSM(), eps, tau)))
