"""The tables of a grid: what the paper's Tables 2 to 6 show, with the paper's figures beside ours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from underdog.reporting import published as paper
from underdog.reporting.grid_runs import SELECTIONS, Column, Grid, Measure, Row
from underdog.reporting.words import MISSING, decimal, enumerated, signed, thousands

__all__ = [
    "BUDGETS",
    "F1",
    "G_MEAN",
    "MEASURES",
    "Cell",
    "Line",
    "Record",
    "Setup",
    "Sheet",
    "departures",
    "family_name",
    "head_of",
    "head_titles",
    "published_score",
    "row_record",
    "score_record",
    "score_sheet",
]

#: What a record of a table in CSV holds.
Record = Mapping[str, str | float | int | None]

F1 = Measure("f1", "macro-F1", lambda run, m: m.macro_f1, table=paper.F1)
G_MEAN = Measure("g-mean", "G-mean", lambda run, m: m.g_mean, table=paper.G_MEAN)
MEASURES = (F1, G_MEAN)

BUDGETS = {"epochs": "equal epochs", "updates": "equal updates"}


@dataclass(frozen=True)
class Setup:
    """A budget and a selection: one set of tables."""

    grid: Grid
    selection: str

    @property
    def name(self) -> str:
        return f"{self.grid.budget}-{self.selection}"

    @property
    def title(self) -> str:
        return f"{BUDGETS[self.grid.budget]}, {SELECTIONS[self.selection]}"

    @property
    def as_published(self) -> bool:
        """Whether the paper has figures of this kind: it trained for equal epochs and scored the best."""
        return (self.grid.budget, self.selection) == ("epochs", "best")


@dataclass(frozen=True)
class Cell:
    """A figure as text, what stands small below it, and whether it is the highest of its line."""

    text: str = MISSING
    beside: str = ""
    highest: bool = False


@dataclass(frozen=True)
class Line:
    """A line of a table; an average stands apart from what it is the average of."""

    head: tuple[str, ...]
    cells: tuple[Cell, ...]
    average: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table for every format: texts for readers, and records with full precision for programs.

    Attributes:
        name: of its files, without an ending.
        title: one line.
        remarks: sentences below it.
        head, columns: titles of the columns that say what a line is, and of those with figures.
        lines: from top to bottom.
        records: rows of the CSV file, all with the same keys.
    """

    name: str
    title: str
    remarks: tuple[str, ...]
    head: tuple[str, ...]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    records: tuple[Record, ...]


def head_titles(rows: Iterable[Row]) -> tuple[str, ...]:
    """Titles of what says which data variant a line is."""
    return ("data set", "rho", "mu", *(("settings",) if any(r.remark for r in rows) else ()))


def head_of(row: Row, rows: Iterable[Row]) -> tuple[str, ...]:
    """Which data variant a line is."""
    return (row.dataset, number(row.spec.rho), number(row.spec.mu), *((row.remark,) if _remarked(rows) else ()))


def _remarked(rows: Iterable[Row]) -> bool:
    return any(r.remark for r in rows)


def number(value: float | None) -> str:
    return MISSING if value is None else f"{value:g}"


def row_record(row: Row) -> Record:
    """The same for a program."""
    return {"dataset": row.dataset, "rho": row.spec.rho, "mu": row.spec.mu, "settings": row.remark}


def score_sheet(setup: Setup, measure: Measure) -> Sheet:
    """Means, standard deviations and averages, as the paper's Tables 3 and 5."""
    grid, rows = setup.grid, setup.grid.rows
    lines, records = [], []
    for family in grid.families:
        for row in family:
            lines.append(
                _highest(Line(head_of(row, rows), tuple(_score(setup, row, c, measure) for c in grid.columns)))
            )
            records += [_cell_record(setup, row, c, measure) for c in grid.columns if c in row.cells]
        lines.append(_average(setup, measure, family))
        records += _average_records(setup, measure, family)
    if len(grid.families) > 1:
        lines.append(_average(setup, measure, None))
        records += _average_records(setup, measure, None)
    return Sheet(
        name=f"{measure.name}-{setup.name}",
        title=f"{measure.title}: {setup.title}",
        remarks=(_counted(grid), *_on_averages(grid), *_on_published(setup, measure)),
        head=head_titles(rows),
        columns=tuple(c.label for c in grid.columns),
        lines=tuple(lines),
        records=tuple(records),
    )


def published_score(setup: Setup, row: Row, column: Column, measure: Measure) -> float | None:
    if not setup.as_published or measure.table is None or row.printed is None:
        return None
    return paper.published().scores[measure.table][row.printed].get(column.label)


def _score(setup: Setup, row: Row, column: Column, measure: Measure) -> Cell:
    spread = row.spread(column, measure, setup.selection)
    if spread is None:
        return Cell()
    printed = published_score(setup, row, column, measure)
    sd = "" if spread.sd is None else f" ± {decimal(spread.sd, measure.digits)}"
    n = "" if _equal_n(setup.grid) else f"n {spread.n}"
    beside = "" if printed is None else _beside(spread.mean, printed, measure)
    return Cell(decimal(spread.mean, measure.digits) + sd, "; ".join(filter(None, (n, beside))))


def _beside(mean: float, printed: float, measure: Measure) -> str:
    return f"paper {decimal(printed, measure.digits)}, {signed(mean - printed, measure.digits)}"


def _cell_record(setup: Setup, row: Row, column: Column, measure: Measure) -> Record:
    spread = row.spread(column, measure, setup.selection)
    assert spread is not None  # only cells with runs are recorded
    printed = published_score(setup, row, column, measure)
    return score_record("variant", row_record(row), column, spread.n, spread.mean, spread.sd, printed)


def score_record(
    line: str,
    head: Record,
    column: Column,
    n: int | None,
    mean: float,
    sd: float | None,
    printed: float | None,
) -> Record:
    figures = {"n": n, "mean": mean, "sd": sd, "published": printed}
    return {"line": line, **head, "column": column.label, "method": column.method, **figures} | {
        "difference": None if printed is None else mean - printed
    }


def _average(setup: Setup, measure: Measure, family: Sequence[Row] | None) -> Line:
    """The averages of a family, or of all."""
    cells = []
    for column in setup.grid.columns:
        mean, printed = _averages(setup, measure, family, column)
        if mean is None:
            cells.append(Cell())
        else:
            cells.append(
                Cell(decimal(mean, measure.digits), "" if printed is None else _beside(mean, printed, measure))
            )
    head = ("all", MISSING, "average") if family is None else (*head_of(family[0], setup.grid.rows)[:2], "average")
    padding = ("",) * (len(head_titles(setup.grid.rows)) - len(head))
    return _highest(Line((*head, *padding), tuple(cells), average=True))


def _averages(
    setup: Setup, measure: Measure, family: Sequence[Row] | None, column: Column
) -> tuple[float | None, float | None]:
    """Our average, and the paper's where it is of the same variants."""
    grid, known = setup.grid, paper.published()
    rows = grid.rows if family is None else family
    mean = (
        grid.overall(column, measure, setup.selection)
        if family is None
        else grid.average(rows, column, measure, setup.selection)
    )
    ours = [row.printed for row in rows]
    name = paper.GLOBAL if family is None else rows[0].dataset
    theirs = [key for key in known.settings if name in (paper.GLOBAL, key[0])]
    if measure.table is None or not setup.as_published or set(ours) != set(theirs) or len(ours) != len(theirs):
        return mean, None
    return mean, known.average(measure.table, name, column.label) if column.label in paper.METHODS else None


def _average_records(setup: Setup, measure: Measure, family: Sequence[Row] | None) -> list[Record]:
    head: Record = {"dataset": "", "rho": None, "mu": None, "settings": ""}
    if family is not None:
        head = {**row_record(family[0]), "mu": None}
    line = "all" if family is None else "average"
    found = [(c, *_averages(setup, measure, family, c)) for c in setup.grid.columns]
    return [score_record(line, head, c, None, mean, None, printed) for c, mean, printed in found if mean is not None]


def _highest(line: Line) -> Line:
    """Mark the highest figures of a line, as they are printed."""
    means = [c.text.split(" ")[0] for c in line.cells]
    top = max((float(m) for m in means if m != MISSING), default=None)
    if top is None or sum(m != MISSING for m in means) == 1:
        return line
    cells = (Cell(c.text, c.beside, m != MISSING and float(m) == top) for c, m in zip(line.cells, means, strict=True))
    return Line(line.head, tuple(cells), line.average)


def _sizes(grid: Grid) -> list[int]:
    return sorted({len(runs) for row in grid.rows for runs in row.cells.values()})


def _equal_n(grid: Grid) -> bool:
    return len(_sizes(grid)) == 1


def _counted(grid: Grid) -> str:
    sizes = _sizes(grid)
    n = f"n = {sizes[0]} in every cell" if len(sizes) == 1 else f"n from {sizes[0]} to {sizes[-1]}, said in each cell"
    return (
        f"Mean ± sample standard deviation over runs, {n}; test images. Bold is the highest of a line as printed, "
        "whatever the spread."
    )


def _on_averages(grid: Grid) -> list[str]:
    gaps = any(c not in r.cells for r in grid.rows for c in grid.columns)
    text = f"An average is given only where a method has runs in every line it is of; a dash ({MISSING}) is a cell without runs."
    return [text] if gaps else []


def _on_published(setup: Setup, measure: Measure) -> list[str]:
    """To which lines the paper has figures, and what is known of these."""
    if not setup.as_published:
        return [
            "The paper trained for equal epochs and scored the best of them, so it has no figures to put beside these."
        ]
    without = [family_name(family[0]) for family in setup.grid.families if not any(r.printed for r in family)]
    said = []
    if any(r.printed for r in setup.grid.rows):
        said.append(f"Below: the paper's Table {measure.table}, means of 3 runs, and ours minus it.")
        wrong = [m for m in paper.published().misprints if m.table == measure.table]
        said += [
            f"Table {m.table}'s average of {m.column} on {m.row} is printed as {m.printed}; its lines give {m.correct}, "
            "which is used here."
            for m in wrong
        ]
    said += departures(setup.grid)
    if without:
        said.append(f"The paper has no figures for {enumerated(without)}.")
    return said


def departures(grid: Grid) -> list[str]:
    """Where runs beside which the paper's figures stand were made otherwise."""
    found: dict[str, list[str]] = {}
    for row in grid.rows:
        for text in row.departures:
            found.setdefault(text, []).append(f"{row.dataset} mu {number(row.spec.mu)}")
    several: dict[str, list[str]] = {}
    for text, where in found.items():
        several.setdefault(", ".join(where), []).append(text)
    if not several:
        return []
    each = "; ".join(f"{where}: {enumerated(texts)}" for where, texts in several.items())
    return [
        "Not as the paper, whose figures are beside ours all the same (the grid paper has what the paper says, and batches of "
        f"128 and float32, of which it says nothing): {each}."
    ]


def family_name(row: Row) -> str:
    """A data set and what was done to it, but for mu."""
    parts = [] if row.spec.rho is None else [f"rho {row.spec.rho:g}"]
    if row.spec.majority_size is not None:
        parts.append(f"{thousands(row.spec.majority_size)} images a majority class")
    if row.remark:
        parts.append(row.remark)
    return f"{row.dataset} ({', '.join(parts) or 'natural counts'})"
