"""Weights that were trained before, from files that can hold nothing but numbers, or whose content is known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from underdog.errors import InputError
from underdog.model.efficientnet import is_packaged, read_packaged
from underdog.model.layers import head
from underdog.model.libraries import adapted_part, hf_weights

__all__ = ["TrainedOn", "load_pretrained", "recorded", "weight_files", "weights_fingerprint"]

#: Names of files that hold pickles, which may run any code when they are read.
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
#: Layers named in an error.
SHOWN = 3

#: What a run's own ``model.safetensors`` has before the network's tensors, see ``normalized``.
_NORMALIZE = {"0.mean", "0.std"}

Weights = Mapping[str, Tensor]


class TrainedOn(NamedTuple):
    """The images that weights were trained on.

    Attributes:
        mean, std: of the channels, in units of [0, 1]; one number may stand for all.
        size: (H, W), where it is known.
        crop: share of an image's shorter side that the size was cut from the middle of, where it is known.
        interpolation: how images were brought to that size, where it is known.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int] | None = None
    crop: float | None = None
    interpolation: str | None = None


def load_pretrained(network: nn.Module, path: str | Path) -> tuple[str, ...]:
    """Copy the weights of a safetensors file, or of a Transformers folder, into a network.

    All names in the file may have a prefix more than the network's (``module.``, ``model.``). The classifier head keeps
    its first weights where the file's is of another number of classes or missing; everything else must be there and fit.

    Args:
        network: changed in place; its head is the last module, in the order of definition, that has parameters.
        path: a .safetensors file, a folder with ``config.json`` and ``model.safetensors`` of Transformers, or what
            ``default_weights`` returned.

    Returns:
        Remarks for the result: a head that starts anew.

    Raises:
        InputError: no such file, one that is damaged or a pickle, or weights of another architecture; names the first
            layers that differ.

    >>> import tempfile, torch
    >>> from safetensors.torch import save_file
    >>> old, new = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(4, 10)), nn.Sequential(nn.Conv2d(1, 4, 3), nn.Linear(4, 2))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_file(old.state_dict(), f"{folder}/old.safetensors")
    ...     load_pretrained(new, f"{folder}/old.safetensors")
    ('the classifier head (1) starts anew: old.safetensors has 10 classes there, the network 2',)
    >>> torch.equal(new[0].weight, old[0].weight)
    True
    """
    path = Path(path)
    target = adapted_part(network)
    own, last = target.state_dict(), head(target)
    given = without_prefix(hf_weights(path) if path.is_dir() else read_tensors(path), own.keys())
    names = [k for k in own if _layer(k) == last]
    fresh = set(names) if other_classes(given, own, names) else set()
    if fresh and fresh.isdisjoint(given):  # what else the file has may be a head of another name
        modules = {top(k) for k in own}
        given = {k: v for k, v in given.items() if top(k) in modules}
    if wrong := differences(given, own, fresh):
        if len(wrong) == 1 and (layer := other_head(given, own, fresh)):
            raise InputError(
                f"{path} fits but for the number of classes in {layer}, and that is not where the network's classifier head is "
                f"looked for, its last layer with parameters, {last}: give weights for as many classes"
            )
        more = f"; and {len(wrong) - SHOWN} more layers" if len(wrong) > SHOWN else ""
        raise InputError(f"{path} has the weights of another network: {'; '.join(wrong[:SHOWN])}{more}")
    if broken := [k for k, v in given.items() if not v.isfinite().all()]:
        raise InputError(f"{path} has weights that are not finite numbers ({broken[0]})")
    target.load_state_dict(own | {k: v for k, v in given.items() if k not in fresh})
    if not fresh:
        return ()
    theirs = f"{len(given[names[0]])} classes there" if names[0] in given else "no such layer"
    return (f"the classifier head ({last}) starts anew: {path.name} has {theirs}, the network {len(own[names[0]])}",)


def top(name: str) -> str:
    """The first part of a tensor's name."""
    return name.partition(".")[0]


def without_prefix(given: Weights, own: Set[str]) -> Weights:
    """The tensors under names without what they all begin with, as long as no name is one of the network's."""
    if given.keys() >= _NORMALIZE and not _NORMALIZE & own:
        given = {k: v for k, v in given.items() if k not in _NORMALIZE}
    while given and not given.keys() & own and len({top(k) for k in given}) == 1 and all("." in k for k in given):
        given = {k.partition(".")[2]: v for k, v in given.items()}
    return given


def other_classes(given: Weights, own: Weights, names: list[str]) -> bool:
    """Whether the head with these tensors is missing from the file, or differs in nothing but the number of classes."""
    fits = all(k not in given or given[k].shape[1:] == own[k].shape[1:] for k in names)
    return fits and any(k not in given or given[k].shape != own[k].shape for k in names)


def other_head(given: Weights, own: Weights, fresh: Set[str]) -> str | None:
    """The only layer that does not fit, beside the ``fresh`` ones, where it differs in nothing but the number of classes."""
    wrong = {_layer(k) for k, v in own.items() if k in given and k not in fresh and given[k].shape != v.shape}
    layer = wrong.pop() if len(wrong) == 1 else None
    return layer if layer and other_classes(given, own, [k for k in own if _layer(k) == layer]) else None


def differences(given: Weights, own: Weights, fresh: Set[str]) -> list[str]:
    """What does not fit, once for each layer, in the order of the network; then the layers that the file has more."""
    found: dict[str, str] = {}
    for name, tensor in own.items():
        if name in fresh or name.endswith("num_batches_tracked"):  # which old files lack, and nothing depends on
            continue
        if name not in given:
            found.setdefault(_layer(name), f"{name} is missing")
        elif given[name].shape != tensor.shape:
            found.setdefault(_layer(name), f"{name} has the shape {_shape(given[name])}, not {_shape(tensor)}")
    for name in sorted(given.keys() - own.keys()):
        found.setdefault(_layer(name), f"{name} is no layer of the network")
    return list(found.values())


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "()"


def read_tensors(path: Path) -> Weights:
    """The tensors of a safetensors file, or of the one pickle whose content is known.

    Raises:
        InputError: no such file, another pickle, or something else.
    """
    check_file(path)
    if is_pickle(path):
        return read_packaged(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} is no safetensors file: {error}") from error


def recorded(path: Path) -> TrainedOn | None:
    """The images that weights were trained on, where it is said beside them: in a run's own file, or in
    ``preprocessor_config.json`` of a Transformers folder.

    Raises:
        InputError: files that cannot be read.
    """
    if path.is_dir():
        return _preprocessed(path / "preprocessor_config.json")
    tensors = read_tensors(path)
    if not tensors.keys() >= _NORMALIZE:
        return None
    return TrainedOn(tuple(tensors["0.mean"].flatten().tolist()), tuple(tensors["0.std"].flatten().tolist()))


def _preprocessed(file: Path) -> TrainedOn | None:
    """What the configuration of a Transformers image processor says, or None where there is none."""
    if not file.exists():
        return None
    try:
        about = json.loads(file.read_text(encoding="utf-8"))
        size = _size(about.get("crop_size") if about.get("do_center_crop") else about.get("size"))
        if not about.get("do_normalize", True):
            return TrainedOn((0.0,), (1.0,), size)
        return TrainedOn(tuple(map(float, about["image_mean"])), tuple(map(float, about["image_std"])), size)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{file} says no image_mean and image_std ({error}): give --mean and --std") from error


def _size(about: object) -> tuple[int, int] | None:
    """(H, W) of what a processor makes, in any of the ways in which it may say so."""
    if isinstance(about, dict):
        side = about.get("shortest_edge")
        about = (about.get("height", side), about.get("width", side))
    height, width = about if isinstance(about, tuple | list) and len(about) == 2 else (about, about)
    return (height, width) if isinstance(height, int) and isinstance(width, int) and min(height, width) > 0 else None


def is_pickle(path: Path) -> bool:
    """Whether a file is called as pickles are."""
    return path.suffix.lower() in PICKLES


def check_file(path: Path) -> None:
    """Weights must be in a file of numbers, or in the one pickle whose content is known.

    Raises:
        InputError: no such file, or another pickle.
    """
    if is_pickle(path) and not is_packaged(path):
        raise InputError(
            f"{path} may be a pickle, which can run any code when it is read: convert it where you trust it, with "
            f"safetensors.torch.save_file(torch.load({path.name!r}, weights_only=True), {path.stem + '.safetensors'!r})"
        )
    if not path.is_file():
        raise InputError(f"{path} is no file of weights (.safetensors)")


def weight_files(folder: Path) -> list[Path]:
    """The files of weights in a Transformers folder, or, where there are none, the pickles that hold them."""
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def weights_fingerprint(path: Path) -> str:
    """128 bits of a hash of a file of weights, or of those in a Transformers folder.

    Raises:
        InputError: no such file, one that cannot be read, or a pickle.
    """
    files = weight_files(path) if path.is_dir() else [path]
    digest = blake2b(digest_size=16)
    for file in files:
        check_file(file)
        try:
            with file.open("rb") as opened:
                while block := opened.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"{file} cannot be read: {error}") from error
    return digest.hexdigest()
