"""Every figure underdog reports, from one confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from underdog.errors import InputError

__all__ = ["G_MEAN_CORRECTION", "Metrics"]

Floats = npt.NDArray[np.float64]

#: What stands in for a recall of zero in the corrected G-mean.
G_MEAN_CORRECTION = 0.001


def _divide(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Floats:
    """a / b, and 0 where b is 0."""
    quotient: Floats = np.divide(a, b, out=np.zeros(len(a)), where=b > 0)
    return quotient


@dataclass(frozen=True, eq=False)
class Metrics:
    """The scores of a classifier, from its confusion matrix.

    With n_ij the number of images of class i that were taken for class j: recall_i = n_ii / sum_j n_ij,
    precision_j = n_jj / sum_i n_ij, F1_i = 2 n_ii / (sum_j n_ij + sum_j n_ji). A quotient with
    nothing below the line counts as 0; classes with no image and no prediction are left out of averages.

    Args:
        confusion: (K, K) counts, rows the true class and columns the predicted one.

    Raises:
        InputError: the matrix is not square.

    *Source*: macro-F1 and G-mean as in section 4.2 of the paper; the definitions agree with
    scikit-learn's ``f1_score(average="macro")`` and imbalanced-learn's ``geometric_mean_score``.

    >>> m = Metrics(np.array([[8, 2], [1, 1]]))
    >>> round(m.macro_f1, 4), round(m.g_mean, 4), m.zero_recall_classes
    (0.6211, 0.6325, 0)
    """

    confusion: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.confusion.ndim != 2 or self.confusion.shape[0] != self.confusion.shape[1]:
            raise InputError(f"confusion must be a square matrix, not of shape {self.confusion.shape}")

    @classmethod
    def of(cls, labels: npt.ArrayLike, predicted: npt.ArrayLike, classes: int) -> Metrics:
        """Count (N,) true and (N,) predicted class numbers in [0, classes) into a confusion matrix."""
        pairs = np.asarray(labels, dtype=np.int64) * classes + np.asarray(predicted, dtype=np.int64)
        return cls(np.bincount(pairs, minlength=classes * classes).reshape(classes, classes))

    @property
    def support(self) -> npt.NDArray[np.int64]:
        """(K,) images of each class."""
        return np.asarray(self.confusion.sum(1))

    @property
    def recall(self) -> Floats:
        """(K,) share of each class that was recognised."""
        return _divide(np.diag(self.confusion), self.support)

    @property
    def precision(self) -> Floats:
        """(K,) share of each class's predictions that were right."""
        return _divide(np.diag(self.confusion), self.confusion.sum(0))

    @property
    def f1(self) -> Floats:
        """(K,) harmonic mean of precision and recall."""
        return _divide(2 * np.diag(self.confusion), self.support + self.confusion.sum(0))

    @cached_property
    def macro_f1(self) -> float:
        """Mean F1 over the classes that occur or are predicted."""
        return float(self.f1[self.support + self.confusion.sum(0) > 0].mean())

    @cached_property
    def g_mean(self) -> float:
        """Geometric mean of the recalls, 0 where one is 0."""
        recall = self.recall[self.support > 0]
        return float(np.exp(np.log(recall).mean())) if recall.all() else 0.0

    @property
    def g_mean_corrected(self) -> float:
        """Geometric mean of the recalls, with 0.001 in the place of 0."""
        recall = self.recall[self.support > 0]
        return float(np.exp(np.log(np.where(recall > 0, recall, G_MEAN_CORRECTION)).mean()))

    @property
    def zero_recall_classes(self) -> int:
        """How many classes were never recognised."""
        return int((self.recall[self.support > 0] == 0).sum())

    @property
    def balanced_accuracy(self) -> float:
        """Arithmetic mean of the recalls."""
        return float(self.recall[self.support > 0].mean())

    @property
    def accuracy(self) -> float:
        """Share of all images that were recognised."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    def to_json(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """Plain data for ``result.json`` and ``epochs.jsonl``, per-class scores by class name."""
        per_class = {
            name: dict(zip(classes, getattr(self, name).tolist(), strict=True))
            for name in ("recall", "precision", "f1")
        }
        scores = ("macro_f1", "g_mean", "g_mean_corrected", "zero_recall_classes", "balanced_accuracy", "accuracy")
        return {name: getattr(self, name) for name in scores} | per_class | {"confusion": self.confusion.tolist()}
