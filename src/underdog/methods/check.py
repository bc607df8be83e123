"""Whether a part of a method keeps to the rules, asked when it is first used: what breaks them would train something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from torch import Tensor

from underdog.epoch import Epoch
from underdog.errors import InputError, UnderdogError
from underdog.loss import Function, Loss
from underdog.methods.method import Adjustment, outside
from underdog.resample.base import Resampler, leaves

__all__ = ["check_adjustment", "check_epoch", "check_loss", "check_pure", "checked", "guarded"]


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
    for name in ("labels", "origin", "index"):
        values = getattr(epoch, name)
        if not isinstance(values, np.ndarray) or values.ndim != 1 or values.dtype.kind not in "iu":
            raise wrong(f"must return an epoch whose {name} is a numpy array of whole numbers, in one dimension")
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
    if (mixture := epoch.mixture) is not None:
        weights = np.stack([mixture.pixels, mixture.labels])
        if mixture.partner.min() < 0 or mixture.partner.max() >= len(epoch) or weights.shape[1] != len(epoch):
            raise wrong(f"mixes other examples than the {len(epoch)} that are shown")
        if not bool(((weights >= 0) & (weights <= 1)).all()):  # a nan is outside too
            raise wrong("mixes by weights outside [0, 1]")
    if epoch.labels.min() < 0 or epoch.labels.max() >= len(epoch.classes):
        raise wrong(f"made rows of classes up to {epoch.labels.max()}; there are classes 0 to {len(epoch.classes) - 1}")
    return epoch


@contextmanager
def guarded(what: str) -> Iterator[None]:
    """What somebody's own part raises within is an error that names it.

    Raises:
        InputError: it raised anything but an error of underdog's own.
    """
    try:
        yield
    except UnderdogError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{what} failed: {type(error).__name__}: {error}") from error


def checked(resampler: Resampler, first: Epoch, ask: Callable[[], Epoch]) -> Epoch:
    """What a resampler returns when it is asked, checked.

    Raises:
        InputError: it fails, where it is somebody's own, or returns what is no epoch of the same images.
    """
    own = any(outside(part) for part in leaves(resampler))
    with guarded(f"resampler {_name(resampler)}") if own else nullcontext():
        epoch = ask()
    return check_epoch(resampler, epoch, first)


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
        with torch.enable_grad():
            values = loss(logits.detach().requires_grad_(), labels)
    except Exception as error:  # it may be anybody's
        raise InputError(
            f"loss {name} failed on logits {tuple(logits.shape)} and labels {tuple(labels.shape)}: {error}"
        ) from error
    if not isinstance(values, Tensor) or values.shape != labels.shape:
        found = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise InputError(f"loss {name} must return one value for each of {len(labels)} images, unreduced, not {found}")
    if not values.requires_grad:
        raise InputError(f"loss {name} must depend on the logits in a way that has a gradient")
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


def check_adjustment(adjustment: Adjustment, logits: Tensor) -> None:
    """An adjustment must give finite logits of the shape that it was given.

    Raises:
        InputError: it does not, or raises.
    """
    name = f"adjustment {type(adjustment).__name__}"
    with guarded(name), torch.no_grad():
        found = adjustment(logits)
    if not isinstance(found, Tensor) or found.shape != logits.shape or not found.is_floating_point():
        shape = f"{found.dtype} {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
        raise InputError(f"{name} must return logits of shape {tuple(logits.shape)}, not {shape}")
    if not bool(found.isfinite().all()):
        raise InputError(f"{name} gives logits that are not finite numbers")
