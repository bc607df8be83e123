"""A few rare images beside their altered versions, kept with a run for its report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open

from underdog.attack.base import SignAttack
from underdog.data.images import to_unit
from underdog.epoch import AlteredSigns, pack_signs
from underdog.method import Method
from underdog.resample.base import Chain, Every, From, Resampler
from underdog.resample.perturb import Perturb
from underdog.run.files import write_atomic, write_tensors
from underdog.train import Training

__all__ = ["load_gallery", "save_gallery"]

#: Images shown in a report, spread over the rare classes.
SHOWN = 8


def perturbs(resampler: Resampler) -> list[Perturb]:
    """Every ``Perturb`` inside a composition."""
    if isinstance(resampler, Chain):
        return [p for part in resampler.resamplers for p in perturbs(part)]
    if isinstance(resampler, Every | From):
        return perturbs(resampler.resampler)
    return [resampler] if isinstance(resampler, Perturb) else []


def save_gallery(folder: Path, training: Training, method: Method) -> None:
    """Alter a few rare training images as the method does, under the best network, and keep what it says of each.

    Writes ``gallery.safetensors``: ``original`` (n, C, H, W) uint8, ``signs`` (n, C, H, W) int8, ``altered``
    (n, C, H, W) float32, ``before`` and ``after`` (n, K) probabilities, ``labels`` (n,). Nothing is
    written for a method that alters nothing.
    """
    found = perturbs(method.resampler)
    if not found or not isinstance(found[0].attack, SignAttack):
        return
    attack, rng, epoch, learner = found[0].attack, training.rng("gallery"), training.first, training.learner
    rare = sorted(epoch.minority)
    per_class = [rng.permutation(np.flatnonzero(epoch.labels == k))[: -(-SHOWN // len(rare))] for k in rare]
    rows = np.sort(np.concatenate(per_class)[:SHOWN])
    x, y = to_unit(epoch.pixels(rows)), torch.from_numpy(epoch.labels[rows]).to(learner.device)
    signs = attack.signs(learner, x, y, rng)
    altered = AlteredSigns(pack_signs(signs.flatten(1)), attack.eps, found[0].clip).show(x, torch.arange(len(rows)))
    tensors = {
        "original": epoch.pixels(rows),
        "signs": signs.to(torch.int8),
        "altered": altered,
        "before": learner.logits(x).softmax(1),
        "after": learner.logits(altered).softmax(1),
        "labels": y,
    }
    meta = {"plain": json.dumps({"classes": epoch.classes, "eps": attack.eps, "attack": type(attack).__name__})}
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
