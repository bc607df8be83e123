"""Decision figures against scikit-learn, and against resampling image by image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    f1_score,
    log_loss,
    precision_recall_curve,
    recall_score,
    roc_auc_score,
)

from underdog import Answers, DecisionRule, Judged
from underdog.decision.calibration import BINS, Calibration
from underdog.decision.curves import PrecisionRecall, area_under_curve
from underdog.decision.figures import told_apart
from underdog.decision.replicates import Resamples, replicated
from underdog.decision.rule import choose_threshold

CLASSES = ("a", "b", "c")


def judged(seed: int, n: int = 60, ties: bool = True) -> Judged:
    rng = np.random.default_rng(seed)
    labels = np.append([0, 1, 2], rng.choice(3, n - 3, p=[0.15, 0.35, 0.5]))
    logits = rng.normal(size=(n, 3)) + 1.2 * np.eye(3)[labels]
    logits = logits.round(0) if ties else logits
    groups = [f"g{g}" if g < 15 else "" for g in rng.integers(20, size=n)]
    rule = DecisionRule.choose(logits, labels, CLASSES, shown=[1, 1, 1], target_precision=0.6)
    return Judged(rule, Answers(CLASSES, labels, logits, groups=groups))


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("seed", range(2))
def test_replicates_are_scikit_learns_figures_of_weighted_images(seed: int, ties: bool) -> None:
    run, replicates = judged(seed, ties=ties), 20
    test, target = run.test, run.rule.target_precision
    resamples = Resamples.draw(test.units, replicates, seed)
    found = replicated(run, resamples)
    weights = np.hstack(resamples.blocks)[test.units].T  # (1 + R, N)
    p, predicted, flags = run.rule.probabilities(test.logits), test.logits.argmax(1), run.rule.flags(test.logits)
    for r, w in enumerate(weights):
        drawn = w > 0
        occurs = sorted({*test.labels[drawn], *predicted[drawn]})
        expected = f1_score(test.labels, predicted, labels=occurs, average="macro", sample_weight=w)
        assert found["macro_f1"][r] == pytest.approx(expected)
        for k, c in enumerate(CLASSES):
            truth = test.labels == k
            if not w[truth].sum():
                assert np.isnan(found[f"recall:{c}"][r])
                assert np.isnan(found[f"average_precision:{c}"][r])
                continue
            y, s, v = truth[drawn], p[drawn, k], w[drawn]
            precision, recall, _ = precision_recall_curve(y, s, sample_weight=v)
            assert found[f"average_precision:{c}"][r] == pytest.approx(average_precision_score(y, s, sample_weight=v))
            assert found[f"recall_at_precision:{c}"][r] == pytest.approx(recall[precision >= target].max())
            assert found[f"recall:{c}"][r] == pytest.approx(recall_score(y, predicted[drawn] == k, sample_weight=v))
            at = recall_score(y, flags[drawn, k], sample_weight=v)
            assert found[f"threshold_recall:{c}"][r] == pytest.approx(at)


def test_replicates_are_those_of_drawing_image_by_image() -> None:
    run = judged(5, ties=False)
    test, resamples = run.test, Resamples.draw(run.test.units, 30)
    found = replicated(run, resamples)["average_precision:b"]
    for r, counts in enumerate(np.hstack(resamples.blocks).T):
        images = [i for i in range(len(test.labels)) for _ in range(int(counts[test.units[i]]))]
        again = Judged(run.rule, Answers(CLASSES, test.labels[images], test.logits[images]))
        once = replicated(again, Resamples.draw(again.test.units, 1))["average_precision:b"][0]
        assert found[r] == pytest.approx(once)


def test_draws_are_as_many_as_groups() -> None:
    resamples = Resamples.draw(np.arange(40) // 2, 600)
    drawn = np.hstack(resamples.blocks)
    assert drawn.shape == (20, 601)
    assert (drawn.sum(0) == 20).all()
    assert (drawn[:, 0] == 1).all()
    assert drawn[:, 1:].var() == pytest.approx(0.95, abs=0.1)  # binomial: 20 * 1/20 * 19/20


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=40), st.floats(0.05, 1))
def test_curves_are_scikit_learns(pairs: list[tuple[int, bool]], target: float) -> None:
    scores, truth = np.array([s / 9 for s, _ in pairs]), np.array([t for _, t in pairs])
    truth[0] = True
    curve = PrecisionRecall.of(scores, truth)
    assert curve.average_precision == pytest.approx(average_precision_score(truth, scores))
    precision, recall, _ = precision_recall_curve(truth, scores)
    best = recall[precision >= target].max()
    assert curve.at_precision(target)["recall"] == pytest.approx(best)


@given(st.integers(0, 50))
def test_calibration_is_scikit_learns_and_the_naive_ece(seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, scores = rng.integers(3, size=40), 2 * rng.normal(size=(40, 3))
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    found = Calibration.of(scores, labels)
    assert found.nll == pytest.approx(log_loss(labels, p, labels=[0, 1, 2]))
    assert found.brier == pytest.approx(sum(brier_score_loss(labels == k, p[:, k]) for k in range(3)))
    ece = 0.0
    for b in range(BINS):
        inside = [i for i in range(40) if b / BINS <= p[i].max() < (b + 1) / BINS]
        if inside:
            right = np.mean([labels[i] == p[i].argmax() for i in inside])
            ece += len(inside) / 40 * abs(right - np.mean([p[i].max() for i in inside]))
    assert found.ece == pytest.approx(ece)


def test_told_apart_is_the_share_of_pairs_ranked_rightly() -> None:
    test = judged(1, ties=True).test
    margin = test.logits[:, 0] - test.logits[:, 2]
    own, other = margin[test.labels == 0], margin[test.labels == 2]
    pairs = np.mean([(a > b) + (a == b) / 2 for a in own for b in other])
    assert told_apart(test, 0, 2) == pytest.approx(pairs)
    kept = test.labels != 1
    assert told_apart(test, 0, 2) == pytest.approx(roc_auc_score(test.labels[kept] == 0, margin[kept]))


@pytest.mark.parametrize("values", [3, 50, None], ids=["many ties", "some ties", "no ties"])
def test_curves_areas_and_thresholds_are_scikit_learns_to_the_last_bit(values: int | None) -> None:
    rng = np.random.default_rng(0)
    for n in rng.integers(2, 400, 200):
        scores = rng.random(n) if values is None else rng.integers(0, values, n) / values
        truth = np.append([True, False], rng.random(n - 2) < rng.random())
        assert area_under_curve(scores, truth) == roc_auc_score(truth, scores)
        curve = PrecisionRecall.of(scores, truth)
        precision, recall, threshold = (v[::-1] for v in precision_recall_curve(truth, scores))
        gains = np.diff(recall) > 0
        np.testing.assert_array_equal(curve.recall, recall[1:][gains])
        np.testing.assert_array_equal(curve.precision, precision[1:][gains])
        np.testing.assert_array_equal(curve.threshold, threshold[gains])
        assert curve.average_precision == average_precision_score(truth, scores)
        chosen = choose_threshold(scores, truth, 0.6)
        reached = np.flatnonzero((precision[1:] >= 0.6) & (recall[1:] > 0))
        if len(reached):
            found = chosen.value, chosen.precision, chosen.recall
            assert found == (threshold[reached[-1]], precision[1:][reached[-1]], recall[1:][reached[-1]])
            assert chosen.flagged == (scores >= chosen.value).sum()
        else:
            assert chosen.value is None
