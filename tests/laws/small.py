"""Small data, networks and moments for the laws, and the methods that they are about: all there are."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import nn

import underdog as ud
from underdog.attack.base import Attack, Victim
from underdog.methods.expression import parse
from underdog.methods.table import METHODS as TABLE

#: Every method of the table, with some eps where it needs one.
METHODS: dict[str, ud.Method] = {
    name: ud.method(str(parse(name).set(dict.fromkeys(parse(name).missing, "16/255")))) for name in TABLE
}


def moment(t: int = 0, seed: int = 0, who: Victim | None = None, **more: object) -> ud.Moment:
    """Before epoch ``t`` of a run; the start of its stage where ``started=False``."""
    return ud.Moment(t, **{"epochs": None, "streams": ud.RandomStreams(seed), "network": who} | more)  # type: ignore[arg-type]


def attacked(
    attack: Attack, who: Victim | None, x: torch.Tensor, y: torch.Tensor, eps: float, seed: int = 0
) -> torch.Tensor:
    """Images (B, C, H, W) as an attack alters them, all by the same eps."""
    altered = attack(who, x, y, torch.full((len(x),), eps, dtype=torch.float64), np.random.default_rng(seed))  # type: ignore[arg-type]
    return altered.show(x, torch.arange(len(x)))


def image_set(counts: tuple[int, ...], shape: tuple[int, int, int] = (1, 16, 16), seed: int = 0) -> ud.ImageSet:
    """Random images with ``counts[k]`` of class k, in random order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    pixels = rng.integers(0, 256, (len(labels), *shape), dtype=np.uint8)
    return ud.ImageSet(torch.from_numpy(pixels), torch.from_numpy(labels), tuple(f"c{k}" for k in range(len(counts))))


def learner(classes: int, shape: tuple[int, int, int] = (1, 16, 16), seed: int = 0, **options: object) -> ud.Learner:
    """A narrow paper network with its own weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = ud.PaperNet(shape[0], classes, shape[1:], width=0.25)
    return ud.Learner(net, classes, **options)  # type: ignore[arg-type]


class Awkward(nn.Module):
    """BatchNorm, Dropout, a frozen layer, an in-place first layer, mixed flags, buffers and flags that change in eval mode."""

    def __init__(self, classes: int = 3, fails: bool = False) -> None:
        super().__init__()
        self.first = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(1, 4, 3)
        self.bn = nn.BatchNorm2d(4)
        self.frozen = nn.BatchNorm2d(4).eval()
        for p in self.frozen.parameters():
            p.requires_grad_(False)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(4, classes)
        self.register_buffer("calls", torch.zeros(()))
        self.fails = fails

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        self.calls = self.calls + 1  # a new tensor in the place of the registered one
        torch.rand(3), np.random.rand(3), random.random()
        if not self.training:  # as code that freezes layers while it looks may do
            self.conv.bias.requires_grad_(False)
            self.conv.bias.grad = None
        x = self.frozen(self.bn(self.conv(self.first(x))))
        if self.fails:
            raise RuntimeError("the network broke")
        return self.fc(self.dropout(x.mean((2, 3))))
