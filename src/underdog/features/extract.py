"""Features of all images of a source, once: they are kept in the cache, and a computation that was broken off resumes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from filelock import FileLock

from underdog.data.frozen import FrozenNetwork
from underdog.data.images import ImageSet, to_unit
from underdog.errors import InputError
from underdog.features.space import Features
from underdog.learner import Learner
from underdog.run.network import build_model, network_settings
from underdog.run.spec import RunSpec

__all__ = ["Extractor", "extractor"]

#: Counts changes that move features.
REVISION = 1
#: Images that are given to the network together.
BATCH = 32


@dataclass(frozen=True)
class Extractor:
    """Makes features.

    Attributes:
        network: what it is known by.
        learner: the network on its device.
    """

    network: FrozenNetwork
    learner: Learner

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
        about = json.dumps([REVISION, self.network.to_json()], sort_keys=True)
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
        found = self.learner.features(to_unit(pixels.to(self.learner.device))).cpu().numpy()
        if not np.isfinite(found).all():
            raise InputError("the frozen network's features are not finite numbers")
        progress(len(found))
        return found


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
    spec = RunSpec("", "baseline", **network_settings(model, weights, mean, std))
    if spec.weights is None:
        raise InputError(
            f"model {model!r} has no pretrained weights: features of random weights say little (--weights FILE)"
        )
    if spec.mean is None or spec.std is None:
        raise InputError(f"nothing says which channel means model {model!r} was trained with: give --mean and --std")
    blank = ImageSet(torch.zeros(2, *shape, dtype=torch.uint8), torch.tensor([0, 1]), ("a", "b"))
    network, _ = build_model(spec, blank)
    frozen = FrozenNetwork(model, spec.weights, spec.mean, spec.std, shape[0], shape[1:])
    return Extractor(frozen, Learner(network.eval(), 2, device=device))
