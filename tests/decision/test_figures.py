"""What a result says of decisions: from validation to test, and plain."""

from __future__ import annotations

import json

import numpy as np
import pytest

from underdog import Answers, InputError, decision_report
from underdog.decision.curves import PrecisionRecall
from underdog.decision.figures import judge, told_apart, worst_errors

CLASSES = ("a", "b", "c")


def answers(seed: int, n: int = 300, classes: tuple[str, ...] = CLASSES) -> Answers:
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, n, p=[0.1, 0.3, 0.6])
    return Answers(classes, labels, rng.normal(size=(n, 3)) + 1.5 * np.eye(3)[labels], [f"{i}.png" for i in range(n)])


def test_the_rule_knows_nothing_of_test_images() -> None:
    val = answers(0)
    rules = [decision_report(val, answers(s), [1, 1, 1], replicates=10)["rule"] for s in (1, 2)]
    assert rules[0] == rules[1]


def test_the_chosen_correction_has_the_least_validation_nll() -> None:
    report = decision_report(answers(0), answers(1), [1, 1, 1], replicates=10)
    nlls = {name: found["val"]["nll"] for name, found in report["calibration"].items()}
    assert set(nlls) == {"none", "prior", "temperature", "prior and temperature"}
    assert nlls[report["correction"]] == min(nlls.values())
    after = report["calibration"][report["correction"]]["test"]
    assert after["nll"] < report["calibration"]["none"]["test"]["nll"]


def test_the_report_is_plain_and_agrees_with_itself() -> None:
    test = answers(1)
    report = decision_report(answers(0), test, [1, 1, 1], ["a", "b"], 0.6, replicates=50)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert list(report["classes"]) == ["a", "b"]
    a = report["classes"]["a"]
    assert a["images"] == a["groups"] == (test.labels == 0).sum()
    low, high = report["intervals"]["macro_f1"]
    assert low < report["decisions"]["argmax"]["test"]["macro_f1"] < high
    assert a["threshold"]["recall"] == a["threshold"]["found"] / a["images"]
    point = a["recall_at_precision"]
    assert point["precision"] >= 0.6
    assert point["recall"] >= (a["threshold"]["recall"] if a["threshold"]["precision"] >= 0.6 else 0)
    wrong = (test.labels == 0) & (test.logits.argmax(1) != 0)
    assert sum(r["taken_for"] for r in a["rivals"]) == wrong.sum()


def test_a_class_without_test_images_is_said_to_have_none() -> None:
    test = answers(1)
    none = Answers(CLASSES, np.where(test.labels == 0, 1, test.labels), test.logits)
    report = decision_report(answers(0), none, [1, 1, 1], ["a"], replicates=10)
    a = json.loads(json.dumps(report, allow_nan=False))["classes"]["a"]
    assert (a["images"], a["average_precision"], a["recall_at_precision"], a["threshold"]["recall"]) == (
        0,
        None,
        None,
        None,
    )


def test_parts_of_other_classes_are_refused() -> None:
    with pytest.raises(InputError, match="must be the same"):
        judge(answers(0), answers(1, classes=("a", "b", "d")), [1, 1, 1], (), 0.8)


def test_the_worst_errors_take_turns() -> None:
    run = judge(answers(0), answers(1), [1, 1, 1], ("a", "b"), 0.8)
    worst, p, predicted = worst_errors(run, 6), run.rule.probabilities(run.test.logits), run.test.logits.argmax(1)
    assert sorted(e["class"] for e in worst) == ["a", "a", "a", "b", "b", "b"]
    assert {e["class"] for e in worst[:2]} == {"a", "b"}
    for name, k in (("a", 0), ("b", 1)):
        own = [e for e in worst if e["class"] == name]
        wrong = np.flatnonzero((run.test.labels == k) & (predicted != k))
        assert [e["probability"] for e in own] == sorted(p[wrong].max(1), reverse=True)[:3]
        assert all(e["item"] == f"{e['image']}.png" and e["taken_for"] != name for e in own)


def test_no_error_no_list() -> None:
    perfect = Answers(CLASSES, [0, 1, 2], 9.0 * np.eye(3))
    assert worst_errors(judge(perfect, perfect, [1, 1, 1], (), 0.8)) == []
    assert told_apart(perfect, 0, 1) == 1
    assert told_apart(Answers(CLASSES, [0, 0], np.zeros((2, 3))), 0, 1) is None


@pytest.mark.parametrize("n", [1, 5, 199, 200, 201, 3000])
def test_thinned_curves_keep_their_ends(n: int) -> None:
    scores = np.random.default_rng(n).random(2 * n)
    curve = PrecisionRecall.of(scores, np.arange(2 * n) < n)
    kept = curve.thinned()
    assert len(kept["recall"]) == min(n, 200)
    assert (kept["recall"][0], kept["recall"][-1]) == (pytest.approx(curve.recall[0], abs=1e-5), 1)
    assert set(map(len, kept.values())) == {len(kept["recall"])}
