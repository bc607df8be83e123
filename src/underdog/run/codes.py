"""Features of a frozen network as images of one pixel, so that everything that is done to images is done to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from underdog.data.frozen import FrozenNetwork
from underdog.data.images import ImageSet
from underdog.data.sources import Source
from underdog.errors import InputError

__all__ = ["DEVIATIONS", "Codes", "codes_of_network", "feature_source"]

#: The standard deviations of a feature that its 256 codes span, half of them on either side of its mean.
DEVIATIONS = 16
#: Rows that are looked at together.
ROWS = 4096

Features = npt.NDArray[np.float32]


class Codes(nn.Module):
    """Features (B, D) to images (B, D, 1, 1) in [0, 1] and back to bytes: code = 127.5 + 255 (f - mean) / (16 std).

    A feature is known to a sixteenth of its standard deviation, and one unit of [0, 1] is 16 of them: a step of eps = 16/255 is one
    standard deviation. What lies further than 8 from the mean is cut off.

    Args:
        mean, std: (D,) of the features.

    >>> codes = Codes(torch.tensor([1.0]), torch.tensor([2.0]))
    >>> codes(torch.tensor([[1.0], [3.0]])).flatten()
    tensor([0.5020, 0.5608])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())

    def forward(self, features: Tensor) -> Tensor:
        scaled = (features - self.mean) / (self.std * DEVIATIONS) * 255 + 127.5
        codes: Tensor = scaled.round().clamp(0, 255) / 255
        return codes[:, :, None, None]

    def bytes(self, features: Tensor) -> Tensor:
        """(B, D) to (B, D, 1, 1) uint8."""
        return torch.round(self.forward(features) * 255).to(torch.uint8)


def codes_of(features: Features) -> Codes:
    """The codes of (N, D) features, by their means and deviations.

    These only say where the 256 codes lie. What a network is trained on is normalised by its own training part.

    Raises:
        InputError: features that are not finite, or all equal.
    """
    total, squares = np.zeros(features.shape[1]), np.zeros(features.shape[1])
    for begin in range(0, len(features), ROWS):
        part = features[begin : begin + ROWS].astype(np.float64)
        if not np.isfinite(part).all():
            raise InputError("the frozen network's features are not finite numbers")
        total, squares = total + part.sum(0), squares + np.square(part).sum(0)
    mean = total / len(features)
    std = np.sqrt(np.maximum(squares / len(features) - mean**2, 0))
    if not (std > 1e-6).any():
        raise InputError(
            "the frozen network gives all images the same features: its weights or its channel means are wrong"
        )
    return Codes(torch.from_numpy(mean), torch.from_numpy(np.where(std > 1e-6, std, 1.0)))


def feature_source(source: Source, features: dict[str, Features], network: FrozenNetwork) -> Source:
    """A source of features: images of D channels and one pixel, with the labels, groups and names of the images.

    Args:
        source: the images.
        features: (N, D) by part.
        network: that made them.
    """
    codes = codes_of(features["train"])

    def coded(part: ImageSet, values: Features) -> ImageSet:
        pixels = torch.empty(len(values), values.shape[1], 1, 1, dtype=torch.uint8)
        for begin in range(0, len(values), ROWS):
            pixels[begin : begin + ROWS] = codes.bytes(torch.from_numpy(np.array(values[begin : begin + ROWS])))
        return replace(part, images=pixels, items=part.names)

    parts: dict[str, Any] = {name: coded(part, features[name]) for name, part in source.parts.items()}
    pixels = parts["train"].images[:ROWS]
    still, notes = int((pixels == pixels[:1]).all(0).sum()), source.notes
    if 2 * still > pixels.shape[1]:
        notes += (
            f"{still:,} of {pixels.shape[1]:,} features are the same for all images: are these too small for the network?",
        )
    known = replace(network, centre=tuple(codes.mean.tolist()), deviation=tuple(codes.std.tolist()))
    return replace(source, frozen=known, notes=notes, **parts)


def codes_of_network(network: FrozenNetwork) -> Codes:
    """The codes that a source's features were given."""
    return Codes(torch.tensor(network.centre), torch.tensor(network.deviation))
