"""The tables of a grid: the paper's Tables 2 to 6 with its results beside ours, and differences by data variant and data set."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from underdog.methods.expression import parse
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
from underdog.reporting.grid.verdict import fair, wins
from underdog.reporting.methods import but_eps, details, eps_text
from underdog.reporting.statistics import OverSets
from underdog.reporting.summary import ENOUGH_SEEDS, Score, Spread
from underdog.reporting.words import MISSING, decimal, enumerated, plural, signed
from underdog.run.spec import RunSpec, differing, settings_text

__all__ = ["Cell", "Line", "Sheet", "sheets", "variant_sheet"]

MEANS = "Mean ± sample standard deviation over runs, n"
BOLD = "test images. Bold is the highest of a line as printed, whatever the spread."
GAPS = f"An average is given only where a method has runs in every line it is of; a dash ({MISSING}) is a cell without runs."
NO_FIGURES = "The paper trained for equal epochs and scored the best of them, so it has no figures to put beside these."
SHARED = (
    "Several runs share a choice of data, so that spread and intervals say less of other choices than those of as many runs with "
    "data of their own."
)
#: The paper's table of each score.
TABLES = {"f1": paper.F1, "g-mean": paper.G_MEAN}


class Cell(NamedTuple):
    """A result as text, what stands small below it, and whether it is the highest of its line."""

    text: str = MISSING
    beside: str = ""
    highest: bool = False


class Line(NamedTuple):
    """A line of a table; an average stands apart from what it is the average of."""

    head: tuple[str, ...]
    cells: tuple[Cell, ...]
    average: bool = False


class Sheet(NamedTuple):
    """A table for every format, by the name of its files: texts for readers, and for programs records with full precision."""

    name: str
    title: str
    remarks: tuple[str, ...]
    head: tuple[str, ...]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    records: tuple[Record, ...]


class Records(NamedTuple):
    """A line before it is written: what it is, its records by column, and whether it is an average."""

    head: tuple[str, ...]
    records: Mapping[Any, Record]
    average: bool = False


def _sheet(
    what: tuple[str, str],
    of: tuple[str, str],
    remarks: Iterable[str],
    head: tuple[str, ...],
    columns: Mapping[Any, str],
    lines: Iterable[Records],
    write: Callable[[Record], Cell],
) -> Sheet:
    """A table of records: ``write`` puts each in words, and ``columns`` has the titles in order."""
    lines = list(lines)
    shown = (
        Line(n.head, tuple(write(n.records[c]) if c in n.records else Cell() for c in columns), n.average)
        for n in lines
    )
    return Sheet(
        name=f"{what[0]}-{of[0]}",
        title=f"{what[1]}: {of[1]}",
        remarks=tuple(remarks),
        head=head,
        columns=tuple(columns.values()),
        lines=tuple(shown),
        records=tuple(record for line in lines for record in line.records.values()),
    )


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


def _labels(grid: Arrangement) -> dict[MethodColumn, str]:
    return {c: c.label for c in grid.columns}


def _score_sheet(grid: Arrangement, score: Score) -> Sheet:
    """Means, standard deviations and averages, as the paper's Tables 3 and 5."""
    sizes = {len(runs) for row in grid.rows for runs in row.cells.values()}
    n = f"= {min(sizes)} in every cell" if len(sizes) == 1 else f"from {min(sizes)} to {max(sizes)}, said in each cell"
    gaps = [GAPS] if any(c not in r.cells for r in grid.rows for c in grid.columns) else []
    remarks = [f"{MEANS} {n}; {BOLD}", *gaps, *_on_scores(grid, score)]
    found = _sheet(
        score[:2],
        grid.names,
        remarks,
        grid.head,
        _labels(grid),
        _score_lines(grid, score),
        _score(score.digits, len(sizes) > 1),
    )
    return found._replace(lines=tuple(map(_highest, found.lines)))


def _score_lines(grid: Arrangement, score: Score) -> Iterator[Records]:
    """Every data variant, after each family its average, and that of all."""
    for family in grid.families:
        yield from (_variant_line(grid, score, i) for i in family)
        rows = [grid.rows[i] for i in family]
        theirs = _printed(grid, score, rows, rows[0].dataset)
        own = _records({"line": "average", **rows[0].record, "mu": None}, grid.averages(score, family), theirs)
        yield Records(grid.head_of(rows[0], "average", ""), own, average=True)
    if len(grid.families) > 1:
        theirs = _printed(grid, score, grid.rows, paper.GLOBAL)
        line = {"line": "all", "dataset": "", "rho": None, "mu": None, "settings": ""}
        own = _records(line, grid.averages(score, *grid.families), theirs)
        yield Records(("all", MISSING, "average", "")[: len(grid.head)], own, average=True)


def _variant_line(grid: Arrangement, score: Score, i: int) -> Records:
    row = grid.rows[i]
    line = {"line": "variant", **row.record}
    return Records(grid.head_of(row), _records(line, grid.spreads(score, i), _printed(grid, score, [row])))


def _records(
    line: Record, found: Mapping[MethodColumn, Spread | float], theirs: Mapping[str, float]
) -> dict[MethodColumn, Record]:
    """Our spreads or means of a line by column, with the paper's."""
    records = {}
    for column, own in found.items():
        published = theirs.get(column.label)
        numbers: Record = _numbers(own) if isinstance(own, Spread) else {"n": None, "mean": own, "sd": None}
        numbers |= {"published": published, "difference": None if published is None else numbers["mean"] - published}
        records[column] = {**line, "column": column.label, "method": column.method, **numbers}
    return records


def _numbers(found: Spread) -> Record:
    return {"n": found.n, "mean": found.mean, "sd": found.sd}


def _score(digits: int, sizes: bool) -> Callable[[Record], Cell]:
    """Writes a mean and its spread; with the number of runs where that differs."""

    def write(record: Record) -> Cell:
        sd = "" if record["sd"] is None else f" ± {decimal(record['sd'], digits)}"
        small = [f"n {record['n']}"] if sizes and record["n"] else []
        if (theirs := record.get("published")) is not None:
            small.append(f"paper {decimal(theirs, digits)}, {signed(record['difference'], digits)}")
        return Cell(decimal(record["mean"], digits) + sd, "; ".join(small))

    return write


def _highest(line: Line) -> Line:
    """Mark the highest results of a line, as they are printed."""
    means = [-math.inf if c == Cell() else float(c.text.split(" ")[0]) for c in line.cells]
    several = sum(map(math.isfinite, means)) > 1
    cells = (c._replace(highest=several and m == max(means)) for c, m in zip(line.cells, means, strict=True))
    return line._replace(cells=tuple(cells))


def _cost_sheet(grid: Arrangement, score: Score, of: tuple[str, str], remark: str) -> Sheet:
    """Means of what is counted, such as updates."""
    lines = (_variant_line(grid, score, i) for i in range(len(grid.rows)))
    return _sheet(
        score[:2], of, [remark], grid.head, _labels(grid), lines, lambda r: Cell(f"{r['mean']:,.{score.digits}f}")
    )


def _wins_sheet(grid: Arrangement, score: Score) -> Sheet:
    """On how many data variants the method of a line wins against that of a column, as the paper's Tables 4 and 6."""
    counted = (
        f"Wins/ties/losses of the line's method against the column's, over {plural(len(grid.rows), 'data variant')}, by the "
        f"means of the seeds that both have. A tie is a pair of means that print alike at {score.digits} decimals. Variants of "
        "one data set are not independent, so this is a count, not a test."
    )
    lines = (Records((c.label,), {o: _wins(grid, score, c, o) for o in grid.columns if o != c}) for c in grid.columns)
    what, remarks = (f"wins-{score.name}", f"Wins/ties/losses by {score.title}"), [counted, *_on_wins(grid, score)]
    return _sheet(what, grid.names, remarks, ("method",), _labels(grid), lines, _win)


def _wins(grid: Arrangement, score: Score, own: MethodColumn, other: MethodColumn) -> Record:
    """Our count and the paper's, which is of those of the same data variants that it has."""
    pairs = grid.pairs(score, own, other)
    printed = [_printed(grid, score, [grid.rows[i]]) for i in pairs]
    both = [(p[own.label], p[other.label]) for p in printed if {own.label, other.label} <= p.keys()]
    ours, theirs = wins(score, pairs), paper.record(both, score.digits) if both else (None, None, None)
    names = ("wins", "ties", "losses")
    return {
        "method": own.label,
        "other": other.label,
        "variants": len(pairs),
        **dict(zip(names, ours, strict=True)),
        "published_variants": len(both),
        **{f"published_{name}": count for name, count in zip(names, theirs, strict=True)},
    }


def _win(record: Record) -> Cell:
    ours, theirs = ([record[f"{who}{name}"] for name in ("wins", "ties", "losses")] for who in ("", "published_"))
    rows, known = record["variants"], record["published_variants"]
    more = f", {signed(ours[0] - theirs[0], 0)}" if known and known == rows else f" on {known}"
    return Cell(_joined(ours, "/"), f"paper {_joined(theirs, '/')}{more}" if known else "") if rows else Cell()


def _eps_sheet(grid: Arrangement) -> Sheet:
    """What the figures of macro-F1 by eps show."""
    columns = {eps: eps_text(eps) for eps in sorted(set(grid.swept["eps"]))}
    lines = []
    for (i, c), own in grid.swept.groupby(["row", "column"], sort=False):
        said = [{"method": c.method, "eps": r.eps, "tau": r.tau, **_numbers(r.spread)} for r in own.itertuples()]
        head = (*grid.head_of(grid.rows[i]), c.label)
        lines.append(Records(head, {r["eps"]: grid.rows[i].record | r for r in said}))
    remark = f"{MEANS} in each cell; test images, so the highest eps here is chosen in hindsight."
    what, head, write = ("f1-by-eps", "Macro-F1 by eps"), (*grid.head, "method"), _score(F1.digits, sizes=True)
    return _sheet(what, grid.names, [remark], head, columns, lines, write)


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
    named = f"paired-{score.name}-{re.sub('[^a-z0-9]+', '-', what)}", f"Paired differences in {score.title}, {what}"
    lines = (
        Records(grid.head_of(row), {p: row.record | _difference(*p, own[i]) for p, own in found.items() if i in own})
        for i, row in enumerate(grid.rows)
    )
    remarks = (text for text in said if said[text])
    return _sheet(named, grid.names, remarks, grid.head, pairs, lines, lambda r: _gap(r, score.digits))


def _difference(own: MethodColumn, other: MethodColumn, found: Spread) -> Record:
    low, high = found.interval or (None, None)
    bounds = {"low_95": low, "high_95": high, "values": found.values}
    return {"method": own.label, "minus": other.label, **_numbers(found), **bounds}


def _gap(record: Record, digits: int) -> Cell:
    values, bounds = record["values"], [record["low_95"], record["high_95"]]
    interval = "" if None in bounds else " to ".join(signed(v, digits) for v in bounds)
    each = " ".join(signed(v, digits) for v in values) if len(values) > 1 else ""
    return Cell(signed(record["mean"], digits), interval or each)


def _sets_sheet(grid: Arrangement, score: Score, found: OverSets) -> Sheet:
    """Differences to oversampling by data set, and what tests say of them."""
    scores, others = found.scores, {label: label for label in found.scores if label != REFERENCE}

    def line(head: str, kind: str, dataset: str, values: Mapping[str, float]) -> Records:
        made = {c: {"line": kind, "dataset": dataset, "column": c, "value": v} for c, v in values.items()}
        return Records((head,), made, kind != "data set")

    lines = [
        line(name, "data set", name, {c: scores[c][i] - scores[REFERENCE][i] for c in others})
        for i, name in enumerate(grid.datasets)
    ]
    if found.comparisons:
        lines.append(line("p, Wilcoxon", "p", "", {c.label: c.p for c in found.comparisons}))
        lines.append(line("p, Holm", "p holm", "", {c.label: c.adjusted for c in found.comparisons}))
    if found.ranking is not None:
        ranks = found.ranking.ranks
        lines.append(line(f"mean rank ({REFERENCE} {ranks[REFERENCE]:.2f})", "mean rank", "", ranks))

    def write(record: Record) -> Cell:
        value = record["value"]
        texts = {"data set": signed(value, score.digits), "mean rank": f"{value:.2f}"}
        return Cell(texts.get(record["line"], f"{value:.3g}"))

    what = f"sets-{score.name}", f"{score.title} minus that of {REFERENCE}, by data set"
    return _sheet(what, grid.names, [found.said], ("data set",), others, lines, write)


def variant_sheet(grid: Arrangement) -> Sheet:
    """How the networks of each data variant were trained, as the paper's Table 2."""
    names = f"variants-{grid.budget}", f"Data variants and training: {BUDGETS[grid.budget]}"
    training = list(map(_training, grid.rows))
    texts = ([MISSING if v in (None, "") else str(v) for v in own.values()] for own in training)
    lines = tuple(Line(grid.head_of(row), tuple(map(Cell, own))) for row, own in zip(grid.rows, texts, strict=True))
    records = tuple(row.record | own for row, own in zip(grid.rows, training, strict=True))
    seeds = "Seeds: of the runs; where they say so, of the data."
    chosen = "Settings of methods are those at which they stand in the tables."
    table = "The paper's column is its Table 2; it says nothing of eps and the batch."
    remarks = (seeds, chosen, table)[: 3 if any(map(_variant, grid.rows)) else 2]
    return Sheet(*names, remarks, grid.head, tuple(training[0]), lines, records)


def _training(row: DataRow) -> Record:
    spec, runs, key = row.spec, row.variant.runs, _variant(row)
    theirs = key and paper.published().settings[key]
    chosen = {c.label: details(own[0].spec.expression) for c, own in row.cells.items()}
    return {
        "images a majority class": spec.majority_size or _joined(sorted({max(r.train) for r in runs})),
        "images a rare class": _joined(sorted({min((r.train[k] for k in r.minority), default=0) for r in runs})),
        "classes": len(row.variant.classes),
        "image": _joined(runs[0].image_shape, " x "),
        "epochs": spec.epochs,
        "lr": f"{spec.lr:g}",
        "batch": spec.batch,
        "network": f"{spec.model}, width {spec.width:g}",
        "precision": spec.precision,
        "settings of methods": "; ".join(f"{label}: {text}" for label, text in chosen.items() if text),
        "seeds": _joined(sorted({run.key for run in runs}), ", "),
        "the paper": theirs and f"{theirs.epochs} epochs, lr {theirs.lr:g}, tau {theirs.tau:g}",
    }


def _joined(values: Iterable[object], by: str = " or ") -> str:
    return by.join(map(str, values))


def _variant(row: DataRow) -> paper.Variant | None:
    """The variant of the paper that a row is, or None."""
    keys = () if row.spec.majority_size is not None else paper.published().settings
    return next((key for key in keys if key == (row.dataset, row.spec.rho, row.spec.mu)), None)


def _table(grid: Arrangement, score: Score) -> int | None:
    """The number of the paper's table of this kind, if it has one: it trained for equal epochs and scored the best."""
    return TABLES[score.name] if score.name in TABLES and (grid.budget, grid.last) == ("epochs", False) else None


def _printed(grid: Arrangement, score: Score, rows: Sequence[DataRow], over: str = "") -> Mapping[str, float]:
    """By method the paper's scores of a row, or its averages over a data set or all; none where these are not its rows."""
    table, keys, known = _table(grid, score), list(map(_variant, rows)), paper.published()
    if table is None:
        return {}
    if not over:
        return {} if keys[0] is None else known.scores[table][keys[0]]
    return known.averages_of(table, over, keys)


def _on_scores(grid: Arrangement, score: Score) -> list[str]:
    """To which lines the paper has figures, and what is known of these."""
    if (table := _table(grid, score)) is None:
        return [NO_FIGURES]
    wrong = [
        f"Table {table}'s average of {m.column} on {m.row} is printed as {m.printed}; its lines give {m.correct}, which is used "
        "here."
        for m in paper.published().misprints
        if m.table == table
    ]
    known = [f"Below: the paper's Table {table}, means of 3 runs, and ours minus it.", *wrong, *_departures(grid)]
    without = [grid.rows[f[0]].name for f in grid.families if not any(_variant(grid.rows[i]) for i in f)]
    unknown = [f"The paper has no figures for {enumerated(without)}."] if without else []
    return [*(known if any(map(_variant, grid.rows)) else []), *unknown]


def _on_wins(grid: Arrangement, score: Score) -> list[str]:
    """What the paper's counts are, where it has any."""
    if (table := _table(grid, score)) is None or not any(map(_variant, grid.rows)):
        return []
    misprints = (m for m in paper.published().misprints if m.table == table + 1)
    wrong = enumerated([f"{m.row}-{m.column} {m.correct} (printed {m.printed})" for m in misprints])
    return [
        f"Below: the same count from the paper's Table {table} on the variants that correspond, and, where all do, our wins "
        f"minus its. The paper's Table {table + 1} prints wins/losses; by Table {table} it must read {wrong}.",
        *_departures(grid),
    ]


def _departures(grid: Arrangement) -> list[str]:
    """Where runs beside which the paper's figures stand were made otherwise."""
    found = [(text, f"{row.dataset} mu {row.spec.mu:g}") for row in grid.rows for text in _departures_of(row)]
    places = {text: ", ".join(place for other, place in found if other == text) for text, _ in found}
    alike = {place: [text for text in places if places[text] == place] for place in places.values()}
    each = [f"{place}: {enumerated(texts)}" for place, texts in alike.items()]
    why = "the grid paper has what the paper says, and batches of 128 and float32, of which it says nothing"
    return [f"Not as the paper, whose figures are beside ours all the same ({why}): {'; '.join(each)}."] if each else []


def _departures_of(row: DataRow) -> Iterator[str]:
    """In what the runs are not what the grid ``paper`` makes of this variant, which is Table 2 where that says it."""
    if (key := _variant(row)) is None:
        return
    settings, images = paper.published().settings[key], paper.published().images[row.dataset]
    spec, run = row.spec, row.variant.runs[0]
    wanted = RunSpec(spec.data, spec.method, rho=spec.rho, mu=spec.mu, epochs=settings.epochs, lr=settings.lr)
    for name in (name for name in differing([spec, wanted]) if name not in ("revision", "devices")):
        yield f"{settings_text(spec, [name])} instead of {settings_text(wanted, [name]).removeprefix(f'{name} ')}"
    if run.image_shape != images.shape:
        yield f"images of {_joined(run.image_shape, ' x ')} instead of {_joined(images.shape, ' x ')}"
    if len(run.classes) != images.classes:
        yield f"{len(run.classes)} classes instead of {images.classes}"
    for label, runs in ((c.label, runs) for c, runs in row.cells.items() if c.label in paper.METHODS):
        usual = parse(f"aos(tau={settings.tau})" if label == "aos" else label)
        if (own := but_eps(runs[0].spec.expression)) != usual:
            yield f"{label} {details(own) or 'as usual'} instead of {details(usual) or 'as usual'}"
