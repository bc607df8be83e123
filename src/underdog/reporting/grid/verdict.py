"""What a grid's figures say, in words that claim no more than they do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from underdog.reporting import published as paper
from underdog.reporting.grid.arrange import AT_AOS, F1, MEASURES, REFERENCE, Arrangement, MethodColumn, mean
from underdog.reporting.summary import ENOUGH_SEEDS, Paired, Score, Spread
from underdog.reporting.verdict import CONTROL
from underdog.reporting.words import decimal, enumerated, plural, signed

__all__ = ["fair", "paragraph", "wins"]


def paragraph(grid: Arrangement, on_sets: str) -> tuple[str, ...]:
    """Where each method stands against oversampling, where AOS does against the others, what tests say, and what limits this."""
    reference, columns = grid.column(REFERENCE), grid.columns
    ours = [c for c in columns if c.method == "aos"]
    rest = [c for c in columns if c not in (*ours, reference)]
    # The random direction at AOS's eps says whether the direction matters; at its own best, whether AOS is worth it.
    controls = sorted((c for c in columns if c.method == CONTROL), key=lambda c: c.label != AT_AOS)
    said = [_ranks(grid)] if columns else []
    said += [_against(grid, c, reference) for c in ours] if reference is not None else []
    said += [_against(grid, own, c) for own in ours for c in controls if fair(grid, own, c)]
    if reference is None:
        said.append(f"{REFERENCE} was not run, so nothing is held against it.")
    elif rest:
        said.append(_briefly(grid, rest, reference))
    swept = [s for s in dict.fromkeys(c.stem for c in grid.swept["column"]) if s not in {c.stem for c in columns}]
    if not ours and not any(s.split()[0] == "aos" for s in swept):
        said.append("aos was not run.")
    if swept:
        why = "run at several eps, of which validation chose none, so no column is one of them"
        said.append(f"{enumerated(swept)}: {why}; macro-F1 by eps is in a figure and a table of its own.")
    return (*filter(None, said), on_sets, *_limits(grid))


def fair(grid: Arrangement, ours: MethodColumn, other: MethodColumn) -> bool:
    """Whether AOS is held against a column: the control at another eps says nothing, but where each has an eps of its own."""
    return other.method != CONTROL or (ours.main and other.main) or grid.alike(ours, other)


def wins(score: Score, pairs: Mapping[int, Paired]) -> tuple[int, int, int]:
    """In how many rows a column wins, ties and loses against another."""
    return paper.record([(p.own.mean, p.other.mean) for p in pairs.values()], score.digits)


def _ranks(grid: Arrangement) -> str:
    means = grid.averages(F1, *grid.families)
    variants = f"{plural(len(grid.rows), 'data variant')} of {plural(len(grid.datasets), 'data set')}"
    texts = [f"{c.label} {decimal(m, 4)}" for c, m in sorted(means.items(), key=lambda item: -item[1])]
    if len(texts) < 2:
        return f"On {variants}: not yet two methods with runs in every variant, so no averages are compared."
    missing = [c.label for c in grid.columns if c not in means]
    left = f" (no average of {enumerated(missing)}: not run in every variant)" if missing else ""
    return f"On {variants}, by average macro-F1: {enumerated(texts)}{left}."


def _against(grid: Arrangement, own: MethodColumn, other: MethodColumn) -> str:
    """A pair of methods over the variants: how often above and below, by how much, and how sure each is."""
    pairs = [grid.pairs(score, own, other) for score in MEASURES]
    found = [p.difference for p in pairs[0].values()]
    if not found:
        return ""
    (won, ties, losses), (g_won, _, g_losses) = map(wins, MEASURES, pairs)
    means = [s.mean for s in found]
    extent = f", from {signed(min(means), 4)} to {signed(max(means), 4)}" if len(means) > 1 else ""
    return (
        f"{own.label} against {_name(grid, own, other)}: mean macro-F1 is above in {won} of {plural(len(found), 'variant')}, "
        f"equal in {ties} and below in {losses}; the mean difference is {signed(mean(means), 4)}{extent} (G-mean: above in "
        f"{g_won}, below in {g_losses}). {_sure(found)}"
    )


def _name(grid: Arrangement, own: MethodColumn, other: MethodColumn) -> str:
    if other.method != CONTROL:
        return other.label
    alike = grid.alike(own, other, ("eps", "tau"))
    if alike and (own.stem, other.stem) == ("aos", CONTROL):
        return f"{other.label} (the direction is all that differs)"
    return f"{other.label} (the control with a random direction{'' if alike else ', at a setting of its own'})"


def _sure(spreads: Iterable[Spread]) -> str:
    """In how many variants the seeds leave no doubt of the sign, as far as they go."""
    several = [s for s in spreads if s.n > 1]
    intervals = [s.interval for s in several if s.interval is not None]
    ranges = [(min(s.values), max(s.values)) for s in several if s.interval is None]
    parts = []
    for bounds, noun, text in (
        (intervals, "95% interval", ", {} wholly above 0 and {} wholly below"),
        (ranges, "variant", f" with 2 to {ENOUGH_SEEDS - 1} seeds, every seed is above 0 in {{}} and below in {{}}"),
    ):
        above, below = sum(low > 0 for low, _ in bounds), sum(high < 0 for _, high in bounds)
        parts += [f"of {plural(len(bounds), noun)}{text.format(above, below)}"] if bounds else []
    said = enumerated(parts) or "with one seed in each variant no sign is sure"
    return f"{said[0].upper()}{said[1:]}."


def _briefly(grid: Arrangement, columns: Iterable[MethodColumn], reference: MethodColumn) -> str:
    """The other methods against oversampling, in a clause each."""
    clauses = [
        f"{c.label} {'/'.join(map(str, wins(F1, pairs)))} ({signed(mean(p.difference.mean for p in pairs.values()), 4)})"
        for c in columns
        if (pairs := grid.pairs(F1, c, reference))
    ]
    if not clauses:
        return f"No other method shares a seed with {reference.label}."
    return f"Against {reference.label}, wins/ties/losses and mean difference in macro-F1: {enumerated(clauses)}."


def _limits(grid: Arrangement) -> Iterator[str]:
    cells = (len(runs) for row in grid.rows for runs in row.cells.values())
    fewest = min([*cells, *(s.n for s in grid.swept["spread"])])
    if fewest == 1:
        yield "Some cells have one seed, which cannot tell a lead from chance."
    elif fewest < ENOUGH_SEEDS:
        chance = f"by chance alone it happens in {200 / 2**fewest:.3g}% of cases"
        weak = f"that all of these agree on a sign is then weak evidence ({chance})"
        yield f"There are cells with no more than {fewest} seeds: {weak}."
    if several := [c.label for c in grid.columns if not c.main and c.label != AT_AOS]:
        yield f"{enumerated(several)}: several settings of one method; to pick the best of them by these test images flatters it."
