"""What a grid's tables count: wins, as the paper's Tables 4 and 6; updates, and classes with a recall of zero."""

from __future__ import annotations

from underdog.reporting import published as paper
from underdog.reporting.grid_runs import Column, Measure
from underdog.reporting.grid_sheets import (
    BUDGETS,
    Cell,
    Line,
    Record,
    Setup,
    Sheet,
    departures,
    head_of,
    head_titles,
    published_score,
    row_record,
    score_record,
)
from underdog.reporting.words import MISSING, enumerated, plural, signed

__all__ = ["UPDATES", "ZERO_RECALL", "cost_sheet", "wins_sheet"]

ZERO_RECALL = Measure("zero-recall", "classes with a recall of zero", lambda run, m: float(m.zero_recall_classes), 1)
UPDATES = Measure("updates", "updates", lambda run, m: float(run.updates), 0)


def cost_sheet(setup: Setup, measure: Measure) -> Sheet:
    """Means of what is counted, such as updates."""
    grid = setup.grid
    lines, records = [], []
    for row in grid.rows:
        cells = []
        for column in grid.columns:
            spread = row.spread(column, measure, setup.selection)
            text = MISSING if spread is None else f"{spread.mean:,.{measure.digits}f}"
            cells.append(Cell(text))
            if spread is not None:
                records.append(score_record("variant", row_record(row), column, spread.n, spread.mean, spread.sd, None))
        lines.append(Line(head_of(row, grid.rows), tuple(cells)))
    remark = (
        "Mean over runs." if measure is UPDATES else "Mean over runs; test images. With one such class G-mean is 0."
    )
    title = measure.title if measure is UPDATES else f"{measure.title}: {setup.title}"
    if measure is UPDATES:
        title += f": {BUDGETS[grid.budget]}"
    name = f"{measure.name}-{grid.budget}" if measure is UPDATES else f"{measure.name}-{setup.name}"
    columns = tuple(c.label for c in grid.columns)
    return Sheet(name, title, (remark,), head_titles(grid.rows), columns, tuple(lines), tuple(records))


def wins_sheet(setup: Setup, measure: Measure) -> Sheet:
    """On how many data variants the method of a line wins against that of a column, as the paper's Tables 4 and 6."""
    columns = setup.grid.columns
    lines, records = [], []
    for own in columns:
        cells = []
        for other in columns:
            if own == other:
                cells.append(Cell())
                continue
            cell, record = _wins(setup, measure, own, other)
            cells.append(cell)
            records.append(record)
        lines.append(Line((own.label,), tuple(cells)))
    return Sheet(
        name=f"wins-{measure.name}-{setup.name}",
        title=f"Wins/ties/losses by {measure.title}: {setup.title}",
        remarks=(_on_wins(setup, measure), *_on_published_wins(setup, measure)),
        head=("method",),
        columns=tuple(c.label for c in columns),
        lines=tuple(lines),
        records=tuple(records),
    )


def _wins(setup: Setup, measure: Measure, own: Column, other: Column) -> tuple[Cell, Record]:
    found = {row: p for row in setup.grid.rows if (p := row.paired(own, other, measure, setup.selection)) is not None}
    ours = paper.record([(a.mean, b.mean) for _, a, b in found.values()], measure.digits)
    printed = [
        (published_score(setup, row, own, measure), published_score(setup, row, other, measure)) for row in found
    ]
    both = [(a, b) for a, b in printed if a is not None and b is not None]
    theirs = paper.record(both, measure.digits)
    alike = len(both) == len(found)
    beside = ""
    if both:
        beside = f"paper {_slashed(theirs)}" + (f", {signed(ours[0] - theirs[0], 0)}" if alike else f" on {len(both)}")
    names = ("wins", "ties", "losses")
    record: Record = {
        "method": own.label,
        "other": other.label,
        "variants": len(found),
        **dict(zip(names, ours, strict=True)),
        "published_variants": len(both),
        **{f"published_{n}": v if both else None for n, v in zip(names, theirs, strict=True)},
    }
    return Cell(_slashed(ours) if found else MISSING, beside), record


def _slashed(counts: tuple[int, int, int]) -> str:
    return "/".join(map(str, counts))


def _on_wins(setup: Setup, measure: Measure) -> str:
    return (
        f"Wins/ties/losses of the line's method against the column's, over {plural(len(setup.grid.rows), 'data variant')}, by "
        f"the means of the seeds that both have. A tie is a pair of means that print alike at {measure.digits} decimals. "
        "Variants of one data set are not independent, so this is a count, not a test."
    )


def _on_published_wins(setup: Setup, measure: Measure) -> list[str]:
    if not setup.as_published or measure.table is None or not any(r.printed for r in setup.grid.rows):
        return []
    wrong = [
        f"{m.row}-{m.column} {m.correct} (printed {m.printed})"
        for m in paper.published().misprints
        if m.table == measure.table + 1
    ]
    return [
        f"Below: the same count from the paper's Table {measure.table} on the variants that correspond, and, where all do, "
        f"our wins minus its. The paper's Table {measure.table + 1} prints wins/losses; by Table {measure.table} it must read "
        f"{enumerated(wrong)}.",
        *departures(setup.grid),
    ]
