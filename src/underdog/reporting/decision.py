"""What a problem's runs mean for a decision, from the predictions that lie with them, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from underdog.decision.answers import Answers, read_predictions
from underdog.decision.bootstrap import Bootstrap, Interval, paired_bootstrap
from underdog.decision.calibration import Calibration
from underdog.decision.curves import PrecisionRecall
from underdog.decision.figures import DECISIONS, RIVALS, judge, told_apart, worst_errors
from underdog.decision.replicates import Judged
from underdog.decision.rule import DecisionRule
from underdog.errors import InputError
from underdog.metrics import Metrics
from underdog.names import TARGET_PRECISION
from underdog.reporting.collect import Aside
from underdog.reporting.summary import Variant
from underdog.reporting.verdict import REFERENCES
from underdog.run.decide import load_errors
from underdog.run.saved import UNREADABLE, Run, reason

__all__ = [
    "RECALLS", "Confused", "Decision", "MethodDecision", "MethodOnClass", "RareClass", "WorstErrors", "WrongAnswer", "decision",
]  # fmt: skip

#: Rare classes shown, at most.
SHOWN = 12
#: Fewer validation images than this make a threshold a guess.
FEW = 30
#: Recalls at which curves of several seeds are averaged.
RECALLS = np.linspace(0, 1, 101)[1:]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MethodOnClass:
    """A method's network as a detector of one class, over the runs where the class is rare.

    Attributes:
        average_precision, recall_at_precision: what its ranking of the test images allows; the recall is that of the best point.
        threshold_recall, threshold_precision: what the threshold that validation chose gives on test images.
        thresholds: of each run, a probability; None where none reached the target on validation.
        precision: (100,) means at the recalls 0.01, 0.02, ..., 1.
        expected: sums of the class's probabilities on test images, before and after their correction.
    """

    average_precision: Interval
    recall_at_precision: Interval
    threshold_recall: Interval
    threshold_precision: Interval
    thresholds: tuple[float | None, ...]
    precision: tuple[float, ...]
    expected: tuple[float, float]


@dataclass(frozen=True)
class Confused:
    """One class and another in the mean of a method's runs: test images taken for the other, the other's taken for it, and the
    AUC of telling the two apart, if there are images of both."""

    taken_for: float
    taken_from: float
    auc: float | None


@dataclass(frozen=True)
class RareClass:
    """A class against all others.

    Attributes:
        name: of the class.
        images, groups: of the test part; equal numbers where no images belong together.
        share: of the class among the test images, which is the precision of guessing.
        validation: images of the class in each run's validation part.
        methods: those with runs where the class is rare.
        differences: paired, by reference, method and statistic: "average_precision", "recall_at_precision" and "recall".
        rivals: by the class it is confused with, the most confused first, and method.
    """

    name: str
    images: int
    groups: int
    share: float
    validation: tuple[int, ...]
    methods: Mapping[str, MethodOnClass]
    differences: Mapping[str, Mapping[str, Mapping[str, Interval]]]
    rivals: Mapping[str, Mapping[str, Confused]]

    @property
    def few(self) -> bool:
        """Whether a threshold rests on so few validation images that it is a guess."""
        return min(self.validation) < FEW


@dataclass(frozen=True)
class MethodDecision:
    """A method on all classes together.

    Attributes:
        macro_f1: of argmax on test images, with its interval.
        decisions: means of macro-F1 by part and decision, "argmax" or "logit-adjusted".
        corrections: how many runs chose each correction of probabilities on validation.
        calibration: by "ece", "nll" and "brier", means on test images before and after that correction.
    """

    macro_f1: Interval
    decisions: Mapping[str, Mapping[str, float]]
    corrections: Mapping[str, int]
    calibration: Mapping[str, tuple[float, float]]


@dataclass(frozen=True, eq=False)
class WrongAnswer:
    """An image, its class and what it was taken for, with the probabilities of both; and its (C, H, W) pixels."""

    item: str
    name: str
    own_probability: float
    taken_for: str
    probability: float
    pixels: npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class WorstErrors:
    """The worst errors of one run of a method."""

    label: str
    seed: int
    answers: tuple[WrongAnswer, ...]


@dataclass(frozen=True)
class Decision:
    """Everything a report says about decisions on one problem.

    Attributes:
        target: the precision asked for.
        images, groups: of the test part; equal numbers where no images belong together.
        replicates: of the bootstrap.
        hidden: rare classes that are not shown.
        varied: whether runs differ in their rare classes.
        methods: those with predictions.
        classes: the rare ones.
        differences: paired, in macro-F1 of argmax, by reference and method.
        errors: the worst, where pictures of them were kept.
    """

    target: float
    images: int
    groups: int
    replicates: int
    hidden: int
    varied: bool
    methods: Mapping[str, MethodDecision]
    classes: tuple[RareClass, ...]
    differences: Mapping[str, Mapping[str, Interval]]
    errors: tuple[WorstErrors, ...]


@dataclass(frozen=True, eq=False)
class _Proof:
    """A run, what its network said of validation images, and what it said of test images under the rule chosen there."""

    run: Run
    val: Answers
    judged: Judged


#: By label, in the order of seeds.
_Proofs = Mapping[str, tuple[_Proof, ...]]


def decision(variant: Variant, target: float | None = None) -> tuple[Decision | None, list[Aside]]:
    """The section on a problem, and what had to be set aside; None without predictions of test images.

    Runs whose predictions cannot be read, or are of other test images than the first run's, are set aside.
    """
    aim = _target(variant) if target is None else target
    proofs, asides = _proofs(variant, aim)
    if not proofs:
        return None, asides
    by_seed = {label: {p.run.key: p.judged for p in own} for label, own in proofs.items()}
    found = paired_bootstrap(by_seed, [r for r in REFERENCES if r in proofs and len(proofs) > 1])
    every = [p for own in proofs.values() for p in own]
    rare, test = {c for p in every for c in p.judged.rare}, every[0].judged.test
    names = [c for k, c in enumerate(test.classes) if c in rare and (test.labels == k).any()]
    errors, unreadable = _errors(proofs)
    made = Decision(
        target=aim,
        images=found.images,
        groups=found.groups,
        replicates=found.replicates,
        hidden=len(names[SHOWN:]),
        varied=len({p.judged.rare for p in every}) > 1,
        methods={label: _method(own, found.methods[label]["macro_f1"]) for label, own in proofs.items()},
        classes=tuple(_class(name, proofs, found, test) for name in names[:SHOWN]),
        differences={r: {m: own["macro_f1"] for m, own in to.items() if own} for r, to in found.differences.items()},
        errors=errors,
    )
    return made, [*asides, *unreadable]


def _target(variant: Variant) -> float:
    """The target precision that the runs have in common, or the usual one."""
    found = {run.rule.target_precision for run in variant.runs if run.rule is not None}
    return found.pop() if len(found) == 1 else TARGET_PRECISION


def _proofs(variant: Variant, target: float) -> tuple[_Proofs, list[Aside]]:
    found: dict[str, tuple[_Proof, ...]] = {}
    asides: list[Aside] = []
    first: Answers | None = None
    for group in variant.groups:
        for run in group.runs:
            try:
                proof = _proof(run, target)
                if proof is None:
                    continue
                first = first or proof.judged.test
                if not first.same_images(proof.judged.test):
                    raise InputError("predictions.csv: other test images than the first run's")
            except InputError as error:
                asides.append(Aside(run.name, f"its decision figures only; {error}"))
                continue
            found[group.label] = (*found.get(group.label, ()), proof)
    return found, asides


def _proof(run: Run, target: float) -> _Proof | None:
    if run.folder is None or run.part != "test" or not (run.folder / "predictions.csv").exists():
        return None
    parts = read_predictions(run.folder / "predictions.csv")
    if "test" not in parts:
        raise InputError("predictions.csv: no line of the test part at the best epoch")
    val, test = parts["val"], parts["test"]
    if test.classes != run.classes:
        raise InputError("predictions.csv: other classes than result.json")
    return _Proof(run, val, judge(val, test, run.prior, run.rare, target))


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _scored(answers: Answers, judged: Judged, tau: float = 0.0) -> Metrics:
    return Metrics.of(answers.labels, judged.rule.decide(answers.logits, tau), len(answers.classes))


def _method(own: tuple[_Proof, ...], macro_f1: Interval) -> MethodDecision:
    def scores(answers: Callable[[_Proof], Answers]) -> dict[str, float]:
        return {
            name: _mean(_scored(answers(p), p.judged, tau).macro_f1 for p in own) for name, tau in DECISIONS.items()
        }

    before = [_calibration(p.judged.rule.uncorrected, p.judged.test) for p in own]
    after = [_calibration(p.judged.rule, p.judged.test) for p in own]
    return MethodDecision(
        macro_f1=macro_f1,
        decisions={"validation": scores(lambda p: p.val), "test": scores(lambda p: p.judged.test)},
        corrections=dict(Counter(p.judged.rule.correction for p in own).most_common()),
        calibration={m: (_mean(c[m] for c in before), _mean(c[m] for c in after)) for m in ("ece", "nll", "brier")},
    )


def _calibration(rule: DecisionRule, answers: Answers) -> dict[str, Any]:
    return Calibration.of(answers.logits / rule.temperature + rule.shift, answers.labels).to_json()


def _class(name: str, proofs: _Proofs, found: Bootstrap, test: Answers) -> RareClass:
    k = test.classes.index(name)
    truth = test.labels == k
    rare = {label: runs for label, own in proofs.items() if (runs := [p for p in own if name in p.judged.rare])}
    statistics = ("average_precision", "recall_at_precision", "recall")
    return RareClass(
        name=name,
        images=int(truth.sum()),
        groups=len(np.unique(test.units[truth])),
        share=float(truth.mean()),
        validation=tuple(p.judged.rule.thresholds[k].positives for own in rare.values() for p in own),
        methods={
            label: _on_class([p.judged for p in own], k, truth, found.methods[label]) for label, own in rare.items()
        },
        differences={
            reference: {m: {s: own[f"{s}:{name}"] for s in statistics if f"{s}:{name}" in own} for m, own in to.items()}
            for reference, to in found.differences.items()
        },
        rivals=_rivals(k, test, rare),
    )


def _on_class(runs: list[Judged], k: int, truth: npt.NDArray[np.bool_], found: Mapping[str, Interval]) -> MethodOnClass:
    name, after = runs[0].test.classes[k], [r.rule.probabilities(r.test.logits)[:, k] for r in runs]
    curves = [PrecisionRecall.of(p, truth) for p in after]
    return MethodOnClass(
        average_precision=found[f"average_precision:{name}"],
        recall_at_precision=found[f"recall_at_precision:{name}"],
        threshold_recall=found[f"threshold_recall:{name}"],
        threshold_precision=found[f"threshold_precision:{name}"],
        thresholds=tuple(r.rule.thresholds[k].value for r in runs),
        precision=tuple(_mean_precision(curves).tolist()),
        expected=(
            _mean(r.rule.uncorrected.probabilities(r.test.logits)[:, k].sum() for r in runs),
            _mean(p.sum() for p in after),
        ),
    )


def _mean_precision(curves: Iterable[PrecisionRecall]) -> Floats:
    """(100,) precisions at the first threshold that reaches each of ``RECALLS``, in the mean of some curves."""
    return np.asarray(np.mean([c.precision[np.searchsorted(c.recall, RECALLS - 1e-9)] for c in curves], axis=0))


def _rivals(k: int, test: Answers, rare: Mapping[str, list[_Proof]]) -> dict[str, dict[str, Confused]]:
    """The classes that a class is confused with most by all methods together."""
    counts: dict[str, Floats] = {
        label: np.mean([_scored(p.judged.test, p.judged).confusion for p in runs], axis=0)
        for label, runs in rare.items()
    }
    both = np.sum([c[k] + c[:, k] for c in counts.values()], axis=0)
    both[k] = 0
    order = [int(j) for j in np.argsort(-both, kind="stable")[:RIVALS] if both[j] > 0]

    def confused(label: str, j: int) -> Confused:
        apart = [a for p in rare[label] if (a := told_apart(p.judged.test, k, j)) is not None]
        return Confused(float(counts[label][k, j]), float(counts[label][j, k]), _mean(apart) if apart else None)

    return {test.classes[j]: {label: confused(label, j) for label in rare} for j in order}


def _errors(proofs: _Proofs) -> tuple[tuple[WorstErrors, ...], list[Aside]]:
    """The worst errors of each method's first run that kept pictures of them."""
    found, asides = [], []
    for label, own in proofs.items():
        for p in own:
            try:
                answers = _wrong_answers(p)
            except InputError as error:
                asides.append(Aside(p.run.name, f"its worst errors only; {error}"))
                continue
            if answers:
                found.append(WorstErrors(label, p.run.spec.seed, answers))
                break
    return tuple(found), asides


def _wrong_answers(p: _Proof) -> tuple[WrongAnswer, ...]:
    assert p.run.folder is not None
    try:
        pictures = load_errors(p.run.folder)
    except UNREADABLE as error:
        raise InputError(f"errors.safetensors: {reason(error)}") from error
    if any(picture.shape != p.run.image_shape for picture in pictures.values()):
        raise InputError("errors.safetensors: pictures of another size")
    kept: list[dict[str, Any]] = [error for error in worst_errors(p.judged) if error["item"] in pictures]
    return tuple(
        WrongAnswer(
            item=error["item"],
            name=error["class"],
            own_probability=error["own_probability"],
            taken_for=error["taken_for"],
            probability=error["probability"],
            pixels=pictures[error["item"]],
        )
        for error in kept
    )
