"""The runs of a grid as its tables show them: data variants down, methods across."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from underdog.methods.expression import parse
from underdog.metrics import Metrics
from underdog.reporting import published as paper
from underdog.reporting.collect import Run
from underdog.reporting.methods import but_eps, details
from underdog.reporting.summary import Group, Spread, Variant
from underdog.reporting.verdict import CONTROL
from underdog.run.spec import Replicate, RunSpec, differing, settings_text

__all__ = ["AT_AOS", "SELECTIONS", "Column", "Grid", "Measure", "Row", "Sweep"]

#: The control at the eps and tau of AOS, where it has others of its own too.
AT_AOS = f"{CONTROL} at aos's eps"
#: Which network of a run is scored.
SELECTIONS: dict[str, str] = {"best": "the best epoch by validation macro-F1", "last": "the last epoch"}
#: In what runs are themselves, not how they were trained.
_OUR_OWN = {"revision", "devices"}


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
    """A column of a table: its label, its method, and what it is of the method, see ``stem``."""

    label: str
    method: str
    stem: str

    @property
    def main(self) -> bool:
        """Whether its settings are those that were chosen, or all that there are, and not some of several."""
        return self.label == self.stem


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
        for label, runs in ((c.label, runs) for c, runs in self.cells.items() if c.label in paper.METHODS):
            usual = parse(f"aos(tau={settings.tau})" if label == "aos" else label)
            if (own := but_eps(runs[0].spec.expression)) != usual:
                found.append(f"{label} {details(own) or 'as usual'} instead of {details(usual) or 'as usual'}")
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
    """The runs of a data variant that differ in eps only: by ``stem``, its groups by eps; and oversampling's runs."""

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
        found = dict.fromkeys(stem for sweep in self.sweeps for stem in sweep.groups)
        return tuple(stem for stem in found if stem not in {c.stem for c in self.columns})

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(row.dataset for row in self.rows))

    def column(self, label: str) -> Column | None:
        """The column of a label, if there is one."""
        return next((c for c in self.columns if c.label == label), None)

    def alike(self, column: Column, other: Column, what: Collection[str] = ("eps",)) -> bool:
        """Whether two columns have the same values of these parameters wherever both have runs."""
        both = [row for row in self.rows if {column, other} <= set(row.cells)]
        pairs = [[row.cells[c][0].spec.expression for c in (column, other)] for row in both]
        return all(a.get(name) == b.get(name) for a, b in pairs for name in what)

    def average(self, rows: Sequence[Row], column: Column, measure: Measure, selection: str) -> float | None:
        """The mean over rows; None unless the column has runs in all of them, since others are not comparable."""
        means = [s.mean for row in rows if (s := row.spread(column, measure, selection)) is not None]
        return Spread(tuple(means)).mean if len(means) == len(rows) else None

    def overall(self, column: Column, measure: Measure, selection: str) -> float | None:
        """The mean of the families' averages."""
        means = [self.average(family, column, measure, selection) for family in self.families]
        return None if None in means else Spread(tuple(m for m in means if m is not None)).mean


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
