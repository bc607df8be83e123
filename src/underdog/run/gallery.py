"""A few rare images beside their altered versions, kept with a run for its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from underdog.altered import AlteredSigns, unpack_signs
from underdog.data.images import to_unit
from underdog.methods.method import Method
from underdog.resample.amount import amounts
from underdog.resample.base import Moment, leaves
from underdog.resample.perturb import Perturb
from underdog.run.files import write_atomic, write_tensors
from underdog.train import Training

__all__ = ["load_gallery", "save_gallery"]

#: Images shown in a report, spread over the rare classes.
SHOWN = 8


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


def load_gallery(folder: Path) -> dict[str, Any] | None:
    """What ``save_gallery`` wrote as numpy arrays by name, with ``classes``, ``eps`` and ``attack``; None without one."""
    path = folder / "gallery.safetensors"
    if not path.exists():
        return None
    with safe_open(path, framework="np") as file:
        arrays = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        plain: dict[str, Any] = json.loads(file.metadata()["plain"])
        return arrays | plain
