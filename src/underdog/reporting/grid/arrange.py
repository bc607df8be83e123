"""Where the runs of a grid stand in its tables: a row for each data variant, a column for each method as it was chosen."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

import pandas as pd

from underdog.methods.expression import Expression
from underdog.reporting.methods import but_eps, details, differ_in_eps, place, stem, varied
from underdog.reporting.summary import Group, Paired, Score, Spread, Variant, paired, spread_of, variants
from underdog.reporting.verdict import CONTROL
from underdog.reporting.words import MISSING, thousands
from underdog.run.saved import Run
from underdog.run.spec import RunSpec, differing, settings_text

__all__ = [
    "AT_AOS",
    "BUDGETS",
    "COSTS",
    "F1",
    "MEASURES",
    "REFERENCE",
    "SELECTIONS",
    "Arrangement",
    "DataRow",
    "MethodColumn",
    "Record",
    "arrange",
    "mean",
]

REFERENCE = "ros"
#: The control at the eps and tau of AOS, where it has others of its own too.
AT_AOS = f"{CONTROL} at aos's eps"
#: Which network of a run is scored.
SELECTIONS = {"best": "the best epoch by validation macro-F1", "last": "the last epoch"}
BUDGETS = {"epochs": "equal epochs", "updates": "equal updates"}
#: An eps figure needs as many.
ENOUGH_EPS = 3

#: A row of a table in CSV.
Record = dict[str, Any]

F1 = Score("f1", "macro-F1", lambda run, m: m.macro_f1, 4)
MEASURES = (F1, Score("g-mean", "G-mean", lambda run, m: m.g_mean, 4))
COSTS = (
    Score("zero-recall", "classes with a recall of zero", lambda run, m: float(m.zero_recall_classes), 1),
    Score("updates", "updates", lambda run, m: float(run.updates), 0),
)


@dataclass(frozen=True)
class MethodColumn:
    """A column of a table: its label, its method, and what it is of the method, see ``stem``."""

    label: str
    method: str
    stem: str

    @property
    def main(self) -> bool:
        """Whether its settings are those that were chosen, or all that there are, and not some of several."""
        return self.label == self.stem

    def __lt__(self, other: MethodColumn) -> bool:
        """Settings of one method by their numbers; a method as it was chosen has none and comes first."""
        return self._order < other._order

    @property
    def _order(self) -> tuple[Any, ...]:
        return place(self.method), self.stem, [float(n) for n in re.findall(r"\d+\.?\d*", self.label)], self.label


#: Where AOS and its control stand as they were chosen, and the control at AOS's eps.
AOS, NOISE = MethodColumn("aos", "aos", "aos"), MethodColumn(CONTROL, CONTROL, CONTROL)
AT = replace(NOISE, label=AT_AOS)


@dataclass(frozen=True, eq=False)
class DataRow:
    """A data variant: its data set's name, the runs in each column, those that differ in eps only, and in what it differs from
    its like."""

    dataset: str
    variant: Variant
    cells: Mapping[MethodColumn, tuple[Run, ...]]
    swept: tuple[tuple[MethodColumn, float, float, Group], ...] = ()
    remark: str = ""

    @property
    def spec(self) -> RunSpec:
        return self.variant.spec

    @property
    def family(self) -> tuple[object, ...]:
        """What rows that are averaged have in common: everything but mu."""
        spec = self.spec
        rest = replace(spec, rho=None, mu=None, majority_size=None, minority=None)
        return self.dataset, spec.rho, spec.majority_size, spec.minority, rest

    @property
    def name(self) -> str:
        """A data set and what was done to it, but for mu."""
        rho, size = self.spec.rho, self.spec.majority_size
        cut = f"{thousands(size)} images a majority class" if size else ""
        parts = filter(None, [f"rho {rho:g}" if rho else "", cut, self.remark])
        return f"{self.dataset} ({', '.join(parts) or 'natural counts'})"

    @property
    def record(self) -> Record:
        return {"dataset": self.dataset, "rho": self.spec.rho, "mu": self.spec.mu, "settings": self.remark}


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Every run of one budget, scored by one selection, in the rows and columns of the tables."""

    budget: str
    rows: tuple[DataRow, ...]
    columns: tuple[MethodColumn, ...]
    selection: str = "best"

    @property
    def names(self) -> tuple[str, str]:
        """In files, and in titles."""
        return f"{self.budget}-{self.selection}", f"{BUDGETS[self.budget]}, {SELECTIONS[self.selection]}"

    @property
    def last(self) -> bool:
        """Whether the last epoch is scored."""
        return self.selection == "last"

    @cached_property
    def families(self) -> list[list[int]]:
        """The numbers of rows that differ in mu only."""
        return [list(own) for _, own in groupby(range(len(self.rows)), key=lambda i: self.rows[i].family)]

    @cached_property
    def datasets(self) -> dict[str, list[int]]:
        """The numbers of the rows of each data set."""
        return {name: list(own) for name, own in groupby(range(len(self.rows)), key=lambda i: self.rows[i].dataset)}

    @property
    def head(self) -> tuple[str, ...]:
        """Titles of what says which data variant a line is."""
        return ("data set", "rho", "mu", "settings")[: 4 if any(r.remark for r in self.rows) else 3]

    def head_of(self, row: DataRow, *instead: str) -> tuple[str, ...]:
        """Which data variant a line is, or other texts in the place of the last of these."""
        texts = [MISSING if v is None else f"{v:g}" if isinstance(v, float) else v for v in row.record.values()]
        return (*texts[: 4 - len(instead)], *instead)[: len(self.head)]

    def column(self, label: str) -> MethodColumn | None:
        """The column of a label, if there is one."""
        return next((c for c in self.columns if c.label == label), None)

    def alike(self, column: MethodColumn, other: MethodColumn, what: Collection[str] = ("eps",)) -> bool:
        """Whether two columns have the same values of these parameters wherever both have runs."""
        both = [row.cells for row in self.rows if {column, other} <= set(row.cells)]
        pairs = [[cells[c][0].spec.expression for c in (column, other)] for cells in both]
        return all(a.get(name) == b.get(name) for a, b in pairs for name in what)

    def spreads(self, score: Score, i: int) -> dict[MethodColumn, Spread]:
        """A score in each column that has runs in a row."""
        cells = self.rows[i].cells
        return {c: s for c in self.columns if c in cells and (s := spread_of(cells[c], score, self.last))}

    def averages(self, score: Score, *groups: Sequence[int]) -> dict[MethodColumn, float]:
        """Means of the means of groups of rows, of the columns with runs in all of them, since others are not comparable."""
        found = {i: self.spreads(score, i) for rows in groups for i in rows}
        whole = [c for c in self.columns if all(c in own for own in found.values())]
        return {c: mean(mean(found[i][c].mean for i in rows) for rows in groups) for c in whole}

    def pairs(self, score: Score, own: MethodColumn, other: MethodColumn) -> dict[int, Paired]:
        """The scores of two columns in each row, by the replicates that both have there."""
        cells = [(row.cells.get(own, ()), row.cells.get(other, ())) for row in self.rows]
        return {i: p for i, runs in enumerate(cells) if (p := paired(*runs, score, self.last)) is not None}

    @cached_property
    def swept(self) -> pd.DataFrame:
        """A line for each row, method and eps, with the spread of its macro-F1, where eps was swept."""
        lines = [(i, *at, spread_of(g.runs, F1, self.last)) for i, r in enumerate(self.rows) for *at, g in r.swept]
        return pd.DataFrame(lines, columns=["row", "column", "eps", "tau", "spread"], dtype=object)


def mean(values: Iterable[float]) -> float:
    """The mean, rounded once."""
    return Spread(tuple(values)).mean


def arrange(runs: Collection[Run], tuning: Collection[Run], names: Mapping[str, str]) -> tuple[Arrangement, ...]:
    """One arrangement for each budget that the runs have; names are of data sets, by fingerprint.

    Methods whose epochs have oversampling's length take as many updates under both budgets, so their runs count for both.
    """
    return tuple(_arranged(b, _under(b, runs), tuning, names) for b in BUDGETS if any(r.spec.budget == b for r in runs))


def _under(budget: str, runs: Iterable[Run]) -> list[Run]:
    return [r for r in runs if replace(r.spec, budget=budget) == r.spec]


def _arranged(budget: str, runs: Iterable[Run], tuning: Collection[Run], names: Mapping[str, str]) -> Arrangement:
    found = [_places(v, names.get(v.spec.data, v.runs[0].source), budget, tuning) for v in variants(runs)]
    rows = sorted((_row(own, found) for own in found), key=lambda r: (r.dataset, str(r.family), r.spec.mu or 0.0))
    if all(r.cells.get(AT) in (None, r.cells.get(NOISE)) for r in rows):  # the control was run at AOS's eps only
        rows = [replace(r, cells={c: own for c, own in r.cells.items() if c != AT}) for r in rows]
    rows = [replace(r, remark=_remark(r, rows)) for r in rows]
    return Arrangement(budget, tuple(rows), tuple(sorted({c for r in rows for c in r.cells})))


class _Places(NamedTuple):
    """Where the settings of a data variant stand: in columns of methods, some of which validation chose, or in their own."""

    variant: Variant
    dataset: str
    groups: Mapping[Expression, Group]
    cells: Mapping[MethodColumn, Expression]
    chosen: Collection[str]
    others: Collection[Expression]


def _set(group: Group) -> Expression:
    """The method and its parameters, whatever the budget, which every table has one of."""
    return group.runs[0].spec.expression


def _main(setting: Expression) -> MethodColumn:
    return MethodColumn(stem(setting), setting.name, stem(setting))


def _row(own: _Places, places: Iterable[_Places]) -> DataRow:
    """Settings are told apart by what differs within a row: what follows mu or the data set is no column of its own."""
    alike = [p for p in places if p.dataset == own.dataset]
    cells = dict(own.cells)
    for main in dict.fromkeys(map(_main, own.groups)):
        named, *others = ([s for s in p.others if stem(s) == main.stem] for p in (own, *alike))
        shown = ([*filter(None, [p.cells.get(main)]), *more] for p, more in zip(alike, others, strict=True))
        keys = {key for settings in shown for key in varied(settings)}
        if keys and main in cells and not any(main.stem in p.chosen for p in alike):
            named.append(cells.pop(main))  # alone, for want of the others' runs
        for setting in named:
            column = replace(main, label=f"{main.stem} {details(setting, keys) or 'as usual'}")
            # Values that are rounded to the same text are told apart by everything that was set.
            cells[column if column not in cells else replace(main, label=str(setting))] = setting
    return DataRow(
        own.dataset, own.variant, {c: own.groups[s].runs for c, s in cells.items()}, tuple(_swept(own.variant))
    )


def _chosen(tuning: Iterable[Run], budget: str) -> dict[str, list[Expression]]:
    """What validation chose for each method, the smallest of equals: first by a search, then of several eps with all else equal."""
    tuning = _under(budget, tuning)
    sizes = Counter(but_eps(s) for s in {r.spec.expression for r in tuning} if s.number("eps") is not None)
    best: dict[tuple[str, Expression | None], Run] = {}
    for run in sorted(tuning, key=lambda r: [v for v in r.spec.expression.stated.values() if not isinstance(v, str)]):
        setting = run.spec.expression
        search = stem(setting), but_eps(setting) if sizes[but_eps(setting)] >= ENOUGH_EPS else None
        best[search] = max(best.get(search, run), run, key=lambda r: r.best.macro_f1)
    found: dict[str, list[Expression]] = {}
    for (method, _), run in sorted(best.items(), key=lambda item: item[0][1] is not None):
        found.setdefault(method, []).append(run.spec.expression)
    return found


def _places(variant: Variant, dataset: str, budget: str, tuning: Iterable[Run]) -> _Places:
    """A method as it was chosen, or was set alone; the control at AOS's eps; other settings, but for those of a sweep of eps."""
    ours = [r for r in tuning if replace(r.spec.variant(), tuning=False) == variant.spec]
    chosen, *elsewhere = (_chosen(ours, b) for b in sorted(BUDGETS, key=lambda b: b != budget))
    groups = {_set(g): g for g in variant.groups}
    others, cells, searched = list(groups), dict[MethodColumn, Expression](), set[str]()
    for column in dict.fromkeys(map(_main, groups)):
        own, best = [s for s in groups if stem(s) == column.stem], chosen.get(column.stem, ())
        if found := [s for s in best if s in own]:
            searched.add(column.stem)
            there = {s for some in elsewhere for s in some.get(column.stem, ())} - {*best}
            others = [s for s in others if s not in there]  # the other budget's search chose it
        if found or len(own) == 1:
            cells[column] = (found or own)[0]
    if AOS in cells and (wanted := cells[AOS].renamed("aos", CONTROL)) in others:
        cells[AT] = wanted
        if wanted not in chosen.get(CONTROL, [wanted]) and cells.get(NOISE) == wanted:
            del cells[NOISE]  # it was not run at its own eps yet
    known = {s for best in chosen.values() for s in best if s in others} | {*cells.values()}
    alike = {s: [other for other in others if differ_in_eps(s, other)] for s in others}
    # Of several eps, those beside one that is a column, and those that are too many for columns, are in the figure only.
    left = [s for s in others if s in known or (len(alike[s]) < ENOUGH_EPS and known.isdisjoint(alike[s]))]
    return _Places(variant, dataset, groups, cells, searched, [s for s in left if s not in cells.values()])


def _remark(row: DataRow, rows: Iterable[DataRow]) -> str:
    """In which settings a row differs from others of the same data set, rho and mu."""
    own = row.spec
    like = [r.spec for r in rows if (r.dataset, r.spec.rho, r.spec.mu) == (row.dataset, own.rho, own.mu)]
    return settings_text(own, differing(like))


def _swept(variant: Variant) -> Iterator[tuple[MethodColumn, float, float, Group]]:
    """The groups that differ in eps only, of each method those with the most eps, by column, eps and tau."""
    found = dict[str, list[Group]]()
    for first in map(_set, variant.groups):
        alike = [g for g in variant.groups if differ_in_eps(_set(g), first)]
        if len(alike) >= max(ENOUGH_EPS, len(found.get(stem(first), ())) + 1):
            found[stem(first)] = sorted(alike, key=lambda g: _set(g).number("eps") or 0.0)
    for own, method, group in ((_set(g), method, g) for method, groups in found.items() for g in groups):
        column = MethodColumn(f"{group.method} {details(but_eps(own))}", group.method, method)
        yield column, own.number("eps") or 0.0, own.number("tau") or 0.0, group
