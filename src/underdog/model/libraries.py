"""Networks from other libraries, as they are: no code runs that is not installed."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from inspect import signature
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from underdog.errors import InputError, nearest

__all__ = [
    "AUXILIARY", "INTERPOLATING", "LIBRARY", "Adapted", "adapted", "adapted_part", "check_patches", "hf_config", "hf_weights",
    "read_config", "timm_config", "torchvision_models",
]  # fmt: skip

#: Classifiers of torchvision that have more outputs while they train, and whose weights there rescale their input, from ImageNet's
#: means and deviations to a half each.
AUXILIARY = ("googlenet", "inception_v3")


class Adapted(nn.Module):
    """A network that returns logits from images of whatever channels, around one that may not.

    Args:
        network: from (B, channels, H, W) to logits (B, K), or to an object with ``logits``.
        channels: what it takes; grey images are repeated.
        options: more arguments of the network.

    >>> Adapted(nn.Flatten(), channels=3)(torch.zeros(2, 1, 4, 4)).shape
    torch.Size([2, 48])
    """

    def __init__(self, network: nn.Module, channels: int, options: Mapping[str, Any] = MappingProxyType({})) -> None:
        super().__init__()
        self.network, self.channels, self.options = network, channels, dict(options)

    def forward(self, x: Tensor) -> Tensor:
        output = self.network(x.expand(-1, self.channels, -1, -1), **self.options)
        logits: Tensor = getattr(output, "logits", output)
        return logits


def adapted_part(network: nn.Module) -> nn.Module:
    """The network as its library made it, or any other as it is."""
    return network.network if isinstance(network, Adapted) else network


def adapted(
    name: str, network: nn.Module, images: int, channels: int, options: Mapping[str, Any] = MappingProxyType({})
) -> nn.Module:
    """``network`` for images of so many channels.

    Raises:
        InputError: images that are neither grey nor of the network's channels.
    """
    if images not in (1, channels):
        raise InputError(f"model {name!r} takes images of {channels} channels, not {images}")
    return Adapted(network, channels, options)


def installed(module: str, name: str, extra: str | None = None) -> Any:
    """A module of an extra.

    Raises:
        InputError: it is not installed, or broken; names the extra.
    """
    extra = extra or module
    try:
        return importlib.import_module(module)
    except (ImportError, RuntimeError, OSError) as error:  # the latter two where its binary parts do not fit torch's
        raise InputError(f"model {name!r} needs {extra}: pip install 'underdog[{extra}]' ({error})") from error


def hf(folder: str, channels: int, classes: int, size: tuple[int, int], pretrained: bool = False) -> nn.Module:
    """The Transformers image classifier that ``config.json`` in a folder describes, for K classes and (H, W) pixels.

    A network for pretrained weights has as many positions as they have, and interpolates them to (H, W); without weights it
    has those of (H, W) itself.

    Raises:
        InputError: no such file, or one that describes no image classifier, or none of images of that size.
    """
    name = f"hf:{folder}"
    transformers, config = hf_config(Path(folder), num_labels=classes)
    check_patches(name, config, size)
    options: dict[str, Any] = {}
    try:
        own = getattr(config, "image_size", None)
        if own is not None and not pretrained:
            config.image_size = size[0] if size[0] == size[1] else size
        network = transformers.AutoModelForImageClassification.from_config(config, trust_remote_code=False)
        if pretrained and pair(own) != size and "interpolate_pos_encoding" in signature(network.forward).parameters:
            options["interpolate_pos_encoding"] = True
    except Exception as error:  # a configuration can be wrong in any way
        raise InputError(f"model {name!r} cannot be built for {size[1]}x{size[0]} pixels: {error}") from error
    return adapted(name, network, channels, getattr(config, "num_channels", 3), options)


def hf_weights(folder: Path) -> dict[str, Tensor]:
    """The weights in a folder of Transformers, by the names that the installed version gives them.

    Raises:
        InputError: no safetensors file there, or one that does not fit the configuration.
    """
    transformers, config = hf_config(folder)
    try:
        with quiet(transformers):
            network, report = transformers.AutoModelForImageClassification.from_pretrained(
                folder, config=config, local_files_only=True, use_safetensors=True, trust_remote_code=False,
                dtype=torch.float32, output_loading_info=True,
            )  # fmt: skip
    except Exception as error:  # files can be wrong in any way
        raise InputError(f"the weights of 'hf:{folder}' cannot be read: {error}") from error
    fresh = set(report["missing_keys"])
    return {k: v for k, v in network.state_dict().items() if k not in fresh}


def hf_config(folder: Path, **options: Any) -> tuple[Any, Any]:
    """Transformers, and the configuration in a folder; with options, such as num_labels, in the place of its labels.

    Raises:
        InputError: Transformers is not installed, or no such file, or one that it does not know.
    """
    name, about = f"hf:{folder}", read_config(folder)
    transformers = installed("transformers", name)
    if options:
        about = {k: v for k, v in about.items() if k not in ("id2label", "label2id", "num_labels")}
    # A second head for a teacher's answers only stays in the way; and without names Transformers would look for some.
    about["architectures"] = [n.removesuffix("WithTeacher") for n in about.get("architectures") or ()]
    try:
        return transformers, transformers.CONFIG_MAPPING[about["model_type"]].from_dict(about, **options)
    except Exception as error:  # a configuration can be wrong in any way
        raise InputError(f"model {name!r} cannot be built: {error}") from error


def check_patches(name: str, config: Any, size: tuple[int, int]) -> None:
    """Images must be whole patches, where a network cuts them into some and says once what each of them is.

    Networks in stages (``depths``), such as Swin and ConvNeXt, take any size.

    Raises:
        InputError: they are not.
    """
    patch = pair(getattr(config, "patch_size", None))
    if patch is None or hasattr(config, "depths") or not (size[0] % patch[0] or size[1] % patch[1]):
        return
    height, width = (max(1, round(side / p)) * p for side, p in zip(size, patch, strict=True))
    raise InputError(
        f"model {name!r} cuts images into patches of {patch[1]}x{patch[0]} pixels, and {size[1]}x{size[0]} is no multiple of that "
        f"(--size {width}x{height} is)"
    )


def pair(value: Any) -> tuple[int, int] | None:
    """(H, W) of a configuration's size, which may be one number; None where it is neither."""
    height, width = value if isinstance(value, tuple | list) and len(value) == 2 else (value, value)
    return (height, width) if type(height) is int and type(width) is int and min(height, width) > 0 else None


def read_config(folder: Path) -> dict[str, Any]:
    """What ``config.json`` in a folder says, without references to code.

    Raises:
        InputError: no such file, or not a configuration.
    """
    path = folder / "config.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"hf: needs a folder with the config.json of a Transformers model: {error}") from error
    if not isinstance(about, dict) or not isinstance(about.get("model_type"), str):
        raise InputError(f"{path} is no Transformers configuration: it has no model_type")
    return {k: v for k, v in about.items() if k not in ("auto_map", "torch_dtype", "dtype")}


def torchvision(name: str, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """The classifier of ``torchvision.models`` with that name, for K classes."""
    models = torchvision_models(name)
    options: dict[str, Any] = {"image_size": size[0]} if name.startswith("vit_") else {}
    if name in AUXILIARY:
        options = {"aux_logits": False, "init_weights": True}
    network = models.get_model(name, weights=None, num_classes=classes, **options)
    return adapted(f"torchvision:{name}", network, channels, 3)


def torchvision_models(name: str) -> Any:
    """``torchvision.models``, which has a classifier of that name.

    Raises:
        InputError: torchvision is not installed, or has no such classifier.
    """
    models = installed("torchvision.models", f"torchvision:{name}", "torchvision")
    known = models.list_models(module=models)
    if name not in known:
        raise InputError(f"torchvision has no classifier {name!r}{nearest(name, known)}")
    return models


def timm(name: str, channels: int, classes: int, size: tuple[int, int], pretrained: bool = False) -> nn.Module:
    """The model of timm with that name, for K classes, and for (H, W) pixels where it has a fixed size.

    A network for pretrained weights keeps their positions, where it has some that timm can interpolate to (H, W).
    """
    library, about = timm_config(name)
    taken, *own = getattr(about, "input_size", (3,))
    make = partial(library.create_model, name, pretrained=False, num_classes=classes)
    if not getattr(about, "fixed_input_size", False):
        return adapted(f"timm:{name}", make(), channels, taken)
    try:
        network = make(**({"dynamic_img_size": True} if pretrained and tuple(own) != size else {"img_size": size}))
    except TypeError:  # it cannot
        network = make(img_size=size)
    return adapted(f"timm:{name}", network, channels, taken)


def timm_config(name: str) -> tuple[Any, Any]:
    """timm, and what it knows of the pretrained weights of its model with that name.

    Raises:
        InputError: timm is not installed, or has no such model.
    """
    library = installed("timm", f"timm:{name}")
    if not library.is_model(name):
        raise InputError(f"timm has no model {name!r}{nearest(name, library.list_models())}")
    return library, library.get_pretrained_cfg(name)


@contextmanager
def quiet(transformers: Any) -> Iterator[None]:
    """Without progress bars and remarks: what differs is reported by underdog."""
    level, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(level)
        if bars:
            transformers.logging.enable_progress_bar()


#: Those whose networks may be given weights of images of another size.
INTERPOLATING: dict[str, Callable[..., nn.Module]] = {"hf": hf, "timm": timm}
LIBRARY: dict[str, Callable[..., nn.Module]] = {
    "hf": hf,
    "torchvision": torchvision,
    "timm": timm,
}
