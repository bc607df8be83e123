"""What a grid's figures say, in words that claim no more than they do."""

from __future__ import annotations

from collections.abc import Sequence

from underdog.reporting.grid_differences import REFERENCE, OverSets, difference, fair
from underdog.reporting.grid_runs import AT_AOS, Column, Row
from underdog.reporting.grid_sheets import F1, MEASURES, Setup
from underdog.reporting.published import record
from underdog.reporting.summary import ENOUGH_SEEDS, Spread
from underdog.reporting.verdict import CONTROL
from underdog.reporting.words import decimal, enumerated, plural, signed

__all__ = ["paragraph"]


def paragraph(setup: Setup, tested: Sequence[OverSets]) -> tuple[str, ...]:
    """Where each method stands against oversampling, where AOS does against the others, and what limits this."""
    columns = setup.grid.columns
    reference = setup.grid.column(REFERENCE)
    ours = [c for c in columns if c.method == "aos"]
    said = [_ranks(setup)] if columns else []
    said += [s for c in ours if reference is not None and (s := _against(setup, c, reference))]
    said += [s for c in ours for other in _controls(setup, c) if (s := _against(setup, c, other))]
    rest = [c for c in columns if c not in (*ours, reference)]
    if reference is not None:
        said += [_briefly(setup, rest, reference)] if rest else []
    else:
        said.append(f"{REFERENCE} was not run, so nothing is held against it.")
    if not ours and not any(stem.split()[0] == "aos" for stem in setup.grid.swept):
        said.append("aos was not run.")
    if swept := setup.grid.swept:
        said.append(
            f"{enumerated(swept)}: run at several eps, of which validation chose none, so no column is one of them; "
            "macro-F1 by eps is in a figure and a table of its own."
        )
    return (*said, *(own.said for own in tested[:1]), *_limits(setup))


def _controls(setup: Setup, ours: Column) -> list[Column]:
    """The random direction at AOS's eps says whether the direction matters; at its own best, whether AOS is worth it."""
    found = [c for c in setup.grid.columns if c.method == CONTROL and fair(setup.grid, ours, c)]
    return sorted(found, key=lambda c: c.label != AT_AOS)


def _ranks(setup: Setup) -> str:
    grid = setup.grid
    means = {c: grid.overall(c, F1, setup.selection) for c in grid.columns}
    known = {c: m for c, m in means.items() if m is not None}
    variants = f"{plural(len(grid.rows), 'data variant')} of {plural(len(grid.datasets), 'data set')}"
    if len(known) < 2:
        return f"On {variants}: not yet two methods with runs in every variant, so no averages are compared."
    ranked = sorted(known, key=lambda c: -known[c])
    texts = [f"{c.label} {decimal(known[c], 4)}" for c in ranked]
    missing = [c.label for c in means if c not in known]
    left = f" (no average of {enumerated(missing)}: not run in every variant)" if missing else ""
    return f"On {variants}, by average macro-F1: {enumerated(texts)}{left}."


def _differences(setup: Setup, own: Column, other: Column) -> dict[Row, Spread]:
    found = {row: difference(row, own, other, F1, setup.selection) for row in setup.grid.rows}
    return {row: spread for row, spread in found.items() if spread is not None}


def _count(setup: Setup, own: Column, other: Column, measure: int = 0) -> tuple[int, int, int]:
    pairs = (row.paired(own, other, MEASURES[measure], setup.selection) for row in setup.grid.rows)
    return record([(p[1].mean, p[2].mean) for p in pairs if p is not None], MEASURES[measure].digits)


def _against(setup: Setup, own: Column, other: Column) -> str:
    """A pair of methods over the variants: how often above and below, by how much, and how sure each is."""
    found = _differences(setup, own, other)
    if not found:
        return ""
    wins, ties, losses = _count(setup, own, other)
    g_wins, _, g_losses = _count(setup, own, other, 1)
    means = [s.mean for s in found.values()]
    name = _name(setup, own, other)
    extent = f", from {signed(min(means), 4)} to {signed(max(means), 4)}" if len(means) > 1 else ""
    text = (
        f"{own.label} against {name}: mean macro-F1 is above in {wins} of {plural(len(found), 'variant')}, equal in {ties} and "
        f"below in {losses}; the mean difference is {signed(Spread(tuple(means)).mean, 4)}{extent} (G-mean: above in {g_wins}, "
        f"below in {g_losses})."
    )
    return f"{text} {_sure(list(found.values()))}"


def _name(setup: Setup, own: Column, other: Column) -> str:
    if other.method != CONTROL:
        return other.label
    alike = setup.grid.alike(own, other, ("eps", "tau"))
    if alike and (own.stem, other.stem) == ("aos", CONTROL):
        return f"{other.label} (the direction is all that differs)"
    return f"{other.label} (the control with a random direction{'' if alike else ', at a setting of its own'})"


def _sure(spreads: Sequence[Spread]) -> str:
    """In how many variants the seeds leave no doubt of the sign, as far as they go."""
    intervals = [s.interval for s in spreads if s.interval is not None]
    short = [s.values for s in spreads if s.interval is None and s.n > 1]
    parts = []
    if intervals:
        above, below = sum(low > 0 for low, _ in intervals), sum(high < 0 for _, high in intervals)
        parts.append(f"of {plural(len(intervals), '95% interval')}, {above} wholly above 0 and {below} wholly below")
    if short:
        above, below = sum(min(values) > 0 for values in short), sum(max(values) < 0 for values in short)
        where = f"of {plural(len(short), 'variant')} with 2 to {ENOUGH_SEEDS - 1} seeds"
        parts.append(f"{where}, every seed is above 0 in {above} and below in {below}")
    text = enumerated(parts) or "with one seed in each variant no sign is sure"
    return f"{text[0].upper()}{text[1:]}."


def _briefly(setup: Setup, columns: Sequence[Column], reference: Column) -> str:
    """The other methods against oversampling, in a clause each."""
    clauses = []
    for column in columns:
        found = _differences(setup, column, reference)
        if not found:
            continue
        wins, ties, losses = _count(setup, column, reference)
        mean = Spread(tuple(s.mean for s in found.values())).mean
        clauses.append(f"{column.label} {wins}/{ties}/{losses} ({signed(mean, 4)})")
    if not clauses:
        return f"No other method shares a seed with {reference.label}."
    return f"Against {reference.label}, wins/ties/losses and mean difference in macro-F1: {enumerated(clauses)}."


def _limits(setup: Setup) -> list[str]:
    found = []
    runs = [runs for row in setup.grid.rows for runs in row.cells.values()]
    runs += [g.runs for sweep in setup.grid.sweeps for own in sweep.groups.values() for g in own]
    fewest = min(map(len, runs))
    if fewest == 1:
        found.append("Some cells have one seed, which cannot tell a lead from chance.")
    elif fewest < ENOUGH_SEEDS:
        found.append(
            f"There are cells with no more than {fewest} seeds: that all of these agree on a sign is then weak evidence (by "
            f"chance alone it happens in {200 / 2**fewest:.3g}% of cases)."
        )
    several = [c.label for c in setup.grid.columns if not c.main and c.label != AT_AOS]
    if several:
        found.append(
            f"{enumerated(several)}: several settings of one method; to pick the best of them by these test images flatters it."
        )
    return found
