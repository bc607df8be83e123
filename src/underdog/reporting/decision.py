"""What a problem's runs mean for a decision, as values for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from underdog.decision.bootstrap import Interval
from underdog.decision.curves import PrecisionRecall
from underdog.decision.figures import DECISIONS, RIVALS, calibrations, told_apart, worst_errors
from underdog.errors import InputError
from underdog.metrics import Metrics
from underdog.reporting.collect import Aside
from underdog.reporting.decision_plots import Trace, mean_precision, recall_plot
from underdog.reporting.evidence import Evidence, Proof, evidence
from underdog.reporting.facts import Table
from underdog.reporting.images import PIXELATED, png, probability
from underdog.reporting.plots import Style
from underdog.reporting.summary import Variant
from underdog.reporting.words import MISSING, decimal, plural, signed
from underdog.run.decide import load_errors
from underdog.run.saved import UNREADABLE, reason

__all__ = ["Block", "Decision", "Errors", "Estimate", "Face", "Row", "Versus", "decision"]

#: Rare classes shown, at most.
SHOWN = 12
#: Fewer validation images than this make a threshold a guess.
FEW = 30
#: Larger pictures are shrunk to so many pixels.
THUMBNAIL = 128
ARROW = "\N{RIGHTWARDS ARROW}"


@dataclass(frozen=True)
class Estimate:
    """A figure, the bounds of its interval, and whether these are on one side of 0."""

    value: str
    bounds: str = ""
    strong: bool = False


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is of (a method where ``label`` is one), and its figures."""

    label: str
    cells: tuple[Estimate, ...]


@dataclass(frozen=True)
class Block:
    """The lines about one class, under its name and a remark."""

    name: str
    remark: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Versus:
    """Paired differences to one reference: the methods, a line for macro-F1, and blocks of lines for each class."""

    reference: str
    labels: tuple[str, ...]
    overall: Row
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Face:
    """A wrong answer: the picture as a data address, its name, class and probability, and what it was taken for."""

    picture: str
    item: str
    name: str
    own: str
    taken_for: str
    probability: str


@dataclass(frozen=True)
class Errors:
    """The worst errors of one run of a method."""

    label: str
    seed: int
    pixelated: bool
    faces: tuple[Face, ...]


@dataclass(frozen=True)
class Decision:
    """Everything the page says about decisions on one problem.

    Attributes:
        target: the precision asked for, in percent.
        images, groups: of the test part; equal numbers where no images belong together.
        replicates: of the bootstrap.
        hidden: rare classes that are not shown.
        varied: whether runs differ in their rare classes.
        curves: a figure for each class, by name.
        classes: average precision, recall at the precision, and what the chosen threshold gives.
        few: names of the classes with few validation images.
        decisions: argmax beside the logit-adjusted decision.
        calibration, expected: probabilities before and after their correction.
        versus: paired differences.
        rivals: one-versus-another confusions.
        errors: the worst, where pictures of them were kept.
    """

    target: str
    images: int
    groups: int
    replicates: int
    hidden: int
    varied: bool
    labels: tuple[str, ...]
    curves: tuple[tuple[str, Markup], ...]
    classes: tuple[Block, ...]
    few: tuple[str, ...]
    decisions: Table
    calibration: Table
    expected: Table
    versus: tuple[Versus, ...]
    rivals: tuple[Block, ...]
    errors: tuple[Errors, ...]


def decision(
    variant: Variant, looks: dict[str, Style], name: str, target: float | None = None
) -> tuple[Decision | None, list[Aside]]:
    """The section on a problem, and what had to be set aside; None without predictions of test images."""
    proof, asides = evidence(variant, target)
    if proof is None:
        return None, asides
    shown, hidden = _classes(proof)
    errors, unreadable = _errors(proof)
    found = Decision(
        target=percent(proof.target),
        images=proof.bootstrap.images,
        groups=proof.bootstrap.groups,
        replicates=proof.bootstrap.replicates,
        hidden=hidden,
        varied=len({p.judged.rare for own in proof.proofs.values() for p in own}) > 1,
        labels=tuple(proof.proofs),
        curves=tuple((c, _curve(proof, c, looks, f"{name}-pr{i}")) for i, c in enumerate(shown)),
        classes=tuple(_figures(proof, c) for c in shown),
        few=tuple(c for c in shown if min(_positives(proof, c)) < FEW),
        decisions=_decisions(proof),
        calibration=_calibration(proof),
        expected=_expected(proof, shown),
        versus=tuple(_versus(proof, reference, shown) for reference in proof.bootstrap.differences),
        rivals=tuple(_rivals(proof, c) for c in shown),
        errors=errors,
    )
    return found, [*asides, *unreadable]


def percent(share: float) -> str:
    """A share as a percentage.

    >>> percent(0.8), percent(0.925)
    ('80%', '92.5%')
    """
    return f"{100 * share:.4g}%"


def estimate(interval: Interval | None, sign: bool = False) -> Estimate:
    """A figure and its interval, as texts; a dash where there is none."""
    if interval is None or interval.value is None:
        return Estimate(MISSING)
    number = signed if sign else decimal
    if interval.low is None or interval.high is None:
        return Estimate(number(interval.value))
    bounds = f"{number(interval.low)} to {number(interval.high)}"
    return Estimate(number(interval.value), bounds, sign and interval.excludes_zero)


def _classes(proof: Evidence) -> tuple[tuple[str, ...], int]:
    """The rare classes with test images, in the order of the classes, and how many are left out."""
    rare = {c for own in proof.proofs.values() for p in own for c in p.judged.rare}
    test = proof.test
    found = [c for k, c in enumerate(test.classes) if c in rare and (test.labels == k).any()]
    return tuple(found[:SHOWN]), len(found[SHOWN:])


def _where_rare(proof: Evidence, label: str, name: str) -> list[Proof]:
    return [p for p in proof.proofs[label] if name in p.judged.rare]


def _truth(proof: Evidence, name: str) -> npt.NDArray[np.bool_]:
    return np.asarray(proof.test.labels == proof.test.classes.index(name))


def _positives(proof: Evidence, name: str) -> list[int]:
    """Validation images of a class, in each run where it is rare."""
    k = proof.test.classes.index(name)
    return [p.judged.rule.thresholds[k].positives for label in proof.proofs for p in _where_rare(proof, label, name)]


def _curve(proof: Evidence, name: str, looks: dict[str, Style], anchor: str) -> Markup:
    truth, k = _truth(proof, name), proof.test.classes.index(name)
    traces, said = [], []
    for label in proof.proofs:
        runs = [p.judged for p in _where_rare(proof, label, name)]
        if not runs:
            continue
        curves = [PrecisionRecall.of(run.rule.probabilities(run.test.logits)[:, k], truth) for run in runs]
        traces.append(Trace(looks[label], mean_precision(curves)))
        said.append(f"{label} {estimate(proof.bootstrap.methods[label][f'average_precision:{name}']).value}")
    alt = f"Precision against recall of class {name}; average precision: {'; '.join(said)}"
    return recall_plot(traces, float(truth.mean()), proof.target, anchor, alt)


def _figures(proof: Evidence, name: str) -> Block:
    """A line for each method: what its ranking allows, and what its chosen threshold gives."""
    truth, k = _truth(proof, name), proof.test.classes.index(name)
    rows = []
    for label, intervals in proof.bootstrap.methods.items():
        runs = _where_rare(proof, label, name)
        if not runs:
            continue
        chosen = sum(p.judged.rule.thresholds[k].value is not None for p in runs)
        statistics = ("average_precision", "recall_at_precision", "threshold_recall", "threshold_precision")
        own = tuple(estimate(intervals.get(f"{s}:{name}")) for s in statistics)
        rows.append(Row(label, (*own, Estimate(f"{chosen} of {len(runs)}"))))
    images, groups = int(truth.sum()), len(np.unique(proof.test.units[truth]))
    together = f" in {plural(groups, 'group')}" if groups < images else ""
    few, most = min(_positives(proof, name)), max(_positives(proof, name))
    validation = plural(most, "validation image") if few == most else f"{few} to {most} validation images"
    return Block(name, f"{plural(images, 'test image')}{together}; thresholds from {validation}", tuple(rows))


def _by_method(proof: Evidence, columns: Sequence[str], row: Callable[[tuple[Proof, ...]], Sequence[str]]) -> Table:
    return Table(tuple(columns), tuple((label, tuple(row(own))) for label, own in proof.proofs.items()))


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _decisions(proof: Evidence) -> Table:
    """Macro-F1 of argmax and of the logit-adjusted decision, on test and validation images."""

    def macro_f1(p: Proof, part: str, tau: float) -> float:
        answers, rule = p.judged.test if part == "test" else p.val, p.judged.rule
        return Metrics.of(answers.labels, rule.decide(answers.logits, tau), len(answers.classes)).macro_f1

    def row(own: tuple[Proof, ...]) -> list[str]:
        return [
            decimal(_mean(macro_f1(p, part, tau) for p in own))
            for part in ("validation", "test")
            for tau in DECISIONS.values()
        ]

    table = _by_method(proof, [f"{name}, {part}" for part in ("validation", "test") for name in DECISIONS], row)
    bounds = {label: estimate(found["macro_f1"]).bounds for label, found in proof.bootstrap.methods.items()}
    rows = tuple((label, (*cells, bounds[label])) for label, cells in table.rows)
    return Table((*table.columns, "95% interval of argmax, test"), rows)


def _calibration(proof: Evidence) -> Table:
    """Errors of the probabilities on test images before and after the correction that validation chose."""
    measures = {"ece": "ECE", "nll": "NLL", "brier": "Brier score"}

    def row(own: tuple[Proof, ...]) -> list[str]:
        times = Counter(p.judged.rule.correction for p in own)
        chosen = "; ".join(f"{c} ({n} of {len(own)})" if len(times) > 1 else c for c, n in times.most_common())
        found: list[tuple[dict[str, Any], str]] = [
            (calibrations(p.val, p.judged.test, p.run.prior), p.judged.rule.correction) for p in own
        ]
        pairs = [
            (_mean(all_["none"]["test"][m] for all_, _ in found), _mean(all_[c]["test"][m] for all_, c in found))
            for m in measures
        ]
        return [chosen, *(f"{decimal(before)} {ARROW} {decimal(after)}" for before, after in pairs)]

    return _by_method(proof, ["correction", *measures.values()], row)


def _expected(proof: Evidence, names: Sequence[str]) -> Table:
    """How many test images of each class there should be by the sum of its probabilities, before and after."""

    def cell(own: tuple[Proof, ...], name: str) -> str:
        runs = [p.judged for p in own if name in p.judged.rare]
        if not runs:
            return MISSING
        k = proof.test.classes.index(name)
        before = _mean(r.rule.uncorrected.probabilities(r.test.logits)[:, k].sum() for r in runs)
        after = _mean(r.rule.probabilities(r.test.logits)[:, k].sum() for r in runs)
        return f"{before:.0f} {ARROW} {after:.0f}"

    columns = [f"{name} (there are {int(_truth(proof, name).sum())})" for name in names]
    return _by_method(proof, columns, lambda own: [cell(own, name) for name in names])


def _versus(proof: Evidence, reference: str, names: Sequence[str]) -> Versus:
    """What every method has more than the reference on the same resampled test images."""
    found = proof.bootstrap.differences[reference]
    statistics = {
        "average_precision": "average precision",
        "recall_at_precision": f"recall at {percent(proof.target)} precision",
        "recall": "recall of argmax",
    }

    def row(title: str, statistic: str) -> Row:
        return Row(title, tuple(estimate(found[label].get(statistic), sign=True) for label in found))

    blocks = tuple(Block(c, "", tuple(row(title, f"{s}:{c}") for s, title in statistics.items())) for c in names)
    return Versus(reference, tuple(found), row("macro-F1", "macro_f1"), blocks)


def _rivals(proof: Evidence, name: str) -> Block:
    """The classes that a class is confused with most by all methods together, a line for each."""
    k, classes = proof.test.classes.index(name), len(proof.test.classes)
    confusions = {
        label: np.mean([_confusion(p, classes) for p in runs], axis=0)
        for label in proof.proofs
        if (runs := _where_rare(proof, label, name))
    }
    both = np.sum([c[k] + c[:, k] for c in confusions.values()], axis=0)
    both[k] = 0
    order = [int(j) for j in np.argsort(-both, kind="stable")[:RIVALS] if both[j] > 0]

    def cell(label: str, j: int) -> Estimate:
        if label not in confusions:
            return Estimate(MISSING)
        counts = confusions[label]
        apart = [told_apart(p.judged.test, k, j) for p in _where_rare(proof, label, name)]
        known = [a for a in apart if a is not None]
        return Estimate(f"{counts[k, j]:.3g} / {counts[j, k]:.3g}", decimal(_mean(known)) if known else MISSING)

    rows = tuple(Row(proof.test.classes[j], tuple(cell(label, j) for label in proof.proofs)) for j in order)
    return Block(name, "", rows)


def _confusion(p: Proof, classes: int) -> npt.NDArray[np.int64]:
    test = p.judged.test
    return Metrics.of(test.labels, p.judged.rule.decide(test.logits), classes).confusion


def _errors(proof: Evidence) -> tuple[tuple[Errors, ...], list[Aside]]:
    """The worst errors of each method's first run that kept pictures of them."""
    found, asides = [], []
    for label, own in proof.proofs.items():
        for p in own:
            try:
                faces = _faces(p)
            except InputError as error:
                asides.append(Aside(p.run.name, f"its worst errors only; {error}"))
                continue
            if faces:
                found.append(Errors(label, p.run.spec.seed, max(p.run.image_shape[1:]) <= PIXELATED, faces))
                break
    return tuple(found), asides


def _faces(p: Proof) -> tuple[Face, ...]:
    if p.run.folder is None:
        return ()
    try:
        pictures = load_errors(p.run.folder)
    except UNREADABLE as error:
        raise InputError(f"errors.safetensors: {reason(error)}") from error
    if any(picture.shape != p.run.image_shape for picture in pictures.values()):
        raise InputError("errors.safetensors: pictures of another size")
    return tuple(
        Face(
            picture=png(pictures[error["item"]], THUMBNAIL),
            item=error["item"],
            name=error["class"],
            own=probability(error["own_probability"]),
            taken_for=error["taken_for"],
            probability=probability(error["probability"]),
        )
        for error in worst_errors(p.judged)
        if error["item"] in pictures
    )
