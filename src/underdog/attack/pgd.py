"""Projected gradient descent: several steps within the same distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from underdog.altered import AlteredPixels
from underdog.attack.base import Victim, gradient, per_row
from underdog.data.images import to_device
from underdog.validate import check_kind, check_step, check_whole

__all__ = ["PGD"]


@dataclass(frozen=True)
class PGD:
    """x' = x_steps, where x_(k+1) = clip(x + clip(x_k + a sign(grad J(NN, x_k, y)) - x, -eps, eps), 0, 1), a being ``step_size``.

    Steps cost a gradient each, where ``FGSM`` takes one; some ten of them mostly find images of a higher loss within the same
    distance. Altered images are kept whole, as four bytes a value. With a random start each of several processes that train
    together alters all images by itself, and an image without a gradient moves too, so that none is counted as unmoved.

    Args:
        steps: gradients to follow, from 1 to 1000.
        step_size: length of a step in pixel units, above 0 and at most 1; 2.5 eps / steps where None.
        random_start: begin at x_0 = x + u, u uniform in [-eps, eps] for each value; at x itself where False, which is the
            Basic Iterative Method.

    Raises:
        InputError: a value outside its range.

    *Source*: Madry et al. 2018, "Towards Deep Learning Models Resistant to Adversarial Attacks", sections 2.1 (steps), 3 (random
    start) and 5 (their length); without random start Kurakin et al. 2017, "Adversarial examples in the physical world",
    section 2.2.
    *Deviation*: the paper of AOS has FGSM alone.

    >>> import underdog as ud
    >>> sampler = ud.Chain(ud.RandomOverSampler(), ud.Every(2, ud.Perturb(PGD(steps=5), eps=8 / 255, tau=0.5)))
    """

    steps: int = 10
    step_size: float | None = None
    random_start: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", check_whole("steps", self.steps, least=1, most=1000))
        if self.step_size is not None:
            check_step(self.step_size)
        check_kind("random_start", self.random_start, bool, "True or False")

    def __call__(self, victim: Victim, x: Tensor, y: Tensor, eps: Tensor, rng: np.random.Generator) -> AlteredPixels:
        reach = per_row(eps, x)
        size = per_row(2.5 * eps / self.steps if self.step_size is None else torch.full_like(eps, self.step_size), x)
        at = x
        if self.random_start:
            u = to_device(rng.random(tuple(x.shape)), x.device)
            most = per_row(eps, u)
            at = (x + (2 * most * u - most).float()).clamp_(0, 1)
        for _ in range(self.steps):
            moved = torch.addcmul(at, gradient(victim, at, y).sign(), size).sub_(x)
            at = torch.clamp(moved, -reach, reach).add_(x).clamp_(0, 1)
        return AlteredPixels(at, (at != x).flatten(1).any(1))
