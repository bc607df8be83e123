"""What the page says of decisions, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from underdog.reporting.decision import Decision, Estimate, Versus
from underdog.reporting.tables import ASCII
from underdog.reporting.terminal import aligned
from underdog.reporting.words import MISSING, plural

__all__ = ["decision_text"]

#: Names of classes are cut to so many characters.
NAME = 24
#: The line of a class's differences that is shown: recall at the target precision.
RECALL = 1


def decision_text(problems: Sequence[tuple[str, Decision]]) -> str:
    """Two tables for each problem: macro-F1 by method, and the figures of every rare class by method, with their intervals.

    The last column is the paired difference to ros, or to the baseline without ros.
    """
    return "\n\n".join("\n".join(_lines(title, found)) for title, found in problems).translate(ASCII)


def _lines(title: str, found: Decision) -> list[str]:
    versus = found.versus[0] if found.versus else None
    minus = (f"minus {versus.reference}",) if versus else ()
    overall = [("method", "macro-F1", *minus)]
    overall += [
        (label, f"{cells[2]} ({cells[-1]})", *_difference(versus, label)) for label, cells in found.decisions.rows
    ]
    recall = f"recall at {found.target} precision"
    header = ("class", "method", "average precision", "recall at threshold", "precision there", recall, *minus)
    rows = [
        (
            block.name[:NAME],
            row.label,
            *(_text(row.cells[i]) for i in (0, 2, 3, 1)),
            *_difference(versus, row.label, block.name),
        )
        for block in found.classes
        for row in block.rows
    ]
    return [
        title,
        *aligned(overall),
        "",
        *aligned([header, *rows]),
        "(test images, mean over seeds; in brackets the 95% interval of a bootstrap over "
        f"{plural(found.images, 'image')} in {plural(found.groups, 'group')}, {found.replicates:,} replicates; differences are "
        f"paired. Recall at {found.target} precision is the best point of "
        "the test curve; thresholds were chosen on validation images)",
    ]


def _difference(versus: Versus | None, label: str, name: str | None = None) -> tuple[str, ...]:
    """A method's macro-F1, or its recall of a class, minus the reference's; a dash for the reference itself."""
    if versus is None:
        return ()
    if label not in versus.labels:
        return (MISSING,)
    row = versus.overall if name is None else next(b for b in versus.blocks if b.name == name).rows[RECALL]
    return (_text(row.cells[versus.labels.index(label)]),)


def _text(cell: Estimate) -> str:
    return f"{cell.value} ({cell.bounds})" if cell.bounds else cell.value
