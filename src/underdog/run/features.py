"""Features of all images of a source, once: they are kept in the cache, and a computation that was broken off resumes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from underdog.data.frozen import FrozenNetwork
from underdog.data.images import ImageSet, to_unit
from underdog.errors import InputError
from underdog.learner import Learner
from underdog.model.layers import head
from underdog.run.codes import Features
from underdog.run.network import build_model, network_settings
from underdog.run.spec import RunSpec

__all__ = ["Extractor", "Headless", "extractor", "frozen_network"]

#: Counts changes that move features.
REVISION = 1
#: Images that are given to the network together.
BATCH = 32


@dataclass(frozen=True)
class Extractor:
    """Makes features.

    Attributes:
        network: what it is known by.
        body: the network up to its head, on its device.
    """

    network: FrozenNetwork
    body: nn.Module

    def features(self, images: ImageSet, progress: Callable[[int], object], cache: Path | None = None) -> Features:
        """(N, D) float32 of a set of images.

        Args:
            images: the set.
            progress: called with the number of images that are done.
            cache: folder of features, where those of these images are kept; default in memory alone.

        Raises:
            InputError: the network does not take such images, or its features are not finite.
            OSError: the disk is full.
        """
        if cache is None:
            return np.concatenate([self._some(images, begin, progress) for begin in range(0, len(images), BATCH)])
        folder = cache / "features" / self._key()
        folder.mkdir(parents=True, exist_ok=True)
        done = folder / f"{images.fingerprint}.npy"
        with FileLock(done.with_suffix(".lock")):
            if not done.exists():
                self._fill(done, images, progress)
            else:
                progress(len(images))
        found: Features = np.load(done, mmap_mode="r", allow_pickle=False)
        if found.dtype != np.float32 or found.ndim != 2 or len(found) != len(images):
            raise InputError(f"{done} does not hold the features of {len(images)} images: remove it")
        return found

    def _key(self) -> str:
        network = self.network
        about = json.dumps([REVISION, network.weights, network.mean, network.std, network.channels, network.size])
        return blake2b(about.encode(), digest_size=16).hexdigest()

    def _fill(self, done: Path, images: ImageSet, progress: Callable[[int], object]) -> None:
        """Compute what is missing of a file, and give it its name when it is whole."""
        part, count = done.with_suffix(".part.npy"), done.with_suffix(".count")
        begin = int(count.read_text()) if part.exists() and count.exists() else 0
        first = self._some(images, 0, lambda n: None)
        mode: Literal["r+", "w+"] = "r+" if begin else "w+"
        file = np.lib.format.open_memmap(part, mode, np.float32, (len(images), first.shape[1]))
        progress(begin)
        for at in range(begin, len(images), BATCH):
            file[at : at + BATCH] = self._some(images, at, progress)
            file.flush()
            count.write_text(str(min(at + BATCH, len(images))))
        del file
        part.replace(done)
        count.unlink()

    def _some(self, images: ImageSet, begin: int, progress: Callable[[int], object]) -> Features:
        pixels = images.images[begin : begin + BATCH]
        device = next(self.body.parameters()).device
        with torch.no_grad():
            found: Features = self.body(to_unit(pixels.to(device))).float().cpu().numpy()
        if not np.isfinite(found).all():
            raise InputError("the frozen network's features are not finite numbers")
        progress(len(found))
        return found


class Headless(nn.Module):
    """A network that answers with what its classifier head is given, (B, D).

    Args:
        network: changed in place: it loses its head.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        name = head(network)
        parent, _, last = name.rpartition(".")
        setattr(network.get_submodule(parent), last, nn.Identity())
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.network(x)
        return answers.flatten(1)


def frozen_network(frozen: FrozenNetwork) -> nn.Module:
    """The network that features come from: images (B, C, H, W) in [0, 1] to features (B, D).

    Raises:
        InputError: its weights are not there, or different ones; it does not take such images.
    """
    weights = None if frozen.file is None else Path(frozen.file)
    settings = network_settings(frozen.model, weights, frozen.mean, frozen.std)
    if settings["weights"] != frozen.weights:
        raise InputError(f"the weights of {frozen.model} are different from those that the features were made with")
    blank = ImageSet(torch.zeros(2, frozen.channels, *frozen.size, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"))
    network, _ = build_model(RunSpec("", "baseline", **settings), blank)
    whole = Learner(network.eval(), 2)
    x = torch.linspace(0, 1, 2 * math.prod(blank.shape)).view(2, *blank.shape)
    wanted = whole.features(x)
    headless = Headless(network).eval()
    with torch.no_grad():
        found = headless(x)
    if not torch.allclose(found, wanted, atol=1e-4):
        raise InputError(f"model {frozen.model!r} does something after its classifier head: its features cannot be had")
    return headless.requires_grad_(False)


def extractor(
    model: str,
    shape: tuple[int, int, int],
    device: str,
    weights: Path | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Extractor:
    """A pretrained network up to its classifier head.

    Args:
        model, weights, mean, std: as for ``underdog train``.
        shape: (C, H, W) of the images.
        device: where to compute.

    Raises:
        InputError: a network without pretrained weights, or whose means and deviations are not known; one that does not take
            such images.
    """
    settings = network_settings(model, weights, mean, std)
    if settings["weights"] is None:
        raise InputError(
            f"model {model!r} has no pretrained weights: features of random weights say little (--weights FILE)"
        )
    if settings["mean"] is None:
        raise InputError(f"nothing says which channel means model {model!r} was trained with: give --mean and --std")
    file = None if weights is None else str(weights)
    frozen = FrozenNetwork(model, settings["weights"], file, settings["mean"], settings["std"], shape[0], shape[1:])
    return Extractor(frozen, frozen_network(frozen).to(device=device, memory_format=torch.channels_last))  # type: ignore[call-overload]
