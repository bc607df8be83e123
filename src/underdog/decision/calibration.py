"""How far probabilities can be taken at their word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

__all__ = ["BINS", "Calibration", "fit_temperature", "log_prior", "nll"]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

#: Bins of equal width in [0, 1] for the calibration error.
BINS = 15
#: Temperatures are looked for between 1 / HOTTEST and HOTTEST: a validation part without an error has no best one.
HOTTEST = 100.0


def log_prior(counts: Sequence[float] | npt.NDArray[np.float64]) -> Floats:
    """(K,) logarithms of the shares of K classes; a class without any counts as half an image.

    >>> np.exp(log_prior([30, 10])).tolist()
    [0.75, 0.25]
    """
    n = np.asarray(counts, dtype=np.float64)
    n = np.where(n > 0, n, 0.5)
    return np.asarray(np.log(n / n.sum()))


def nll(scores: Floats, labels: Labels) -> float:
    """Mean of -log softmax(scores)_y: (N, K) scores, (N,) class numbers."""
    return float(-log_softmax(scores, axis=1)[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: Floats, labels: Labels, shift: Floats) -> float:
    """The T > 0 that minimises the mean negative log-likelihood of softmax(logits / T + shift).

    *Source*: Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2, for shift = 0. The function
    is convex in 1 / T, so the minimum found is the lowest.

    *Deviation*: T is kept in [1/100, 100].

    >>> logits, labels = np.array([[8.0, 0.0]] * 4), np.array([0, 0, 0, 1])  # sure of itself, right in 3 of 4
    >>> round(8 / fit_temperature(logits, labels, np.zeros(2)), 2), round(float(np.log(3)), 2)
    (1.1, 1.1)
    """
    bound = np.log(HOTTEST)
    found = minimize_scalar(
        lambda log_t: nll(logits / np.exp(log_t) + shift, labels), bounds=(-bound, bound), method="bounded"
    )
    return float(np.exp(found.x))


@dataclass(frozen=True)
class Calibration:
    """What is wrong with a set of probabilities; 0 is best.

    Attributes:
        ece: expected calibration error in [0, 1]: the gap between the probability of the likeliest class and the share
            of images for which it is the right one, in 15 bins of equal width, averaged over the images.
        nll: mean of -log p_y, in nats.
        brier: mean of sum_k (p_k - [y = k])^2, in [0, 2].

    *Source*: Guo et al. 2017, section 2 (ECE); Brier 1950.

    >>> round(Calibration.of(np.array([[3.0, 0.0], [3.0, 0.0]]), np.array([0, 1])).ece, 4)  # 95% sure, half right
    0.4526
    """

    ece: float
    nll: float
    brier: float

    @classmethod
    def of(cls, scores: Floats, labels: Labels) -> Calibration:
        """Of softmax(scores): (N, K) scores, (N,) class numbers, N > 0."""
        p = softmax(scores, axis=1)
        right, sure = p.argmax(1) == labels, p.max(1)
        bins = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
        gaps = np.abs(np.bincount(bins, sure - right, minlength=BINS))
        truth = np.eye(p.shape[1])[labels]
        return cls(float(gaps.sum() / len(p)), nll(scores, labels), float(((p - truth) ** 2).sum(1).mean()))

    def to_json(self) -> dict[str, float]:
        """Plain data for ``result.json``."""
        return asdict(self)
