"""Logit adjustment after training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from underdog.errors import InputError
from underdog.loss import relative
from underdog.methods.method import Adjustment, Method
from underdog.methods.parameters import Axis, Parameter
from underdog.validate import check_positive

__all__ = ["Shift", "logit_adjust"]

#: Larger ones make all but the rarest class impossible, and numbers that float32 does not have.
MOST = 10


class Shift(Adjustment):
    """z' = z - tau log pi, with pi the class frequencies.

    Args:
        counts: (K,) images of each class.
        tau: above 0.

    >>> Shift((3, 1), 1.0)(torch.zeros(1, 2))
    tensor([[0.2877, 1.3863]])
    """

    shift: Tensor

    def __init__(self, counts: tuple[int, ...], tau: float) -> None:
        super().__init__()
        n = torch.tensor(counts, dtype=torch.float64).clamp(min=1)
        self.register_buffer("shift", (tau * (n / n.sum()).log()).float(), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        return logits - self.shift

    def prior(self, prior: Sequence[float]) -> tuple[float, ...]:
        return relative([p / s for p, s in zip(prior, self.shift.exp().tolist(), strict=True)])


@dataclass(frozen=True)
class _Rule:
    tau: float

    def __call__(self, counts: tuple[int, ...]) -> Shift:
        return Shift(counts, self.tau)


def logit_adjust(
    tau: Annotated[
        float,
        Parameter(
            "times which log class frequencies are taken off", Axis(tuple(n / 10 for n in range(1, 21)), first=1.0)
        ),
    ] = 1.0,
) -> Method:
    """Logit adjustment after training: z' = z - tau log pi, with pi the class frequencies of the training data.

    The network is trained as the rest of the sum says; validation, test, predictions and exported files use z'.

    *Source*: Menon et al. 2021, "Long-tail learning via logit adjustment", equation 9.

    >>> logit_adjust().adjustment((3, 1))(torch.zeros(1, 2))
    tensor([[0.2877, 1.3863]])
    """
    check_positive("tau", tau)
    if tau > MOST:
        raise InputError(f"tau must be at most {MOST}, not {tau:g}")
    return Method(posthoc=_Rule(tau))
