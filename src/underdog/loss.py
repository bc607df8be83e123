"""Training losses: functions from logits and labels to one value an image, never reduced."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from underdog.data.images import to_device
from underdog.errors import InputError, UnderdogError
from underdog.validate import check_kind

__all__ = [
    "BalancedSoftmax",
    "ClassWeighted",
    "CrossEntropy",
    "Function",
    "Loss",
    "LossRule",
    "balanced_softmax",
    "class_weighted",
    "cross_entropy",
    "loss_of",
    "relative",
]


class Loss:
    """A training loss J, from logits (B, K) and labels (B,) to (B,) losses: what one's own loss inherits from.

    >>> class Squared(Loss):
    ...     def __call__(self, logits, labels):
    ...         return (1 - logits.softmax(1).gather(1, labels[:, None])[:, 0]) ** 2
    >>> Squared()(torch.zeros(1, 2), torch.tensor([0]))
    tensor([0.2500])
    """

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(B, K), (B,) -> (B,) losses."""
        raise TypeError(f"{type(self).__name__} must define __call__(logits, labels)")

    def log_odds(self, logits: Tensor, labels: Tensor) -> Tensor:
        """(B,) values whose gradient has the sign of the loss's in every coordinate, where there is a form that does not
        underflow when the network is sure."""
        return self(logits, labels)

    def prior(self, shown: Sequence[float]) -> tuple[float, ...]:
        """(K,) class frequencies, up to a factor, that the logits of a network speak for which was shown ``shown`` of each."""
        return tuple(map(float, shown))


#: Given the (K,) counts of the data before resampling: the loss of a stage.
LossRule = Callable[[tuple[int, ...]], Loss]


def relative(values: Sequence[float]) -> tuple[float, ...]:
    """Numbers of at least 0 divided by the largest, to the six digits that float32 can tell.

    >>> relative([30.000001, 10])
    (1.0, 0.333333)
    """
    return tuple(float(f"{v / max(values):.6g}") for v in values)


class Resident:
    """A small tensor that is brought to a device once, not in every batch, where the copy would wait for the device.

    Two are equal where their values are, so that a loss which a rule makes anew for every epoch is known as the same.
    """

    def __init__(self, values: Tensor) -> None:
        self.values, self._at = values, {values.device: values}

    def at(self, device: torch.device) -> Tensor:
        """The values on ``device``."""
        if device not in self._at:
            self._at[device] = to_device(self.values, device)
        return self._at[device]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Resident) and torch.equal(self.values, other.values)

    def __hash__(self) -> int:
        return hash(tuple(self.values.tolist()))


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """J = log sum_j exp(z_j) - z_y.

    *Source*: section 4.1 of the paper ("standard cross-entropy as the loss function").

    >>> CrossEntropy()(torch.zeros(1, 2), torch.tensor([0]))
    tensor([0.6931])
    """

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, reduction="none")

    def log_odds(self, logits: Tensor, labels: Tensor) -> Tensor:
        """log sum_{j != y} exp(z_j) - z_y, whose gradient is that of the cross-entropy divided by 1 - p_y."""
        own = functional.one_hot(labels, logits.shape[1]).bool()
        return logits.masked_fill(own, -torch.inf).logsumexp(1) - logits.gather(1, labels[:, None]).squeeze(1)


@dataclass(frozen=True)
class ClassWeighted(Loss):
    """J' = w_y * J, with J the cross-entropy or another loss.

    Args:
        weights: (K,) positive.
        loss: J.

    *Deviation*: torch's weighted mean divides by the batch's sum of weights; here every image
    weighs the same in every batch, which is the weighted mean over the whole set.

    >>> ClassWeighted(torch.tensor([2.0, 1.0]))(torch.zeros(1, 2), torch.tensor([0]))
    tensor([1.3863])
    """

    weights: Tensor = field(compare=False)
    loss: Loss = field(default_factory=CrossEntropy)
    _resident: Resident = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_resident", Resident(self.weights))

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self._resident.at(logits.device)[labels] * self.loss(logits, labels)

    def log_odds(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.loss.log_odds(logits, labels)

    def prior(self, shown: Sequence[float]) -> tuple[float, ...]:
        return relative([n * w for n, w in zip(self.loss.prior(shown), self.weights.tolist(), strict=True)])


@dataclass(frozen=True)
class BalancedSoftmax(Loss):
    """J = cross-entropy of z + log n, with n the class counts; predictions use z alone.

    Args:
        log_counts: (K,) logarithms of the images of each class, or a multiple of them.

    *Source*: Ren et al. 2020, "Balanced Meta-Softmax for Long-Tailed Visual Recognition", equation 4.

    >>> BalancedSoftmax(torch.tensor([3.0, 1.0]).log())(torch.zeros(1, 2), torch.tensor([0]))
    tensor([0.2877])
    """

    log_counts: Tensor = field(compare=False)
    _resident: Resident = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_resident", Resident(self.log_counts))

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return CrossEntropy()(logits + self._resident.at(logits.device), labels)

    def log_odds(self, logits: Tensor, labels: Tensor) -> Tensor:
        return CrossEntropy().log_odds(logits + self._resident.at(logits.device), labels)

    def prior(self, shown: Sequence[float]) -> tuple[float, ...]:
        return relative([n / math.exp(s) for n, s in zip(shown, self.log_counts.tolist(), strict=True)])


@dataclass(frozen=True)
class Function(Loss):
    """A loss that is a plain function of logits and labels.

    >>> Function(functional.cross_entropy)(torch.zeros(1, 2), torch.tensor([0]))
    tensor(0.6931)
    """

    function: Callable[[Tensor, Tensor], Tensor]

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.function(logits, labels)


def loss_of(rule: LossRule, counts: tuple[int, ...]) -> Loss:
    """The loss that a rule gives, also where that is a plain function.

    Raises:
        InputError: it gives something else.
    """
    try:
        loss = rule(counts)
    except UnderdogError:
        raise
    except Exception as error:  # it may be anybody's
        raise InputError(
            f"the rule for the loss failed on the class counts {counts}: {type(error).__name__}: {error}"
        ) from error
    if isinstance(loss, Loss):
        return loss
    check_kind("loss", loss, Callable, "a function from class counts to a loss of logits and labels")
    return Function(loss)


def cross_entropy(counts: tuple[int, ...]) -> Loss:
    """The rule "cross-entropy, whatever the counts".

    *Source*: section 4.1 of the paper.

    >>> cross_entropy((30, 10))
    CrossEntropy()
    """
    return CrossEntropy()


def class_weighted(counts: tuple[int, ...], power: float = 1) -> Loss:
    """The rule "inverse frequency to a power": w_k = N n_k^-p / sum_j n_j^(1-p), which has mean 1 over the images.

    Args:
        power: p; 0 weighs all images alike, 1 all classes.

    *Source*: for p = 1 the usual "balanced" weights N / (K n_k), as scikit-learn's ``compute_class_weight``.

    >>> class_weighted((30, 10)).weights
    tensor([0.6667, 2.0000])
    >>> class_weighted((90, 10), power=0.5).weights
    tensor([0.8333, 2.5000])
    """
    n = torch.tensor(counts, dtype=torch.float32)
    held = n.clamp(min=1)
    return ClassWeighted(n.sum() / (held.pow(1 - power).sum() * held.pow(power)))


def balanced_softmax(counts: tuple[int, ...], power: float = 1) -> Loss:
    """The rule "balanced softmax with the counts of the data": class k's logit is shifted by p log n_k.

    Args:
        power: p; 0 shifts nothing.

    *Source*: Ren et al. 2020 for p = 1; Menon et al. 2021, "Long-tail learning via logit adjustment", equation 10, where
    p is tau.

    >>> balanced_softmax((30, 10)).log_counts
    tensor([3.4012, 2.3026])
    """
    return BalancedSoftmax(power * torch.tensor(counts, dtype=torch.float32).clamp(min=1).log())
