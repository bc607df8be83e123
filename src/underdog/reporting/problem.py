"""Everything that a report says of one problem, as numbers and names: pages, texts and JSON are made of this alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np

from underdog.reporting.collect import Aside
from underdog.reporting.decision import Decision, decision
from underdog.reporting.images import Pictures, pictures
from underdog.reporting.methods import about
from underdog.reporting.searches import Search, searches
from underdog.reporting.summary import COSTS, SCORES, Difference, Group, Spread, Variant, difference
from underdog.reporting.verdict import CONTROL, REFERENCES, Verdict, verdict
from underdog.run.saved import Curve, Run
from underdog.run.spec import Replicate, RunSpec
from underdog.run.tune import Study

__all__ = ["ClassRecall", "MethodScores", "Mistakes", "Note", "Problem", "Recall", "ShownImages", "problem_of"]

#: With more classes than this a matrix is not readable, and the rare classes' commonest mistakes are listed.
LARGEST_MATRIX = 20
#: Rare classes listed there, at most, and mistakes for each.
LISTED, MISTAKES = 40, 3
T = TypeVar("T")


@dataclass(frozen=True)
class MethodScores:
    """The runs of one method as it was set.

    Attributes:
        method: the names of its parts.
        expression, budget: how it was set.
        replicates: the seeds and fold of each run, in the order of the values of every spread.
        best, last: scores at the best epoch by validation macro-F1, and at the last one, see ``SCORES``; None where a run has none.
        cost: what the training took, see ``COSTS``.
        curves: epoch by epoch, of the runs whose epochs could be read.
    """

    method: str
    expression: str
    budget: str
    replicates: tuple[Replicate, ...]
    best: Mapping[str, Spread | None]
    last: Mapping[str, Spread | None]
    cost: Mapping[str, Spread | None]
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class Recall:
    """Recalls of a class: of all runs with test images of it, of those with which it is rare, and of the others."""

    every: Spread | None
    rare: Spread | None
    other: Spread | None


@dataclass(frozen=True)
class ClassRecall:
    """A class, with how many of the replicates it is rare, and its recall at the best epoch by method."""

    name: str
    rare: int
    methods: Mapping[str, Recall]


@dataclass(frozen=True)
class Mistakes:
    """A method's answers to images of a rare class: how many there are, how many are right, and the commonest mistakes."""

    name: str
    images: int
    right: int
    taken_for: Mapping[str, int]


@dataclass(frozen=True)
class ShownImages:
    """Training images of each class at one replicate, as they are and as each method shows them in its last epoch."""

    replicate: Replicate
    vary: bool
    rare: tuple[str, ...]
    train: tuple[int, ...]
    shown: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Note:
    """What runs remarked, and how many of them did."""

    text: str
    runs: int


@dataclass(frozen=True)
class Problem:
    """What runs on the same data with the same settings say, but for method and seed.

    Attributes:
        title: tells it from the report's other problems.
        settings: those in common; what it says of method, budget and seeds means nothing.
        sources, image_shape: of the data.
        images: in each part; several numbers where runs differ.
        classes: (K,) names.
        replicates: every seed and fold.
        rare: the names of the classes that are rare, for each replicate.
        part: which images scores are of, "test" or "validation".
        runs: how many.
        verdict: the page's first sentences.
        about: what the parts of the methods do.
        methods: by label, in the page's order.
        differences: paired differences in macro-F1 at the best epoch to every reference.
        recalls: of each class.
        confusions: (K, K) counts by method, rows the true class, summed over runs; none with more than 20 classes.
        mistakes: the rare classes' by method, where there are no confusions.
        sizes: training images of each class.
        decision: what acting on an image needs; None without predictions of test images.
        galleries: altered images.
        searches: how parameters came about.
        notes: remarks of the runs.
        altered_rows, unmoved_rows: images that were altered, and those of them that do not differ from their originals.
        environment: versions and the like; several where runs differ.
    """

    title: str
    settings: RunSpec
    sources: tuple[str, ...]
    image_shape: tuple[int, int, int]
    images: Mapping[str, tuple[int, ...]]
    classes: tuple[str, ...]
    replicates: tuple[Replicate, ...]
    rare: tuple[tuple[str, ...], ...]
    part: str
    runs: int
    verdict: Verdict
    about: Mapping[str, str]
    methods: Mapping[str, MethodScores]
    differences: tuple[Difference, ...]
    recalls: tuple[ClassRecall, ...]
    confusions: Mapping[str, tuple[tuple[int, ...], ...]]
    mistakes: Mapping[str, tuple[Mistakes, ...]]
    sizes: ShownImages
    decision: Decision | None
    galleries: tuple[Pictures, ...]
    searches: tuple[Search, ...]
    notes: tuple[Note, ...]
    altered_rows: int
    unmoved_rows: int
    environment: Mapping[str, tuple[str, ...]]

    @property
    def mixed(self) -> bool:
        """Whether some class is rare with some of the replicates only."""
        return any(c.rare not in (0, len(self.replicates)) for c in self.recalls)


def problem_of(
    variant: Variant,
    everything: Sequence[Variant] = (),
    tuning: Iterable[Run] = (),
    studies: Iterable[Study] = (),
    target: float | None = None,
) -> tuple[Problem, list[Aside]]:
    """What a variant's runs say, and what had to be set aside.

    Args:
        variant: the runs.
        everything: all variants of the report, of which the title tells this one apart.
        tuning, studies: what may have chosen parameters.
        target: the precision that thresholds have to reach on validation; that of the runs by default.
    """
    runs = variant.runs
    shown = [pictures(group) for group in variant.groups]
    decided, unread = decision(variant, target)
    minority = {key: variant.minority(key) for key in variant.keys}
    rare = [sum(k in own for own in minority.values()) for k in range(len(variant.classes))]
    few = len(variant.classes) <= LARGEST_MATRIX
    listed = [] if few else [k for k, times in enumerate(rare) if times][:LISTED]
    problem = Problem(
        title=_title(variant, everything),
        settings=variant.spec,
        sources=_distinct(run.source for run in runs),
        image_shape=runs[0].image_shape,
        images={p: _distinct(r.sizes[p] for r in runs if p in r.sizes) for p in ("train", "val", "test")},
        classes=variant.classes,
        replicates=variant.keys,
        rare=tuple(tuple(variant.classes[k] for k in sorted(own)) for own in minority.values()),
        part=runs[0].part,
        runs=len(runs),
        verdict=verdict(variant),
        about={part: text for group in variant.groups for part, text in about(group.method).items()},
        methods={group.label: _scores(group) for group in variant.groups},
        differences=_differences(variant),
        recalls=tuple(_recall(variant, k, times) for k, times in enumerate(rare)),
        confusions={g.label: _confusion(g) for g in variant.groups} if few else {},
        mistakes={}
        if few
        else {g.label: tuple(_mistakes(g, k, variant.classes) for k in listed) for g in variant.groups},
        sizes=_sizes(variant),
        decision=decided,
        galleries=tuple(gallery for gallery, _ in shown if gallery is not None),
        searches=searches(variant, tuning, studies),
        notes=tuple(Note(*own) for own in Counter(n for r in runs for n in dict.fromkeys(r.notes)).items()),
        altered_rows=sum(run.altered_rows for run in runs),
        unmoved_rows=sum(run.zero_gradients for run in runs),
        environment={
            name: _distinct(r.environment.get(name, "") for r in runs)
            for name in dict.fromkeys(n for r in runs for n in r.environment)
        },
    )
    return problem, [*unread, *(aside for _, own in shown for aside in own)]


def _distinct(values: Iterable[T]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(values))


def _title(variant: Variant, everything: Iterable[Variant]) -> str:
    """The source, what is rare in it, and the settings in which the other variants differ."""
    own, others = variant.spec, [v for v in everything if v is not variant]
    plain = [f.name for f in fields(RunSpec) if f.name not in ("data", "rho", "mu")]
    differing = [n for n in plain if any(getattr(o.spec, n) != getattr(own, n) for o in others)]
    said = [f"{n} {_setting(getattr(own, n))}" for n in differing]
    if any(_source(o) == _source(variant) and o.spec.data != own.data for o in others):
        said.append(f"data {own.data[:8]}")
    return f"{_source(variant)}: {', '.join([_imbalance(variant), *said])}"


def _source(variant: Variant) -> str:
    return " or ".join(_distinct(run.source for run in variant.runs))


def _setting(value: object) -> str:
    if isinstance(value, tuple):
        return " + ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _imbalance(variant: Variant) -> str:
    """Which share of the classes is rare, and by how much."""
    rare = sorted({len(variant.minority(key)) for key in variant.keys})
    what = f"{' or '.join(map(str, rare))} of {len(variant.classes)} classes rare"
    if variant.spec.rho is None:
        return f"{what}, natural counts"
    return f"{what}, with 1/{variant.spec.rho:g} of the others' images"


def _scores(group: Group) -> MethodScores:
    spec = group.runs[0].spec
    return MethodScores(
        method=group.method,
        expression=spec.method,
        budget=spec.budget,
        replicates=tuple(run.key for run in group.runs),
        best={s.name: group.spread(s) for s in SCORES},
        last={s.name: group.spread(s, last=True) for s in SCORES},
        cost={c.name: group.spread(c) for c in COSTS},
        curves=tuple(run.curve for run in group.runs if run.curve is not None),
    )


def _differences(variant: Variant) -> tuple[Difference, ...]:
    references = [g for method in (*REFERENCES, CONTROL) if (g := variant.group(method)) is not None]
    pairs = [(g, reference) for reference in references for g in variant.groups if g is not reference]
    return tuple(d for g, reference in pairs if (d := difference(g, reference)) is not None)


def _recall(variant: Variant, k: int, times: int) -> ClassRecall:
    def spread(group: Group, counts: Callable[[Run], bool]) -> Spread | None:
        found = [float(r.best.recall[k]) for r in group.runs if r.best.support[k] > 0 and counts(r)]
        return Spread(tuple(found)) if found else None

    methods = {
        g.label: Recall(
            spread(g, lambda run: True),
            spread(g, lambda run: k in run.minority),
            spread(g, lambda run: k not in run.minority),
        )
        for g in variant.groups
    }
    return ClassRecall(variant.classes[k], times, methods)


def _confusion(group: Group) -> tuple[tuple[int, ...], ...]:
    return tuple(map(tuple, np.sum([run.best.confusion for run in group.runs], axis=0).tolist()))


def _mistakes(group: Group, k: int, classes: Sequence[str]) -> Mistakes:
    """Over the runs with which the class is rare."""
    row = np.sum([run.best.confusion[k] for run in group.runs if k in run.minority] or [[0] * len(classes)], axis=0)
    others = [j for j in np.argsort(-row, kind="stable").tolist() if j != k and row[j] > 0]
    return Mistakes(classes[k], int(row.sum()), int(row[k]), {classes[j]: int(row[j]) for j in others[:MISTAKES]})


def _sizes(variant: Variant) -> ShownImages:
    """Class sizes at the first replicate, for the methods that have it."""
    key = variant.keys[0]
    found = {group.label: run for group in variant.groups for run in group.runs if run.key == key}
    return ShownImages(
        replicate=key,
        vary=len({run.train for run in variant.runs}) > 1,
        rare=tuple(variant.classes[k] for k in sorted(variant.minority(key))),
        train=next(iter(found.values())).train,
        shown={label: run.shown for label, run in found.items()},
    )
