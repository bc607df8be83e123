"""What an attack is, and how much of the network it may see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from torch import Tensor

from underdog.altered import Altered

__all__ = ["Attack", "Victim", "gradient", "per_row"]


class Victim(Protocol):
    """The network under attack, which keeps no trace of being looked at: BatchNorm and Dropout are in evaluation mode."""

    def objective(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(B, K), (B,) -> (B,): the training loss, or a form of it with a gradient of the same sign."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, K) float32, without a graph."""
        ...

    def features(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, D) float32: what the classifier head is given, without a graph."""
        ...

    def gradients(self, x: Tensor, of: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """Logits (B, K), and the gradients by the images of m functions of them, by one forward pass.

        Args:
            x: (B, C, H, W) in [0, 1].
            of: (B, K) -> (B, m).

        Returns:
            the logits, and (B, m, C, H, W) float32: d of(logits(x))[i, j] / d x[i].
        """
        ...


class Attack(Protocol):
    """Alters images within [0, 1], and returns what is kept of that: signs, two bits a value, or whole pixels.

    Args:
        victim: the network as it is now.
        x, y: images (B, C, H, W) in [0, 1] and their classes (B,).
        eps: (B,) float64, how far each may be moved, in pixel units.
        rng: to draw from, on the CPU.
    """

    def __call__(self, victim: Victim, x: Tensor, y: Tensor, eps: Tensor, rng: np.random.Generator) -> Altered: ...


def gradient(victim: Victim, x: Tensor, y: Tensor) -> Tensor:
    """grad_x J(NN, x, y), (B, C, H, W), of the training loss of images x of classes y."""
    return victim.gradients(x, lambda logits: victim.objective(logits, y)[:, None])[1][:, 0]


def per_row(values: Tensor, like: Tensor) -> Tensor:
    """(B,) numbers in the type of images (B, C, H, W), and in a shape that spreads over them."""
    return values.to(like.dtype).view(-1, *[1] * (like.ndim - 1))
