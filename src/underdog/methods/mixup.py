"""Mixup."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np

from underdog.epoch import Epoch, Mixture
from underdog.methods.method import Method
from underdog.methods.parameters import Axis, Parameter
from underdog.resample.base import Moment, NoResampling
from underdog.validate import check_positive

__all__ = ["Mixup", "mixup"]


@dataclass(frozen=True)
class Mixup(NoResampling):
    """Blend every example with another one, drawn anew before every epoch: x = w x_i + (1 - w) x_j, w from Beta(alpha, alpha).

    The loss is w J(z, y_i) + (1 - w) J(z, y_j).

    Args:
        alpha: above 0; small ones leave most images nearly as they are.

    Raises:
        InputError: alpha not above 0.

    *Source*: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", section 2.
    *Deviation*: a weight for each example, where the authors' code draws one for each batch.

    >>> Mixup().alpha
    1.0
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_positive("alpha", self.alpha)

    def refresh(self, epoch: Epoch, now: Moment) -> Epoch:
        n = len(epoch)
        weight = now.rng("mixup", now.t).beta(self.alpha, self.alpha, n).astype(np.float32)
        return replace(epoch, mixture=Mixture(now.rng("mixup-partner", now.t).permutation(n), weight, weight))


def mixup(
    alpha: Annotated[
        float, Parameter("of the Beta distribution of weights", Axis(tuple(n / 10 for n in range(1, 21)), first=1.0))
    ] = 1.0,
) -> Method:
    """Mixup: every image is blended with another one by a weight w from Beta(alpha, alpha), and so are their losses.

    *Source*: Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization".
    *Deviation*: see ``Mixup``.

    >>> mixup().stages[0].resampler
    Mixup(alpha=1.0)
    """
    return Method(Mixup(alpha))
