"""Normalisation as a network's first layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from underdog.data.images import to_unit
from underdog.data.pixels import Pixels, at_a_time, in_parts

__all__ = ["Normalize", "behind", "normalized"]

#: Images counted at a time, and their values, at most.
CHUNK, VALUES = 1024, 2**22


class Normalize(nn.Module):
    """(x - mean) / std for each channel, so that everything outside the network stays in [0, 1].

    Args:
        mean, std: one number for all channels, or (C,), in units of [0, 1].

    >>> Normalize([0.5], 0.25)(torch.ones(1, 1, 1, 1)).item()
    2.0
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: float | Sequence[float] | Tensor, std: float | Sequence[float] | Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean).float().view(1, -1, 1, 1))
        self.register_buffer("std", torch.as_tensor(std).float().view(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        # Wherever the images are, and in their type: put before a network by hand, this layer was not moved with it.
        seen = (x - self.mean.to(x.device)) / self.std.to(x.device)
        return seen.to(x.dtype) if x.is_floating_point() else seen


def normalized(network: nn.Module, images: Pixels) -> nn.Sequential:
    """``network`` behind a layer that normalises by the channel means and deviations of (N, C, H, W) uint8.

    A channel without variation is only centred.

    >>> model = normalized(nn.Identity(), torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1))
    >>> model(torch.tensor([0.0, 1.0]).view(2, 1, 1, 1)).flatten()
    tensor([-1.,  1.])
    """
    counts = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    for part in in_parts(images, at_a_time(images, CHUNK, VALUES)):
        counts += torch.stack([channel.flatten().bincount(minlength=256) for channel in part.unbind(1)]).cpu()
    values, share = to_unit(torch.arange(256)).double(), counts / counts.sum(1, keepdim=True, dtype=torch.float64)
    mean = share @ values
    std = (share @ values.square() - mean.square()).clamp(min=0).sqrt()
    return behind(mean, torch.where(std > 1e-6, std, 1.0), network)


def behind(mean: Tensor, std: Tensor, network: nn.Module) -> nn.Sequential:
    """``network`` behind a layer that normalises by (C,) means and deviations."""
    model = nn.Sequential(Normalize(mean, std), network)
    if not any(m.training for m in network.modules()):
        model.eval()  # a network in evaluation mode as a whole stays one, for the Learner to see
    return model
