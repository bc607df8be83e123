"""Tables by class: recalls, confusions and sizes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from underdog.reporting.summary import Group, Spread, Variant
from underdog.reporting.words import MISSING, decimal, thousands

__all__ = [
    "LARGEST_MATRIX",
    "Cell",
    "ClassRow",
    "Confusion",
    "Mistakes",
    "Recalls",
    "Sizes",
    "class_sizes",
    "confusions",
    "matrix_width",
    "mistakes",
    "recalls",
]

#: With more classes than this a matrix is not readable, and the rare classes' commonest mistakes are listed.
LARGEST_MATRIX = 20
#: Rare classes listed there, at most, and mistakes for each.
LISTED, MISTAKES = 40, 3
#: Shares below this are left blank in a matrix.
SMALLEST_SHARE = 0.005


@dataclass(frozen=True)
class Cell:
    """A figure and the depth of its colour in [0, 1]; empty ones have no colour."""

    text: str
    depth: float = 0.0

    @property
    def alpha(self) -> str:
        """Opacity of the colour: squared, so that high shares, where most lie, can be told apart; text stays readable."""
        return f"{0.6 * self.depth**2:.3g}"


EMPTY = Cell("")


@dataclass(frozen=True)
class ClassRow:
    """A class, a remark on when it is rare (empty if never), and its figures."""

    name: str
    rare: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Recalls:
    """Mean recall of each class by method.

    Where a class is rare with some seeds only, every row has a cell for each method over the seeds where
    the class is rare, then one for each over the others (``mixed``).
    """

    mixed: bool
    rows: tuple[ClassRow, ...]


@dataclass(frozen=True)
class Confusion:
    """One method's predictions, rows the true classes, as shares of the row."""

    label: str
    rows: tuple[ClassRow, ...]


@dataclass(frozen=True)
class Answers:
    """What a method said of the images of a class: the share that is right, and its commonest mistakes."""

    name: str
    recall: Cell
    mistakes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Mistakes:
    """One method's answers to images of the rare classes."""

    label: str
    rows: tuple[Answers, ...]


@dataclass(frozen=True)
class Sizes:
    """Training images of each class before resampling, then as shown in an epoch by each method, at one seed."""

    seed: int
    data_seed: int
    vary: bool
    labels: tuple[str, ...]
    rows: tuple[ClassRow, ...]


def rare_in(variant: Variant, k: int) -> str:
    """How many of the seeds a class is rare with: empty for none, "rare" for all."""
    times = sum(k in variant.minority(key) for key in variant.keys)
    if times == 0:
        return ""
    return "rare" if times == len(variant.keys) else f"rare in {times} of {len(variant.keys)}"


def _recall(values: Iterable[float]) -> Cell:
    found = tuple(values)
    return Cell(decimal(Spread(found).mean), Spread(found).mean) if found else Cell(MISSING)


def recalls(variant: Variant) -> Recalls:
    """Recall of each class at the best epoch, averaged over seeds; a dash where there is nothing to average."""
    remarks = [rare_in(variant, k) for k in range(len(variant.classes))]
    mixed = any(remark not in ("", "rare") for remark in remarks)

    def cells(k: int, states: tuple[bool, ...]) -> tuple[Cell, ...]:
        return tuple(
            _recall(
                float(run.best.recall[k])
                for run in group.runs
                if run.best.support[k] > 0 and (not mixed or (k in run.minority) is rare)
            )
            for rare in states
            for group in variant.groups
        )

    states = (True, False) if mixed else (True,)
    return Recalls(
        mixed,
        tuple(ClassRow(c, remarks[k], cells(k, states)) for k, c in enumerate(variant.classes)),
    )


def _total(group: Group) -> npt.NDArray[np.int64]:
    total: npt.NDArray[np.int64] = np.sum([run.best.confusion for run in group.runs], axis=0)
    return total


def _share(count: int, of: int) -> Cell:
    share = count / of if of else 0.0
    return Cell(f"{100 * share:.0f}", share) if share >= SMALLEST_SHARE else EMPTY


def confusions(variant: Variant) -> tuple[Confusion, ...]:
    """A matrix for each method, summed over seeds, in percent of each true class; none with too many classes."""
    if len(variant.classes) > LARGEST_MATRIX:
        return ()
    remarks = [rare_in(variant, k) for k in range(len(variant.classes))]

    def rows(total: npt.NDArray[np.int64]) -> tuple[ClassRow, ...]:
        return tuple(
            ClassRow(c, remarks[k], tuple(_share(int(n), int(total[k].sum())) for n in total[k]))
            for k, c in enumerate(variant.classes)
        )

    return tuple(Confusion(group.label, rows(_total(group))) for group in variant.groups)


def matrix_width(classes: tuple[str, ...]) -> float:
    """About how wide a matrix with its row names is on the page, in rem."""
    return round(1.5 + 1.95 * len(classes) + 0.45 * min(max(map(len, classes)), 17), 1)


def mistakes(variant: Variant) -> tuple[Mistakes, ...]:
    """The rare classes' rows of matrices that are too large to show, over the seeds where each class is rare."""
    if len(variant.classes) <= LARGEST_MATRIX:
        return ()
    rare = [k for k in range(len(variant.classes)) if rare_in(variant, k)][:LISTED]
    return tuple(Mistakes(g.label, tuple(_mistakes(g, k, variant) for k in rare)) for g in variant.groups)


def _mistakes(group: Group, k: int, variant: Variant) -> Answers:
    counted = [run.best.confusion[k] for run in group.runs if k in run.minority]
    row: npt.NDArray[np.int64] = np.sum(counted, axis=0) if counted else np.zeros(len(variant.classes), dtype=np.int64)
    others = [int(j) for j in np.argsort(-row, kind="stable") if j != k and row[j] > 0]
    said = tuple((variant.classes[j], f"{100 * row[j] / row.sum():.0f}%") for j in others[:MISTAKES])
    recall = Cell(f"{100 * row[k] / row.sum():.0f}", float(row[k] / row.sum())) if row.sum() else Cell(MISSING)
    return Answers(variant.classes[k], recall, said)


def class_sizes(variant: Variant) -> Sizes:
    """Class sizes at the first seed, for the methods that have it."""
    key = variant.keys[0]
    found = [(group.label, run) for group in variant.groups for run in group.runs if run.key == key]
    minority, before = variant.minority(key), found[0][1].train
    largest = max(*before, *(max(run.shown) for _, run in found), 1)

    def cell(n: int) -> Cell:
        return Cell(thousands(n), n / largest)

    return Sizes(
        seed=key[0],
        data_seed=key[1],
        vary=len({run.train for run in variant.runs}) > 1,
        labels=tuple(label for label, _ in found),
        rows=tuple(
            ClassRow(c, "rare" if k in minority else "", (cell(before[k]), *(cell(run.shown[k]) for _, run in found)))
            for k, c in enumerate(variant.classes)
        ),
    )
