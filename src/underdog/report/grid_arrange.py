"""Which runs stand in which line and column of a grid's tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from underdog.names import ALTERING, BUDGETS, METHODS
from underdog.report.collect import Run
from underdog.report.grid_runs import AT_AOS, Column, Grid, Row, Sweep, details, setting_of
from underdog.report.summary import Group, Variant, variants
from underdog.report.verdict import CONTROL
from underdog.run.spec import RunSpec, Setting, differing, settings_text

__all__ = ["arrange"]

#: An eps figure needs as many.
ENOUGH_EPS = 3


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
    order = list(METHODS)
    columns = sorted(
        {c for r in rows for c in r.cells}, key=lambda c: (order.index(c.method), _numbers(c.label), c.label)
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
        chosen: methods whose column is what validation chose.
        others: further settings, each of which gets a column that is named after it.
    """

    variant: Variant
    dataset: str
    cells: Mapping[Column, Group]
    chosen: frozenset[str]
    others: Mapping[Setting, Group]

    def settings(self, method: str) -> list[Setting]:
        """Those of a method that have columns of their own."""
        main = self.cells.get(Column(method, method))
        return [
            setting_of(g.runs[0].spec) for g in (main, *self.others.values()) if g is not None and g.method == method
        ]


def _row(own: _Places, places: Sequence[_Places]) -> Row:
    """Settings are told apart by what differs within a row: what follows mu or the data set is no column of its own."""
    alike = [p for p in places if p.dataset == own.dataset]
    cells = dict(own.cells)
    for method in dict.fromkeys(g.method for g in own.variant.groups):
        names = {name for p in alike for name in _differing(p.settings(method))}
        named = [g for g in own.others.values() if g.method == method]
        if names and not any(method in p.chosen for p in alike) and Column(method, method) in cells:
            named.append(cells.pop(Column(method, method)))  # alone, for want of the others' runs
        for group in named:
            cells[Column(f"{method} {details(setting_of(group.runs[0].spec), names) or 'as usual'}", method)] = group
    return Row(own.dataset, own.variant, {column: group.runs for column, group in cells.items()})


def _differing(settings: Sequence[Setting]) -> list[str]:
    return [name for name in Setting._fields if len({getattr(s, name) for s in settings}) > 1]


def _chosen(tuning: Sequence[Run]) -> dict[str, list[Setting]]:
    """What validation chose for each method, the smallest of equals: first by a search of its own, then of some eps.

    Several eps with all else equal are a choice of eps; whatever else was tried is one search.
    """
    searches: dict[str, dict[object, list[Run]]] = {}
    for run in sorted(tuning, key=lambda r: [v for v in r.spec.setting if isinstance(v, float | int)]):
        alike = {r.spec.eps for r in tuning if _same_but_eps(setting_of(r.spec), setting_of(run.spec))}
        kind = setting_of(run.spec)._replace(eps=None) if len(alike) >= ENOUGH_EPS else None
        searches.setdefault(run.spec.method, {}).setdefault(kind, []).append(run)
    return {
        method: [
            setting_of(max(own[kind], key=lambda r: r.best.macro_f1).spec)
            for kind in sorted(own, key=lambda kind: kind is not None)
        ]
        for method, own in searches.items()
    }


def _places(variant: Variant, dataset: str, budget: str, tuning: Sequence[Run]) -> _Places:
    """A method as it was chosen, or was set alone; the control at AOS's eps; other settings, but for those of a sweep of eps."""
    ours = [r for r in tuning if replace(r.spec.variant(), tuning=False) == variant.spec]
    chosen = _chosen([r for r in ours if _counts(r.spec, budget)])
    elsewhere = [_chosen([r for r in ours if _counts(r.spec, other)]) for other in BUDGETS if other != budget]
    by_setting = {setting_of(g.runs[0].spec): g for g in variant.groups}
    found: dict[Column, Group] = {}
    searched = set()
    for method in dict.fromkeys(g.method for g in variant.groups):
        own = [s for s in by_setting if s.method == method]
        main = next((s for s in chosen.get(method, ()) if s in own), None)
        if main is not None:
            searched.add(method)
            for other in (s for some in elsewhere for s in some.get(method, ()) if s not in chosen[method]):
                by_setting.pop(other, None)  # the other budget's search chose it
        elif len(own) == 1:
            main = own[0]
        if main is not None:
            found[Column(method, method)] = by_setting[main]
    if (aos := found.get(Column("aos", "aos"))) is not None:
        wanted = setting_of(aos.runs[0].spec)._replace(method=CONTROL)
        if wanted in by_setting:
            found[Column(AT_AOS, CONTROL)] = by_setting[wanted]
            if (
                wanted not in chosen.get(CONTROL, [wanted])
                and found.get(Column(CONTROL, CONTROL)) is by_setting[wanted]
            ):
                del found[Column(CONTROL, CONTROL)]  # it was not run at its own eps yet
    known = [s for own in chosen.values() for s in own if s in by_setting]
    known += [setting_of(g.runs[0].spec) for g in found.values()]
    left = {s: g for s, g in by_setting.items() if g not in found.values() and not _swept(s, known, by_setting)}
    return _Places(variant, dataset, found, frozenset(searched), left)


def _swept(setting: Setting, known: Sequence[Setting], settings: Iterable[Setting]) -> bool:
    """Whether a setting is one of several eps, of which another is a column, or which are too many for columns."""
    if setting in known:
        return False
    alike = [s for s in settings if _same_but_eps(s, setting)]
    return any(_same_but_eps(setting, other) for other in known) or len(alike) >= ENOUGH_EPS


def _same_but_eps(one: Setting, other: Setting) -> bool:
    return one.eps is not None and one._replace(eps=other.eps) == other


def _remark(row: Row, rows: Sequence[Row]) -> str:
    """In which settings a row differs from others of the same data set, rho and mu."""
    own = row.spec
    like = [r.spec for r in rows if (r.dataset, r.spec.rho, r.spec.mu) == (row.dataset, own.rho, own.mu)]
    return settings_text(own, differing(like))


def _sweep(row: Row) -> Sweep | None:
    found: dict[str, tuple[Group, ...]] = {}
    for method in ALTERING:
        own = [g for g in row.variant.groups if g.method == method]
        for first in own:
            alike = [g for g in own if _same_but_eps(setting_of(g.runs[0].spec), setting_of(first.runs[0].spec))]
            if len(alike) >= max(ENOUGH_EPS, len(found.get(method, ())) + 1):
                found[method] = tuple(sorted(alike, key=lambda g: g.runs[0].spec.eps or 0.0))
    return Sweep(row, found, row.cells.get(Column("ros", "ros"), ())) if found else None
