"""The runs of a grid, arranged as its tables show them: data variants down, methods across."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from underdog.metrics import Metrics
from underdog.names import ALTERING, BUDGETS, METHODS
from underdog.report import published as paper
from underdog.report.collect import UNREADABLE, Aside, Run, reason
from underdog.report.summary import Group, Spread, Variant, eps_text, variants
from underdog.report.verdict import CONTROL
from underdog.report.words import plural
from underdog.run.files import read_json
from underdog.run.spec import Replicate, RunSpec, Setting, differing, settings_text

__all__ = [
    "AT_AOS",
    "SELECTIONS",
    "Column",
    "Grid",
    "Measure",
    "Names",
    "Row",
    "Sweep",
    "arrange",
    "dataset_names",
    "details",
    "of_these_data",
    "reported",
]

#: The control at the eps and tau of AOS, where it has others of its own too.
AT_AOS = f"{CONTROL} at aos's eps"
#: Which network of a run is scored.
SELECTIONS: dict[str, str] = {"best": "the best epoch by validation macro-F1", "last": "the last epoch"}
#: In what runs are themselves, not how they were trained.
_OUR_OWN = {"revision", "devices"}
#: An eps figure needs as many.
ENOUGH_EPS = 3


@dataclass(frozen=True)
class Measure:
    """A score of a run: its name in file names, its title, its decimal places, and the paper's table of it."""

    name: str
    title: str
    of: Callable[[Run, Metrics], float]
    digits: int = 4
    table: int | None = None

    def __call__(self, run: Run, selection: str) -> float:
        """The score of the network that was selected."""
        return self.of(run, run.best if selection == "best" else run.last)


@dataclass(frozen=True)
class Column:
    """A column of a table: its label and its method."""

    label: str
    method: str


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
    def printed(self) -> paper.Variant | None:
        """The variant of the paper that this is, or None."""
        spec = self.spec
        if spec.rho is None or spec.mu is None or spec.majority_size is not None:
            return None
        key = (self.dataset, spec.rho, spec.mu)
        return key if key in paper.published().settings else None

    @property
    def departures(self) -> tuple[str, ...]:
        """In what the runs are not what the grid ``paper`` makes of this variant, which is Table 2 where that says it."""
        if self.printed is None:
            return ()
        settings, images = paper.published().settings[self.printed], paper.published().images[self.dataset]
        spec, run = self.spec, self.variant.runs[0]
        wanted = RunSpec(spec.data, spec.method, rho=spec.rho, mu=spec.mu, epochs=settings.epochs, lr=settings.lr)
        found = [
            f"{settings_text(spec, [name])} instead of {settings_text(wanted, [name]).removeprefix(f'{name} ')}"
            for name in differing([spec, wanted])
            if name not in _OUR_OWN
        ]
        if run.image_shape != images.shape:
            found.append(f"images of {_by(run.image_shape)} instead of {_by(images.shape)}")
        if len(run.classes) != images.classes:
            found.append(f"{len(run.classes)} classes instead of {images.classes}")
        aos = Setting("aos", None, settings.tau, "")
        for column, runs in self.cells.items():
            usual = aos if column.label == "aos" else Setting(column.method, None, None, "")
            if column.label in paper.METHODS and (own := _setting(runs[0].spec)._replace(eps=None)) != usual:
                found.append(f"{column.label} {details(own) or 'as usual'} instead of {details(usual) or 'as usual'}")
        return tuple(found)

    def scores(self, column: Column, measure: Measure, selection: str) -> dict[Replicate, float]:
        """The scores of a column by replicate; empty where the column has no run."""
        return {run.key: measure(run, selection) for run in self.cells.get(column, ())}

    def spread(self, column: Column, measure: Measure, selection: str) -> Spread | None:
        """The scores of a column, or None where it has no run."""
        scores = self.scores(column, measure, selection)
        return Spread(tuple(scores.values())) if scores else None

    def paired(
        self, column: Column, other: Column, measure: Measure, selection: str
    ) -> tuple[tuple[Replicate, ...], Spread, Spread] | None:
        """The replicates that both columns have, and the scores of each on them; None without any."""
        own, theirs = self.scores(column, measure, selection), self.scores(other, measure, selection)
        keys = tuple(key for key in own if key in theirs)
        if not keys:
            return None
        return keys, Spread(tuple(own[k] for k in keys)), Spread(tuple(theirs[k] for k in keys))


@dataclass(frozen=True, eq=False)
class Sweep:
    """The runs of a data variant that differ in eps only: by method, its groups by eps; and oversampling's runs."""

    row: Row
    groups: Mapping[str, tuple[Group, ...]]
    ros: tuple[Run, ...]


@dataclass(frozen=True, eq=False)
class Grid:
    """Everything of one budget."""

    budget: str
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    sweeps: tuple[Sweep, ...]

    @cached_property
    def families(self) -> tuple[tuple[Row, ...], ...]:
        """Rows that differ in mu only, in the order of the rows."""
        found: dict[tuple[object, ...], list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.family, []).append(row)
        return tuple(map(tuple, found.values()))

    @property
    def swept(self) -> tuple[str, ...]:
        """Methods that were run at several eps of which none was chosen, so that they have no column."""
        found = dict.fromkeys(method for sweep in self.sweeps for method in sweep.groups)
        return tuple(method for method in found if method not in {c.method for c in self.columns})

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.dataset for row in self.rows))

    def column(self, label: str) -> Column | None:
        """The column of a label, if there is one."""
        return next((c for c in self.columns if c.label == label), None)

    def alike(self, column: Column, other: Column, what: Collection[str] = ("eps",)) -> bool:
        """Whether two columns have the same settings of that kind wherever both have runs."""
        pairs = [
            (row.cells[column][0].spec, row.cells[other][0].spec)
            for row in self.rows
            if {column, other} <= set(row.cells)
        ]
        return all(getattr(a, name) == getattr(b, name) for a, b in pairs for name in what)

    def average(self, rows: Sequence[Row], column: Column, measure: Measure, selection: str) -> float | None:
        """The mean over rows; None unless the column has runs in all of them, since others are not comparable."""
        means = [s.mean for row in rows if (s := row.spread(column, measure, selection)) is not None]
        return Spread(tuple(means)).mean if len(means) == len(rows) else None

    def overall(self, column: Column, measure: Measure, selection: str) -> float | None:
        """The mean of the families' averages."""
        means = [self.average(family, column, measure, selection) for family in self.families]
        return None if None in means else Spread(tuple(m for m in means if m is not None)).mean


def reported(runs: Iterable[Run]) -> tuple[tuple[Run, ...], tuple[Aside, ...]]:
    """The runs that have test images, and the others with the reason why no table counts them."""
    runs = tuple(runs)
    why = "it has no test images" + "; a run that chose a setting is not reported"
    return tuple(r for r in runs if r.part == "test"), tuple(Aside(r.name, why) for r in runs if r.part != "test")


@dataclass(frozen=True)
class Names:
    """What the ``grid.json`` in a folder of runs says of data sets, by fingerprint.

    Attributes:
        now: the names of those that there are.
        before: the names of those that there were, before their images changed.
        asides: why nothing is known, if the file cannot be read.
    """

    now: Mapping[str, str]
    before: Mapping[str, str]
    asides: tuple[Aside, ...] = ()


def dataset_names(home: Path) -> Names:
    """The names of data sets; none without the file."""
    path = home / "grid.json"
    if not path.exists():
        return Names({}, {})
    try:
        known = {str(name): own for name, own in read_json(path)["datasets"].items()}
        now = {str(own["fingerprint"]): name for name, own in known.items()}
        before = {str(f): name for name, own in known.items() for f in own.get("before", []) if f not in now}
    except UNREADABLE as error:
        return Names({}, {}, (Aside(path.name, f"data sets are named after their sources; {reason(error)}"),))
    return Names(now, before)


def of_these_data(runs: Iterable[Run], names: Names) -> tuple[tuple[Run, ...], tuple[Aside, ...]]:
    """The runs on data sets as they are, and how many there are of each as it was."""
    runs = tuple(runs)
    old = Counter(names.before[r.spec.data] for r in runs if r.spec.data in names.before)
    why = 'of the images that {} had before they changed, by grid.json\'s "before"; not counted'
    return (
        tuple(r for r in runs if r.spec.data not in names.before),
        tuple(Aside(plural(n, "run"), why.format(name)) for name, n in old.items()),
    )


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


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


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
        return [_setting(g.runs[0].spec) for g in (main, *self.others.values()) if g is not None and g.method == method]


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
            cells[Column(f"{method} {details(_setting(group.runs[0].spec), names) or 'as usual'}", method)] = group
    return Row(own.dataset, own.variant, {column: group.runs for column, group in cells.items()})


def _differing(settings: Sequence[Setting]) -> list[str]:
    return [name for name in Setting._fields if len({getattr(s, name) for s in settings}) > 1]


def _chosen(tuning: Sequence[Run]) -> dict[str, list[Setting]]:
    """What validation chose for each method, the smallest of equals: first by a search of its own, then of some eps.

    Several eps with all else equal are a choice of eps; whatever else was tried is one search.
    """
    searches: dict[str, dict[object, list[Run]]] = {}
    for run in sorted(tuning, key=lambda r: [v for v in r.spec.setting if isinstance(v, float | int)]):
        alike = {r.spec.eps for r in tuning if _same_but_eps(_setting(r.spec), _setting(run.spec))}
        kind = _setting(run.spec)._replace(eps=None) if len(alike) >= ENOUGH_EPS else None
        searches.setdefault(run.spec.method, {}).setdefault(kind, []).append(run)
    return {
        method: [
            _setting(max(own[kind], key=lambda r: r.best.macro_f1).spec)
            for kind in sorted(own, key=lambda kind: kind is not None)
        ]
        for method, own in searches.items()
    }


def _setting(spec: RunSpec) -> Setting:
    return spec.setting._replace(budget="")


def _places(variant: Variant, dataset: str, budget: str, tuning: Sequence[Run]) -> _Places:
    """A method as it was chosen, or was set alone; the control at AOS's eps; other settings, but for those of a sweep of eps."""
    ours = [r for r in tuning if replace(r.spec.variant(), tuning=False) == variant.spec]
    chosen = _chosen([r for r in ours if _counts(r.spec, budget)])
    elsewhere = [_chosen([r for r in ours if _counts(r.spec, other)]) for other in BUDGETS if other != budget]
    by_setting = {_setting(g.runs[0].spec): g for g in variant.groups}
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
        wanted = _setting(aos.runs[0].spec)._replace(method=CONTROL)
        if wanted in by_setting:
            found[Column(AT_AOS, CONTROL)] = by_setting[wanted]
            if (
                wanted not in chosen.get(CONTROL, [wanted])
                and found.get(Column(CONTROL, CONTROL)) is by_setting[wanted]
            ):
                del found[Column(CONTROL, CONTROL)]  # it was not run at its own eps yet
    known = [s for own in chosen.values() for s in own if s in by_setting]
    known += [_setting(g.runs[0].spec) for g in found.values()]
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


def details(setting: Setting, names: Collection[str] = Setting._fields) -> str:
    """What was set of a method, or some of it, in words; nothing where nothing was."""
    parts = [
        eps_text(value) if name == "eps" else f"{name} {value:g}"
        for name, value in setting._asdict().items()
        if name in names and isinstance(value, float | int)
    ]
    return " ".join(parts)


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
            alike = [g for g in own if _same_but_eps(_setting(g.runs[0].spec), _setting(first.runs[0].spec))]
            if len(alike) >= max(ENOUGH_EPS, len(found.get(method, ())) + 1):
                found[method] = tuple(sorted(alike, key=lambda g: g.runs[0].spec.eps or 0.0))
    return Sweep(row, found, row.cells.get(Column("ros", "ros"), ())) if found else None
