"""Residual networks for small images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["ResNet"]


class BasicBlock(nn.Module):
    """relu(shortcut(x) + BN(conv(relu(BN(conv(x)))))), the shortcut subsampled and padded with zero channels."""

    def __init__(self, inp: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inp, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.stride, self.padding = stride, out - inp

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        shortcut = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.padding))
        return functional.relu(y + shortcut)


class ResNet(nn.Module):
    """The CIFAR-style residual network of 6n + 2 layers: 16, 32 and 64 channels in three stages of n blocks.

    Maps (B, C, H, W), of any size from 8 pixels, to logits (B, K).

    Args:
        channels: C of the images.
        classes: K.
        n: blocks in a stage; 3 for ResNet-20, 5 for ResNet-32.
        width: multiplies the numbers of channels.

    *Source*: He et al. 2016, section 4.2, with parameter-free shortcuts (option A); 0.27 M parameters
    for n = 3 and 0.46 M for n = 5, as in their Table 6.

    >>> sum(p.numel() for p in ResNet(3, 10, n=3).parameters())
    269722
    """

    def __init__(self, channels: int, classes: int, n: int, width: float = 1) -> None:
        super().__init__()
        widths = [max(1, round(w * width)) for w in (16, 32, 64)]
        self.conv = nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        blocks, inp = [], widths[0]
        for stage, out in enumerate(widths):
            for i in range(n):
                blocks.append(BasicBlock(inp, out, 2 if stage and not i else 1))
                inp = out
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(inp, classes)
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(functional.relu(self.bn(self.conv(x))))
        logits: Tensor = self.fc(torch.mean(x, dim=(2, 3)))
        return logits
