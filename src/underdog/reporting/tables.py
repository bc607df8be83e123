"""A summary for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from underdog.reporting.summary import Group, Spread, groups, mean_recall, paired
from underdog.reporting.terminal import aligned
from underdog.reporting.words import MINUS, MISSING, spread, thousands
from underdog.run.saved import run_of

__all__ = ["ASCII", "text_table"]

#: A terminal may know no more than ASCII.
ASCII = str.maketrans({MINUS: "-", MISSING: "-", "±": "+/-", "\N{GREEK SMALL LETTER TAU}": "tau "})
HEADER = ("method", "n", "macro-F1", "G-mean", "rare recall", "updates", "macro-F1 minus ros")


def text_table(results: Sequence[Mapping[str, Any]]) -> str:
    """A line for each method: its scores (mean ± SD over seeds) at the best epoch, in the order of the results.

    The last column is the mean paired difference to ros, where ros is among the methods.
    """
    runs = [run_of(result) for result in results]
    given = [r.spec.setting for r in runs]
    ordered = sorted(groups(runs), key=lambda g: given.index(g.runs[0].spec.setting))
    ros = next((g for g in ordered if g.method == "ros"), None)
    rows = [_row(group, ros) for group in ordered]
    lines = aligned([HEADER, *rows] if ros else [HEADER[:-1], *(row[:-1] for row in rows)])
    part = " and ".join(sorted({run.part for run in runs}))
    return "\n".join([*lines, f"({part} images, best epoch by validation macro-F1; mean +/- SD over n seeds)"])


def _row(group: Group, ros: Group | None) -> tuple[str, ...]:
    against = paired(group, ros) if ros is not None and group is not ros else None
    cells = (
        group.label,
        str(len(group.runs)),
        spread(group.macro_f1),
        spread(group.spread(lambda run: run.best.g_mean)),
        spread(group.spread(lambda run: mean_recall(run.best, run.minority))),
        thousands(Spread(tuple(float(run.updates) for run in group.runs)).mean),
        MISSING if against is None else spread(against.spread, sign=True),
    )
    return tuple(cell.translate(ASCII) for cell in cells)
