"""The tables of a grid: the paper's Tables 2 to 6 with its figures beside ours, and differences by data variant and data set."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from underdog.methods.expression import parse
from underdog.reporting import published as paper
from underdog.reporting.grid_arrange import BUDGETS, COSTS, F1, MEASURES, REFERENCE, Column, Grid, Measure, Record, Row
from underdog.reporting.grid_verdict import fair
from underdog.reporting.methods import but_eps, details, eps_text
from underdog.reporting.statistics import OverSets
from underdog.reporting.summary import ENOUGH_SEEDS, Spread
from underdog.reporting.words import MISSING, decimal, enumerated, plural, signed
from underdog.run.spec import RunSpec, differing, settings_text

__all__ = ["Cell", "Line", "Sheet", "sheets", "variant_sheet"]

MEANS = "Mean ± sample standard deviation over runs, n"
BOLD = "test images. Bold is the highest of a line as printed, whatever the spread."
GAPS = f"An average is given only where a method has runs in every line it is of; a dash ({MISSING}) is a cell without runs."
NO_FIGURES = "The paper trained for equal epochs and scored the best of them, so it has no figures to put beside these."


class Cell(NamedTuple):
    """A figure as text, what stands small below it, and whether it is the highest of its line."""

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


#: What a line is, its records by column, and whether it is an average.
Records = tuple[tuple[str, ...], Mapping[Any, Record], bool]


def _sheet(
    what: tuple[str, str], of: tuple[str, str], remarks: Iterable[str], head: tuple[str, ...],
    columns: Mapping[Any, str], lines: Iterable[Records], write: Callable[[Record], Cell],
) -> Sheet:  # fmt: skip
    """A table of records: ``write`` puts each in words, and ``columns`` has the titles in order."""
    lines = list(lines)
    cells = [tuple(write(own[c]) if c in own else Cell() for c in columns) for _, own, _ in lines]
    shown = tuple(Line(texts, own, average) for own, (texts, _, average) in zip(cells, lines, strict=True))
    records = tuple(record for _, own, _ in lines for record in own.values())
    name, title = f"{what[0]}-{of[0]}", f"{what[1]}: {of[1]}"
    return Sheet(name, title, tuple(remarks), head, tuple(columns.values()), shown, records)


def sheets(grid: Grid, tested: Mapping[Measure, OverSets]) -> Iterator[Sheet]:
    """Every table of a budget and a selection."""
    if len(grid.by_eps):
        yield _eps_sheet(grid)
    if not grid.columns:
        return
    for measure in MEASURES:
        yield _score_sheet(grid, measure)
        yield _wins_sheet(grid, measure)
    yield _cost_sheet(grid, COSTS[0], grid.names, "Mean over runs; test images. With one such class G-mean is 0.")
    if grid.selection == "best":  # at the last epoch it is the same
        yield _cost_sheet(grid, COSTS[1], (grid.budget, BUDGETS[grid.budget]), "Mean over runs.")
    yield from _difference_sheets(grid)
    yield from (_sets_sheet(grid, *own) for own in tested.items() if {REFERENCE} < own[1].scores.keys())


def _score_sheet(grid: Grid, measure: Measure) -> Sheet:
    """Means, standard deviations and averages, as the paper's Tables 3 and 5."""
    sizes = {len(runs) for row in grid.rows for runs in row.cells.values()}
    n = f"= {min(sizes)} in every cell" if len(sizes) == 1 else f"from {min(sizes)} to {max(sizes)}, said in each cell"
    gaps = [GAPS] if any(c not in r.cells for r in grid.rows for c in grid.columns) else []
    remarks = [f"{MEANS} {n}; {BOLD}", *gaps, *_on_scores(grid, measure)]
    labels, write = {c: c.label for c in grid.columns}, partial(_score, measure.digits, len(sizes) > 1)
    found = _sheet(measure[:2], grid.names, remarks, grid.head, labels, _score_lines(grid, measure), write)
    return found._replace(lines=tuple(map(_highest, found.lines)))


def _score_lines(grid: Grid, measure: Measure) -> Iterator[Records]:
    """Every data variant, after each family its average, and that of all."""
    for family in grid.families:
        yield from (_variant_line(grid, measure, i) for i in family)
        rows = [grid.rows[i] for i in family]
        theirs, own = _printed(grid, measure, rows, rows[0].dataset), {"line": "average", **rows[0].record, "mu": None}
        yield grid.head_of(rows[0], "average", ""), _records(own, grid.average(measure, family), theirs), True
    if len(grid.families) > 1:
        theirs = _printed(grid, measure, grid.rows, paper.GLOBAL)
        own = {"line": "all", "dataset": "", "rho": None, "mu": None, "settings": ""}
        head = ("all", MISSING, "average", "")[: len(grid.head)]
        yield head, _records(own, grid.average(measure, *grid.families), theirs), True


def _variant_line(grid: Grid, measure: Measure, i: int) -> Records:
    row, spreads = grid.rows[i], grid.spreads.loc[measure.name, i]
    records = _records({"line": "variant", **row.record}, spreads, _printed(grid, measure, [row]))
    return grid.head_of(row), records, False


def _records(line: Record, found: Any, theirs: Mapping[str, float]) -> dict[Column, Record]:
    """Our spreads or means of a line by column, with the paper's."""
    records = {}
    for column, own in found.dropna().items():
        score = theirs.get(column.label)
        figures = _figures(own) if isinstance(own, Spread) else {"n": None, "mean": own, "sd": None}
        figures |= {"published": score, "difference": None if score is None else figures["mean"] - score}
        records[column] = {**line, "column": column.label, "method": column.method, **figures}
    return records


def _figures(found: Spread) -> Record:
    return {"n": found.n, "mean": found.mean, "sd": found.sd}


def _score(digits: int, sizes: bool, record: Record) -> Cell:
    sd = "" if record["sd"] is None else f" ± {decimal(record['sd'], digits)}"
    small = [f"n {record['n']}"] if sizes and record["n"] else []
    if (theirs := record.get("published")) is not None:
        small.append(f"paper {decimal(theirs, digits)}, {signed(record['difference'], digits)}")
    return Cell(decimal(record["mean"], digits) + sd, "; ".join(small))


def _highest(line: Line) -> Line:
    """Mark the highest figures of a line, as they are printed."""
    means = [-math.inf if c == Cell() else float(c.text.split(" ")[0]) for c in line.cells]
    several = sum(map(math.isfinite, means)) > 1
    cells = (c._replace(highest=several and m == max(means)) for c, m in zip(line.cells, means, strict=True))
    return line._replace(cells=tuple(cells))


def _cost_sheet(grid: Grid, measure: Measure, of: tuple[str, str], remark: str) -> Sheet:
    """Means of what is counted, such as updates."""
    lines, labels = (_variant_line(grid, measure, i) for i in range(len(grid.rows))), {c: c.label for c in grid.columns}
    return _sheet(
        measure[:2], of, [remark], grid.head, labels, lines, lambda r: Cell(f"{r['mean']:,.{measure.digits}f}")
    )


def _wins_sheet(grid: Grid, measure: Measure) -> Sheet:
    """On how many data variants the method of a line wins against that of a column, as the paper's Tables 4 and 6."""
    what = f"wins-{measure.name}", f"Wins/ties/losses by {measure.title}"
    counted = (
        f"Wins/ties/losses of the line's method against the column's, over {plural(len(grid.rows), 'data variant')}, by the "
        f"means of the seeds that both have. A tie is a pair of means that print alike at {measure.digits} decimals. Variants of "
        "one data set are not independent, so this is a count, not a test."
    )
    labels = {c: c.label for c in grid.columns}
    lines = (((c.label,), {o: _wins(grid, measure, c, o) for o in labels if o != c}, False) for c in labels)
    return _sheet(what, grid.names, [counted, *_on_wins(grid, measure)], ("method",), labels, lines, _win)


def _wins(grid: Grid, measure: Measure, own: Column, other: Column) -> Record:
    """Our count and the paper's, which is of those of the same data variants that it has."""
    rows = list(grid.differences(measure, own, other))
    scores = [_printed(grid, measure, [grid.rows[i]]) for i in rows]
    both = [(p[own.label], p[other.label]) for p in scores if {own.label, other.label} <= p.keys()]
    names, record = ("wins", "ties", "losses"), {"method": own.label, "other": other.label, "variants": len(rows)}
    record |= dict(zip(names, grid.wins(measure, own, other), strict=True)) | {"published_variants": len(both)}
    theirs = paper.record(both, measure.digits) if both else (None, None, None)
    return record | {f"published_{name}": count for name, count in zip(names, theirs, strict=True)}


def _win(record: Record) -> Cell:
    _, _, rows, *ours, known, wins, ties, losses = record.values()  # in the order of the CSV file
    more = f", {signed(ours[0] - wins, 0)}" if known and known == rows else f" on {known}"
    beside = f"paper {wins}/{ties}/{losses}{more}" if known else ""
    return Cell(_joined(ours, "/"), beside) if rows else Cell()


def _eps_sheet(grid: Grid) -> Sheet:
    """What the figures of macro-F1 by eps show."""
    what, write = ("f1-by-eps", "Macro-F1 by eps"), partial(_score, F1.digits, True)
    columns = {eps: eps_text(eps) for eps in sorted(set(grid.by_eps["eps"]))}
    lines = []
    for (i, c), own in grid.by_eps.groupby(["row", "column"], sort=False):
        said = ({"method": c.method, "eps": r.eps, "tau": r.tau, **_figures(r.value)} for r in own.itertuples())
        lines.append(((*grid.head_of(grid.rows[i]), c.label), {r["eps"]: grid.rows[i].record | r for r in said}, False))
    remark = f"{MEANS} in each cell; test images, so the highest eps here is chosen in hindsight."
    return _sheet(what, grid.names, [remark], (*grid.head, "method"), columns, lines, write)


def _difference_sheets(grid: Grid) -> Iterator[Sheet]:
    """Every method against oversampling, and AOS against every method, by each measure."""
    reference = grid.column(REFERENCE)
    others = [c for c in grid.columns if c != reference]
    for measure in MEASURES:
        if reference is not None and others:
            yield _difference_sheet(grid, measure, f"minus {REFERENCE}", {(c, reference): c.label for c in others})
        for ours in (c for c in others if c.method == "aos"):
            if pairs := {(ours, c): f"minus {c.label}" for c in others if c != ours and fair(grid, ours, c)}:
                yield _difference_sheet(grid, measure, f"{ours.label} minus each", pairs)


def _difference_sheet(grid: Grid, measure: Measure, what: str, pairs: Mapping[tuple[Column, Column], str]) -> Sheet:
    found = {pair: grid.differences(measure, *pair) for pair in pairs}
    sizes = {s.n for own in found.values() for s in own.values()} or {0}
    n = f"n = {min(sizes)}" if len(sizes - {0}) == 1 else f"n from {min(sizes)} to {max(sizes)}"
    shared = any(len({r.key.data_seed for r in runs}) < len(runs) for row in grid.rows for runs in row.cells.values())
    said = {
        f"Mean of the differences of runs with the same seed, so the same data and first weights; {n}.": True,
        f"From {ENOUGH_SEEDS} pairs on: Student's 95% interval of the mean difference, which assumes normal differences. "
        "Intervals are not corrected for their number.": max(sizes) >= ENOUGH_SEEDS,
        f"Below {ENOUGH_SEEDS} seeds the differences themselves stand in an interval's place: a bootstrap of three covers the "
        "true mean in 75% of cases, not 95%.": min(sizes) < ENOUGH_SEEDS,
        "Several runs share a choice of data, so that spread and intervals say less of other choices than those of as many runs "
        "with data of their own.": shared,
    }
    named = f"paired-{measure.name}-{re.sub('[^a-z0-9]+', '-', what)}", f"Paired differences in {measure.title}, {what}"
    lines = (
        (grid.head_of(row), {p: row.record | _difference(*p, own[i]) for p, own in found.items() if i in own}, False)
        for i, row in enumerate(grid.rows)
    )
    write, remarks = partial(_gap, measure.digits), (text for text in said if said[text])
    return _sheet(named, grid.names, remarks, grid.head, pairs, lines, write)


def _difference(own: Column, other: Column, found: Spread) -> Record:
    low, high = found.interval or (None, None)
    bounds = {"low_95": low, "high_95": high, "values": found.values}
    return {"method": own.label, "minus": other.label, **_figures(found), **bounds}


def _gap(digits: int, record: Record) -> Cell:
    values, bounds = record["values"], [record["low_95"], record["high_95"]]
    interval = "" if None in bounds else " to ".join(signed(v, digits) for v in bounds)
    each = " ".join(signed(v, digits) for v in values) if len(values) > 1 else ""
    return Cell(signed(record["mean"], digits), interval or each)


def _sets_sheet(grid: Grid, measure: Measure, found: OverSets) -> Sheet:
    """Differences to oversampling by data set, and what tests say of them."""
    what = f"sets-{measure.name}", f"{measure.title} minus that of {REFERENCE}, by data set"
    scores, others = found.scores, [label for label in found.scores if label != REFERENCE]
    gaps = ({c: scores[c][i] - scores[REFERENCE][i] for c in others} for i in range(len(grid.datasets)))
    said = [(name, "data set", name, own) for name, own in zip(grid.datasets, gaps, strict=True)]
    if found.comparisons:
        said.append(("p, Wilcoxon", "p", "", {c.label: c.p for c in found.comparisons}))
        said.append(("p, Holm", "p holm", "", {c.label: c.adjusted for c in found.comparisons}))
    if found.ranking is not None:
        ranks = dict(found.ranking.ranks)
        said.append((f"mean rank ({REFERENCE} {ranks[REFERENCE]:.2f})", "mean rank", "", ranks))
    lines = []
    for head, kind, name, own in said:
        records = {c: {"line": kind, "dataset": name, "column": c, "value": value} for c, value in own.items()}
        lines.append(((head,), records, kind != "data set"))
    columns = {label: label for label in others}
    return _sheet(what, grid.names, [found.said], ("data set",), columns, lines, partial(_on_sets, measure.digits))


def _on_sets(digits: int, record: Record) -> Cell:
    texts = {"data set": signed(record["value"], digits), "mean rank": f"{record['value']:.2f}"}
    return Cell(texts.get(record["line"], f"{record['value']:.3g}"))


def variant_sheet(grid: Grid) -> Sheet:
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


def _training(row: Row) -> Record:
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


def _variant(row: Row) -> paper.Variant | None:
    """The variant of the paper that a row is, or None."""
    keys = () if row.spec.majority_size is not None else paper.published().settings
    return next((key for key in keys if key == (row.dataset, row.spec.rho, row.spec.mu)), None)


def _table(grid: Grid, measure: Measure) -> int | None:
    """The number of the paper's table of this kind, if it has one: it trained for equal epochs and scored the best."""
    return measure.table if (grid.budget, grid.selection) == ("epochs", "best") else None


def _printed(grid: Grid, measure: Measure, rows: Sequence[Row], over: str = "") -> Mapping[str, float]:
    """By method the paper's scores of a row, or its averages over a data set or all; none where these are not its rows."""
    table, keys, known = _table(grid, measure), list(map(_variant, rows)), paper.published()
    if table is None:
        return {}
    if not over:
        return {} if keys[0] is None else known.scores[table][keys[0]]
    return known.averages_of(table, over, keys)


def _on_scores(grid: Grid, measure: Measure) -> list[str]:
    """To which lines the paper has figures, and what is known of these."""
    if (table := _table(grid, measure)) is None:
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


def _on_wins(grid: Grid, measure: Measure) -> list[str]:
    """What the paper's counts are, where it has any."""
    if (table := _table(grid, measure)) is None or not any(map(_variant, grid.rows)):
        return []
    misprints = (m for m in paper.published().misprints if m.table == table + 1)
    wrong = enumerated([f"{m.row}-{m.column} {m.correct} (printed {m.printed})" for m in misprints])
    return [
        f"Below: the same count from the paper's Table {table} on the variants that correspond, and, where all do, our wins "
        f"minus its. The paper's Table {table + 1} prints wins/losses; by Table {table} it must read {wrong}.",
        *_departures(grid),
    ]


def _departures(grid: Grid) -> list[str]:
    """Where runs beside which the paper's figures stand were made otherwise."""
    found = [(text, f"{row.dataset} mu {row.spec.mu:g}") for row in grid.rows for text in _departures_of(row)]
    places = {text: ", ".join(place for other, place in found if other == text) for text, _ in found}
    alike = {place: [text for text in places if places[text] == place] for place in places.values()}
    each = [f"{place}: {enumerated(texts)}" for place, texts in alike.items()]
    why = "the grid paper has what the paper says, and batches of 128 and float32, of which it says nothing"
    return [f"Not as the paper, whose figures are beside ours all the same ({why}): {'; '.join(each)}."] if each else []


def _departures_of(row: Row) -> Iterator[str]:
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
