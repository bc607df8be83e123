"""Tests over data sets against other implementations and naive formulas."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable

import numpy as np
import pytest
from extras import needs
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from underdog.errors import InputError
from underdog.reporting.statistics import ENOUGH_SETS, against, holm, ranking, smallest_p
from underdog.reporting.summary import Spread

Scores = dict[str, list[float]]


def scores(sets: int, methods: str = "abcd", seed: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    return {m: (rng.random(sets) + 0.1 * i).tolist() for i, m in enumerate(methods)}


def naive_signed_rank(differences: list[float]) -> float:
    """The two-sided p by counting all signs."""
    ranks = stats.rankdata(np.abs(differences))
    observed = abs(sum(np.sign(differences) * ranks))
    sums = [
        abs(sum(s * r for s, r in zip(signs, ranks, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(ranks))
    ]
    return sum(s >= observed - 1e-9 for s in sums) / len(sums)


@pytest.mark.parametrize("sets", [6, 7, 9])
def test_the_signed_rank_test_counts_all_signs(sets: int) -> None:
    for comparison in against(scores(sets), "a"):
        assert comparison.p == pytest.approx(naive_signed_rank(list(comparison.differences)))


@pytest.mark.parametrize("sets", [4, 5, 6, 8])
def test_the_smallest_p_is_that_of_differences_of_one_sign(sets: int) -> None:
    assert smallest_p(sets) == naive_signed_rank([0.1 * (i + 1) for i in range(sets)])
    assert (smallest_p(sets) < 0.05) == (sets >= ENOUGH_SETS)


def test_equal_scores_are_no_evidence() -> None:
    same = {m: [0.5] * 6 for m in "abc"}
    assert [c.p for c in against(same, "a")] == [1.0, 1.0]
    assert ranking(same).p == 1.0
    assert set(ranking(same).ranks.values()) == {2.0}


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_by_its_definition(p: list[float]) -> None:
    found = holm(p)
    order = sorted(range(len(p)), key=lambda i: p[i])
    for place, i in enumerate(order):
        expected = max((len(p) - j) * p[order[j]] for j in range(place + 1))
        assert found[i] == pytest.approx(min(1.0, expected))


def test_holm_against_statsmodels() -> None:
    multitest = needs("statsmodels.stats.multitest")
    p = [0.01, 0.04, 0.03, 0.005, 0.5]
    np.testing.assert_allclose(holm(p), multitest.multipletests(p, method="holm")[1])


def test_friedman_and_ranks_against_scipy() -> None:
    needs("scikit_posthocs")
    own = scores(8)
    found = ranking(own)
    statistic, p = stats.friedmanchisquare(*own.values())
    assert (found.statistic, found.p) == pytest.approx((statistic, p))
    for method, rank in found.ranks.items():
        above = [sum(own[o][i] > own[method][i] for o in own) for i in range(8)]
        assert rank == pytest.approx(1 + sum(above) / 8)


def test_nemenyi_against_scikit_posthocs_and_its_formula() -> None:
    needs("scikit_posthocs")
    import scikit_posthocs as posthocs  # noqa: PLC0415  (an extra)

    own = scores(8, seed=3)
    found = ranking(own)
    expected = posthocs.posthoc_nemenyi_friedman(np.array(list(own.values())).T).to_numpy()
    se = math.sqrt(4 * 5 / (6 * 8))
    for (i, a), (j, b) in itertools.product(enumerate(own), repeat=2):
        assert found.nemenyi[a, b] == pytest.approx(expected[i, j])
        gap = abs(found.ranks[a] - found.ranks[b])
        assert found.nemenyi[a, b] == pytest.approx(
            stats.studentized_range.sf(gap / se * math.sqrt(2), 4, np.inf), abs=1e-6
        )
        assert (found.nemenyi[a, b] < 0.05) == (gap > found.critical_difference)


def test_the_critical_difference_by_demsars_table() -> None:
    needs("scikit_posthocs")
    # q at 0.05 for 4 methods is 2.569 (Demšar 2006, Table 5a).
    assert ranking(scores(14)).critical_difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=1e-3)


@pytest.mark.parametrize("sets", [2, 4, 5])
@pytest.mark.parametrize("test", [lambda s: against(s, "a"), ranking])
def test_too_few_data_sets_are_refused(sets: int, test: Callable[[Scores], object]) -> None:
    with pytest.raises(InputError, match=f"same 6 data sets or more, not on {sets}"):
        test(scores(sets))


def test_unequal_data_sets_and_two_methods_are_refused() -> None:
    with pytest.raises(InputError, match="not on 6 or 7"):
        against({"a": [0.1] * 6, "b": [0.2] * 7}, "a")
    with pytest.raises(InputError, match="at least 3 methods, not 2"):
        ranking(scores(6, "ab"))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scikit_posthocs", None)
    with pytest.raises(InputError, match=r"pip install 'underdog\[statistics\]'"):
        ranking(scores(6))


def test_students_interval_covers_where_a_bootstrap_of_three_does_not() -> None:
    rng = np.random.default_rng(0)
    covered = [
        low <= 0 <= high for low, high in (Spread(tuple(rng.normal(size=5))).interval or () for _ in range(2000))
    ]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
    three = rng.normal(size=(2000, 3))
    # The widest a bootstrap of three values can be is from the smallest to the largest.
    widest = (three.min(1) <= 0) & (three.max(1) >= 0)
    assert np.mean(widest) == pytest.approx(0.75, abs=0.03)
