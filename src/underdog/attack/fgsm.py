"""The Fast Gradient Sign Method."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from underdog.attack.base import Victim, step
from underdog.validate import check_eps

__all__ = ["FGSM"]


@dataclass(frozen=True)
class FGSM:
    """x' = clip(x + eps * sign(grad_x J(NN, x, y)), 0, 1).

    Args:
        eps: length of the step in pixel units of [0, 1], at least 0; 8/255 moves a byte by 8.

    Raises:
        InputError: eps negative or not a number.

    *Source*: Goodfellow et al. 2015, used in section 3 and Algorithm 1 (lines 9-10) of the paper.
    *Deviation*: the formula as printed does not clip; ``Perturb(clip=False)`` shows images that way.

    >>> FGSM(eps=8 / 255).eps * 255
    8.0
    """

    eps: float

    def __post_init__(self) -> None:
        check_eps(self.eps)

    def signs(self, victim: Victim, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
        return victim.gradient(x, lambda logits: victim.objective(logits, y)).sign()

    def __call__(self, victim: Victim, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
        return step(x, self.signs(victim, x, y, rng), self.eps)
