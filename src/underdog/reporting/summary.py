"""Statistics of runs, as pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import stats

from underdog.metrics import Metrics
from underdog.reporting.methods import labels
from underdog.run.saved import Run
from underdog.run.spec import Replicate, RunSpec, Setting

__all__ = [
    "COSTS",
    "ENOUGH_SEEDS",
    "SCORES",
    "Difference",
    "Group",
    "Paired",
    "Score",
    "Spread",
    "Variant",
    "difference",
    "groups",
    "mean_recall",
    "paired",
    "spread_of",
    "variants",
]

#: Paired differences from fewer seeds get no interval.
ENOUGH_SEEDS = 5
CONFIDENCE = 0.95


class Score(NamedTuple):
    """What is measured of a run: its name for programs, its title, its value, and its decimal places."""

    name: str
    title: str
    of: Callable[[Run, Metrics], float | None]
    digits: int = 3


@dataclass(frozen=True)
class Spread:
    """Some values, and how far they lie apart."""

    values: tuple[float, ...]

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def mean(self) -> float:
        return math.fsum(self.values) / self.n

    @property
    def sd(self) -> float | None:
        """Sample standard deviation (n - 1 below the line); None for a single value."""
        return float(np.std(self.values, ddof=1)) if self.n > 1 else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Student's t interval of the mean at 95%; None for fewer than ``ENOUGH_SEEDS`` values.

        It assumes values drawn independently from one normal distribution.
        """
        if self.n < ENOUGH_SEEDS or self.sd is None:
            return None
        half = float(stats.t.ppf((1 + CONFIDENCE) / 2, self.n - 1)) * self.sd / math.sqrt(self.n)
        return self.mean - half, self.mean + half


class Paired(NamedTuple):
    """The scores of two methods on the replicates that both have, and the one minus the other."""

    replicates: tuple[Replicate, ...]
    own: Spread
    other: Spread
    difference: Spread


@dataclass(frozen=True)
class Difference:
    """A method's score minus a reference's, for every seed that both have.

    Attributes:
        label, reference: the two methods.
        replicates: (n,) of each difference.
        spread: the n differences.
    """

    label: str
    reference: str
    replicates: tuple[Replicate, ...]
    spread: Spread

    @property
    def within_spread(self) -> bool:
        """Whether the seeds leave the sign open: always for one seed, by the interval from ``ENOUGH_SEEDS`` on.

        In between it is open where the seeds disagree on the sign, or the mean is no larger than the
        standard deviation. The latter is a way of speaking, not a test.
        """
        if (interval := self.spread.interval) is not None:
            return interval[0] <= 0 <= interval[1]
        values, sd = self.spread.values, self.spread.sd
        return sd is None or min(values) <= 0 <= max(values) or abs(self.spread.mean) <= sd


def spread_of(runs: Iterable[Run], score: Score, last: bool = False) -> Spread | None:
    """A score over some runs, at the best epoch or the last; None where a run has no such score."""
    values = [score.of(run, run.last if last else run.best) for run in runs]
    return None if any(v is None for v in values) else Spread(tuple(v for v in values if v is not None))


@dataclass(frozen=True)
class Group:
    """The runs of one method as it was set, ordered by seed."""

    label: str
    method: str
    runs: tuple[Run, ...]

    def spread(self, score: Score, last: bool = False) -> Spread | None:
        """A score over the runs, at the best epoch or the last; None where a run has no such score."""
        return spread_of(self.runs, score, last)

    @property
    def macro_f1(self) -> Spread:
        return Spread(tuple(run.best.macro_f1 for run in self.runs))


@dataclass(frozen=True)
class Variant:
    """The runs on one problem: the same data and settings, but for method and seed."""

    spec: RunSpec
    classes: tuple[str, ...]
    groups: tuple[Group, ...]

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """Of all groups."""
        return tuple(run for group in self.groups for run in group.runs)

    @cached_property
    def keys(self) -> tuple[Replicate, ...]:
        """Every seed and data seed, ascending."""
        return tuple(sorted({run.key for run in self.runs}))

    def group(self, method: str) -> Group | None:
        """The group of a method that takes no eps, such as ros."""
        return next((g for g in self.groups if g.method == method), None)

    def minority(self, key: Replicate) -> frozenset[int]:
        """Numbers of the classes that are rare at a seed."""
        return frozenset(k for run in self.runs if run.key == key for k in run.minority)


def groups(runs: Iterable[Run]) -> tuple[Group, ...]:
    """Runs by method, in the order of ``place``; several settings of a method are several groups."""
    by_setting: dict[Setting, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.key):
        by_setting.setdefault(run.spec.setting, []).append(run)
    return tuple(Group(label, s.expression.name, tuple(by_setting[s])) for s, label in labels(by_setting).items())


def variants(runs: Iterable[Run]) -> tuple[Variant, ...]:
    """Runs by problem, in the order of their first run."""
    by_problem: dict[tuple[RunSpec, tuple[str, ...], str], list[Run]] = {}
    for run in runs:
        by_problem.setdefault((run.spec.variant(), run.classes, run.part), []).append(run)
    return tuple(Variant(spec, classes, groups(own)) for (spec, classes, _), own in by_problem.items())


def paired(own: Iterable[Run], other: Iterable[Run], score: Score, last: bool = False) -> Paired | None:
    """A score of two methods, replicate by replicate, at the best epoch or the last; None without a common one."""
    scores = [{run.key: score.of(run, run.last if last else run.best) for run in runs} for runs in (own, other)]
    both = [(key, scores[0][key], scores[1][key]) for key in sorted(scores[0].keys() & scores[1].keys())]
    known = [(key, a, b) for key, a, b in both if a is not None and b is not None]
    if not known:
        return None
    keys, ours, theirs = zip(*known, strict=True)
    return Paired(keys, Spread(ours), Spread(theirs), Spread(tuple(a - b for _, a, b in known)))


def difference(group: Group, reference: Group) -> Difference | None:
    """Macro-F1 of a method minus a reference's at the best epoch, seed by seed; None without a common seed."""
    found = paired(group.runs, reference.runs, SCORES[0])
    return found and Difference(group.label, reference.label, found.replicates, found.difference)


def mean_recall(metrics: Metrics, classes: Iterable[int]) -> float | None:
    """Mean recall of those of the classes that have images; None where none has."""
    chosen = [k for k in sorted(classes) if metrics.support[k] > 0]
    return float(metrics.recall[chosen].mean()) if chosen else None


def _others(run: Run) -> frozenset[int]:
    return frozenset(range(len(run.classes))) - run.minority


SCORES: tuple[Score, ...] = (
    Score("macro_f1", "macro-F1", lambda run, m: m.macro_f1),
    Score("g_mean", "G-mean", lambda run, m: m.g_mean),
    Score("g_mean_corrected", "G-mean, corrected", lambda run, m: m.g_mean_corrected),
    Score("zero_recall_classes", "zero-recall classes", lambda run, m: float(m.zero_recall_classes), digits=1),
    Score("balanced_accuracy", "balanced accuracy", lambda run, m: m.balanced_accuracy),
    Score("recall_rare", "recall, rare classes", lambda run, m: mean_recall(m, run.minority)),
    Score("recall_other", "recall, other classes", lambda run, m: mean_recall(m, _others(run))),
)
#: What a training took, which no epoch changes.
COSTS: tuple[Score, ...] = (
    Score("updates", "updates", lambda run, _: float(run.updates), digits=0),
    Score("images_shown", "images shown", lambda run, _: float(run.images_seen), digits=0),
    Score("altered_images", "altered images", lambda run, _: float(run.altered_images), digits=0),
    Score("best_epoch", "best epoch", lambda run, _: float(run.best_epoch + 1), digits=1),
    Score("seconds", "seconds", lambda run, _: sum(s for phase, s in run.seconds.items() if phase != "data"), digits=1),
)
