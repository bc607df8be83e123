"""Precision against recall of one class against the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.metrics import average_precision_score, precision_recall_curve

__all__ = ["POINTS", "PrecisionRecall"]

#: Points of a curve that are kept, at most.
POINTS = 200
#: Decimal places of a kept point.
DIGITS = 5

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """A precision-recall curve by falling threshold, where it gains recall.

    Attributes:
        recall, precision, threshold: (m,) points; between them precision only falls. All empty for a class without images.
        average_precision: sum of (recall_j - recall_{j-1}) precision_j; None for a class without images.

    *Source*: scikit-learn's ``precision_recall_curve`` and ``average_precision_score``.

    >>> curve = PrecisionRecall.of(np.array([0.9, 0.8, 0.7, 0.2]), np.array([True, False, True, False]))
    >>> curve.recall.tolist(), round(curve.average_precision, 4), curve.at_precision(0.6)["recall"]
    ([0.5, 1.0], 0.8333, 1.0)
    """

    recall: Floats
    precision: Floats
    threshold: Floats
    average_precision: float | None

    @classmethod
    def of(cls, scores: Floats, truth: Bools) -> PrecisionRecall:
        """Of (N,) scores and whether each of (N,) images is of the class."""
        if not truth.any():
            empty = np.empty(0)
            return cls(empty, empty, empty, None)
        # By rising threshold, and last a point of recall 0 without one.
        precision, recall, threshold = (v[::-1] for v in precision_recall_curve(truth, scores))
        gains = np.diff(recall) > 0
        points = (recall[1:][gains], precision[1:][gains], threshold[gains])
        return cls(*points, float(average_precision_score(truth, scores)))

    def at_precision(self, target: float) -> dict[str, float | None] | None:
        """The point with the highest recall among those with at least the target precision.

        It looks at the labels it is scored on, so it says what the ranking allows, not what a threshold chosen beforehand
        reaches. Recall 0 and no threshold where no point reaches the target; None for a class without images.
        """
        if self.average_precision is None:
            return None
        reached = np.flatnonzero(self.precision >= target)
        if not len(reached):
            return {"recall": 0.0, "precision": None, "threshold": None}
        at = reached[-1]
        return {name: float(getattr(self, name)[at]) for name in ("recall", "precision", "threshold")}

    def thinned(self, points: int = POINTS) -> dict[str, list[float]]:
        """Plain data: at most so many points, evenly chosen, the first and the last among them."""
        n = len(self.recall)
        at = np.unique(np.linspace(0, n - 1, min(n, points)).round().astype(int)) if n else np.empty(0, dtype=int)
        kept: dict[str, Any] = {name: getattr(self, name)[at] for name in ("recall", "precision", "threshold")}
        return {name: values.round(DIGITS).tolist() for name, values in kept.items()}
