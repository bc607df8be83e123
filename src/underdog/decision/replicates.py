"""Figures of a run on many resamples of its test images at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from underdog.decision.answers import Answers
from underdog.decision.rule import DecisionRule
from underdog.errors import unknown
from underdog.rng import RandomStreams

__all__ = ["PER_CLASS", "Judged", "Resamples", "divide", "replicated"]

#: Replicates computed at once: bounds the memory.
BLOCK = 250
#: What is computed for each class, besides macro-F1, which is of all of them.
PER_CLASS = ("recall", "average_precision", "recall_at_precision", "threshold_recall", "threshold_precision")

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Weights = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Judged:
    """A run's answers to test images, and the rule that its validation images chose.

    Attributes:
        rule: see ``DecisionRule.choose``.
        test: the answers.
        rare: names of the classes to report on; default all.

    Raises:
        InputError: a name that is no class.

    >>> import underdog as ud
    >>> val = test = ud.Answers(("a", "b"), [0, 1], [[2.0, 0], [0, 2]])
    >>> ud.Judged(ud.DecisionRule.choose(val.logits, val.labels, val.classes, shown=[1, 1]), test).rare
    ('a', 'b')
    """

    rule: DecisionRule
    test: Answers
    rare: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "rare", tuple(self.rare) or self.test.classes)
        for name in self.rare:
            if name not in self.test.classes:
                raise unknown("class", name, self.test.classes)

    @property
    def numbers(self) -> tuple[int, ...]:
        """Those of the rare classes."""
        return tuple(self.test.classes.index(c) for c in self.rare)


@dataclass(frozen=True, eq=False)
class Resamples:
    """How often each of G groups counts: once, and as often as it was drawn in each of R replicates.

    Attributes:
        units: (N,) the group of every image.
        blocks: (G, B) counts, the B of all blocks being 1 + R together; the first column is of ones.
    """

    units: npt.NDArray[np.int64]
    blocks: tuple[Weights, ...]

    @classmethod
    def draw(cls, units: npt.NDArray[np.int64], replicates: int, seed: int = 0) -> Resamples:
        """Draw as many groups as there are, with replacement, ``replicates`` times."""
        rng, groups = RandomStreams(seed)("bootstrap"), int(units.max()) + 1
        sizes = [min(BLOCK, replicates - start) for start in range(0, replicates, BLOCK)]
        ones = np.ones((groups, 1), dtype=np.float32)
        return cls(units, (ones, *(_counts(rng, groups, size) for size in sizes)))

    @property
    def groups(self) -> int:
        return len(self.blocks[0])


def _counts(rng: np.random.Generator, groups: int, size: int) -> Weights:
    drawn = rng.integers(groups, size=(size, groups)) + groups * np.arange(size)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=size * groups).reshape(size, groups)
    return np.ascontiguousarray(counts.T, dtype=np.float32)


def replicated(run: Judged, resamples: Resamples) -> dict[str, Floats]:
    """Every statistic as (1 + R,) values: on the images as they are, then on each resample; NaN where it is not defined.

    "macro_f1", and for each rare class C: "recall:C" of the network's own choice; "average_precision:C" and
    "recall_at_precision:C" of its probability under the rule; "threshold_recall:C" and "threshold_precision:C" at the
    rule's threshold.
    """
    probabilities, flags = run.rule.probabilities(run.test.logits), run.rule.flags(run.test.logits)
    classes = np.arange(len(run.test.classes))
    truth, chosen = run.test.labels[:, None] == classes, run.rule.decide(run.test.logits)[:, None] == classes
    marks = (truth, truth & chosen, chosen, flags & truth, flags)
    support, hits, named, found, flagged = (_sums(m, resamples) for m in marks)
    figures = {"macro_f1": _macro_f1(hits, support, named)}
    for c, name in zip(run.numbers, run.rare, strict=True):
        ap, at = _curve(probabilities[:, c], truth[:, c], resamples, run.rule.target_precision)
        own = (
            divide(hits[c], support[c]),
            ap,
            at,
            divide(found[c], support[c]),
            divide(found[c], flagged[c]),
        )
        figures |= {f"{statistic}:{name}": values for statistic, values in zip(PER_CLASS, own, strict=True)}
    return figures


def _sums(marks: Bools, resamples: Resamples) -> Floats:
    """(K, 1 + R) weighted numbers of the images marked in each of K columns."""
    per_group = np.zeros((marks.shape[1], resamples.groups), dtype=np.float32)
    image, column = np.nonzero(marks)
    np.add.at(per_group, (column, resamples.units[image]), 1)
    return np.hstack([per_group @ block for block in resamples.blocks]).astype(np.float64)


def divide(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> Floats:
    """a / b, and NaN where b is 0."""
    return np.asarray(np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0))


def _macro_f1(hits: Floats, support: Floats, named: Floats) -> Floats:
    """(1 + R,) means of F1 over the classes that occur or are predicted, as ``Metrics.macro_f1``."""
    return np.asarray(np.nanmean(divide(2 * hits, support + named), axis=0))


def _curve(scores: Floats, truth: Bools, resamples: Resamples, target: float) -> tuple[Floats, Floats]:
    """(1 + R,) average precisions, and the highest recalls with at least the target precision.

    Precision falls, and recall stays, between one image of the class and the next by score. So a curve is known from its
    points at the distinct scores of the class's images, and what is between two of them counts as one.
    """
    levels = np.unique(scores[truth])
    if not len(levels):
        empty = np.full(sum(block.shape[1] for block in resamples.blocks), np.nan)
        return empty, empty
    step = len(levels) - np.searchsorted(levels, scores, side="right")  # 0 for the highest; m below the lowest
    seen = step < len(levels)
    all_, own = (_steps(step, resamples, seen & mask, len(levels)) for mask in (np.True_, truth))
    found = [_of_counts((own @ w).cumsum(0), (all_ @ w).cumsum(0), target) for w in resamples.blocks]
    return np.concatenate([ap for ap, _ in found]), np.concatenate([at for _, at in found])


def _steps(step: npt.NDArray[np.int64], resamples: Resamples, mask: Bools, levels: int) -> csr_array:
    """(m, G) images of each group between one level and the next."""
    at = (step[mask], resamples.units[mask])
    return csr_array((np.ones(int(mask.sum()), dtype=np.float32), at), shape=(levels, resamples.groups))


def _of_counts(hits: Weights, named: Weights, target: float) -> tuple[Floats, Floats]:
    """Average precision and recall at the target precision of (m, B) cumulated counts, by falling score."""
    hits, named = hits.astype(np.float64), named.astype(np.float64)
    total = hits[-1]
    precision = np.divide(hits, named, out=np.zeros(hits.shape), where=named > 0)
    gained = np.diff(hits, axis=0, prepend=0)
    reached = np.where(precision >= target, hits, 0).max(0)
    return divide((gained * precision).sum(0), total), divide(reached, total)
