"""Whether a part of a method keeps to the rules, asked when it is first used: what breaks them would train something else."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from underdog.epoch import Epoch
from underdog.errors import InputError
from underdog.loss import Function, Loss
from underdog.methods.method import outside
from underdog.resample.base import Resampler, leaves

__all__ = ["check_epoch", "check_loss", "check_pure"]


def _name(resampler: Resampler) -> str:
    """What a composition is called: by somebody's own parts, where it has any."""
    parts = list(leaves(resampler))
    own = [part for part in parts if outside(part)] or parts
    return " + ".join(type(part).__name__ for part in own)


def check_epoch(resampler: Resampler, epoch: Epoch, first: Epoch) -> Epoch:
    """The epoch that a resampler returned, if it is one of the same images and all that it shows is there.

    Raises:
        InputError: it is not; names the resampler and the rule.
    """

    def wrong(text: str) -> InputError:
        return InputError(f"resampler {_name(resampler)} {text}")

    if not isinstance(epoch, Epoch):
        raise wrong(f"must return an Epoch, not {type(epoch).__name__}")
    rows, m = len(epoch.labels), len(first.images)
    if len(epoch.images) != m or not np.array_equal(epoch.labels[:m], first.labels):
        raise wrong(
            "returned other labels than the images have: rows of its own are appended, with Epoch.with_synthetic"
        )
    if rows != epoch.originals + epoch.altered_rows or rows != len(epoch.origin):
        raise wrong(
            f"returned {rows} labels and {len(epoch.origin)} origins for {epoch.originals + epoch.altered_rows} rows"
        )
    if not len(epoch.index):
        raise wrong("shows no example at all")
    if epoch.index.min() < 0 or epoch.index.max() >= rows:
        raise wrong(f"shows rows from {epoch.index.min()} to {epoch.index.max()}; there are rows 0 to {rows - 1}")
    if epoch.labels.min() < 0 or epoch.labels.max() >= len(epoch.classes):
        raise wrong(f"made rows of classes up to {epoch.labels.max()}; there are classes 0 to {len(epoch.classes) - 1}")
    return epoch


def check_pure(resampler: Resampler, epoch: Epoch, again: Callable[[], Epoch]) -> None:
    """A resampler of somebody's own must give the same epoch when it is asked a second time.

    Raises:
        InputError: it keeps state, or draws from elsewhere than ``now.rng``.
    """
    if not any(outside(part) for part in leaves(resampler)):
        return
    one, two = epoch.state(), again().state()
    if one.keys() != two.keys() or not all(torch.equal(one[k], two[k]) for k in one):
        raise InputError(
            f"resampler {_name(resampler)} gives two different epochs when it is asked twice: it must keep no state and draw "
            "from now.rng alone, or a run that resumes would show something else"
        )


def check_loss(loss: Loss, logits: Tensor, labels: Tensor) -> None:
    """A loss must give a finite value for each of a few images.

    Raises:
        InputError: it does not, or raises.
    """
    own = loss.function if isinstance(loss, Function) else loss
    name = getattr(own, "__qualname__", type(own).__name__)
    try:
        with torch.no_grad():
            values = loss(logits, labels)
    except Exception as error:  # it may be anybody's
        raise InputError(
            f"loss {name} failed on logits {tuple(logits.shape)} and labels {tuple(labels.shape)}: {error}"
        ) from error
    if not isinstance(values, Tensor) or values.shape != labels.shape:
        found = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise InputError(f"loss {name} must return one value for each of {len(labels)} images, unreduced, not {found}")
    if not bool(values.isfinite().all()):
        raise InputError(f"loss {name} is {values.tolist()} for two images of an untrained network")
    try:
        prior = tuple(map(float, loss.prior([1.0] * logits.shape[1])))
    except Exception as error:
        raise InputError(f"loss {name} failed to give the prior of {logits.shape[1]} classes: {error}") from error
    if len(prior) != logits.shape[1] or not all(0 <= p < float("inf") for p in prior):
        raise InputError(
            f"loss {name} must have a prior of one number of at least 0 for each of {logits.shape[1]} classes, not {prior}"
        )
