"""The Fast Gradient Sign Method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from underdog.altered import AlteredSigns, pack_signs
from underdog.attack.base import Victim, gradient

__all__ = ["FGSM"]


@dataclass(frozen=True)
class FGSM:
    """x' = clip(x + eps * sign(grad_x J(NN, x, y)), 0, 1).

    Args:
        clip: whether altered images are cut to [0, 1]; False shows the formula as printed.

    *Source*: Goodfellow et al. 2015, used in section 3 and Algorithm 1 (lines 9-10) of the paper.
    *Deviation*: the formula as printed does not clip.

    >>> import underdog as ud
    >>> sampler = ud.Chain(ud.RandomOverSampler(), ud.Every(2, ud.Perturb(FGSM(), eps=8 / 255, tau=0.5)))
    """

    clip: bool = True

    def __call__(self, victim: Victim, x: Tensor, y: Tensor, eps: Tensor, rng: np.random.Generator) -> AlteredSigns:
        return AlteredSigns(pack_signs(gradient(victim, x, y).sign().flatten(1)), eps, self.clip)
