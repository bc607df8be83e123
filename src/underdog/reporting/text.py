"""Summaries for the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from underdog.decision.bootstrap import Interval
from underdog.reporting.decision import Decision
from underdog.reporting.summary import COSTS, SCORES, Group, difference, groups
from underdog.reporting.terminal import aligned
from underdog.reporting.words import MINUS, MISSING, bounds, estimate, percent, plural, spread, thousands
from underdog.run.saved import run_of

__all__ = ["ASCII", "decision_text", "text_table"]

#: A terminal may know no more than ASCII.
ASCII = str.maketrans({MINUS: "-", MISSING: "-", "±": "+/-", "\N{GREEK SMALL LETTER TAU}": "tau "})
HEADER = ("method", "n", "macro-F1", "G-mean", "rare recall", "updates", "macro-F1 minus ros")
#: Names of classes are cut to so many characters.
NAME = 24


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
    against = difference(group, ros) if ros is not None and group is not ros else None
    found = {s.name: group.spread(s) for s in (*SCORES, *COSTS)}
    updates = found["updates"]
    cells = (
        group.label,
        str(len(group.runs)),
        *(spread(found[name]) for name in ("macro_f1", "g_mean", "recall_rare")),
        MISSING if updates is None else thousands(updates.mean),
        MISSING if against is None else spread(against.spread, sign=True),
    )
    return tuple(cell.translate(ASCII) for cell in cells)


def decision_text(problems: Sequence[tuple[str, Decision]]) -> str:
    """Two tables for each problem: macro-F1 by method, and the results on every rare class by method, with their intervals.

    The last column is the paired difference to ros, or to the baseline without ros.
    """
    return "\n\n".join("\n".join(_lines(title, found)) for title, found in problems).translate(ASCII)


def _lines(title: str, found: Decision) -> list[str]:
    reference = next(iter(found.differences), None)
    minus = () if reference is None else (f"minus {reference}",)

    def beside(label: str, own: Mapping[str, Any]) -> tuple[str, ...]:
        return () if reference is None else (_with_bounds(own.get(label), sign=True),)

    overall = [("method", "macro-F1", *minus)]
    overall += [
        (label, _with_bounds(m.macro_f1), *beside(label, found.differences.get(reference or "", {})))
        for label, m in found.methods.items()
    ]
    recall = f"recall at {percent(found.target)} precision"
    header = ("class", "method", "average precision", "recall at threshold", "precision there", recall, *minus)
    rows = [
        (
            c.name[:NAME],
            label,
            *map(_with_bounds, (m.average_precision, m.threshold_recall, m.threshold_precision, m.recall_at_precision)),
            *beside(
                label, {o: s.get("recall_at_precision") for o, s in c.differences.get(reference or "", {}).items()}
            ),
        )
        for c in found.classes
        for label, m in c.methods.items()
    ]
    return [
        title,
        *aligned(overall),
        "",
        *aligned([header, *rows]),
        "(test images, mean over seeds; in brackets the 95% interval of a bootstrap over "
        f"{plural(found.images, 'image')} in {plural(found.groups, 'group')}, {found.replicates:,} replicates; differences are "
        f"paired. {recall[0].upper()}{recall[1:]} is the best point of "
        "the test curve; thresholds were chosen on validation images)",
    ]


def _with_bounds(found: Interval | None, sign: bool = False) -> str:
    """A result with its interval in brackets; a dash where there is none."""
    limits = bounds(found, sign)
    return f"{estimate(found, sign)} ({limits})" if limits else estimate(found, sign)
