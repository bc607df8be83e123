"""A frozen network whose features stand for images: what is to be known to make them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from underdog.errors import InputError

__all__ = ["FrozenNetwork"]


@dataclass(frozen=True)
class FrozenNetwork:
    """The network that features come from, and what their codes mean.

    Attributes:
        model: its name, as ``--model`` takes it.
        weights: fingerprint of its weights.
        file: where they were, where they do not come with the network.
        mean, std: of the channels that it expects.
        channels, size: of its images, (H, W).
        centre, deviation: (D,) of the features, see ``Codes``; empty while they are not known.
    """

    model: str
    weights: str
    file: str | None
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int
    size: tuple[int, int]
    centre: tuple[float, ...] = ()
    deviation: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {
            name: list(value) if isinstance(value := getattr(self, name), tuple) else value
            for name in self.__dataclass_fields__
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> FrozenNetwork:
        """What ``to_json`` described.

        Raises:
            InputError: it is something else.
        """
        try:
            height, width = map(int, data["size"])
            return cls(
                model=str(data["model"]),
                weights=str(data["weights"]),
                file=data["file"],
                mean=tuple(map(float, data["mean"])),
                std=tuple(map(float, data["std"])),
                channels=int(data["channels"]),
                size=(height, width),
                centre=tuple(map(float, data["centre"])),
                deviation=tuple(map(float, data["deviation"])),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"no frozen network ({error})") from error
