"""Synthetic Minority Over-sampling TEchnique."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from underdog.data.memory import available_memory, gigabytes
from underdog.data.pixels import PixelFile
from underdog.epoch import Epoch
from underdog.errors import InputError
from underdog.resample.base import Counts, Moment, NoResampling
from underdog.validate import check_positive

__all__ = ["SMOTE"]

#: Synthetic images are computed this many at a time, to keep the floating-point copies small.
CHUNK = 128
#: Neighbours are sought among this many images of a class at most, so that the search does not grow with its square.
AMONG = 4096
#: Neighbours are sought for this many images at a time.
ASKED = 1024
#: Bytes a value of the images that the search is asked for or looks among: it computes in float64.
FLOATS = 8


def neighbours(images: npt.NDArray[np.uint8], k: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(m, k): the row numbers of each image's k nearest others of ``images`` (m, D), or of ``AMONG`` random ones of them."""
    from sklearn.neighbors import NearestNeighbors  # noqa: PLC0415  (slow to import, and only needed here)

    m = len(images)
    among = np.arange(m) if m <= AMONG else np.sort(rng.choice(m, size=AMONG, replace=False))
    search = NearestNeighbors(n_neighbors=k + 1).fit(images if m <= AMONG else images[among])
    parts = [images[at : at + ASKED] for at in range(0, m, ASKED)]
    found = np.concatenate([search.kneighbors(part, return_distance=False) for part in parts])
    near: npt.NDArray[np.int64] = among[found]
    # An image that is among them finds itself first (of equal ones either stands for both, as in imbalanced-learn); others
    # have a neighbour too many.
    left_out = np.zeros(m, dtype=np.int64)
    if len(among) < m:
        itself = near == np.arange(m)[:, None]
        left_out = np.where(itself.any(axis=1), itself.argmax(axis=1), k)
    others: npt.NDArray[np.int64] = near[np.arange(k + 1) != left_out[:, None]]
    return others.reshape(m, k)


def interpolate(images: npt.NDArray[np.uint8], k: int, out: npt.NDArray[np.uint8], rng: np.random.Generator) -> None:
    """Fill ``out`` (n, D) with images between a random one of ``images`` (m, D) and a random one of its k nearest.

    x' = round(a + u (b - a)) with u uniform in [0, 1).
    """
    near, n = neighbours(images, k, rng), len(out)
    choice, u = rng.integers(0, near.size, size=n), rng.uniform(size=n)
    parent, other = choice // k, near[choice // k, choice % k]
    for at in range(0, n, CHUNK):
        part = slice(at, at + CHUNK)
        a, x = images[parent[part]], images[other[part]].astype(np.float64)
        x -= a  # in place: a large temporary costs more than the arithmetic
        x *= u[part, None]
        x += a
        np.rint(x, out=out[part], casting="unsafe")


@dataclass(frozen=True)
class SMOTE(NoResampling):
    """Bring every class to the size of the largest by interpolating between neighbours of one class.

    x' = a + u (b - a), with a random image a of the class, b a random one of its k nearest neighbours
    within the class (Euclidean distance of pixels) and u uniform in [0, 1), rounded to whole bytes.

    Args:
        k: neighbours to choose from; in a class of n <= k images n - 1, which is noted in the result.

    Raises:
        InputError: a class that has to grow has a single image; or the images are on disk, and what is computed of them
            does not fit into memory.

    *Source*: Chawla et al. 2002, as implemented with defaults by imbalanced-learn, which the paper uses.
    *Deviation*: imbalanced-learn refuses classes with k images or fewer; only new images are computed. In a class of
    more than 4,096 images that has to grow, neighbours are sought among a random 4,096 of them, so that the time is in
    proportion to the images; smaller classes have their exact neighbours.

    >>> from underdog import ImageSet, RandomStreams
    >>> few = ImageSet(torch.zeros(6, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 0, 0, 1, 1]), ("a", "b"))
    >>> epoch = SMOTE().start(Epoch.of(few), Moment(0, None, RandomStreams(0)))
    >>> epoch.shown, epoch.notes
    ((4, 4), ("SMOTE: class 'b' has 2 images, so k = 1 instead of 5",))
    """

    k: int = 5

    def __post_init__(self) -> None:
        check_positive("k", self.k, whole=True)

    def expected(self, shown: Counts, epoch: Epoch) -> Counts:
        grown = max(shown)
        for name, have in zip(epoch.classes, shown, strict=True):
            if have == 1 < grown:
                raise InputError(f"SMOTE needs at least 2 images of a class to interpolate; class {name!r} has 1")
        return tuple(grown if n else 0 for n in shown)

    def start(self, epoch: Epoch, now: Moment) -> Epoch:
        self.expected(epoch.shown, epoch)
        labels, grown = epoch.labels[epoch.index], max(epoch.shown)
        missing = {c: grown - have for c, have in enumerate(epoch.shown) if 0 < have < grown}
        if not missing:
            return epoch
        _check_room(epoch, missing)
        notes = list(epoch.notes)
        pixels = np.empty((sum(missing.values()), *epoch.images.shape[1:]), dtype=np.uint8)
        at = 0
        for c, n in missing.items():
            have, name = epoch.shown[c], epoch.classes[c]
            if have <= self.k:
                notes.append(f"SMOTE: class {name!r} has {have} images, so k = {have - 1} instead of {self.k}")
            own = epoch.pixels(epoch.index[labels == c]).cpu().flatten(1).numpy()
            interpolate(own, min(self.k, have - 1), pixels[at : at + n].reshape(n, -1), now.rng("smote", c))
            at += n
        new = np.repeat(np.array(list(missing), dtype=np.int64), list(missing.values()))
        return replace(epoch.with_synthetic(torch.from_numpy(pixels), new, now.maker), notes=tuple(notes))


def _check_room(epoch: Epoch, missing: Mapping[int, int]) -> None:
    """Of images on disk, the new ones and those of the class that is being worked on have to fit into memory."""
    if not isinstance(epoch.images, PixelFile) or (available := available_memory()) is None:
        return
    largest = max(epoch.shown[c] for c in missing)
    sought = min(largest, AMONG) + min(largest, ASKED)
    needed = (sum(missing.values()) + largest + FLOATS * sought) * math.prod(epoch.images.image)
    if needed > available:
        raise InputError(
            f"SMOTE holds its {sum(missing.values()):,} new images in memory, and looks for the neighbours of {largest:,} images "
            f"of a class there: that needs {gigabytes(needed)}, and {gigabytes(available)} are available (images that are "
            "altered, repeated or left out, as by aos, ros and rus, are read from disk)"
        )
