"""The control for attacks: as far, in no particular direction."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from underdog.altered import AlteredSigns, pack_signs
from underdog.attack.base import Victim
from underdog.data.images import to_device

__all__ = ["RandomSign"]


@dataclass(frozen=True)
class RandomSign:
    """x' = clip(x + eps * s, 0, 1), each value of s being -1 or 1 with equal probability.

    What an attack gains over this is due to the gradient's direction and not to noise as such.

    Args:
        clip: whether altered images are cut to [0, 1].

    *Source*: underdog's own control; the paper has none.

    >>> import torch
    >>> x, eps = torch.full((1, 1, 1, 4), 0.5), torch.tensor([0.25], dtype=torch.float64)
    >>> altered = RandomSign()(None, x, torch.tensor([0]), eps, np.random.default_rng(0))
    >>> sorted(set(altered.show(x, torch.tensor([0])).flatten().tolist()))
    [0.25, 0.75]
    """

    clip: bool = True

    def __call__(self, victim: Victim, x: Tensor, y: Tensor, eps: Tensor, rng: np.random.Generator) -> AlteredSigns:
        bits = rng.integers(0, 2, size=tuple(x.shape), dtype=np.int8)
        return AlteredSigns(pack_signs(to_device(bits * 2 - 1, x.device).flatten(1)), eps, self.clip)
