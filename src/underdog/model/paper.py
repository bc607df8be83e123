"""The paper's convolutional network."""

from __future__ import annotations

from torch import nn

from underdog.errors import InputError
from underdog.validate import check_positive

__all__ = ["PaperNet"]


class PaperNet(nn.Sequential):
    """Blocks of [3x3 convolution, BatchNorm, ReLU] twice and 2x2 max pooling, then one linear layer.

    The first convolution of a block keeps the image's size, the second takes off its border. Block b
    has 32 * width * 2^b channels. Maps (B, C, H, W) to logits (B, K).

    Args:
        channels: C of the images.
        classes: K.
        size: (H, W), at least 16 each for two blocks.
        width: multiplies the numbers of channels; 1 is the paper's.
        depth: number of blocks; 2 is the paper's.

    Raises:
        InputError: an image too small for the blocks, or a width or depth not above 0.

    *Source*: Table 1 of the paper. 32x32x3 and 10 classes give 89,002 parameters, 28x28x1 81,386.
    *Deviation*: where BatchNorm and ReLU stand in relation to each other is unsaid; here convolution,
    BatchNorm, ReLU. Other data sets' networks were only linked; here this one serves them too.

    >>> sum(p.numel() for p in PaperNet(3, 10, (32, 32)).parameters())
    89002
    """

    def __init__(self, channels: int, classes: int, size: tuple[int, int], width: float = 1, depth: int = 2) -> None:
        check_positive("width", width)
        check_positive("depth", depth, whole=True)
        smallest = 4 * 2**depth  # the last block then sees 4 pixels or more
        if min(size) < smallest:
            raise InputError(
                f"images of {size[1]}x{size[0]} pixels are too small for {depth} blocks of the paper's network: "
                f"at least {smallest}x{smallest} (see --size and --depth)"
            )
        layers: list[nn.Module] = []
        height, w = size
        for block in range(depth):
            out = max(1, round(32 * width)) * 2**block
            for inp, padding in ((channels, 1), (out, 0)):
                layers += [nn.Conv2d(inp, out, 3, padding=padding), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
            layers.append(nn.MaxPool2d(2))
            channels, height, w = out, (height - 2) // 2, (w - 2) // 2
        super().__init__(*layers, nn.Flatten(), nn.Linear(channels * height * w, classes))
