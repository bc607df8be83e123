"""The script's own loss, image by image."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from underdog.errors import InputError
from underdog.loss import CrossEntropy

__all__ = ["LossLike", "class_numbers", "is_cross_entropy", "losses_of", "per_image"]

#: (logits, labels) -> a loss for each image, or one for the batch; None is cross-entropy.
LossLike = Callable[..., Tensor] | None


def class_numbers(y: Tensor) -> Tensor:
    """(B,) class numbers of labels that are numbers (B,) or (B, 1), or one-hot or soft (B, K): then the largest.

    >>> class_numbers(torch.tensor([[0.1, 0.9], [1.0, 0.0]])).tolist()
    [1, 0]
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y.squeeze(1)
    if y.ndim == 2:
        return y.argmax(1)
    if y.ndim != 1 or y.is_floating_point() or y.is_complex():
        raise InputError(
            f"labels must be class numbers (B,) or one-hot (B, K), not {y.dtype} of shape {tuple(y.shape)}"
        )
    return y.long()


def _unreduced(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same loss with reduction="none" where it takes that; the script's object stays as it is."""
    if hasattr(loss, "log_odds"):
        return loss  # underdog's own are never reduced
    if isinstance(getattr(loss, "reduction", None), str):
        own = copy.copy(loss)
        own.reduction = "none"  # type: ignore[attr-defined]
        return own
    try:
        if "reduction" in inspect.signature(loss).parameters:
            return partial(loss, reduction="none")
    except (TypeError, ValueError):
        pass  # a callable without a readable signature
    return loss


def losses_of(values: object, n: int, part: Callable[[slice], Tensor]) -> Tensor:
    """(n,) losses out of what a loss returned: a value for each image, or a mean or sum over the batch.

    A mean loses half precision's small gradients and a weighted mean hides its weights, so a single number
    is only taken where the losses of two parts show it to be the plain mean or sum.

    Args:
        values: (n,), (n, ...) which is summed for each image, or a single number.
        part: the same loss of a part of the batch, as a single number.

    Raises:
        InputError: any other shape, or a single number that is neither the mean nor the sum.
    """
    if not isinstance(values, Tensor):
        raise InputError(f"the loss must return a tensor, not {type(values).__name__}")
    if values.ndim and values.shape[0] == n:
        return values if values.ndim == 1 else values.reshape(n, -1).sum(1)
    if values.numel() != 1:
        raise InputError(
            f"the loss must return one value for each of the {n} images, not a tensor of shape {tuple(values.shape)}"
        )
    total = values.reshape(())
    with torch.no_grad():
        whole, one, rest = (float(part(at).sum()) if n > 1 else 0.0 for at in (slice(0, n), slice(0, 1), slice(1, n)))
    near = partial(math.isclose, rel_tol=64 * torch.finfo(total.dtype).eps, abs_tol=1e-6)
    if near(n * whole, one + (n - 1) * rest) or not math.isfinite(whole):
        return total.expand(n)  # a mean: n of them are the sum
    if near(whole, one + rest):
        return total.expand(n) / n
    raise InputError(
        "the loss returns one number for the batch that is neither the mean nor the sum of the images' own losses "
        "(class weights do this), so they cannot be told apart: give one that returns a value for each image, "
        'such as torch.nn.CrossEntropyLoss(weight=w) itself, or reduction="none" (in a SnapshotTrainer, as its loss=)'
    )


def is_cross_entropy(loss: LossLike) -> bool:
    """Whether a loss is torch's cross-entropy, of logits with a column for each class."""
    return loss is None or loss is functional.cross_entropy or type(loss) is nn.CrossEntropyLoss


def _log_odds(loss: Any, logits: Tensor, y: Tensor) -> Tensor | None:
    """The log-odds form of a cross-entropy, or None where the loss is none, or labels are soft."""
    if hasattr(loss, "log_odds"):
        losses: Tensor = loss.log_odds(logits, class_numbers(y))
        return losses
    module = loss if type(loss) is nn.CrossEntropyLoss else None
    if not is_cross_entropy(loss) or (module and module.label_smoothing):
        return None
    if y.ndim == 2 and y.shape[1] > 1 and not bool(((y == 0) | (y == 1)).all()):
        return None
    own = class_numbers(y)
    counted = own != (module.ignore_index if module else -100)
    own = own.where(counted, 0)
    weights = module.weight[own] * counted if module and module.weight is not None else counted
    return CrossEntropy().log_odds(logits, own) * weights


def per_image(loss: LossLike, output: Tensor, y: Tensor) -> Tensor:
    """(B,) losses of a batch, or of a form with gradients of the same sign.

    Under half precision, cross-entropy is taken in its log-odds form: the plain form's gradient is p - 1,
    which is zero as soon as the network is sure.

    Args:
        loss: the script's own, with any reduction that can be undone; None is cross-entropy.
        output: (B, K) logits, in the type the network gave them.
        y: labels as the script has them.

    >>> z, y = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    >>> per_image(nn.CrossEntropyLoss(), z, y)
    tensor([0.1269, 1.3133])
    """
    y = class_numbers(y) if loss is None and y.shape[1:] == (1,) else y
    half = output.dtype in (torch.float16, torch.bfloat16)
    logits = output.float() if half else output
    if half and (form := _log_odds(loss, logits, y)) is not None:
        return form
    call: Callable[..., Any] = _unreduced(CrossEntropy() if loss is None else loss)

    def part(at: slice) -> Tensor:
        # Scaled, since a new network's losses are all alike, and then a weighted mean looks like a plain one.
        scales = torch.linspace(1, 9, len(logits), device=logits.device).view(-1, *[1] * (logits.ndim - 1))
        value: Tensor = call((logits.detach() * scales)[at], y[at])
        return value

    return losses_of(call(logits, y), len(logits), part)
