"""The control for attacks: as far, in no particular direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from underdog.attack.base import Victim, step
from underdog.data.images import sent
from underdog.validate import check_eps

__all__ = ["RandomSign"]


@dataclass(frozen=True)
class RandomSign:
    """x' = clip(x + eps * s, 0, 1), each value of s being -1 or 1 with equal probability.

    What an attack gains over this is due to the gradient's direction and not to noise as such.

    Args:
        eps: length of the step in pixel units of [0, 1], at least 0.

    Raises:
        InputError: eps negative or not a number.

    *Source*: underdog's own control; the paper has none.

    >>> import torch
    >>> x = torch.full((1, 1, 1, 4), 0.5)
    >>> sorted(set(RandomSign(0.25)(None, x, torch.tensor([0]), np.random.default_rng(0)).flatten().tolist()))
    [0.25, 0.75]
    """

    eps: float

    def __post_init__(self) -> None:
        check_eps(self.eps)

    def signs(self, victim: Victim, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
        bits = rng.integers(0, 2, size=tuple(x.shape), dtype=np.int8)
        return sent(bits * 2 - 1, x.device)

    def __call__(self, victim: Victim, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
        return step(x, self.signs(victim, x, y, rng), self.eps)
