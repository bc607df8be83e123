"""The tables of a grid: the paper's Tables 2 to 6 with its results beside ours, and differences by data variant and data set."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from underdog.reporting import published as paper
from underdog.reporting.grid.arrange import (
    BUDGETS,
    COSTS,
    F1,
    MEASURES,
    REFERENCE,
    Arrangement,
    DataRow,
    MethodColumn,
    Record,
)
from underdog.reporting.grid.beside import joined, on_scores, on_wins, paper_variant, printed
from underdog.reporting.grid.verdict import fair, wins
from underdog.reporting.methods import details, eps_text
from underdog.reporting.statistics import OverSets
from underdog.reporting.summary import ENOUGH_SEEDS, Score, Spread
from underdog.reporting.words import MISSING, decimal, plural, signed

__all__ = ["Cell", "Line", "Sheet", "sheets", "variant_sheet"]

MEANS = "Mean ± sample standard deviation over runs, n"
BOLD = "test images. Bold is the highest of a line as printed, whatever the spread."
GAPS = f"An average is given only where a method has runs in every line it is of; a dash ({MISSING}) is a cell without runs."
SHARED = (
    "Several runs share a choice of data, so that spread and intervals say less of other choices than those of as many runs with "
    "data of their own."
)


class Cell(NamedTuple):
    """A result as text, what stands small below it, whether it is the highest of its line, and the same for programs."""

    text: str = MISSING
    beside: str = ""
    highest: bool = False
    record: Record | None = None


class Line(NamedTuple):
    """A line of a table, its results by column; an average stands apart from what it is the average of."""

    head: tuple[str, ...]
    found: Mapping[Any, Cell]
    average: bool = False


class Sheet(NamedTuple):
    """A table for every format.

    Attributes:
        name: of its files.
        title, remarks: above and below it.
        head: titles of what says what a line is.
        titles: of the columns, in order.
        lines: from top to bottom.
    """

    name: str
    title: str
    remarks: Sequence[str]
    head: tuple[str, ...]
    titles: Mapping[Any, str]
    lines: Sequence[Line]

    @property
    def columns(self) -> tuple[str, ...]:
        """The titles of all columns."""
        return *self.head, *self.titles.values()

    def cells(self, line: Line) -> list[Cell]:
        """The results of a line in every column, a dash where there is none."""
        return [line.found.get(c, Cell()) for c in self.titles]

    @property
    def records(self) -> list[Record]:
        """With full precision, for programs."""
        return [cell.record for line in self.lines for cell in line.found.values() if cell.record is not None]


def sheets(grid: Arrangement, tested: Mapping[Score, OverSets]) -> Iterator[Sheet]:
    """Every table of a budget and a selection."""
    if len(grid.swept):
        yield _eps_sheet(grid)
    if not grid.columns:
        return
    for score in MEASURES:
        yield _score_sheet(grid, score)
        yield _wins_sheet(grid, score)
    yield _cost_sheet(grid, COSTS[0], grid.names, "Mean over runs; test images. With one such class G-mean is 0.")
    if not grid.last:  # at the last epoch it is the same
        yield _cost_sheet(grid, COSTS[1], (grid.budget, BUDGETS[grid.budget]), "Mean over runs.")
    yield from _difference_sheets(grid)
    yield from (_sets_sheet(grid, *own) for own in tested.items() if {REFERENCE} < own[1].scores.keys())


def _named(grid: Arrangement, name: str, title: str) -> tuple[str, str]:
    """The name and the title of a table of this budget and selection."""
    return f"{name}-{grid.names[0]}", f"{title}: {grid.names[1]}"


def _labels(grid: Arrangement) -> dict[MethodColumn, str]:
    return {c: c.label for c in grid.columns}


def _score_sheet(grid: Arrangement, score: Score) -> Sheet:
    """Means, standard deviations and averages, as the paper's Tables 3 and 5."""
    sizes = {len(runs) for row in grid.rows for runs in row.cells.values()}
    n = f"= {min(sizes)} in every cell" if len(sizes) == 1 else f"from {min(sizes)} to {max(sizes)}, said in each cell"
    gaps = [GAPS] if any(c not in r.cells for r in grid.rows for c in grid.columns) else []
    remarks = [f"{MEANS} {n}; {BOLD}", *gaps, *on_scores(grid, score)]
    lines = [_highest(line) for line in _score_lines(grid, score, len(sizes) > 1)]
    return Sheet(*_named(grid, score.name, score.title), remarks, grid.head, _labels(grid), lines)


def _score_lines(grid: Arrangement, score: Score, sizes: bool) -> Iterator[Line]:
    """Every data variant, after each family its average, and that of all."""

    def line(
        head: tuple[str, ...], what: Record, found: Mapping[MethodColumn, Spread | float], theirs: Mapping[str, float]
    ) -> Line:
        records = {c: what | _scored(c, own, theirs) for c, own in found.items()}
        return Line(head, {c: _score(r, score.digits, sizes) for c, r in records.items()}, what["line"] != "variant")

    for family in grid.families:
        rows = [grid.rows[i] for i in family]
        for i, row in zip(family, rows, strict=True):
            what = {"line": "variant", **row.record}
            yield line(grid.head_of(row), what, grid.spreads(score, i), printed(grid, score, [row]))
        what = {"line": "average", **rows[0].record, "mu": None}
        theirs = printed(grid, score, rows, rows[0].dataset)
        yield line(grid.head_of(rows[0], "average", ""), what, grid.averages(score, family), theirs)
    if len(grid.families) > 1:
        what = {"line": "all", "dataset": "", "rho": None, "mu": None, "settings": ""}
        theirs = printed(grid, score, grid.rows, paper.GLOBAL)
        head = ("all", MISSING, "average", "")[: len(grid.head)]
        yield line(head, what, grid.averages(score, *grid.families), theirs)


def _scored(column: MethodColumn, found: Spread | float, theirs: Mapping[str, float]) -> Record:
    """Our spread or mean, with the paper's."""
    record = {"column": column.label, "method": column.method, **_numbers(found)}
    printed = theirs.get(column.label)
    return record | {"published": printed, "difference": None if printed is None else record["mean"] - printed}


def _numbers(found: Spread | float) -> Record:
    if isinstance(found, Spread):
        return {"n": found.n, "mean": found.mean, "sd": found.sd}
    return {"n": None, "mean": found, "sd": None}


def _score(record: Record, digits: int, sizes: bool) -> Cell:
    """A mean and its spread; with the number of runs where that differs."""
    sd = "" if record["sd"] is None else f" ± {decimal(record['sd'], digits)}"
    small = [f"n {record['n']}"] if sizes and record["n"] else []
    if (theirs := record.get("published")) is not None:
        small.append(f"paper {decimal(theirs, digits)}, {signed(record['difference'], digits)}")
    return Cell(decimal(record["mean"], digits) + sd, "; ".join(small), record=record)


def _highest(line: Line) -> Line:
    """Mark the highest results of a line, as they are printed."""
    means = {c: float(cell.text.split(" ")[0]) for c, cell in line.found.items()}
    top = max(means.values()) if len(means) > 1 else None
    return line._replace(found={c: cell._replace(highest=means[c] == top) for c, cell in line.found.items()})


def _cost_sheet(grid: Arrangement, score: Score, of: tuple[str, str], remark: str) -> Sheet:
    """Means of what is counted, such as updates."""
    lines = []
    for i, row in enumerate(grid.rows):
        own = {c: {"line": "variant", **row.record, **_scored(c, s, {})} for c, s in grid.spreads(score, i).items()}
        cells = {c: Cell(f"{r['mean']:,.{score.digits}f}", record=r) for c, r in own.items()}
        lines.append(Line(grid.head_of(row), cells))
    return Sheet(f"{score.name}-{of[0]}", f"{score.title}: {of[1]}", [remark], grid.head, _labels(grid), lines)


def _wins_sheet(grid: Arrangement, score: Score) -> Sheet:
    """On how many data variants the method of a line wins against that of a column, as the paper's Tables 4 and 6."""
    counted = (
        f"Wins/ties/losses of the line's method against the column's, over {plural(len(grid.rows), 'data variant')}, by the "
        f"means of the seeds that both have. A tie is a pair of means that print alike at {score.digits} decimals. Variants of "
        "one data set are not independent, so this is a count, not a test."
    )
    lines = [Line((c.label,), {o: _wins(grid, score, c, o) for o in grid.columns if o != c}) for c in grid.columns]
    named = _named(grid, f"wins-{score.name}", f"Wins/ties/losses by {score.title}")
    return Sheet(*named, [counted, *on_wins(grid, score)], ("method",), _labels(grid), lines)


def _wins(grid: Arrangement, score: Score, own: MethodColumn, other: MethodColumn) -> Cell:
    """Our count and the paper's, which is of those of the same data variants that it has."""
    pairs = grid.pairs(score, own, other)
    published = [printed(grid, score, [grid.rows[i]]) for i in pairs]
    both = [(p[own.label], p[other.label]) for p in published if {own.label, other.label} <= p.keys()]
    ours, theirs = wins(score, pairs), paper.record(both, score.digits) if both else None
    names = ("wins", "ties", "losses")
    record = {"method": own.label, "other": other.label, "variants": len(pairs)}
    record |= dict(zip(names, ours, strict=True)) | {"published_variants": len(both)}
    record |= {f"published_{name}": theirs and theirs[i] for i, name in enumerate(names)}
    if not pairs:
        return Cell(record=record)
    beside = ""
    if theirs:
        more = f", {signed(ours[0] - theirs[0], 0)}" if len(both) == len(pairs) else f" on {len(both)}"
        beside = f"paper {joined(theirs, '/')}{more}"
    return Cell(joined(ours, "/"), beside, record=record)


def _eps_sheet(grid: Arrangement) -> Sheet:
    """What the figures of macro-F1 by eps show."""
    lines = []
    for (i, c), own in grid.swept.groupby(["row", "column"], sort=False):
        row, said = grid.rows[i], {r.eps: {"eps": r.eps, "tau": r.tau, **_numbers(r.spread)} for r in own.itertuples()}
        records = {eps: row.record | {"method": c.method} | record for eps, record in said.items()}
        cells = {eps: _score(record, F1.digits, sizes=True) for eps, record in records.items()}
        lines.append(Line((*grid.head_of(row), c.label), cells))
    titles = {eps: eps_text(eps) for eps in sorted(set(grid.swept["eps"]))}
    remark = f"{MEANS} in each cell; test images, so the highest eps here is chosen in hindsight."
    return Sheet(*_named(grid, "f1-by-eps", "Macro-F1 by eps"), [remark], (*grid.head, "method"), titles, lines)


def _difference_sheets(grid: Arrangement) -> Iterator[Sheet]:
    """Every method against oversampling, and AOS against every method, by each score."""
    reference = grid.column(REFERENCE)
    others = [c for c in grid.columns if c != reference]
    for score in MEASURES:
        if reference is not None and others:
            yield _difference_sheet(grid, score, f"minus {REFERENCE}", {(c, reference): c.label for c in others})
        for ours in (c for c in others if c.method == "aos"):
            if pairs := {(ours, c): f"minus {c.label}" for c in others if c != ours and fair(grid, ours, c)}:
                yield _difference_sheet(grid, score, f"{ours.label} minus each", pairs)


def _difference_sheet(
    grid: Arrangement, score: Score, what: str, pairs: Mapping[tuple[MethodColumn, MethodColumn], str]
) -> Sheet:
    found = {pair: {i: p.difference for i, p in grid.pairs(score, *pair).items()} for pair in pairs}
    sizes = {s.n for own in found.values() for s in own.values()} or {0}
    n = f"n = {min(sizes)}" if len(sizes - {0}) == 1 else f"n from {min(sizes)} to {max(sizes)}"
    shared = any(len({r.key.data_seed for r in runs}) < len(runs) for row in grid.rows for runs in row.cells.values())
    said = {
        f"Mean of the differences of runs with the same seed, so the same data and first weights; {n}.": True,
        f"From {ENOUGH_SEEDS} pairs on: Student's 95% interval of the mean difference, which assumes normal differences. "
        "Intervals are not corrected for their number.": max(sizes) >= ENOUGH_SEEDS,
        f"Below {ENOUGH_SEEDS} seeds the differences themselves stand in an interval's place: a bootstrap of three covers the "
        "true mean in 75% of cases, not 95%.": min(sizes) < ENOUGH_SEEDS,
        SHARED: shared,
    }
    lines = [
        Line(grid.head_of(row), {p: _gap(row.record, *p, own[i], score.digits) for p, own in found.items() if i in own})
        for i, row in enumerate(grid.rows)
    ]
    name = f"paired-{score.name}-{re.sub('[^a-z0-9]+', '-', what)}"
    named = _named(grid, name, f"Paired differences in {score.title}, {what}")
    return Sheet(*named, [text for text in said if said[text]], grid.head, pairs, lines)


def _gap(row: Record, own: MethodColumn, other: MethodColumn, found: Spread, digits: int) -> Cell:
    """A mean difference, and its interval or else the differences."""
    low, high = found.interval or (None, None)
    record = row | {"method": own.label, "minus": other.label, **_numbers(found)}
    record |= {"low_95": low, "high_95": high, "values": found.values}
    each = " ".join(signed(v, digits) for v in found.values) if found.n > 1 else ""
    beside = " to ".join(signed(v, digits) for v in found.interval) if found.interval else each
    return Cell(signed(found.mean, digits), beside, record=record)


def _sets_sheet(grid: Arrangement, score: Score, found: OverSets) -> Sheet:
    """Differences to oversampling by data set, and what tests say of them."""
    scores, others = found.scores, [label for label in found.scores if label != REFERENCE]

    def line(
        head: str, kind: str, values: Mapping[str, float], write: Callable[[float], str], dataset: str = ""
    ) -> Line:
        record = {"line": kind, "dataset": dataset}
        cells = {c: Cell(write(v), record=record | {"column": c, "value": v}) for c, v in values.items()}
        return Line((head,), cells, kind != "data set")

    lines = []
    for i, name in enumerate(grid.datasets):
        gaps = {c: scores[c][i] - scores[REFERENCE][i] for c in others}
        lines.append(line(name, "data set", gaps, lambda gap: signed(gap, score.digits), name))
    if found.comparisons:
        lines.append(line("p, Wilcoxon", "p", {c.label: c.p for c in found.comparisons}, "{:.3g}".format))
        lines.append(line("p, Holm", "p holm", {c.label: c.adjusted for c in found.comparisons}, "{:.3g}".format))
    if found.ranking is not None:
        ranks = found.ranking.ranks
        lines.append(line(f"mean rank ({REFERENCE} {ranks[REFERENCE]:.2f})", "mean rank", ranks, "{:.2f}".format))
    named = _named(grid, f"sets-{score.name}", f"{score.title} minus that of {REFERENCE}, by data set")
    return Sheet(*named, [found.said], ("data set",), {label: label for label in others}, lines)


def variant_sheet(grid: Arrangement) -> Sheet:
    """How the networks of each data variant were trained, as the paper's Table 2."""
    training = [_training(row) for row in grid.rows]
    lines = []
    for row, own in zip(grid.rows, training, strict=True):
        cells = {title: Cell(MISSING if value in (None, "") else str(value)) for title, value in own.items()}
        first = next(iter(own))
        cells[first] = cells[first]._replace(record=row.record | own)
        lines.append(Line(grid.head_of(row), cells))
    remarks = ["Seeds: of the runs; where they say so, of the data."]
    remarks.append("Settings of methods are those at which they stand in the tables.")
    if any(map(paper_variant, grid.rows)):
        remarks.append("The paper's column is its Table 2; it says nothing of eps and the batch.")
    title = f"Data variants and training: {BUDGETS[grid.budget]}"
    return Sheet(f"variants-{grid.budget}", title, remarks, grid.head, {t: t for t in training[0]}, lines)


def _training(row: DataRow) -> Record:
    spec, runs, key = row.spec, row.variant.runs, paper_variant(row)
    theirs = key and paper.published().settings[key]
    chosen = {c.label: details(own[0].spec.expression) for c, own in row.cells.items()}
    return {
        "images a majority class": spec.majority_size or joined(sorted({max(r.train) for r in runs})),
        "images a rare class": joined(sorted({min((r.train[k] for k in r.minority), default=0) for r in runs})),
        "classes": len(row.variant.classes),
        "image": joined(runs[0].image_shape, " x "),
        "epochs": spec.epochs,
        "lr": f"{spec.lr:g}",
        "batch": spec.batch,
        "network": f"{spec.model}, width {spec.width:g}",
        "precision": spec.precision,
        "settings of methods": "; ".join(f"{label}: {text}" for label, text in chosen.items() if text),
        "seeds": joined(sorted({run.key for run in runs}), ", "),
        "the paper": theirs and f"{theirs.epochs} epochs, lr {theirs.lr:g}, tau {theirs.tau:g}",
    }
