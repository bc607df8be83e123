"""What people's scripts contain: networks, losses and data sets of many kinds."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import checkpoint
from torch.utils.data import Dataset

import underdog as ud

CLASSES, SHAPE = 3, (3, 12, 12)
EPS = 8 / 255
#: The rare images of ``batch()``.
RARE = torch.arange(24) % CLASSES == 2


def network(seed: int = 0, classes: int = CLASSES) -> nn.Sequential:
    """A small convolutional network in training mode, with BatchNorm."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(SHAPE[0], 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, classes)
        )  # fmt: skip


def batch(n: int = 24, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images in [0, 1] whose every third label is the rare class 2."""
    draw = torch.Generator().manual_seed(seed)
    return torch.rand(n, *SHAPE, generator=draw), torch.arange(n) % CLASSES


class From(NamedTuple):
    """A tau that is 0 before an epoch."""

    first: int
    tau: float = 1.0

    def __call__(self, epoch: ud.Epoch, rows: np.ndarray, now: ud.Moment) -> np.ndarray:
        return np.full(len(rows), self.tau if now.t >= self.first else 0.0)


class Darken:
    """An attack that is no single signed step."""

    def __call__(self, victim: object, x: Tensor, y: Tensor, eps: Tensor, rng: np.random.Generator) -> ud.AlteredPixels:
        return ud.AlteredPixels(x * 0.5, (x != 0).flatten(1).any(1))


def bare(net: nn.Module, x: Tensor, y: Tensor, loss: Callable[..., Tensor] | None = None) -> Tensor:
    """The sign of the gradient as one writes it by hand."""
    net.eval()
    leaf = x.clone().requires_grad_()
    total = F.cross_entropy(net(leaf), y, reduction="sum") if loss is None else loss(net(leaf), y).sum()
    sign = torch.autograd.grad(total, leaf)[0].sign()
    net.train()
    return sign


def expected(net: nn.Module, x: torch.Tensor, y: torch.Tensor, loss: object = None) -> torch.Tensor:
    """Every rare image moved by hand."""
    out = x.clone()
    out[RARE] = (x[RARE] + EPS * bare(net, x[RARE], y[RARE], loss)).clamp(0, 1)  # type: ignore[arg-type]
    return out


def perturbed(x: torch.Tensor, y: torch.Tensor, net: nn.Module, **options: object) -> torch.Tensor:
    return ud.perturb_batch(x, y, net, **{"eps": EPS, "tau": 1, "minority": [2]} | options)  # type: ignore[arg-type]


class Wrapped(nn.Module):
    """A network whose answer ``answer`` makes something else of."""

    def __init__(self, net: nn.Module, answer: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.net, self.answer = net, answer

    def forward(self, x: Tensor) -> object:
        return self.answer(self.net(x))


ANSWERS: dict[str, Callable[[Tensor], object]] = {
    "tensor": lambda z: z,
    "tuple": lambda z: (z, z * 2),
    "list": lambda z: [z],
    "dict": lambda z: {"hidden": None, "logits": z},
    "object": lambda z: SimpleNamespace(loss=None, logits=z),
}


class LossInside(nn.Module):
    """A network that returns the mean loss when it is given labels."""

    def __init__(self, net: nn.Module, reduction: str = "mean") -> None:
        super().__init__()
        self.net, self.reduction = net, reduction

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        z: Tensor = self.net(x)
        return z if y is None else F.cross_entropy(z, y, reduction=self.reduction)


class Checkpointed(nn.Module):
    """Gradient checkpointing of one kind or the other."""

    def __init__(self, net: nn.Module, reentrant: bool) -> None:
        super().__init__()
        self.net, self.reentrant = net, reentrant

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint.checkpoint(self.net, x, use_reentrant=self.reentrant)


class FixedBackbone(nn.Module):
    """A backbone that is kept fixed by ``how``, and a head that learns."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.backbone, self.head, self.how = network(classes=8), nn.Linear(8, CLASSES), how
        if how == "flags":
            self.backbone.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if self.how == "no_grad":
            with torch.no_grad():
                return self.head(self.backbone(x))
        if self.how == "inference":
            with torch.inference_mode():
                features = self.backbone(x)
            return self.head(features)
        return self.head(self.backbone(x).detach() if self.how == "detach" else self.backbone(x))


class AlwaysDropping(nn.Module):
    """Functional dropout that forgets about evaluation mode."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net(F.dropout(x, 0.5))


class Photos(Dataset):
    """A data set like torchvision's: uint8 pixels, ``targets``, a transform, and a count of how often it is read."""

    def __init__(self, counts: tuple[int, ...] = (20, 20, 4), transform: object = None, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.targets = rng.permutation(np.repeat(np.arange(len(counts)), counts)).tolist()
        self.pixels = torch.from_numpy(rng.integers(0, 256, (len(self.targets), *SHAPE), dtype=np.uint8))
        self.transform, self.reads = transform, 0

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        self.reads += 1
        x = self.pixels[index]
        return (self.transform(x) if self.transform else x), self.targets[index]  # type: ignore[operator]


class Pictures(Dataset):
    """What people give a Trainer: dictionaries, with a column that no model takes."""

    def __init__(self, seed: int = 0, transform: object = ud.to_unit) -> None:
        self.photos = Photos(transform=transform, seed=seed)
        self.labels = self.photos.targets

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, object]:
        return {"pixel_values": self.photos[index][0], "label": self.labels[index], "name": f"photo {index}"}
