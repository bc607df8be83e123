"""Paired differences of a grid: by data variant over seeds, and by data set."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from underdog.reporting.grid_runs import Column, Grid, Measure, Row
from underdog.reporting.grid_sheets import MEASURES, Cell, Line, Record, Setup, Sheet, head_of, head_titles, row_record
from underdog.reporting.statistics import (
    ALPHA,
    ENOUGH_METHODS,
    ENOUGH_SETS,
    Comparison,
    Ranking,
    against,
    ranking,
    smallest_p,
)
from underdog.reporting.summary import ENOUGH_SEEDS, Spread
from underdog.reporting.verdict import CONTROL
from underdog.reporting.words import decimal, enumerated, plural, signed

__all__ = ["REFERENCE", "OverSets", "difference", "difference_sheets", "fair", "over_sets", "over_sets_sheets"]

REFERENCE = "ros"

FEW = (
    f"Below {ENOUGH_SEEDS} seeds the differences themselves stand in an interval's place: a bootstrap of three covers the "
    "true mean in 75% of cases, not 95%."
)
STUDENT = (
    f"From {ENOUGH_SEEDS} pairs on: Student's 95% interval of the mean difference, which assumes normal differences. "
    "Intervals are not corrected for their number."
)


SHARED = (
    "Several runs share a choice of data, so that spread and intervals say less of other choices than those of as many runs "
    "with data of their own."
)


def difference(row: Row, own: Column, other: Column, measure: Measure, selection: str) -> Spread | None:
    """A method minus another on a data variant, seed by seed; None without a common seed."""
    found = row.paired(own, other, measure, selection)
    if found is None:
        return None
    _, ours, theirs = found
    return Spread(tuple(a - b for a, b in zip(ours.values, theirs.values, strict=True)))


def fair(grid: Grid, ours: Column, other: Column) -> bool:
    """Whether AOS is held against a column: the control at another eps says nothing, but where each has an eps of its own."""
    return other.method != CONTROL or (ours.main and other.main) or grid.alike(ours, other)


def difference_sheets(setup: Setup) -> tuple[Sheet, ...]:
    """Every method against oversampling, and AOS against every method, by each measure."""
    columns = setup.grid.columns
    reference = setup.grid.column(REFERENCE)
    found = []
    for measure in MEASURES:
        if reference is not None:
            others = [c for c in columns if c != reference]
            pairs = [(c, reference) for c in others]
            found.append(_sheet(setup, measure, pairs, f"minus {REFERENCE}", [c.label for c in others]))
        for ours in (c for c in columns if c.method == "aos"):
            others = [c for c in columns if c not in (ours, reference) and fair(setup.grid, ours, c)]
            pairs = [(ours, c) for c in others]
            found.append(
                _sheet(setup, measure, pairs, f"{ours.label} minus each", [f"minus {c.label}" for c in others])
            )
    return tuple(sheet for sheet in found if sheet.columns)


def _sheet(setup: Setup, measure: Measure, pairs: list[tuple[Column, Column]], what: str, titles: list[str]) -> Sheet:
    rows = setup.grid.rows
    lines, records, sizes = [], [], set()
    for row in rows:
        cells = []
        for own, other in pairs:
            spread = difference(row, own, other, measure, setup.selection)
            cells.append(_cell(spread, measure.digits))
            if spread is not None:
                sizes.add(spread.n)
                records.append(_record(row, own, other, spread))
        lines.append(Line(head_of(row, rows), tuple(cells)))
    n = f"n = {min(sizes)}" if len(sizes) == 1 else f"n from {min(sizes, default=0)} to {max(sizes, default=0)}"
    remarks = [f"Mean of the differences of runs with the same seed, so the same data and first weights; {n}."]
    remarks += [STUDENT] if max(sizes, default=0) >= ENOUGH_SEEDS else []
    remarks += [FEW] if min(sizes, default=0) < ENOUGH_SEEDS else []
    remarks += [SHARED] if any(_shares_data(row) for row in rows) else []
    name = f"paired-{measure.name}-{re.sub('[^a-z0-9]+', '-', what)}-{setup.name}"
    title = f"Paired differences in {measure.title}, {what}: {setup.title}"
    return Sheet(name, title, tuple(remarks), head_titles(rows), tuple(titles), tuple(lines), tuple(records))


def _shares_data(row: Row) -> bool:
    return any(len({run.key.data_seed for run in runs}) < len(runs) for runs in row.cells.values())


def _cell(spread: Spread | None, digits: int) -> Cell:
    if spread is None:
        return Cell()
    if (bounds := spread.interval) is not None:
        return Cell(signed(spread.mean, digits), f"{signed(bounds[0], digits)} to {signed(bounds[1], digits)}")
    return Cell(signed(spread.mean, digits), " ".join(signed(v, digits) for v in spread.values) if spread.n > 1 else "")


def _record(row: Row, own: Column, other: Column, spread: Spread) -> Record:
    low, high = spread.interval or (None, None)
    return {
        **row_record(row),
        "method": own.label,
        "minus": other.label,
        "n": spread.n,
        "mean": spread.mean,
        "sd": spread.sd,
        "low_95": low,
        "high_95": high,
        "values": json.dumps(spread.values),
    }


@dataclass(frozen=True)
class OverSets:
    """A measure over data sets: each method's score on each, and the tests where there are sets enough.

    Attributes:
        scores: by method that has runs in every variant, its mean over the variants of each data set.
        datasets: their names.
        said: what is tested, or why nothing is.
        comparisons: with ``REFERENCE``; empty where none is made.
        ranking: of all methods, or None.
    """

    measure: Measure
    datasets: tuple[str, ...]
    scores: Mapping[str, tuple[float, ...]]
    said: str
    comparisons: tuple[Comparison, ...] = ()
    ranking: Ranking | None = None


def over_sets(setup: Setup, measure: Measure) -> OverSets:
    """Average each data set's variants first, since those are not independent, and test from six data sets on."""
    grid = setup.grid
    names = grid.datasets
    found = {c.label: [_on(grid, d, c, measure, setup.selection) for d in names] for c in grid.columns}
    scores = {label: tuple(v for v in own if v is not None) for label, own in found.items() if None not in own}
    if (why := _too_few(len(names), len(grid.rows), scores)) is not None:
        return OverSets(measure, names, scores, why)
    comparisons = against(scores, REFERENCE) if REFERENCE in scores else ()
    ranks = ranking(scores) if len(scores) >= ENOUGH_METHODS else None
    return OverSets(measure, names, scores, _tested(len(names), comparisons, ranks), comparisons, ranks)


def _on(grid: Grid, dataset: str, column: Column, measure: Measure, selection: str) -> float | None:
    rows = [row for row in grid.rows if row.dataset == dataset]
    return grid.average(rows, column, measure, selection)


def _too_few(sets: int, variants: int, scores: Mapping[str, object]) -> str | None:
    if sets < ENOUGH_SETS:
        many = (
            f"{variants} variants of {plural(sets, 'data set')} are not {variants} data sets" if variants > sets else ""
        )
        reach = f"with {plural(sets, 'data set')} the smallest two-sided p that a signed-rank test can give is {smallest_p(sets):g}"
        return f"No test over data sets is made: {reach}{'; ' + many if many else ''}."
    if len(scores) < 2:
        return "No test over data sets is made: fewer than two methods have runs in every data variant."
    return None


def _tested(sets: int, comparisons: tuple[Comparison, ...], ranks: Ranking | None) -> str:
    said = f"Over {sets} data sets, each the mean of its variants."
    if comparisons:
        found = [f"{c.label} p = {c.p:.3g} ({c.adjusted:.3g})" for c in comparisons]
        said += (
            f" Wilcoxon's signed-rank test against {REFERENCE}, two-sided, and in brackets with Holm's correction for "
            f"{plural(len(comparisons), 'comparison')}: {enumerated(found)}."
        )
    if ranks is not None:
        said += (
            f" Friedman's test that all methods rank alike: statistic {ranks.statistic:.3g}, p = {ranks.p:.3g}; mean ranks that "
            f"differ by less than {decimal(ranks.critical_difference, 2)} are not told apart (Nemenyi, {ALPHA:g})."
        )
    return said


def over_sets_sheets(setup: Setup, found: Iterable[OverSets]) -> tuple[Sheet, ...]:
    """Differences to oversampling by data set, and what tests say of them."""
    return tuple(_over_sets_sheet(setup, own) for own in found if REFERENCE in own.scores and len(own.scores) > 1)


def _over_sets_sheet(setup: Setup, found: OverSets) -> Sheet:
    base = found.scores[REFERENCE]
    digits = found.measure.digits
    others = [label for label in found.scores if label != REFERENCE]
    tests = {c.label: c for c in found.comparisons}
    lines, records = [], []
    for i, dataset in enumerate(found.datasets):
        lines.append(Line((dataset,), tuple(Cell(signed(found.scores[o][i] - base[i], digits)) for o in others)))
        records += [_set_record("data set", dataset, o, found.scores[o][i] - base[i]) for o in others]
    if tests:
        lines.append(Line(("p, Wilcoxon",), tuple(Cell(f"{tests[o].p:.3g}") for o in others), average=True))
        lines.append(Line(("p, Holm",), tuple(Cell(f"{tests[o].adjusted:.3g}") for o in others), average=True))
        records += [_set_record("p", "", o, tests[o].p) for o in others]
        records += [_set_record("p holm", "", o, tests[o].adjusted) for o in others]
    if found.ranking is not None:
        ranks = found.ranking.ranks
        lines.append(
            Line(
                (f"mean rank ({REFERENCE} {ranks[REFERENCE]:.2f})",),
                tuple(Cell(f"{ranks[o]:.2f}") for o in others),
                True,
            )
        )
        records += [_set_record("mean rank", "", o, rank) for o, rank in ranks.items()]
    return Sheet(
        name=f"sets-{found.measure.name}-{setup.name}",
        title=f"{found.measure.title} minus that of {REFERENCE}, by data set: {setup.title}",
        remarks=(found.said,),
        head=("data set",),
        columns=tuple(others),
        lines=tuple(lines),
        records=tuple(records),
    )


def _set_record(line: str, dataset: str, label: str, value: float) -> Record:
    return {"line": line, "dataset": dataset, "column": label, "value": value}
