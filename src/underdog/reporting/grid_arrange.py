"""Which runs stand in which line and column of a grid's tables."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from underdog.methods.expression import Expression
from underdog.names import BUDGETS
from underdog.reporting.collect import Run
from underdog.reporting.grid_runs import AT_AOS, Column, Grid, Row, Sweep
from underdog.reporting.methods import but_eps, details, eps_of, place, stem, varied
from underdog.reporting.summary import Group, Variant, variants
from underdog.reporting.verdict import CONTROL
from underdog.run.queue import stated
from underdog.run.spec import RunSpec, differing, settings_text

__all__ = ["arrange"]

#: An eps figure needs as many.
ENOUGH_EPS = 3
#: Where AOS, its control and oversampling stand as they were chosen.
AOS, NOISE, ROS = (Column(name, name, name) for name in ("aos", CONTROL, "ros"))


def arrange(runs: Iterable[Run], tuning: Iterable[Run], names: Mapping[str, str]) -> tuple[Grid, ...]:
    """One grid for each budget that the runs have.

    Methods whose epochs have oversampling's length take as many updates under both budgets, so their runs count for both.

    Args:
        runs: those to report.
        tuning: those that chose settings, which tell which of several settings of a method is the one it is compared at.
        names: of data sets, by fingerprint; others have their source's.
    """
    runs, tuning = tuple(runs), tuple(tuning)
    by_budget = {budget: tuple(r for r in runs if _counts(r.spec, budget)) for budget in BUDGETS}
    own = {budget for budget in BUDGETS if any(r.spec.budget == budget for r in runs)}
    return tuple(_grid(budget, by_budget[budget], tuning, names) for budget in BUDGETS if budget in own)


def _counts(spec: RunSpec, budget: str) -> bool:
    return replace(spec, budget=budget) == spec


def _grid(budget: str, runs: Sequence[Run], tuning: Sequence[Run], names: Mapping[str, str]) -> Grid:
    found = [_places(v, names.get(v.spec.data, v.runs[0].source), budget, tuning) for v in variants(runs)]
    rows = sorted((_row(own, found) for own in found), key=lambda r: (r.dataset, str(r.family), r.spec.mu or 0.0))
    twice = all(AT_AOS not in _labels(r) or _labels(r)[AT_AOS] == _labels(r).get(CONTROL) for r in rows)
    if twice:  # the control was run at AOS's eps only
        rows = [replace(r, cells={c: own for c, own in r.cells.items() if c.label != AT_AOS}) for r in rows]
    rows = [replace(r, remark=_remark(r, rows)) for r in rows]
    columns = sorted(
        {c for r in rows for c in r.cells}, key=lambda c: (place(c.method), c.stem, _numbers(c.label), c.label)
    )
    sweeps = tuple(s for r in rows if (s := _sweep(r)) is not None)
    return Grid(budget, tuple(rows), tuple(columns), sweeps)


def _numbers(label: str) -> list[float]:
    """By which settings of one method are ordered; a method as it was chosen has none and comes first."""
    return [float(n) for n in re.findall(r"\d+\.?\d*", label)]


def _labels(row: Row) -> dict[str, tuple[Run, ...]]:
    return {c.label: runs for c, runs in row.cells.items()}


@dataclass(frozen=True, eq=False)
class _Places:
    """Where the runs of a data variant stand.

    Attributes:
        cells: by column, where the method alone names it.
        chosen: methods, by ``stem``, whose column is what validation chose.
        others: further settings, each of which gets a column that is named after it.
    """

    variant: Variant
    dataset: str
    cells: Mapping[Column, Group]
    chosen: Collection[str]
    others: Mapping[Expression, Group]

    def settings(self, column: Column) -> list[Expression]:
        """Those of a method, here by its main column, that have columns of their own."""
        main = [_set(self.cells[column])] if column in self.cells else []
        return main + [s for s in self.others if stem(s) == column.stem]


def _set(group: Group) -> Expression:
    """The method and its parameters, whatever the budget, which every table has one of."""
    return group.runs[0].spec.expression


def _main(setting: Expression) -> Column:
    return Column(stem(setting), setting.name, stem(setting))


def _row(own: _Places, places: Sequence[_Places]) -> Row:
    """Settings are told apart by what differs within a row: what follows mu or the data set is no column of its own."""
    alike = [p for p in places if p.dataset == own.dataset]
    cells = dict(own.cells)
    for main in dict.fromkeys(_main(_set(g)) for g in own.variant.groups):
        keys = {key for p in alike for key in varied(p.settings(main))}
        named = [own.others[s] for s in own.settings(main) if s in own.others]
        if keys and not any(main.stem in p.chosen for p in alike) and main in cells:
            named.append(cells.pop(main))  # alone, for want of the others' runs
        for group in named:
            column = replace(main, label=f"{main.stem} {details(_set(group), keys) or 'as usual'}")
            # Values that are rounded to the same text are told apart by everything that was set.
            cells[column if column not in cells else replace(main, label=str(_set(group)))] = group
    return Row(own.dataset, own.variant, {column: group.runs for column, group in cells.items()})


def _chosen(tuning: Sequence[Run]) -> dict[str, list[Expression]]:
    """What validation chose for each method, the smallest of equals: first by a search of its own, then of some eps.

    Several eps with all else equal are a choice of eps; whatever else was tried is one search.
    """
    sizes = Counter(but_eps(s) for s in {r.spec.expression for r in tuning} if s.number("eps") is not None)
    searches: dict[str, dict[Expression | None, list[Run]]] = {}
    for run in sorted(tuning, key=lambda r: [v for v in stated(r.spec.expression).values() if not isinstance(v, str)]):
        setting = run.spec.expression
        kind = but_eps(setting) if sizes[but_eps(setting)] >= ENOUGH_EPS else None
        searches.setdefault(stem(setting), {}).setdefault(kind, []).append(run)
    return {
        method: [
            max(own[kind], key=lambda r: r.best.macro_f1).spec.expression
            for kind in sorted(own, key=lambda kind: kind is not None)
        ]
        for method, own in searches.items()
    }


def _places(variant: Variant, dataset: str, budget: str, tuning: Sequence[Run]) -> _Places:
    """A method as it was chosen, or was set alone; the control at AOS's eps; other settings, but for those of a sweep of eps."""
    ours = [r for r in tuning if replace(r.spec.variant(), tuning=False) == variant.spec]
    chosen = _chosen([r for r in ours if _counts(r.spec, budget)])
    elsewhere = [_chosen([r for r in ours if _counts(r.spec, other)]) for other in BUDGETS if other != budget]
    by_setting = {_set(g): g for g in variant.groups}
    found: dict[Column, Group] = {}
    searched = set()
    for column in dict.fromkeys(map(_main, by_setting)):
        own = [s for s in by_setting if stem(s) == column.stem]
        main = next((s for s in chosen.get(column.stem, ()) if s in own), None)
        if main is not None:
            searched.add(column.stem)
            for other in (s for some in elsewhere for s in some.get(column.stem, ()) if s not in chosen[column.stem]):
                by_setting.pop(other, None)  # the other budget's search chose it
        elif len(own) == 1:
            main = own[0]
        if main is not None:
            found[column] = by_setting[main]
    if (aos := found.get(AOS)) is not None:
        wanted = _set(aos).renamed("aos", CONTROL)
        if wanted in by_setting:
            found[replace(NOISE, label=AT_AOS)] = by_setting[wanted]
            if wanted not in chosen.get(CONTROL, [wanted]) and found.get(NOISE) is by_setting[wanted]:
                del found[NOISE]  # it was not run at its own eps yet
    known = [s for own in chosen.values() for s in own if s in by_setting]
    known += [_set(g) for g in found.values()]
    left = {s: g for s, g in by_setting.items() if g not in found.values() and not _swept(s, known, by_setting)}
    return _Places(variant, dataset, found, searched, left)


def _swept(setting: Expression, known: Sequence[Expression], settings: Iterable[Expression]) -> bool:
    """Whether a setting is one of several eps, of which another is a column, or which are too many for columns."""
    if setting in known:
        return False
    alike = [s for s in settings if _same_but_eps(s, setting)]
    return any(_same_but_eps(setting, other) for other in known) or len(alike) >= ENOUGH_EPS


def _same_but_eps(one: Expression, other: Expression) -> bool:
    return one.number("eps") is not None and but_eps(one) == but_eps(other)


def _remark(row: Row, rows: Sequence[Row]) -> str:
    """In which settings a row differs from others of the same data set, rho and mu."""
    own = row.spec
    like = [r.spec for r in rows if (r.dataset, r.spec.rho, r.spec.mu) == (row.dataset, own.rho, own.mu)]
    return settings_text(own, differing(like))


def _sweep(row: Row) -> Sweep | None:
    found: dict[str, tuple[Group, ...]] = {}
    for first in map(_set, row.variant.groups):
        alike = [g for g in row.variant.groups if _same_but_eps(_set(g), first)]
        if len(alike) >= max(ENOUGH_EPS, len(found.get(stem(first), ())) + 1):
            found[stem(first)] = tuple(sorted(alike, key=lambda g: eps_of(g.runs[0].spec)))
    return Sweep(row, found, row.cells.get(ROS, ())) if found else None
