"""Tests over data sets: which methods differ by more than the choice of data sets explains."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from underdog.errors import InputError
from underdog.reporting.words import decimal, enumerated, plural

__all__ = [
    "ALPHA",
    "ENOUGH_SETS",
    "OverSets",
    "Ranking",
    "SignedRank",
    "against",
    "holm",
    "over_sets",
    "posthocs_module",
    "ranking",
    "smallest_p",
]

ALPHA = 0.05
#: With fewer data sets no signed-rank test reaches ``ALPHA``.
ENOUGH_SETS = 6
#: What Friedman's test needs.
ENOUGH_METHODS = 3

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SignedRank:
    """A method against a reference over data sets.

    Attributes:
        label: the method.
        differences: its score minus the reference's, for each data set.
        p: of Wilcoxon's signed-rank test, two-sided.
        adjusted: p with Holm's correction for all comparisons made.
    """

    label: str
    differences: tuple[float, ...]
    p: float
    adjusted: float


@dataclass(frozen=True)
class Ranking:
    """Methods by rank over data sets.

    Attributes:
        ranks: mean rank of each method, 1 the best, equals sharing theirs.
        statistic, p: of Friedman's test that all methods rank alike.
        nemenyi: p of each pair of methods.
        critical_difference: of mean ranks, at ``ALPHA``.
    """

    ranks: Mapping[str, float]
    statistic: float
    p: float
    nemenyi: Mapping[tuple[str, str], float]
    critical_difference: float


@dataclass(frozen=True)
class OverSets:
    """Scores of methods over data sets, what is said of tests of them, and these, where there are sets enough."""

    scores: Mapping[str, Sequence[float]]
    said: str
    comparisons: tuple[SignedRank, ...] = ()
    ranking: Ranking | None = None


def over_sets(scores: Mapping[str, Sequence[float]], reference: str, sets: int, variants: int) -> OverSets:
    """Every test that so many data sets allow, of methods that have runs in every variant.

    A data set's score is the mean of its variants, since those are not independent.

    Raises:
        InputError: scikit-posthocs is not installed, and a ranking is due.
    """
    if sets < ENOUGH_SETS:
        many = f"{variants} variants of {plural(sets, 'data set')} are not {variants} data sets"
        reach = f"with {plural(sets, 'data set')} the smallest two-sided p that a signed-rank test can give is {smallest_p(sets):g}"
        return OverSets(scores, f"No test over data sets is made: {reach}{f'; {many}' if variants > sets else ''}.")
    if len(scores) < 2:
        return OverSets(
            scores, "No test over data sets is made: fewer than two methods have runs in every data variant."
        )
    comparisons = against(scores, reference) if reference in scores else ()
    ranks = ranking(scores) if len(scores) >= ENOUGH_METHODS else None
    said = f"Over {sets} data sets, each the mean of its variants."
    if comparisons:
        found = [f"{c.label} p = {c.p:.3g} ({c.adjusted:.3g})" for c in comparisons]
        said += (
            f" Wilcoxon's signed-rank test against {reference}, two-sided, and in brackets with Holm's correction for "
            f"{plural(len(comparisons), 'comparison')}: {enumerated(found)}."
        )
    if ranks is not None:
        said += (
            f" Friedman's test that all methods rank alike: statistic {ranks.statistic:.3g}, p = {ranks.p:.3g}; mean ranks that "
            f"differ by less than {decimal(ranks.critical_difference, 2)} are not told apart (Nemenyi, {ALPHA:g})."
        )
    return OverSets(scores, said, comparisons, ranks)


def smallest_p(sets: int) -> float:
    """The smallest two-sided p that a signed-rank test of n differences can give, 2 / 2^n.

    >>> smallest_p(4), smallest_p(6)
    (0.125, 0.03125)
    """
    return 2.0 ** (1 - sets)


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down correction: the i-th smallest of m times m - i + 1, never less than one before it, at most 1.

    *Source*: Holm 1979, "A simple sequentially rejective multiple test procedure".

    >>> holm([0.04, 0.01, 0.03])
    (0.06, 0.03, 0.06)
    """
    order = np.argsort(p)
    steps = np.asarray(p, dtype=np.float64)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return tuple(adjusted.tolist())


def against(scores: Mapping[str, Sequence[float]], reference: str) -> tuple[SignedRank, ...]:
    """Every method against a reference, by Wilcoxon's signed-rank test with Holm's correction.

    Args:
        scores: of each method, one for each of at least ``ENOUGH_SETS`` data sets, in the same order.
        reference: one of the methods.

    Raises:
        InputError: fewer data sets.

    *Source*: Demšar 2006, "Statistical Comparisons of Classifiers over Multiple Data Sets", section 3.1.3.

    >>> found = against({"ros": [0.1] * 6, "aos": [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]}, "ros")
    >>> found[0].label, found[0].p
    ('aos', 0.03125)
    """
    _check(scores)
    base = np.asarray(scores[reference], dtype=np.float64)
    others = {label: np.asarray(own, dtype=np.float64) - base for label, own in scores.items() if label != reference}
    p = {label: _signed_rank(differences) for label, differences in others.items()}
    adjusted = dict(zip(p, holm(list(p.values())), strict=True))
    return tuple(SignedRank(label, tuple(d.tolist()), p[label], adjusted[label]) for label, d in others.items())


def _signed_rank(differences: Floats) -> float:
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences, zero_method="pratt").pvalue)


def ranking(scores: Mapping[str, Sequence[float]]) -> Ranking:
    """Friedman's test over data sets, and Nemenyi's of all pairs of methods.

    The critical difference of the mean ranks of k methods over n data sets is q sqrt(k (k + 1) / 6 n), with q the
    studentized range's quantile over sqrt 2.

    Args:
        scores: of at least 3 methods, higher is better, one for each of at least ``ENOUGH_SETS`` data sets.

    Raises:
        InputError: fewer methods or data sets, or scikit-posthocs is not installed.

    *Source*: Demšar 2006, section 3.2.2.
    """
    posthocs = posthocs_module()
    _check(scores)
    if len(scores) < ENOUGH_METHODS:
        raise InputError(f"a ranking needs at least {ENOUGH_METHODS} methods, not {len(scores)}")
    table = np.array(list(scores.values()), dtype=np.float64).T
    sets, methods = table.shape
    ranks = stats.rankdata(-table, axis=1).mean(0)
    # Without any difference the statistic is 0 / 0.
    statistic, p = (0.0, 1.0) if np.ptp(table, axis=1).max() == 0 else stats.friedmanchisquare(*table.T)
    pairs = posthocs.posthoc_nemenyi_friedman(table).to_numpy()
    quantile = float(stats.studentized_range.ppf(1 - ALPHA, methods, np.inf)) / math.sqrt(2)
    labels = list(scores)
    return Ranking(
        ranks=dict(zip(labels, ranks.tolist(), strict=True)),
        statistic=float(statistic),
        p=float(p),
        nemenyi={(a, b): float(pairs[i, j]) for i, a in enumerate(labels) for j, b in enumerate(labels)},
        critical_difference=quantile * math.sqrt(methods * (methods + 1) / (6 * sets)),
    )


def posthocs_module() -> Any:
    """scikit-posthocs.

    Raises:
        InputError: it is not installed; the message names the extra.
    """
    try:
        import scikit_posthocs  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise InputError(
            f"a ranking over data sets needs scikit-posthocs: pip install 'underdog[statistics]' ({error})"
        ) from error
    return scikit_posthocs


def _check(scores: Mapping[str, Sequence[float]]) -> None:
    sets = {len(own) for own in scores.values()}
    if len(sets) != 1 or min(sets) < ENOUGH_SETS:
        raise InputError(
            f"a test over data sets needs a score of every method on the same {ENOUGH_SETS} data sets or more, not on "
            f"{' or '.join(map(str, sorted(sets)))}: with n of them a signed-rank test's p is at least 2 / 2^n"
        )
