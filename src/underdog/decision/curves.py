"""Precision against recall of one class against the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["POINTS", "PrecisionRecall", "area_under_curve", "ranked"]

#: Points of a curve that are kept, at most.
POINTS = 200
#: Decimal places of a kept point.
DIGITS = 5

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def ranked(scores: Floats, truth: Bools) -> tuple[Floats, Floats, Floats]:
    """How many images of a class, and how many others, reach each threshold that (N,) scores allow, by falling threshold.

    scikit-learn counts likewise, and checks its input for several milliseconds before; these are as many as images have rivals.

    >>> [v.tolist() for v in ranked(np.array([0.2, 0.9, 0.9]), np.array([True, True, False]))]
    [[1.0, 2.0], [1.0, 1.0], [0.9, 0.2]]
    """
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    last = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
    found = np.cumsum(truth[order], dtype=np.float64)[last]
    return found, 1 + last - found, falling[last]


def area_under_curve(scores: Floats, truth: Bools) -> float:
    """How often, of an image of a class and one of the others, the former has the higher score; half of equals.

    *Source*: scikit-learn's ``roc_auc_score``, to the last bit.

    >>> area_under_curve(np.array([0.2, 0.9, 0.9]), np.array([True, True, False]))
    0.25
    """
    found, wrong, _ = ranked(scores, truth)
    # Points on a line between others are left out, which decides how the sum is rounded.
    corners = (np.diff(found, 2) != 0) | (np.diff(wrong, 2) != 0)
    kept = np.concatenate([[True], corners, [True]]) if len(found) > 2 else np.ones(len(found), dtype=bool)
    y, x = (np.append(0.0, counts[kept]) / counts[-1] for counts in (found, wrong))
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2.0).sum())


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
        found, wrong, threshold = ranked(scores, truth)
        precision, recall = found / (found + wrong), found / found[-1]
        gained = np.diff(recall, prepend=0)
        # Summed by rising threshold, as scikit-learn does.
        average = float((gained * precision)[::-1].copy().sum())
        return cls(recall[gained > 0], precision[gained > 0], threshold[gained > 0], average)

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
