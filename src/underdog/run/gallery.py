"""A few rare images beside their altered versions, kept with a run for its report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open

from underdog.altered import AlteredSigns, unpack_signs
from underdog.data.images import to_unit
from underdog.errors import InputError
from underdog.methods.method import Method
from underdog.resample.amount import amounts
from underdog.resample.base import Moment, leaves
from underdog.resample.perturb import Perturb
from underdog.run.files import write_atomic, write_tensors
from underdog.run.saved import UNREADABLE, Run, reason
from underdog.train import Training

__all__ = ["Gallery", "load_gallery", "save_gallery"]

#: Images shown in a report, spread over the rare classes.
SHOWN = 8
ARRAYS = ("original", "signs", "altered", "before", "after", "labels")


@dataclass(frozen=True, eq=False)
class Gallery:
    """Rare training images and their altered versions, under the best network of a run.

    Attributes:
        original: (n, C, H, W) uint8.
        signs: (n, C, H, W) in {-1, 0, 1}.
        altered: (n, C, H, W) in [0, 1].
        before, after: (n, K) probabilities of the original and the altered image.
        labels: (n,) true classes.
        eps: size of the change, in [0, 1].
        attack: its name.
    """

    original: npt.NDArray[np.uint8]
    signs: npt.NDArray[np.int8]
    altered: npt.NDArray[np.float32]
    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    eps: float
    attack: str


def perturbs(method: Method) -> list[Perturb]:
    """Every ``Perturb`` of a method, that of its last stage first."""
    return [leaf for stage in reversed(method.stages) for leaf in leaves(stage.resampler) if isinstance(leaf, Perturb)]


def save_gallery(folder: Path, training: Training) -> None:
    """Alter a few rare training images as the method does, under the best network, and keep what it says of each.

    Writes ``gallery.safetensors``: ``original`` (n, C, H, W) uint8, ``signs`` (n, C, H, W) int8, ``altered``
    (n, C, H, W) float32, ``before`` and ``after`` (n, K) probabilities, ``labels`` (n,). Nothing is
    written for a method that alters nothing.
    """
    if not (found := perturbs(training.method)):
        return
    rare = sorted(training.first.minority if found[0].minority is None else found[0].minority)
    attack, rng, epoch, learner = found[0].attack, training.rng("gallery"), training.first, training.learner
    per_class = [rng.permutation(np.flatnonzero(epoch.labels == k))[: -(-SHOWN // len(rare))] for k in rare]
    rows = np.sort(np.concatenate(per_class)[:SHOWN])
    now = Moment(training.hyper.epochs - 1, training.hyper.epochs, training.rng, learner)
    eps = amounts("eps", found[0].eps, epoch, rows, now)
    x, y = to_unit(epoch.pixels(rows)), torch.from_numpy(epoch.labels[rows]).to(learner.device)
    made = attack(learner, x, y, torch.from_numpy(eps).to(x.device), rng)
    altered = made.show(x, torch.arange(len(rows), device=x.device))
    signs = (
        unpack_signs(made.packed, x[0].numel()).view(x.shape)
        if isinstance(made, AlteredSigns)
        else (altered - x).sign()
    )
    tensors = {
        "original": epoch.pixels(rows),
        "signs": signs.to(torch.int8),
        "altered": altered,
        "before": learner.logits(x).softmax(1),
        "after": learner.logits(altered).softmax(1),
        "labels": y,
    }
    meta = {"plain": json.dumps({"classes": epoch.classes, "eps": float(eps.max()), "attack": type(attack).__name__})}
    own = {k: v.cpu().contiguous() for k, v in tensors.items()}
    write_atomic(folder / "gallery.safetensors", lambda path: write_tensors(path, own, meta))


def load_gallery(run: Run) -> Gallery | None:
    """What ``save_gallery`` left with a run; None without any.

    Raises:
        InputError: the file is no gallery of this run.
    """
    if run.folder is None or not (path := run.folder / "gallery.safetensors").exists():
        return None
    try:
        with safe_open(path, framework="np") as file:
            arrays = {name: file.get_tensor(name) for name in ARRAYS}
            plain = json.loads(file.metadata()["plain"])
        if tuple(plain["classes"]) != run.classes:
            raise InputError("another run's classes")
        gallery = Gallery(**arrays, eps=float(plain["eps"]), attack=str(plain["attack"]))
        _check(gallery, run)
    except UNREADABLE as error:
        raise InputError(f"{path.name}: {reason(error)}") from error
    return gallery


def _check(gallery: Gallery, run: Run) -> None:
    n, classes = len(gallery.labels), len(run.classes)
    images, answers = (gallery.original, gallery.signs, gallery.altered), (gallery.before, gallery.after)
    if not all(part.shape == (n, *run.image_shape) for part in images):
        raise InputError("images of other sizes")
    if not all(part.shape == (n, classes) for part in answers):
        raise InputError("answers of other sizes")
    if not (abs(gallery.signs) <= 1).all():
        raise InputError("signs other than -1, 0 and 1")
    if not ((gallery.labels >= 0) & (gallery.labels < classes)).all():
        raise InputError("labels of no class")
    if not all(((part >= 0) & (part <= 1 + 1e-5)).all() for part in (gallery.altered, *answers)):
        raise InputError("values outside [0, 1]")
