"""What a run means for a decision, as plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from underdog.decision.answers import Answers
from underdog.decision.bootstrap import CONFIDENCE, REPLICATES, Interval, paired_bootstrap
from underdog.decision.calibration import Calibration
from underdog.decision.curves import PrecisionRecall, area_under_curve
from underdog.decision.replicates import PER_CLASS, Bools, Judged
from underdog.decision.rule import DecisionRule, corrections
from underdog.errors import InputError
from underdog.metrics import Metrics
from underdog.names import TARGET_PRECISION

__all__ = ["DECISIONS", "RIVALS", "calibrations", "decision_report", "judge", "rivals", "told_apart", "worst_errors"]

#: The weight of the log prior in the network's own decision, and in the logit-adjusted one.
DECISIONS: dict[str, float] = {"argmax": 0.0, "logit-adjusted": 1.0}
#: Classes that a rare one is confused with, at most.
RIVALS = 5
#: Wrong answers that are kept with a run.
ERRORS = 12


def judge(val: Answers, test: Answers, shown: Sequence[float], rare: Sequence[str], target: float) -> Judged:
    """The rule that validation answers choose, beside the test answers it is to be judged on.

    Raises:
        InputError: the two parts have other classes.
    """
    if val.classes != test.classes:
        raise InputError(
            f"validation and test classes must be the same, not {', '.join(val.classes)} and {', '.join(test.classes)}"
        )
    return Judged(DecisionRule.choose(val.logits, val.labels, val.classes, shown, target), test, tuple(rare))


def decision_report(
    val: Answers,
    test: Answers,
    shown: Sequence[float],
    rare: Sequence[str] = (),
    target_precision: float = TARGET_PRECISION,
    replicates: int = REPLICATES,
) -> dict[str, Any]:
    """What a run's ``result.json`` says under "decision": a rule chosen on validation, and what it gives on test images.

    Args:
        val, test: the network's answers.
        shown: (K,) how often the training showed each class; see ``DecisionRule.choose``.
        rare: names of the classes to report on; default all.
        target_precision: in (0, 1].
        replicates: of the bootstrap over groups of test images.

    Returns:
        Plain data with the keys "rule" (see ``DecisionRule.from_json``), "correction", "images" (of "val" and "test", and
        "groups" of the latter), "decisions" (scores of argmax and of the logit-adjusted decision), "calibration" (ECE,
        NLL and Brier score of every correction), "intervals", "classes" (figures of each rare class) and
        "errors" (see ``worst_errors``).

    Raises:
        InputError: values outside their ranges, or parts of other classes.

    >>> import underdog as ud
    >>> labels = [0, 0, 1, 1, 1, 1]
    >>> answers = ud.Answers("ab", labels, [[2.0, 0], [1, 0], [0, 1], [0, 2], [1.5, 0], [0, 3]])
    >>> report = ud.decision_report(answers, answers, shown=[1, 1], rare=["a"], target_precision=0.6)
    >>> report["correction"], round(report["classes"]["a"]["average_precision"], 3)
    ('prior and temperature', 0.833)
    """
    run = judge(val, test, shown, rare, target_precision)
    found = paired_bootstrap({"": {0: run}}, replicates=replicates)
    intervals = found.methods[""]
    return {
        "rule": run.rule.to_json(),
        "correction": run.rule.correction,
        "images": {"val": len(val.labels), "test": len(test.labels), "groups": found.groups},
        "decisions": {
            name: {"val": _scores(run.rule, val, tau), "test": _scores(run.rule, test, tau)}
            for name, tau in DECISIONS.items()
        },
        "calibration": calibrations(val, test, shown),
        "intervals": {"confidence": CONFIDENCE, "replicates": replicates, "macro_f1": _bounds(intervals["macro_f1"])},
        "classes": {
            name: _of_class(run, k) | {"intervals": {s: _bounds(intervals[f"{s}:{name}"]) for s in PER_CLASS}}
            for k, name in zip(run.numbers, run.rare, strict=True)
        },
        "errors": worst_errors(run),
    }


def _scores(rule: DecisionRule, answers: Answers, tau: float) -> dict[str, Any]:
    metrics = Metrics.of(answers.labels, rule.decide(answers.logits, tau), len(answers.classes))
    plain = metrics.to_json(answers.classes)
    return {name: plain[name] for name in ("macro_f1", "balanced_accuracy", "accuracy", "recall", "precision")}


def calibrations(val: Answers, test: Answers, shown: Sequence[float]) -> dict[str, Any]:
    """For every correction fitted to validation answers: its temperature, and how wrong probabilities then are on each part.

    Which one a rule uses is decided by "nll" on "val".
    """
    return {
        name: {
            "temperature": temperature,
            "val": Calibration.of(val.logits / temperature + shift, val.labels).to_json(),
            "test": Calibration.of(test.logits / temperature + shift, test.labels).to_json(),
        }
        for name, (temperature, shift) in corrections(val.logits, val.labels, shown).items()
    }


def _bounds(interval: Interval) -> list[float] | None:
    return None if interval.low is None or interval.high is None else [interval.low, interval.high]


def _of_class(run: Judged, k: int) -> dict[str, Any]:
    test, probabilities = run.test, run.rule.probabilities(run.test.logits)
    truth, flagged = test.labels == k, run.rule.flags(test.logits)[:, k]
    curve = PrecisionRecall.of(probabilities[:, k], truth)
    return {
        "images": int(truth.sum()),
        "groups": len(np.unique(test.units[truth])),
        "average_precision": curve.average_precision,
        "recall_at_precision": curve.at_precision(run.rule.target_precision),
        "threshold": {
            "flagged": int(flagged.sum()),
            "found": int((flagged & truth).sum()),
            "recall": _share(flagged & truth, truth),
            "precision": _share(flagged & truth, flagged),
        },
        "expected": {
            "before": float(run.rule.uncorrected.probabilities(test.logits)[:, k].sum()),
            "after": float(probabilities[:, k].sum()),
        },
        "rivals": rivals(run, k),
        "curve": curve.thinned(),
    }


def _share(part: Bools, of: Bools) -> float | None:
    return float(part.sum() / of.sum()) if of.any() else None


def rivals(run: Judged, k: int) -> list[dict[str, Any]]:
    """The classes that class k is confused with most, one against another.

    For each its "class", the images of k "taken_for" it, its images "taken_from" it for k, and "auc", see ``told_apart``
    (0.5 is chance).
    """
    test = run.test
    confusion = Metrics.of(test.labels, run.rule.decide(test.logits), len(test.classes)).confusion
    both = confusion[k] + confusion[:, k]
    both[k] = 0
    order = [int(j) for j in np.argsort(-both, kind="stable")[:RIVALS] if both[j] > 0]
    return [
        {
            "class": test.classes[j],
            "taken_for": int(confusion[k, j]),
            "taken_from": int(confusion[j, k]),
            "auc": told_apart(test, k, j),
        }
        for j in order
    ]


def told_apart(test: Answers, k: int, j: int) -> float | None:
    """How often, of an image of class k and one of class j, that of k has the larger z_k - z_j; None without both."""
    pair = (test.labels == k) | (test.labels == j)
    own = test.labels[pair] == k
    if own.all() or not own.any():
        return None
    return area_under_curve(test.logits[pair, k] - test.logits[pair, j], own)


def worst_errors(run: Judged, n: int = ERRORS) -> list[dict[str, Any]]:
    """The test images of rare classes that the network takes for something else with the greatest confidence.

    For each its number "image", "item", "group", "class", what it is "taken_for", the "probability" of that under the rule,
    and its "own_probability", that of its class. The worst of every rare class first, then the second of each, and so on, so
    that one class cannot fill the list.
    """
    p, predicted, labels = run.rule.probabilities(run.test.logits), run.rule.decide(run.test.logits), run.test.labels
    sure = p[np.arange(len(p)), predicted]
    ranked: list[tuple[int, float, int]] = []
    for k in run.numbers:
        wrong = np.flatnonzero((labels == k) & (predicted != k))
        worst = wrong[np.argsort(-sure[wrong], kind="stable")]
        ranked += [(rank, -float(sure[i]), int(i)) for rank, i in enumerate(worst[:n])]
    return [
        {
            "image": i,
            "item": run.test.items[i],
            "group": run.test.groups[i],
            "class": run.test.classes[labels[i]],
            "taken_for": run.test.classes[predicted[i]],
            "probability": float(sure[i]),
            "own_probability": float(p[i, labels[i]]),
        }
        for _, _, i in sorted(ranked)[:n]
    ]
