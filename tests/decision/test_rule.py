"""A decision rule: chosen on validation, plain on disk, strict when read."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, softmax

from underdog import DecisionRule, InputError
from underdog.decision.calibration import fit_temperature, log_prior, nll
from underdog.decision.rule import choose_threshold

CLASSES = ("a", "b", "c")


def drawn(n: int, counts: tuple[int, ...] = (1, 2, 17), seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels with these frequencies, and the exact logits of a network that saw all classes equally often."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(counts), n, p=np.array(counts) / sum(counts))
    x = rng.normal(size=(n, len(counts))) + 1.5 * np.eye(len(counts))[labels]
    return 1.5 * x, labels  # log densities of the Gaussians, up to a constant


def chosen(seed: int = 0, shown: tuple[float, ...] = (1, 1, 1), **options: Any) -> DecisionRule:
    logits, labels = drawn(2000, seed=seed)
    return DecisionRule.choose(logits, labels, CLASSES, shown, **options)


def test_probabilities_are_the_formula() -> None:
    logits, _ = drawn(50, seed=1)
    rule = chosen()
    expected = np.exp(log_softmax(logits / rule.temperature + np.array(rule.shift), axis=1))
    np.testing.assert_allclose(rule.probabilities(logits), expected)
    np.testing.assert_allclose(rule.uncorrected.probabilities(logits), softmax(logits, axis=1))


def test_the_prior_undoes_what_balancing_did() -> None:
    """The logits are exact for equal frequencies, so the prior alone makes exact probabilities of them."""
    logits, labels = drawn(20_000, seed=1)
    rule = chosen()
    assert "prior" in rule.correction
    assert rule.temperature == pytest.approx(1, abs=0.1)
    counts = np.bincount(labels)
    before, after = (p.probabilities(logits).sum(0) for p in (rule.uncorrected, rule))
    assert abs(after / counts - 1).max() < 0.1 < abs(before / counts - 1).max()


def test_no_prior_where_training_showed_what_validation_has() -> None:
    logits, labels = drawn(2000)
    counts = np.bincount(labels)
    rule = DecisionRule.choose(logits + log_prior(counts), labels, CLASSES, counts.tolist())
    np.testing.assert_allclose(rule.shift, 0, atol=1e-12)


@given(st.floats(0.1, 8), st.integers(0, 5))
def test_no_other_temperature_is_better(scale: float, seed: int) -> None:
    logits, labels = drawn(300, seed=seed)
    logits *= scale
    shift = np.array([0.0, -1.0, 0.5])
    best = nll(logits / fit_temperature(logits, labels, shift) + shift, labels)
    assert all(best <= nll(logits / t + shift, labels) + 1e-6 for t in np.geomspace(1 / 20, 20, 50))


@given(
    st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=30),
    st.sampled_from([0.3, 0.5, 0.7, 0.8, 1.0]),
)
def test_the_threshold_is_the_least_that_reaches_the_target(pairs: list[tuple[int, bool]], target: float) -> None:
    scores, truth = np.array([s / 6 for s, _ in pairs]), np.array([t for _, t in pairs])
    naive = [
        v for v in sorted(set(scores)) if truth[scores >= v].any() and truth[scores >= v].mean() >= target
    ]  # fmt: skip
    found = choose_threshold(scores, truth, target)
    assert found.value == (naive[0] if naive else None)
    assert found.positives == truth.sum()
    if naive:
        flagged = scores >= naive[0]
        assert (found.flagged, found.precision) == (flagged.sum(), pytest.approx(truth[flagged].mean()))
        assert found.recall == pytest.approx((flagged & truth).sum() / truth.sum())


def test_flags_are_those_of_the_thresholds() -> None:
    logits, labels = drawn(2000)
    rule = chosen(target_precision=0.7)
    flags = rule.flags(logits)
    for k, threshold in enumerate(rule.thresholds):
        assert threshold.value is not None
        assert flags[:, k].sum() == threshold.flagged
        assert (labels[flags[:, k]] == k).mean() == pytest.approx(threshold.precision)
        assert threshold.precision >= 0.7


def test_a_class_without_validation_images_is_never_flagged() -> None:
    logits, labels = drawn(500)
    labels[labels == 0] = 1
    rule = DecisionRule.choose(logits, labels, CLASSES, shown=[1, 1, 1])
    assert (rule.thresholds[0].value, rule.thresholds[0].positives) == (None, 0)
    assert not rule.flags(1e3 * np.eye(3))[:, 0].any()
    assert np.isfinite(rule.shift).all()


def test_the_adjusted_decision_is_argmax_of_logits_minus_log_prior() -> None:
    logits, _ = drawn(200)
    rule = chosen(shown=(10, 20, 170))
    np.testing.assert_array_equal(rule.decide(logits), logits.argmax(1))
    np.testing.assert_array_equal(rule.decide(logits, tau=1), (logits - np.log([0.05, 0.1, 0.85])).argmax(1))
    np.testing.assert_array_equal(chosen().decide(logits, tau=1), logits.argmax(1))


def test_a_rule_survives_its_file() -> None:
    rule = chosen(target_precision=0.99999)
    again = DecisionRule.from_json(json.loads(json.dumps(rule.to_json(), allow_nan=False)))
    assert again == rule
    logits, _ = drawn(100)
    np.testing.assert_array_equal(again.flags(logits), rule.flags(logits))


THRESHOLD = {"value": 0.5, "precision": 0.5, "recall": 0.5, "flagged": 1, "positives": 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("classes", "abc"),
        ("classes", ["a", "b", "a"]),
        ("classes", [1, 2, 3]),
        ("classes", ["a"]),
        ("temperature", 0),
        ("temperature", "1"),
        ("temperature", True),
        ("temperature", 10**400),
        ("temperature", float("nan")),
        ("shift", [0.0, 0.0]),
        ("shift", [0.0, float("inf"), 0.0]),
        ("shift", {"a": 0}),
        ("log_prior", None),
        ("thresholds", []),
        ("thresholds", [THRESHOLD, THRESHOLD, THRESHOLD | {"value": 2}]),
        ("thresholds", [THRESHOLD, THRESHOLD, THRESHOLD | {"flagged": -1}]),
        ("thresholds", [THRESHOLD, THRESHOLD, THRESHOLD | {"flagged": 0.5}]),
        ("thresholds", [THRESHOLD, THRESHOLD, {"value": 0.5}]),
        ("thresholds", [THRESHOLD, THRESHOLD, 0.5]),
        ("target_precision", 0),
        ("target_precision", 1.5),
        ("more", 1),
    ],
)
def test_what_is_no_rule_is_refused(field: str, value: object) -> None:
    with pytest.raises(InputError):
        DecisionRule.from_json(chosen().to_json() | {field: value})


@pytest.mark.parametrize("value", [None, [], "rule", {}])
def test_other_data_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="DecisionRule"):
        DecisionRule.from_json(value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"logits": np.zeros((4, 2))}, r"logits must be of shape \(N, 3\)"),
        ({"logits": np.full((4, 3), np.nan)}, "finite"),
        ({"labels": [0, 1, 2]}, "labels must be a class number for each of 4"),
        ({"labels": [0, 1, 2, 3]}, "from 0 to 2"),
        ({"labels": [0.0, 1.0, 2.0, 0.0]}, "class numbers"),
        ({"logits": np.zeros((0, 3)), "labels": []}, "labels"),
        ({"shown": [1, 1]}, "shown"),
        ({"shown": [1, 1, -1]}, "shown"),
        ({"target_precision": 0}, "target precision"),
        ({"target_precision": float("nan")}, "target precision"),
    ],
)
def test_wrong_values_are_named(changed: dict[str, Any], message: str) -> None:
    given_ = {"logits": np.zeros((4, 3)), "labels": [0, 1, 2, 0], "classes": CLASSES, "shown": [1, 1, 1]}
    with pytest.raises(InputError, match=message):
        DecisionRule.choose(**given_ | changed)
