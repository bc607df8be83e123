"""Intervals: paired, over groups, and honest about what is not defined."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from underdog import Answers, DecisionRule, InputError, Judged, paired_bootstrap

CLASSES = ("a", "b", "c")


def judged(seed: int = 0, skill: float = 1.5, n: int = 120, groups: Sequence[str] = (), copies: int = 1) -> Judged:
    """A network of some skill on the same images for every seed; each image ``copies`` times in its group."""
    labels = np.random.default_rng(99).choice(3, n, p=[0.1, 0.3, 0.6])
    logits = np.random.default_rng(seed).normal(size=(n, 3)) + skill * np.eye(3)[labels]
    rule = DecisionRule.choose(logits, labels, CLASSES, shown=[1, 1, 1], target_precision=0.5)
    names = groups or [f"g{i}" for i in range(n)]
    return Judged(
        rule, Answers(CLASSES, np.tile(labels, copies), np.tile(logits, (copies, 1)), groups=list(names) * copies)
    )


def test_a_method_does_not_differ_from_itself() -> None:
    found = paired_bootstrap({"x": {0: judged()}, "y": {0: judged()}}, ["x"], replicates=50)
    assert {(i.value, i.low, i.high) for i in found.differences["x"]["y"].values()} == {(0.0, 0.0, 0.0)}


def test_pairing_narrows_a_difference() -> None:
    """Two networks that err on nearly the same images: each is uncertain, their difference is not."""
    one = judged(skill=1.0)
    logits = one.test.logits.copy()
    logits[np.arange(3), one.test.labels[:3]] += 50  # a little better on three images
    other = Judged(one.rule, Answers(CLASSES, one.test.labels, logits, groups=one.test.groups))
    found = paired_bootstrap({"one": {0: one}, "other": {0: other}}, ["one"], replicates=300)
    width, paired = (
        i.high - i.low for i in (found.methods["one"]["macro_f1"], found.differences["one"]["other"]["macro_f1"])
    )
    assert paired < width / 3


def test_more_copies_of_an_image_in_its_group_add_no_certainty() -> None:
    once, often = (paired_bootstrap({"m": {0: judged(copies=c)}}, replicates=100) for c in (1, 4))
    assert (once.groups, once.images) == (120, 120)
    assert (often.groups, often.images) == (120, 480)
    assert once.methods == often.methods


def test_groups_stay_together() -> None:
    """A single group can only be drawn whole, so nothing varies."""
    found = paired_bootstrap({"m": {0: judged(groups=["p"] * 120)}}, replicates=20)
    assert found.groups == 1
    defined = [i for i in found.methods["m"].values() if i.value is not None]
    assert len(defined) > 10
    for interval in defined:
        assert (interval.low, interval.high) == pytest.approx((interval.value, interval.value))


def test_a_class_may_be_in_no_group_that_was_drawn() -> None:
    labels = np.array([0] + [1] * 10 + [2] * 10)
    logits = 3.0 * np.eye(3)[labels]
    run = Judged(DecisionRule.choose(logits, labels, CLASSES, shown=[1, 1, 1]), Answers(CLASSES, labels, logits))
    found = paired_bootstrap({"m": {0: run}}, replicates=400).methods["m"]
    assert found["recall:b"].replicates == 400
    assert 400 * 0.5 < found["recall:a"].replicates < 400 * 0.75  # (1 - 1/21)^21 = 0.36 of draws miss it
    assert found["macro_f1"].replicates == 400


def test_a_class_without_test_images_has_no_figures() -> None:
    labels = np.array([1] * 10 + [2] * 10)
    logits = 3.0 * np.eye(3)[labels]
    run = Judged(DecisionRule.choose(logits, labels, CLASSES, shown=[1, 1, 1]), Answers(CLASSES, labels, logits))
    found = paired_bootstrap({"m": {0: run}}, replicates=20).methods["m"]["average_precision:a"]
    assert (found.value, found.low, found.high, found.replicates) == (None, None, None, 0)
    assert not found.excludes_zero


def test_methods_are_means_over_seeds_and_differences_over_common_ones() -> None:
    runs = {seed: judged(seed) for seed in range(3)}
    alone = [paired_bootstrap({"m": {0: run}}, replicates=30).methods["m"]["macro_f1"].value for run in runs.values()]
    better = {0: judged(7, 3.0), 1: judged(8, 3.0), 9: judged(9, 3.0)}
    found = paired_bootstrap({"m": runs, "better": better}, ["m"], replicates=30)
    assert found.methods["m"]["macro_f1"].value == pytest.approx(np.mean(alone))
    same = paired_bootstrap({"m": {k: runs[k] for k in (0, 1)}, "better": {k: better[k] for k in (0, 1)}}, ["m"], 30)
    assert found.differences["m"]["better"] == same.differences["m"]["better"]


def test_no_common_seed_no_difference() -> None:
    found = paired_bootstrap({"m": {0: judged()}, "n": {1: judged(1)}}, ["m"], replicates=10)
    assert found.differences == {"m": {"n": {}}}


def test_the_same_seed_gives_the_same_intervals() -> None:
    a, b, c = (paired_bootstrap({"m": {0: judged()}}, replicates=100, seed=s).methods for s in (0, 0, 1))
    assert a == b
    assert a != c


def test_wrong_values_are_named() -> None:
    run = judged()
    with pytest.raises(InputError, match="test images must be the same"):
        paired_bootstrap({"m": {0: run, 1: judged(n=119)}})
    with pytest.raises(InputError, match="unknown reference 'ro'"):
        paired_bootstrap({"ros": {0: run}}, ["ro"])
    with pytest.raises(InputError, match="replicates"):
        paired_bootstrap({"ros": {0: run}}, replicates=0)
    with pytest.raises(InputError, match="at least one run"):
        paired_bootstrap({"ros": {}})
    with pytest.raises(InputError, match="unknown class 'd'"):
        Judged(run.rule, run.test, ("d",))
