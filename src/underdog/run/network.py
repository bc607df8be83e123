"""The network of a run, with its first weights."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from underdog.data.images import ImageSet
from underdog.errors import InputError
from underdog.learner import evaluating
from underdog.model import model_factory
from underdog.model.layers import freeze_until
from underdog.model.libraries import Adapted, adapted_part, check_patches, hf_config, read_config
from underdog.model.normalize import behind, normalized
from underdog.model.origin import default_weights, trained_on
from underdog.model.pretrained import TrainedOn, load_pretrained, recorded, weight_files, weights_fingerprint
from underdog.names import PRETRAINED, WEIGHTS
from underdog.rng import RandomStreams
from underdog.run.spec import NetworkFiles, RunSpec

__all__ = ["SCRIPT", "build_model", "network", "network_settings", "remarks", "untrained"]

HF = "hf:"
#: How the name of a network begins that a script gave to ``fit``.
SCRIPT = "fit:"
#: The words of ``WEIGHTS`` as they are given.
DEFAULT, NONE = map(Path, WEIGHTS)
#: How much smaller and larger than those that weights were trained on images may be without a remark.
USUAL = (3 / 4, 3 / 2)


def network_settings(
    model: str,
    weights: Path | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    size: tuple[int, int] | None = None,
) -> dict[str, Any]:
    """The fields of a ``RunSpec`` that describe a network as somebody names it.

    Some networks bring their weights with them (``PRETRAINED``, a Transformers folder), and weights the channel means and
    deviations that they were trained with; what is given comes first.

    Args:
        model: see ``model_factory``.
        weights: a safetensors file or a Transformers folder, or one of the words of ``WEIGHTS``.
        mean, std: of the channels, in units of [0, 1].
        size: (H, W) that images will have, where it is known before they are read.

    Raises:
        InputError: files that are not there or cannot be read, or a size that a Transformers model cannot have.
    """
    folder = Path(model.removeprefix(HF)) if model.startswith(HF) else None
    if folder is not None and size is not None:
        check_patches(model, hf_config(folder)[1], size)
    known = model if folder is None else known_as(folder)
    found = _weights(model, weights, folder)
    if mean is None and std is None:
        images = _trained_on(model, found, folder)
        if images is None and found is not None and found.is_dir():
            raise InputError(
                f"{found} has no preprocessor_config.json to say which image_mean and image_std its weights expect: "
                "give --mean and --std"
            )
        mean, std = (None, None) if images is None else (images.mean, images.std)
    return {
        "model": known,
        "weights": None if found is None else weights_fingerprint(found),
        "mean": mean,
        "std": std,
        "files": NetworkFiles(folder, found),
    }


def _weights(model: str, given: Path | None, folder: Path | None) -> Path | None:
    """The file or folder of the weights that a network begins with; None for random ones."""
    brought = model in PRETRAINED or (folder is not None and bool(weight_files(folder)))
    if given == NONE or (given is None and not brought):
        return None
    return default_weights(model) if given in (None, DEFAULT) else given


def _trained_on(model: str, weights: Path | None, folder: Path | None) -> TrainedOn | None:
    """The images that weights were trained on, as it is said beside them or beside a configuration, or known of the network."""
    for place in (weights, folder):
        if place is not None and (found := recorded(place)):
            return found
    return None if weights is None else trained_on(model)


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
        factory = model_factory(
            name, spec.width, spec.depth, pretrained=spec.weights is not None
        )  # whose import may draw, before the seed is set
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
    notes = (*_load(spec, body), *remarks(spec, (height, width))) if spec.weights is not None else ()
    if isinstance(body, Adapted):
        _try(spec, body, train.shape)
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


def _try(spec: RunSpec, body: nn.Module, shape: tuple[int, int, int]) -> None:
    """Give another library's network one image, since not every architecture takes every size.

    Raises:
        InputError: it fails.
    """
    try:
        with evaluating(body, torch.device("cpu")), torch.no_grad():
            body(torch.zeros(1, *shape))
    except Exception as error:  # it may fail in any way
        raise InputError(f"model {spec.model!r} fails on images of {shape[2]}x{shape[1]} pixels: {error}") from error


def remarks(spec: RunSpec, size: tuple[int, int]) -> Iterator[str]:
    """Remarks on images that are not what the pretrained weights were trained on."""
    try:
        known = _trained_on(_located(spec), spec.files.weights, spec.files.folder)
    except InputError:  # what lies beside the weights cannot be read, and so mean and std were given
        return
    if known is None:
        return
    if known.size is not None and not USUAL[0] <= min(size) / min(known.size) <= USUAL[1]:
        yield (
            f"the pretrained weights know images of {known.size[1]}x{known.size[0]} pixels{_manner(known)}, and these have "
            f"{size[1]}x{size[0]}: --size {min(known.size)} suits them better (and --resize crop: the borders of --resize pad cost "
            "EfficientNet-Lite0 .09 of its top-1 accuracy)"
        )
    if not (_alike(spec.mean, known.mean) and _alike(spec.std, known.std)):
        yield (
            f"the pretrained weights expect the mean {_numbers(known.mean)} and the std {_numbers(known.std)}, not those given: "
            "a wrong pair cost EfficientNet-Lite0 .10 of its top-1 accuracy"
        )


def _manner(known: TrainedOn) -> str:
    """How images were brought to the size that weights know, as far as that is known."""
    said = [f"the middle {known.crop:.3g} of photographs"] if known.crop is not None else []
    said += [known.interpolation] if known.interpolation is not None else []
    return f" ({', '.join(said)})" if said else ""


def _alike(given: tuple[float, ...] | None, expected: tuple[float, ...]) -> bool:
    """Whether values for the channels are the same, of which one stands for all."""
    return given is not None and np.allclose(np.array(given), np.array(expected))


def _numbers(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)
