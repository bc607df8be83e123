"""Focal loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from underdog.loss import CrossEntropy, Loss
from underdog.methods.method import Method
from underdog.methods.parameters import Axis, Parameter
from underdog.validate import check_least

__all__ = ["FocalLoss", "focal"]


@dataclass(frozen=True)
class FocalLoss(Loss):
    """J = -(1 - p_y)^gamma log p_y, with p the softmax of the logits.

    Its gradient is the cross-entropy's times a positive factor for each image, so that ``log_odds`` are the same.

    Args:
        gamma: at least 0, which is the cross-entropy.

    *Source*: Lin et al. 2017, "Focal Loss for Dense Object Detection", equation 4.

    >>> FocalLoss(2)(torch.zeros(1, 2), torch.tensor([0]))
    tensor([0.1733])
    """

    gamma: float

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        minus_log = CrossEntropy()(logits, labels)
        # 1 - p, never 0: a power of it below 1 would have no finite gradient there.
        others = (-(-minus_log).expm1()).clamp(min=torch.finfo(logits.dtype).eps)
        return others**self.gamma * minus_log

    def log_odds(self, logits: Tensor, labels: Tensor) -> Tensor:
        return CrossEntropy().log_odds(logits, labels)


def focal(
    gamma: Annotated[
        float,
        Parameter(
            "0 is cross-entropy", Axis((0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0), first=2.0)
        ),
    ] = 2.0,
) -> Method:
    """Focal loss, J = -(1 - p_y)^gamma log p_y: images of which the network is sure count less.

    It says nothing of class counts: rare classes gain as far as they are the hard ones.

    *Source*: Lin et al. 2017, "Focal Loss for Dense Object Detection", equation 4, without its class weights.

    >>> focal().stages[0].loss((5, 1))
    FocalLoss(gamma=2.0)
    """
    check_least("gamma", gamma, 0)
    loss = FocalLoss(gamma)
    return Method(loss=lambda counts: loss)
