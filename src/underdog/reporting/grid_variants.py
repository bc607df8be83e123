"""How the networks of a grid were trained, as the paper's Table 2."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from underdog.reporting import published as paper
from underdog.reporting.collect import Run
from underdog.reporting.grid_runs import Grid, Row
from underdog.reporting.grid_sheets import BUDGETS, Cell, Line, Sheet, head_of, head_titles, row_record
from underdog.reporting.methods import details
from underdog.reporting.words import MISSING

__all__ = ["variant_sheet"]


def variant_sheet(grid: Grid) -> Sheet:
    """How the networks of each data variant were trained, as the paper's Table 2."""
    lines, records = [], []
    for row in grid.rows:
        record = {**row_record(row), **_training(row)}
        records.append(record)
        texts = [MISSING if v in (None, "") else str(v) for v in list(record.values())[4:]]
        lines.append(Line(head_of(row, grid.rows), tuple(map(Cell, texts))))
    columns = tuple(name.replace("_", " ") for name in list(records[0])[4:])
    remarks = [
        "Seeds: of the runs; where they say so, of the data. Settings of methods are those at which they stand in the tables."
    ]
    if any(r.printed for r in grid.rows):
        remarks.append("The paper's column is its Table 2; it says nothing of eps and the batch.")
    title = f"Data variants and training: {BUDGETS[grid.budget]}"
    return Sheet(
        f"variants-{grid.budget}", title, tuple(remarks), head_titles(grid.rows), columns, tuple(lines), tuple(records)
    )


def _training(row: Row) -> dict[str, str | float | int | None]:
    spec = row.spec
    settings = None if row.printed is None else paper.published().settings[row.printed]
    printed = None if settings is None else f"{settings.epochs} epochs, lr {settings.lr:g}, tau {settings.tau:g}"
    chosen = {c.label: details(runs[0].spec.expression) for c, runs in row.cells.items()}
    return {
        "images a majority class": spec.majority_size or _distinct(max(r.train) for r in row.variant.runs),
        "images a rare class": _distinct(min((r.train[k] for k in r.minority), default=0) for r in row.variant.runs),
        "classes": len(row.variant.classes),
        "image": " x ".join(map(str, row.variant.runs[0].image_shape)),
        "epochs": spec.epochs,
        "lr": f"{spec.lr:g}",
        "batch": spec.batch,
        "network": f"{spec.model}, width {spec.width:g}",
        "precision": spec.precision,
        "settings of methods": "; ".join(f"{label}: {text}" for label, text in chosen.items() if text),
        "seeds": _seeds(row.variant.runs),
        "the paper": printed,
    }


def _distinct(values: Iterable[int]) -> str:
    return " or ".join(map(str, sorted(set(values))))


def _seeds(runs: Sequence[Run]) -> str:
    return ", ".join(map(str, sorted({run.key for run in runs})))
