"""The runs of a grid as one long frame, of which every table is a groupby or a pivot, and where in the tables they stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import groupby
from typing import Any, NamedTuple

import pandas as pd

from underdog.methods.expression import Expression
from underdog.metrics import Metrics
from underdog.reporting import published as paper
from underdog.reporting.methods import but_eps, details, differ_in_eps, place, stem, varied
from underdog.reporting.summary import Group, Spread, Variant, variants
from underdog.reporting.verdict import CONTROL
from underdog.reporting.words import MISSING, thousands
from underdog.run.queue import stated
from underdog.run.saved import Run
from underdog.run.spec import Replicate, RunSpec, differing, settings_text

__all__ = [
    "AT_AOS", "BUDGETS", "COSTS", "F1", "MEASURES", "REFERENCE", "SELECTIONS", "Column", "Grid", "Measure", "Record", "Row",
    "arrange", "mean",
]  # fmt: skip

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


class Measure(NamedTuple):
    """A score of a run: its name in file names, its title, its value, its decimal places, and the paper's table of it."""

    name: str
    title: str
    of: Callable[[Run, Metrics], float]
    digits: int = 4
    table: int | None = None


F1 = Measure("f1", "macro-F1", lambda run, m: m.macro_f1, table=paper.F1)
MEASURES = (F1, Measure("g-mean", "G-mean", lambda run, m: m.g_mean, table=paper.G_MEAN))
COSTS = (
    Measure("zero-recall", "classes with a recall of zero", lambda run, m: float(m.zero_recall_classes), 1),
    Measure("updates", "updates", lambda run, m: float(run.updates), 0),
)


@dataclass(frozen=True)
class Column:
    """A column of a table: its label, its method, and what it is of the method, see ``stem``."""

    label: str
    method: str
    stem: str

    @property
    def main(self) -> bool:
        """Whether its settings are those that were chosen, or all that there are, and not some of several."""
        return self.label == self.stem

    def __lt__(self, other: Column) -> bool:
        """Settings of one method by their numbers; a method as it was chosen has none and comes first."""
        one, two = (
            (place(c.method), c.stem, [float(n) for n in re.findall(r"\d+\.?\d*", c.label)], c.label)
            for c in (self, other)
        )
        return one < two


#: Where AOS and its control stand as they were chosen, and the control at AOS's eps.
AOS, NOISE, AT = Column("aos", "aos", "aos"), Column(CONTROL, CONTROL, CONTROL), Column(AT_AOS, CONTROL, CONTROL)


@dataclass(frozen=True, eq=False)
class Row:
    """A data variant: its data set's name, in what it differs from its like, and the runs in each column."""

    dataset: str
    variant: Variant
    cells: Mapping[Column, tuple[Run, ...]]
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
class Grid:
    """Everything of one budget, of which one selection counts.

    Attributes:
        rows: data variants, in the order of the tables.
        families, datasets: the numbers of rows that differ in mu only, and those of each data set.
        runs: a line for each run in each column where it stands, selection and score; ``row`` is a number of ``rows``.
        swept: likewise for the runs that differ in eps only, by ``eps``; the column is no column of the tables.
    """

    budget: str
    rows: tuple[Row, ...]
    families: list[list[int]]
    datasets: dict[str, list[int]]
    columns: tuple[Column, ...]
    runs: pd.DataFrame
    swept: pd.DataFrame
    selection: str = "best"

    @property
    def names(self) -> tuple[str, str]:
        """In files, and in titles."""
        return f"{self.budget}-{self.selection}", f"{BUDGETS[self.budget]}, {SELECTIONS[self.selection]}"

    @property
    def head(self) -> tuple[str, ...]:
        """Titles of what says which data variant a line is."""
        return ("data set", "rho", "mu", "settings")[: 4 if any(r.remark for r in self.rows) else 3]

    def head_of(self, row: Row, *instead: str) -> tuple[str, ...]:
        """Which data variant a line is, or other texts in the place of the last of these."""
        texts = [MISSING if v is None else f"{v:g}" if isinstance(v, float) else v for v in row.record.values()]
        return (*texts[: 4 - len(instead)], *instead)[: len(self.head)]

    def column(self, label: str) -> Column | None:
        """The column of a label, if there is one."""
        return next((c for c in self.columns if c.label == label), None)

    def alike(self, column: Column, other: Column, what: Collection[str] = ("eps",)) -> bool:
        """Whether two columns have the same values of these parameters wherever both have runs."""
        both = [row.cells for row in self.rows if {column, other} <= set(row.cells)]
        pairs = [[cells[c][0].spec.expression for c in (column, other)] for cells in both]
        return all(a.get(name) == b.get(name) for a, b in pairs for name in what)

    def _spreads(self, frame: pd.DataFrame, by: Sequence[str]) -> pd.Series:
        own = frame[frame["selection"] == self.selection]
        return own.groupby(by, sort=False, dropna=False)["value"].agg(tuple).map(Spread)

    @cached_property
    def spreads(self) -> pd.DataFrame:
        """The scores of each cell, by measure and row down and column across; NaN where it has no run."""
        every = pd.MultiIndex.from_product([[m.name for m in (*MEASURES, *COSTS)], range(len(self.rows))])
        found = self._spreads(self.runs, ["measure", "row", "column"]).unstack("column")
        return found.reindex(index=every, columns=list(self.columns))

    def average(self, measure: Measure, *groups: Sequence[int]) -> pd.Series:
        """Each column's mean of the means of groups of rows; NaN unless it has runs in all, since others are not comparable."""
        means = self.spreads.loc[measure.name].map(lambda s: s.mean, na_action="ignore").to_numpy()
        averages = [[mean(own) for own in means[rows].T] for rows in groups]
        return pd.Series([mean(own) for own in zip(*averages, strict=True)], list(self.columns))

    @cached_property
    def by_eps(self) -> pd.DataFrame:
        """A line for each row, method and eps, with its macro-F1, where eps was swept."""
        own = self.swept[self.swept["measure"] == F1.name]
        return self._spreads(own, ["row", "column", "eps", "tau"]).reset_index()

    @cached_property
    def _pairs(self) -> dict[tuple[str, Column, Column], dict[int, Any]]:
        """By measure, column, other column and row: the scores of each on the replicates that both have, and the differences."""
        scored = self.runs["measure"].isin([m.name for m in MEASURES])
        own = self.runs[scored & (self.runs["selection"] == self.selection)]
        both = own.merge(own, on=["measure", "row", *Replicate._fields])
        both["difference"] = both["value_x"] - both["value_y"]
        by, values = ["measure", "column_x", "column_y", "row"], ["value_x", "value_y", "difference"]
        spreads = both.groupby(by)[values].agg(tuple).map(Spread)
        found: dict[tuple[str, Column, Column], dict[int, Any]] = {}
        for (*columns, row), spread in zip(spreads.index, spreads.itertuples(index=False), strict=True):
            found.setdefault(tuple(columns), {})[row] = spread
        return found

    def differences(self, measure: Measure, own: Column, other: Column) -> dict[int, Spread]:
        """A column minus another in each row, by the replicates that both have there."""
        return {row: p.difference for row, p in self._pairs.get((measure.name, own, other), {}).items()}

    def wins(self, measure: Measure, own: Column, other: Column) -> tuple[int, int, int]:
        """In how many rows a column wins, ties and loses against another, by the replicates that both have."""
        pairs = self._pairs.get((measure.name, own, other), {}).values()
        return paper.record([(p.value_x.mean, p.value_y.mean) for p in pairs], measure.digits)


def mean(values: Iterable[float]) -> float:
    """The mean, rounded once; NaN where a value is."""
    return Spread(tuple(values)).mean


def arrange(runs: Collection[Run], tuning: Collection[Run], names: Mapping[str, str]) -> tuple[Grid, ...]:
    """One grid for each budget that the runs have; names are of data sets, by fingerprint.

    Methods whose epochs have oversampling's length take as many updates under both budgets, so their runs count for both.
    """
    return tuple(_grid(b, _under(b, runs), tuning, names) for b in BUDGETS if any(r.spec.budget == b for r in runs))


def _under(budget: str, runs: Iterable[Run]) -> list[Run]:
    return [r for r in runs if replace(r.spec, budget=budget) == r.spec]


def _grid(budget: str, runs: Iterable[Run], tuning: Collection[Run], names: Mapping[str, str]) -> Grid:
    found = [_places(v, names.get(v.spec.data, v.runs[0].source), budget, tuning) for v in variants(runs)]
    rows = sorted((_row(own, found) for own in found), key=lambda r: (r.dataset, str(r.family), r.spec.mu or 0.0))
    if all(r.cells.get(AT) in (None, r.cells.get(NOISE)) for r in rows):  # the control was run at AOS's eps only
        rows = [replace(r, cells={c: own for c, own in r.cells.items() if c != AT}) for r in rows]
    rows = [replace(r, remark=_remark(r, rows)) for r in rows]
    numbers = range(len(rows))
    placed = [((r.dataset, i, c), run) for i, r in enumerate(rows) for c, own in r.cells.items() for run in own]
    swept = [((i, *said), run) for i, r in enumerate(rows) for said, own in _swept(r.variant) for run in own.runs]
    return Grid(
        budget,
        tuple(rows),
        [list(own) for _, own in groupby(numbers, key=lambda i: rows[i].family)],
        {name: list(own) for name, own in groupby(numbers, key=lambda i: rows[i].dataset)},
        tuple(sorted({c for r in rows for c in r.cells})),
        _long_frame(placed, ["dataset", "row", "column"]),
        _long_frame(swept, ["row", "column", "eps", "tau"]),
    )


def _long_frame(placed: Iterable[tuple[tuple[object, ...], Run]], by: Sequence[str]) -> pd.DataFrame:
    """A line for each run, selection and score, after what is said of the run."""
    lines = [
        (*said, *run.key, selection, measure.name, measure.of(run, getattr(run, selection)))
        for said, run in placed
        for selection in SELECTIONS
        for measure in (*MEASURES, *COSTS)
    ]
    # Texts stay Python's and no keys: names may hold lone surrogates, which pandas' own texts refuse.
    frame = pd.DataFrame(lines, columns=[*by, *Replicate._fields, "selection", "measure", "value"], dtype=object)
    return frame.astype({"value": float})


class _Places(NamedTuple):
    """Where the settings of a data variant stand: in columns of methods, some of which validation chose, or in their own."""

    variant: Variant
    dataset: str
    groups: Mapping[Expression, Group]
    cells: Mapping[Column, Expression]
    chosen: Collection[str]
    others: Collection[Expression]


def _set(group: Group) -> Expression:
    """The method and its parameters, whatever the budget, which every table has one of."""
    return group.runs[0].spec.expression


def _main(setting: Expression) -> Column:
    return Column(stem(setting), setting.name, stem(setting))


def _row(own: _Places, places: Iterable[_Places]) -> Row:
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
    return Row(own.dataset, own.variant, {column: own.groups[s].runs for column, s in cells.items()})


def _chosen(tuning: Iterable[Run], budget: str) -> dict[str, list[Expression]]:
    """What validation chose for each method, the smallest of equals: first by a search, then of several eps with all else equal."""
    tuning = _under(budget, tuning)
    sizes = Counter(but_eps(s) for s in {r.spec.expression for r in tuning} if s.number("eps") is not None)
    best: dict[tuple[str, Expression | None], Run] = {}
    for run in sorted(tuning, key=lambda r: [v for v in stated(r.spec.expression).values() if not isinstance(v, str)]):
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
    others, cells, searched = list(groups), dict[Column, Expression](), set[str]()
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


def _remark(row: Row, rows: Iterable[Row]) -> str:
    """In which settings a row differs from others of the same data set, rho and mu."""
    own = row.spec
    like = [r.spec for r in rows if (r.dataset, r.spec.rho, r.spec.mu) == (row.dataset, own.rho, own.mu)]
    return settings_text(own, differing(like))


def _swept(variant: Variant) -> Iterator[tuple[tuple[object, ...], Group]]:
    """The groups that differ in eps only, of each method those with the most eps."""
    found = dict[str, list[Group]]()
    for first in map(_set, variant.groups):
        alike = [g for g in variant.groups if differ_in_eps(_set(g), first)]
        if len(alike) >= max(ENOUGH_EPS, len(found.get(stem(first), ())) + 1):
            found[stem(first)] = sorted(alike, key=lambda g: _set(g).number("eps") or 0.0)
    for own, method, group in ((_set(g), method, g) for method, groups in found.items() for g in groups):
        column = Column(f"{group.method} {details(but_eps(own))}", group.method, method)
        yield (column, own.number("eps"), own.number("tau")), group
