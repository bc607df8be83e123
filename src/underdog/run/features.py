"""Features of all images of a source, once: they are kept in the cache, and a computation that was broken off resumes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from underdog.data.frozen import FrozenNetwork
from underdog.data.images import ImageSet, to_unit
from underdog.errors import InputError
from underdog.learner import head_input
from underdog.model.layers import head
from underdog.run.codes import Features
from underdog.run.files import write_atomic
from underdog.run.network import build_model, network_settings, remarks
from underdog.run.spec import RunSpec

__all__ = ["Extractor", "Headless", "extractor", "frozen_network", "pretrained_settings"]

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
        notes: remarks on it.
    """

    network: FrozenNetwork
    body: nn.Module
    notes: tuple[str, ...] = ()

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
            if (found := _whole(done, len(images))) is None:
                self._fill(done, images, progress)
                found = _whole(done, len(images))
            else:
                progress(len(images))
        assert found is not None
        return found

    def _key(self) -> str:
        network = self.network
        about = json.dumps([REVISION, network.weights, network.mean, network.std, network.channels, network.size])
        return blake2b(about.encode(), digest_size=16).hexdigest()

    def _fill(self, done: Path, images: ImageSet, progress: Callable[[int], object]) -> None:
        """Compute what is missing of a file, and give it its name when it is whole."""
        part, count = done.with_suffix(".part.npy"), done.with_suffix(".count")
        first = self._some(images, 0, lambda n: None)
        shape = len(images), first.shape[1]
        begin = _counted(count) if _whole(part, shape[0], shape[1]) is not None else 0
        if not begin:
            count.unlink(missing_ok=True)  # of an earlier file: what is new has nothing yet
        file = np.lib.format.open_memmap(part, "r+" if begin else "w+", np.float32, shape)
        progress(begin)
        for at in range(begin, len(images), BATCH):
            file[at : at + BATCH] = self._some(images, at, progress)
            file.flush()
            done_now = str(min(at + BATCH, len(images)))
            write_atomic(count, lambda path, text=done_now: path.write_text(text))  # type: ignore[misc]
        del file
        count.unlink()
        part.replace(done)

    def _some(self, images: ImageSet, begin: int, progress: Callable[[int], object]) -> Features:
        pixels = images.images[begin : begin + BATCH]
        device = next(self.body.parameters()).device
        with torch.no_grad():
            found: Features = self.body(to_unit(pixels.to(device))).float().cpu().numpy()
        if not np.isfinite(found).all():
            raise InputError("the frozen network's features are not finite numbers")
        progress(len(found))
        return found


def _whole(path: Path, rows: int, features: int | None = None) -> Features | None:
    """The features in a file, None where there is none; a damaged one, and one of other images, is removed, to be made again."""
    if not path.exists():
        return None
    try:
        found: Features = np.load(path, mmap_mode="r", allow_pickle=False)
        if found.dtype == np.float32 and found.ndim == 2 and len(found) == rows and features in (None, found.shape[1]):
            return found
    except (ValueError, EOFError, OSError):
        pass
    path.unlink()
    return None


def _counted(path: Path) -> int:
    """The rows that are done; 0 where nobody knows."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return 0


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
    network = build_model(RunSpec("", "baseline", **settings), blank)[0].eval().requires_grad_(False)
    x = torch.linspace(0, 1, 2 * math.prod(blank.shape)).view(2, *blank.shape)
    wanted = head_input(network, lambda: network(x))
    headless = Headless(network).eval()
    if not torch.allclose(headless(x), wanted, atol=1e-4):
        raise InputError(f"model {frozen.model!r} does something after its classifier head: its features cannot be had")
    return headless


def pretrained_settings(
    model: str,
    weights: Path | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    size: tuple[int, int],
) -> dict[str, Any]:
    """The settings of a network whose features are of use, before any image is read.

    Raises:
        InputError: it has no pretrained weights, or nothing says which means and deviations they expect; a size (H, W) that it
            cannot take.
    """
    settings = network_settings(model, weights, mean, std, size)
    if settings["weights"] is None:
        raise InputError(
            f"model {model!r} has no pretrained weights: features of random weights say little (--weights FILE)"
        )
    if settings["mean"] is None:
        raise InputError(f"nothing says which channel means model {model!r} was trained with: give --mean and --std")
    return settings


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
    settings = pretrained_settings(model, weights, mean, std, shape[1:])
    # Whole paths, so that runs find the network from wherever they are used.
    file = None if weights is None or not weights.exists() else str(weights.resolve())
    if model.startswith("hf:"):
        model = f"hf:{Path(model.removeprefix('hf:')).resolve()}"
    frozen = FrozenNetwork(model, settings["weights"], file, settings["mean"], settings["std"], shape[0], shape[1:])
    body = frozen_network(frozen).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Extractor(frozen, body, tuple(remarks(RunSpec("", "baseline", **settings), shape[1:])))
