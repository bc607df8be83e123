"""Networks by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from underdog.errors import InputError, unknown
from underdog.model.efficientnet import NAME, EfficientNetLite
from underdog.model.libraries import INTERPOLATING, LIBRARY, adapted
from underdog.model.paper import PaperNet
from underdog.model.resnet import ResNet
from underdog.names import LIBRARIES
from underdog.outside import imported

__all__ = ["MODELS", "Factory", "model_factory"]

#: (channels, classes, (height, width)) -> a network from (B, C, H, W) in [0, 1] to logits (B, K).
Factory = Callable[[int, int, tuple[int, int]], nn.Module]


def resnet(n: int, channels: int, classes: int, size: tuple[int, int], width: float = 1) -> nn.Module:
    """A ``ResNet`` with the arguments of a factory."""
    if min(size) < 8:
        raise InputError(f"images of {size[1]}x{size[0]} pixels are too small for a ResNet: at least 8x8 (see --size)")
    return ResNet(channels, classes, n, width)


def linear(channels: int, classes: int, size: tuple[int, int], width: float = 1) -> nn.Module:
    """A linear classifier of pixels, or of the features of a frozen network; it has no width."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))


def efficientnet_lite0(channels: int, classes: int, size: tuple[int, int], width: float = 1) -> nn.Module:
    """An ``EfficientNetLite`` with the arguments of a factory, also for grey images."""
    if min(size) < 32:
        raise InputError(
            f"images of {size[1]}x{size[0]} pixels are too small for EfficientNet: at least 32x32 (see --size)"
        )
    return adapted(NAME, EfficientNetLite(classes, width), channels, 3)


MODELS: dict[str, Callable[..., nn.Module]] = {
    "paper": PaperNet,
    "resnet20": partial(resnet, 3),
    "resnet32": partial(resnet, 5),
    "linear": linear,
    NAME: efficientnet_lite0,
}


def model_factory(name: str, width: float = 1, depth: int | None = None, pretrained: bool = False) -> Factory:
    """The factory called ``name``: one of ``MODELS``, a library's network, or ``package.module:function`` of one's own.

    Args:
        name: a name in the table, ``hf:FOLDER``, ``torchvision:NAME`` or ``timm:NAME``, without trained weights (see
            ``default_weights`` and ``load_pretrained``); or ``module:function``, looked up in the current folder too.
        width: multiplies the channels of networks in the table.
        depth: number of blocks of ``paper``; its own default where None.
        pretrained: the network is to be given pretrained weights: one of Transformers or timm then has as many positions as
            they have, and interpolates them to the images.

    Raises:
        InputError: no such name, module or function, or an option that the network does not have.

    >>> net = model_factory("paper")(1, 10, (28, 28))
    >>> sum(p.numel() for p in net.parameters())
    81386
    """
    if ":" in name:
        if width != 1 or depth is not None:
            raise InputError("width and depth apply to underdog's own networks, not to one's own factory")
        library, _, rest = name.partition(":")
        if library in INTERPOLATING:
            return partial(INTERPOLATING[library], rest, pretrained=pretrained)
        return partial(LIBRARY[library], rest) if library in LIBRARY else imported("model", name)
    if name not in MODELS:
        raise unknown("model", name, [*MODELS, *LIBRARIES.values(), "package.module:factory"])
    if depth is not None and name != "paper":
        raise InputError(f"depth applies to the model 'paper' only, not to {name!r}")
    options = {"width": width} | ({} if depth is None else {"depth": depth})
    return partial(MODELS[name], **options)
