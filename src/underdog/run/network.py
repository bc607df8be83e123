"""The network of a run, with its first weights."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import nn

from underdog.data.images import ImageSet
from underdog.errors import InputError
from underdog.model import model_factory
from underdog.model.layers import freeze_until
from underdog.model.libraries import Adapted, adapted_part, read_config
from underdog.model.normalize import behind, normalized
from underdog.model.pretrained import load_pretrained, normalization, weights_fingerprint
from underdog.rng import RandomStreams
from underdog.run.spec import NetworkFiles, RunSpec

__all__ = ["SCRIPT", "build_model", "network", "network_settings", "untrained"]

HF = "hf:"
#: How the name of a network begins that a script gave to ``fit``.
SCRIPT = "fit:"


def network_settings(
    model: str,
    weights: Path | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> dict[str, Any]:
    """The fields of a ``RunSpec`` that describe a network as somebody names it.

    A Transformers folder brings its weights and its channel means and deviations with it, a run's own ``model.safetensors``
    the latter; what is given comes first.

    Raises:
        InputError: files that are not there or cannot be read.
    """
    folder = Path(model.removeprefix(HF)) if model.startswith(HF) else None
    if folder is not None:
        model = known_as(folder)
        if weights is None and any(folder.glob("*.safetensors")):
            weights = folder
    fingerprint = None if weights is None else weights_fingerprint(weights)
    for place in (weights, folder):
        if place is not None and mean is None and std is None:
            mean, std = normalization(place) or (None, None)
    files = NetworkFiles(folder, weights)
    return {"model": model, "weights": fingerprint, "mean": mean, "std": std, "files": files}


def known_as(folder: Path) -> str:
    """What a run's identity calls the Transformers model in a folder: its kind, and 48 bits of the hash of its configuration."""
    kind = read_config(folder)["model_type"]
    return f"{HF}{kind}-{blake2b((folder / 'config.json').read_bytes(), digest_size=6).hexdigest()}"


def _located(spec: RunSpec) -> str:
    """The name of the spec's network for ``model_factory``."""
    if spec.model.startswith(SCRIPT):
        raise InputError(
            f"the network of this run, a {spec.model.removeprefix(SCRIPT)}, is the own one of the script that called underdog.fit: "
            "make it there, and load model.safetensors into it"
        )
    if not spec.model.startswith(HF):
        return spec.model
    if spec.files.folder is None or known_as(spec.files.folder) != spec.model:
        raise InputError(f"model {spec.model!r} needs the folder with its config.json, unchanged: --model hf:FOLDER")
    return f"{HF}{spec.files.folder}"


def network(spec: RunSpec, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """The spec's network for C channels, K classes and (H, W) pixels, its first weights drawn from the run's seed alone.

    Raises:
        InputError: no such network, or one that cannot be built for such images; says which.
    """
    name = _located(spec)
    with torch.random.fork_rng(devices=[]):
        factory = model_factory(name, spec.width, spec.depth)  # whose import may draw, before the seed is set
        torch.default_generator.manual_seed(RandomStreams(spec.seed).torch_seed("init"))
        try:
            found = factory(channels, classes, size)
        except InputError:
            raise
        except Exception as error:  # it may be anybody's code
            raise InputError(
                f"model {name!r} failed to build a network for {channels} channels, {classes} classes and "
                f"{size[1]}x{size[0]} pixels, its three arguments (channels, classes, (height, width)): {error}"
            ) from error
    if not isinstance(found, nn.Module):
        raise InputError(f"model {name!r} must return a torch.nn.Module, not {type(found).__name__}")
    return found


def untrained(spec: RunSpec, channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """The run's model to put saved weights into: those of the normalising layer are among them."""
    n = channels if spec.mean is None else len(spec.mean)
    return behind(torch.zeros(n), torch.ones(n), network(spec, channels, classes, size))


def build_model(spec: RunSpec, train: ImageSet) -> tuple[nn.Module, tuple[str, ...]]:
    """The run's model as its training begins, and remarks on it for the result.

    That is: the network with pretrained weights where there are any, frozen as far as the spec says, behind a layer that
    normalises by the spec's channel means and deviations, or else the training part's.

    Raises:
        InputError: no such network or layer, or weights, means or deviations that do not fit it.
    """
    channels, height, width = train.shape
    body = network(spec, channels, len(train.classes), (height, width))
    notes = _load(spec, body) if spec.weights is not None else ()
    if spec.freeze_until is not None:
        freeze_until(adapted_part(body), spec.freeze_until)
    if spec.mean is None or spec.std is None:
        return normalized(body, train.images), notes
    taken = body.channels if isinstance(body, Adapted) else channels
    if len(spec.mean) not in (1, taken):
        raise InputError(f"mean and std must have one value for each of {taken} channels, not {len(spec.mean)}")
    return behind(torch.tensor(spec.mean), torch.tensor(spec.std), body), notes


def _load(spec: RunSpec, body: nn.Module) -> tuple[str, ...]:
    path = spec.files.weights
    if path is None or weights_fingerprint(path) != spec.weights:
        raise InputError("the run began with pretrained weights: give the same file again (--weights)")
    with torch.random.fork_rng(devices=[]):
        return load_pretrained(body, path)
