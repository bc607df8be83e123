"""Intervals from resampling whole groups of test images, the same ones for every method."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from underdog.decision.replicates import Floats, Judged, Resamples, divide, replicated
from underdog.errors import InputError, unknown
from underdog.validate import check_positive

__all__ = ["CONFIDENCE", "REPLICATES", "Bootstrap", "Interval", "paired_bootstrap"]

REPLICATES = 2000
CONFIDENCE = 0.95

#: A seed, or whatever tells the runs of a method apart.
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Interval:
    """A figure on the test images, and the range in which 95% of its replicates lie.

    Attributes:
        value: on all test images; None where it is not defined.
        low, high: percentiles 2.5 and 97.5 of the replicates; None where none is defined.
        replicates: how many are defined: a class may be in no group that was drawn.
    """

    value: float | None
    low: float | None
    high: float | None
    replicates: int

    @classmethod
    def of(cls, values: Floats) -> Interval:
        """Of (1 + R,) values: on the images as they are, then on each resample, NaN where not defined."""
        defined = values[1:][~np.isnan(values[1:])]
        value = None if np.isnan(values[0]) else float(values[0])
        if not len(defined):
            return cls(value, None, None, 0)
        low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return cls(value, float(low), float(high), len(defined))

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Bootstrap:
    """Intervals of several methods on the same test images.

    Attributes:
        methods: by method and statistic ("macro_f1", "recall:CLASS", "average_precision:CLASS",
            "recall_at_precision:CLASS", "threshold_recall:CLASS", "threshold_precision:CLASS").
        differences: by reference, method and statistic: the method minus the reference.
        groups, images: how many were resampled.
        replicates: how many times.
    """

    methods: Mapping[str, Mapping[str, Interval]]
    differences: Mapping[str, Mapping[str, Mapping[str, Interval]]]
    groups: int
    images: int
    replicates: int


def paired_bootstrap(
    methods: Mapping[str, Mapping[Key, Judged]],
    references: Sequence[str] = (),
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Bootstrap:
    """Percentile intervals from resampling whole groups of test images, the same draws for every run.

    Within every replicate a method's figure is the mean over its runs (its seeds), and a difference is that of the means
    over the seeds that both methods have. So the intervals say what other test images of the same kind would do to this
    comparison. What other training seeds would do is in the spread between runs, and not in them.

    Args:
        methods: for each, its runs on the same test images by seed.
        references: methods that the others are held against.
        replicates: how many times to resample.
        seed: of the draws.

    Raises:
        InputError: no run, an unknown reference, or test images that differ between runs.

    *Source*: Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapter 13 (percentile intervals). Groups are
    resampled, since images of one lesion or patient are not independent.

    >>> import underdog as ud
    >>> rng, labels = np.random.default_rng(0), np.repeat([0, 1], 100)
    >>> def judged(skill):
    ...     logits = rng.normal(size=(200, 2)) + skill * np.eye(2)[labels]
    ...     return ud.Judged(ud.DecisionRule.choose(logits, labels, "ab", shown=[1, 1]), ud.Answers("ab", labels, logits))
    >>> found = ud.paired_bootstrap({"ros": {0: judged(0.5)}, "aos": {0: judged(3.0)}}, references=["ros"])
    >>> found.groups, found.differences["ros"]["aos"]["macro_f1"].excludes_zero
    (200, True)
    """
    check_positive("replicates", replicates, whole=True)
    for name in references:
        if name not in methods:
            raise unknown("reference", name, methods)
    first = _check_same(methods)
    resamples = Resamples.draw(first.test.units, int(replicates), seed)
    figures = {m: {key: replicated(run, resamples) for key, run in own.items()} for m, own in methods.items()}
    return Bootstrap(
        methods={m: _intervals(_means(list(own.values()))) for m, own in figures.items()},
        differences={r: {m: _minus(figures[m], figures[r]) for m in methods if m != r} for r in references},
        groups=resamples.groups,
        images=len(first.test.labels),
        replicates=int(replicates),
    )


def _check_same(methods: Mapping[str, Mapping[Key, Judged]]) -> Judged:
    runs = [run for own in methods.values() for run in own.values()]
    if not runs:
        raise InputError("methods must hold at least one run")
    for run in runs[1:]:
        if not run.test.same_images(runs[0].test):
            raise InputError("the runs' test images must be the same, in the same order, for a paired bootstrap")
    return runs[0]


def _means(runs: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    """The mean of each statistic over the runs where it is defined."""
    names = dict.fromkeys(name for run in runs for name in run)
    stacks = {name: np.stack([run[name] for run in runs if name in run]) for name in names}
    return {name: divide(np.nansum(stack, axis=0), (~np.isnan(stack)).sum(0)) for name, stack in stacks.items()}


def _intervals(values: Mapping[str, Floats]) -> dict[str, Interval]:
    return {name: Interval.of(found) for name, found in values.items()}


def _minus(own: Mapping[Key, Mapping[str, Floats]], other: Mapping[Key, Mapping[str, Floats]]) -> dict[str, Interval]:
    """Intervals of the differences on common seeds; empty without one."""
    keys = [key for key in own if key in other]
    ours, theirs = _means([own[key] for key in keys]), _means([other[key] for key in keys])
    return _intervals({name: ours[name] - theirs[name] for name in ours if name in theirs})
