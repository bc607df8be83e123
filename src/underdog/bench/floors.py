"""What a network needs at least: its arithmetic, and the rate at which a machine multiplies matrices."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from underdog.bench.setting import BenchSetting
from underdog.bench.timing import seconds
from underdog.learner import PRECISIONS

__all__ = ["Flop", "Share", "flop", "peak"]

#: Products of each size, of which the fastest counts.
REPEATS = 8


@dataclass(frozen=True)
class Flop:
    """Floating-point operations for one image.

    Attributes:
        forward: the network's answer.
        training: forward, and the gradients of all weights.
        attack: forward, and the gradient of the image alone.
    """

    forward: int
    training: int
    attack: int


@dataclass(frozen=True)
class Share:
    """How near training comes to the machine's highest rate.

    Attributes:
        name: of the training.
        flop: for one image.
        peak: operations a second of the best product of matrices.
        images: that were trained on in a second.
        bound: images a second if all of it were done at the peak.
        share: of the peak, images / bound.
    """

    name: str
    flop: int
    peak: float
    images: float
    bound: float
    share: float

    @classmethod
    def of(cls, name: str, flop: int, peak: float, images: float) -> Share:
        """The share that follows.

        >>> Share.of("training", 10**8, 1e12, 1000.0).share
        0.1
        """
        return cls(name, flop, peak, images, peak / flop, images * flop / peak)


def flop(model: nn.Module, shape: tuple[int, int, int]) -> Flop:
    """Count a network's multiplications and additions in convolutions and matrix products, two for each product.

    Args:
        model: any network from (B, C, H, W) to logits; a copy of it without values is run.
        shape: (C, H, W) of an image.

    *Source*: torch's ``FlopCounterMode``, which counts what is run; the image needs no gradient while weights are trained.

    >>> from underdog import PaperNet
    >>> flop(PaperNet(3, 10, (32, 32)), (3, 32, 32))
    Flop(forward=39158784, training=115706880, attack=78317568)
    """
    empty = copy.deepcopy(model).to("meta").train()

    def counted(image_only: bool, backward: bool) -> int:
        x = torch.zeros(1, *shape, device="meta", requires_grad=image_only)
        with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(backward):
            answer = empty(x.clone()).sum()
            if image_only:
                torch.autograd.grad(answer, x)
            elif backward:
                answer.backward()
        return int(counter.get_total_flops())

    return Flop(counted(False, False), counted(False, True), counted(True, True))


def peak(setting: BenchSetting, precision: str) -> float:
    """Operations a second of the fastest product of square matrices in a precision (2 n^3 for one)."""
    before = torch.get_float32_matmul_precision()
    if setting.device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        torch.set_float32_matmul_precision("high")  # as convolutions are computed there
    try:
        return max(_rate(setting, n, PRECISIONS[precision]) for n in setting.sizes.matrices)
    finally:
        torch.set_float32_matmul_precision(before)


def _rate(setting: BenchSetting, n: int, dtype: torch.dtype) -> float:
    a, b = (torch.rand(n, n, device=setting.device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    best = min(seconds(lambda: torch.mm(a, b, out=out), setting.clock) for _ in range(REPEATS))
    return float(2 * n**3 / best)
