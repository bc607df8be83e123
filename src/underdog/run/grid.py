"""A grid of runs as a value: data sets, methods and settings of which each may have several values."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any

from underdog.data.reading import Reading
from underdog.errors import InputError, unknown
from underdog.methods.build import build
from underdog.methods.expression import Expression
from underdog.run.network import network_settings
from underdog.run.search import PlannedRun, Trials, eps_search
from underdog.run.space import first_values
from underdog.run.spec import RunSpec
from underdog.run.tune import study_of

__all__ = [
    "CHOSEN",
    "CHOSEN_FOR",
    "DataBlock",
    "Grid",
    "MethodBlock",
    "Value",
    "chosen_for",
    "entries",
    "only",
]

#: What a run's settings are called; other names are parameters of methods.
SPEC = {f.name for f in fields(RunSpec) if f.name != "method"}
#: In the place of eps: what validation chooses for this method, and, before a method's name, what it chooses for that one.
CHOSEN = "chosen"
CHOSEN_FOR = "chosen-for-"


@dataclass(frozen=True)
class Value:
    """What a setting is to be.

    Attributes:
        choices: one value, or several: an axis.
        by_mu: instead, the choices for each mu.
        line: of the file that says so, 0 without a file.
    """

    choices: tuple[Any, ...] = ()
    by_mu: Mapping[float, tuple[Any, ...]] | None = None
    line: int = 0

    def at(self, mu: float | None) -> tuple[Any, ...]:
        """The choices at a mu; none where it is not among ``by_mu``."""
        if self.by_mu is None:
            return self.choices
        return () if mu is None else self.by_mu.get(mu, ())

    @property
    def every(self) -> tuple[Any, ...]:
        """The choices, whatever mu."""
        return self.choices + tuple(one for some in (self.by_mu or {}).values() for one in some)


Settings = Mapping[str, Value]


@dataclass(frozen=True)
class DataBlock:
    """A data set of a grid: its name, where it lies if that is not known by the name, how it is read, and its own settings."""

    name: str
    settings: Settings = field(default_factory=dict)
    path: str | None = None
    reading: Reading = field(default_factory=Reading)
    line: int = 0


@dataclass(frozen=True)
class MethodBlock:
    """A method of a grid, with its own settings and parameters."""

    method: Expression
    settings: Settings = field(default_factory=dict)
    line: int = 0


@dataclass(frozen=True)
class Grid:
    """A grid of runs.

    Attributes:
        name: what it is called.
        datasets, methods: each with each; a method's settings come before a data set's, and those before the grid's.
        settings: of all runs, named as in ``RunSpec``, and parameters of those methods that have them.
        seeds: replicates, of the seeds 0, 1, ...
        data_seed: of the data, each with each run's seed; None where the data's seed follows the run's.
        trials: by which each method's parameters are chosen; None where they are given.
        about, deviations: what it is, and where it departs from its source.
        file: where it stands, for messages.
    """

    name: str
    datasets: tuple[DataBlock, ...]
    methods: tuple[MethodBlock, ...]
    settings: Settings = field(default_factory=dict)
    seeds: int = 3
    data_seed: tuple[int, ...] | None = None
    trials: int | None = None
    about: str = ""
    deviations: tuple[str, ...] = ()
    file: str = ""

    def error(self, line: int, text: str) -> InputError:
        """An error in this grid."""
        return InputError(f"{self.file}:{line}: {text}" if self.file else text)


def chosen_for(eps: object, method: str) -> str | None:
    """The method whose eps is meant: "chosen" is the method's own, "chosen-for-aos" that of aos; None for a number.

    >>> chosen_for("chosen", "noise"), chosen_for("chosen-for-aos", "noise"), chosen_for(0.1, "noise")
    ('noise', 'aos', None)
    """
    if not isinstance(eps, str):
        return None
    return method if eps == CHOSEN else eps.removeprefix(CHOSEN_FOR)


def entries(grid: Grid, fingerprints: Mapping[str, str]) -> list[PlannedRun]:
    """All runs of a grid, each once: by data set, mu, seed and method, so that the first replicate is complete first.

    Args:
        grid: the grid.
        fingerprints: of the data sets that are wanted, by name; others are left out.

    Raises:
        InputError: settings that contradict each other; the message has the line.

    >>> from underdog.methods.expression import parse
    >>> methods = MethodBlock(parse("ros")), MethodBlock(parse("aos"), {"eps": Value((0.1,)), "tau": Value((0.4,))})
    >>> grid = Grid("toy", (DataBlock("digits"),), methods, {"lr": Value((0.1, 0.01))}, seeds=1)
    >>> [(e.spec.method, e.spec.lr) for e in entries(grid, {"digits": "some data"})]
    [('ros', 0.1), ('ros', 0.01), ('aos(eps=0.1,tau=0.4)', 0.1), ('aos(eps=0.1,tau=0.4)', 0.01)]
    """
    found = (
        entry
        for data in grid.datasets
        if data.name in fingerprints
        for mu in ({**grid.settings, **data.settings}.get("mu") or Value((None,))).choices
        for seed in range(grid.seeds)
        for data_seed in ((seed,) if grid.data_seed is None else grid.data_seed)
        for method in grid.methods
        for entry in _entries(grid, data, method, mu, RunSpec(fingerprints[data.name], "baseline", seed, data_seed))
    )
    return list(dict.fromkeys(found))


def _entries(
    grid: Grid, data: DataBlock, method: MethodBlock, mu: float | None, start: RunSpec
) -> Iterator[PlannedRun]:
    """The runs of one method and replicate on one variant of the data."""
    seeds = {"seed": start.seed, "data_seed": start.data_seed}
    for settings in _product(grid, data, method, mu):
        if grid.trials is not None:
            spec = _spec(grid, data, method, {"data": start.data} | seeds | settings)
            first = spec.with_values(first_values(method.method))
            yield PlannedRun(data.name, first, Trials(study_of(spec, grid.trials, settings.get("budget"))))
            continue
        chooser = chosen_for(settings.get("eps"), str(method.method))
        spec = _spec(grid, data, method, {"data": start.data} | seeds | settings | ({"eps": None} if chooser else {}))
        if chooser in (None, str(method.method)):
            yield PlannedRun(data.name, spec, eps_search(spec) if chooser else None)
            continue
        other = next(m for m in grid.methods if str(m.method) == chooser)
        for theirs in _product(grid, data, other, mu):
            searched = _spec(grid, data, other, {"data": start.data} | seeds | theirs | {"eps": None})
            yield PlannedRun(data.name, spec, eps_search(searched))


def _product(grid: Grid, data: DataBlock, method: MethodBlock, mu: float | None) -> list[dict[str, Any]]:
    """Every combination of the settings of a method on a data set at a mu."""
    values = own_settings(grid, data, method)
    choices = {name: (mu,) if name == "mu" else value.at(mu) for name, value in values.items()}
    for name, found in choices.items():
        if not found:
            where = f"mu {mu:g} of {data.name}" if mu is not None else f"{data.name}, which has no mu"
            there = ", ".join(f"{one:g}" for one in values[name].by_mu or ())
            raise grid.error(values[name].line, f"{name} says nothing for {where} (it does for mu {there})")
    return [dict(zip(choices, some, strict=True)) for some in itertools.product(*choices.values())]


def own_settings(grid: Grid, data: DataBlock, method: MethodBlock) -> dict[str, Value]:
    """What a method's runs on a data set are set to, the most particular first; what others need is left out."""
    own, given = method.method, method.method.values
    wider = {**grid.settings, **data.settings}
    values = {name: value for name, value in wider.items() if name in SPEC or (own.has(name) and name not in given)}
    values |= method.settings
    if grid.trials is None and (missing := [name for name in own.missing if name not in values]):
        also = f", or '{CHOSEN}'" if "eps" in missing else ""
        raise grid.error(method.line, f"{own.name} on {data.name} needs {' and '.join(missing)}: a number{also}")
    return values


def _spec(grid: Grid, data: DataBlock, method: MethodBlock, settings: Mapping[str, Any]) -> RunSpec:
    """The run, or an error that names the line of the setting that is wrong, or of the method's block."""
    try:
        parameters = {name: value for name, value in settings.items() if name not in SPEC}
        plain = {name: value for name, value in settings.items() if name in SPEC}
        expression = method.method.set(parameters)
        if not (tried := expression.with_first_values()).missing:
            build(tried)
        return RunSpec(method=str(expression), **plain | _network(plain.get("model", "paper")))
    except InputError as error:
        values = own_settings(grid, data, method)
        named = next((w for w in re.split(r"\W+", str(error).replace("-", "_")) if w in values), None)
        line = values[named].line if named else method.line
        raise grid.error(line, f"{data.name}, {method.method.name}: {error}") from error


@lru_cache
def _network(model: str) -> dict[str, Any]:
    return network_settings(model)


#: What runs are chosen by.
ONLY = ("dataset", "rho", "mu", "method", "budget", "seed")


def only(found: Sequence[PlannedRun], wanted: Mapping[str, Sequence[str]]) -> list[PlannedRun]:
    """The entries that have one of the wanted values of every key.

    Raises:
        InputError: an unknown key, or a value that no entry has.

    >>> found = [PlannedRun("mnist", RunSpec("", "ros", rho=20, mu=mu)) for mu in (0.2, 0.8)]
    >>> [entry.spec.mu for entry in only(found, {"mu": ["0.8"]})]
    [0.8]
    """
    for key, values in wanted.items():
        if key not in ONLY:
            raise unknown("key of --only", key, ONLY)
        there = dict.fromkeys(_of(entry, key) for entry in found)
        for value in values:
            if not any(_same(value, one) for one in there):
                raise InputError(f"only: no run has {key} {value!r} (there are: {', '.join(map(str, there))})")
    return [e for e in found if all(any(_same(v, _of(e, key)) for v in values) for key, values in wanted.items())]


def _of(entry: PlannedRun, key: str) -> object:
    if key == "method":
        return entry.spec.expression.name
    return entry.dataset if key == "dataset" else getattr(entry.spec, key)


def _same(text: str, value: object) -> bool:
    """Whether a text means a value: 0.20 is 0.2."""
    try:
        return text == str(value) or (isinstance(value, int | float) and float(text) == value)
    except ValueError:
        return False
