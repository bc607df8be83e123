"""What the page says of decisions, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from underdog.report.decision import Decision, Estimate
from underdog.report.tables import ASCII
from underdog.report.terminal import aligned

__all__ = ["decision_text"]

#: Names of classes are cut to so many characters.
NAME = 24


def decision_text(problems: Sequence[tuple[str, Decision]]) -> str:
    """A table for each problem: macro-F1 and the figures of every rare class by method, with their intervals."""
    return "\n\n".join("\n".join(_lines(title, found)) for title, found in problems).translate(ASCII)


def _lines(title: str, found: Decision) -> list[str]:
    overall = [(label, cells[2], cells[-1]) for label, cells in found.decisions.rows]
    macro_f1 = [("method", "macro-F1"), *((label, f"{value} ({bounds})") for label, value, bounds in overall)]
    header = (
        "class",
        "method",
        "average precision",
        f"recall at {found.target} precision",
        "recall at threshold",
        "precision",
    )
    rows = [
        (block.name[:NAME], row.label, *(_text(cell) for cell in row.cells[:4]))
        for block in found.classes
        for row in block.rows
    ]
    return [
        *([title] if title else []),
        *aligned(macro_f1),
        "",
        *aligned([header, *rows]),
        f"(test images, mean over seeds; in brackets the 95% interval of a bootstrap over {found.groups} groups of {found.images} "
        f"images, {found.replicates} replicates. Recall at {found.target} precision is the best point of the test curve; the "
        "threshold was chosen on validation images)",
    ]


def _text(cell: Estimate) -> str:
    return f"{cell.value} ({cell.bounds})" if cell.bounds else cell.value
