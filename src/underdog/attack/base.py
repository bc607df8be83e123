"""What an attack is, and how much of the network it may see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

__all__ = ["Attack", "SignAttack", "Victim", "step"]


class Victim(Protocol):
    """The network under attack, which keeps no trace of being looked at."""

    def objective(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(B, K), (B,) -> (B,): the training loss, or a form of it with a gradient of the same sign."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, K) float32, without a graph."""
        ...

    def gradient(self, x: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        """d sum(of(logits(x))) / dx, (B, C, H, W) float32, BatchNorm and Dropout in evaluation mode."""
        ...


class Attack(Protocol):
    """Anything that alters images (B, C, H, W) of classes y (B,) within [0, 1]."""

    def __call__(self, victim: Victim, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor: ...


@runtime_checkable
class SignAttack(Protocol):
    """An attack that is one step of a fixed length along a sign: x' = x + eps * signs(x).

    Its results can be kept as signs, two bits a value, and rebuilt exactly.
    """

    @property
    def eps(self) -> float: ...

    def signs(self, victim: Victim, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor:
        """(B, C, H, W) of -1, 0 and 1."""
        ...

    def __call__(self, victim: Victim, x: Tensor, y: Tensor, rng: np.random.Generator) -> Tensor: ...


def step(x: Tensor, signs: Tensor, eps: float) -> Tensor:
    """x + eps * signs, clipped to [0, 1]."""
    return x.add(signs, alpha=eps).clamp_(0, 1)
