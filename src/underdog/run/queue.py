"""Runs in order: those that wait for a choice come after the search for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from underdog.methods.parameters import Value
from underdog.names import TARGET_PRECISION
from underdog.run.engine import Engine, Job, Outcome, Progress
from underdog.run.folders import Runs
from underdog.run.search import FAILED, PlannedRun, Search
from underdog.run.spec import RunSpec, differing, settings_text

__all__ = ["Queue", "Step", "described", "steps", "steps_of", "told_apart", "work_off"]

#: What tells runs apart anyway.
_SHOWN = {"method", "budget", "data", "mu", "seed", "data_seed", "tuning"}


def told_apart(runs: Iterable[tuple[str, RunSpec]]) -> tuple[str, ...]:
    """Settings without which runs of one method on the same data, here by data set, would look alike.

    >>> spec = RunSpec("some data", "ros")
    >>> told_apart([("digits", replace(spec, epochs=n, seed=n)) for n in (5, 10)])
    ('epochs',)
    """
    alike: dict[object, list[RunSpec]] = {}
    for dataset, spec in runs:
        alike.setdefault((dataset, spec.mu, spec.expression.name), []).append(spec)
    return tuple(dict.fromkeys(n for some in alike.values() for n in differing(some) if n not in _SHOWN))


def described(dataset: str, spec: RunSpec, names: Sequence[str] = ()) -> str:
    """A run in words, such as "mnist mu 0.6 aos eps 16/255 tau 0.5 seed 0", with more of its settings by name.

    Without the data set's name it is among runs of one problem, and mu goes without saying.
    """
    parts = [dataset] if dataset else []
    if dataset and spec.mu is not None:
        parts.append(f"mu {spec.mu:g}")
    parts.append(spec.expression.name)
    parts += [f"{key} {_text(key, value)}" for key, value in spec.expression.stated.items()]
    if spec.budget == "updates":
        parts.append("equal updates")
    parts += [text] if (text := settings_text(spec, names)) else []
    parts.append("search" if spec.tuning else f"seed {spec.replicate}")
    return " ".join(parts)


def _text(key: str, value: Value) -> str:
    if isinstance(value, str):
        return value
    return f"{value * 255:.4g}/255" if key == "eps" else f"{value:.3g}"


@dataclass(frozen=True)
class Step:
    """A run, or one of a search, in its place in the order.

    Attributes:
        dataset: name of its data set.
        spec: its settings, as far as they are known beforehand.
        search: what it waits for, or is a run of.
        number: of the search's runs, from 0; None for a run that waits for the search.
    """

    dataset: str
    spec: RunSpec
    search: Search | None = None
    number: int | None = None


class Choice(NamedTuple):
    """What a search has found.

    Attributes:
        search: which.
        values: the settings that it chose, by name.
        alike: whether all of its runs scored the same, so that the choice says nothing.
    """

    search: Search
    values: Mapping[str, float]
    alike: bool


def any_step(step: Step) -> bool:
    """Every run is allowed."""
    return True


def steps(entries: Iterable[PlannedRun]) -> Iterator[Step]:
    """The runs in order, each search before the first that needs it."""
    searched: set[Search] = set()
    for entry in entries:
        if entry.search is not None and entry.search not in searched:
            searched.add(entry.search)
            yield from steps_of(entry.dataset, entry.search)
        yield Step(entry.dataset, entry.spec, entry.search)


def steps_of(dataset: str, search: Search) -> Iterator[Step]:
    """The runs of a search."""
    for number in range(len(search)):
        yield Step(dataset, search.known(number), search, number)


class Limit(Protocol):
    """Which runs may still begin, and when to leave."""

    @property
    def over(self) -> bool: ...

    def allows(self, step: Step) -> bool: ...


class Queue:
    """Which run comes next. What is done is known by the runs' folders alone.

    Args:
        steps: the runs in order.
        runs: their folders.
        target: precision that thresholds have to reach on validation images.
    """

    def __init__(self, steps: Iterable[Step], runs: Runs, target: float = TARGET_PRECISION) -> None:
        self.steps = tuple(steps)
        self._runs, self._target = runs, target
        self._searches: dict[str, Search] = {}
        self._failed: set[str] = set()
        self._settled: set[Search] = set()
        self._shared = 0
        #: Settings that names of these runs need.
        self.names = told_apart((s.dataset, s.spec) for s in self.steps)
        self._waiting = [s for s in self.steps if not self.done(s)]
        self._taken: set[str] = set()
        #: Runs at work by id, with the share of their training that is done.
        self.running: dict[str, tuple[RunSpec, float]] = {}
        self.failures: dict[str, str] = {}

    def resolved(self, step: Step) -> RunSpec | None:
        """The run with everything that was to be chosen, or None while the search is not done."""
        if step.search is None:
            return step.spec
        if step.number is not None:
            return step.search.run(step.number, self.score)
        return step.search.applied(step.spec, self.score)

    def score(self, spec: RunSpec) -> float | None:
        """The score of a search's run."""
        result = self._runs.result(spec)
        if result is not None:
            return float(result["val"]["macro_f1"])
        return FAILED if spec.id in self._failed else None

    def done(self, step: Step) -> bool:
        """Whether there is a result."""
        spec = self.resolved(step)
        return spec is not None and self._runs.result(spec) is not None

    def waiting(self) -> list[Step]:
        """What no worker has taken yet, in order."""
        return list(self._waiting)

    def settled(self) -> int:
        """How many runs are done, or have failed."""
        return self.total() - len(self._waiting) - len(self.running)

    def total(self) -> int:
        """How many runs there are: one that two searches asked for is one, as soon as that is known."""
        return len(self.steps) - self._shared

    def take(self, allowed: Callable[[Step], bool] = any_step) -> Job | None:
        """The first run that can be made now and is allowed, or None; what was done meanwhile under another name falls out."""
        for step in list(self._waiting):
            spec = self.resolved(step)
            if spec is None or not allowed(step):
                continue
            self._waiting.remove(step)
            if spec.id not in self._taken and self._runs.result(spec) is None:
                self._taken.add(spec.id)
                self.running[spec.id] = spec, 0.0
                if step.search is not None and step.number is not None:
                    self._searches[spec.id] = step.search
                name = described(step.dataset, spec, self.names)
                return Job(name, step.dataset, spec, self._runs.home(spec), self._target)
            self._shared += 1
        return None

    def heard(self, progress: Progress) -> None:
        """Take note of how far a run is."""
        self.running[progress.job.spec.id] = progress.job.spec, progress.done / max(progress.total, 1)

    def chosen(self, run: RunSpec) -> Choice | None:
        """What the search that this run was of has found, once, where it is done."""
        search = self._searches.get(run.id)
        if (
            search is None
            or search in self._settled
            or any(self._searches.get(other) == search for other in self.running)
        ):
            return None
        if (found := search.applied(search.spec, self.score)) is None:
            return None
        self._settled.add(search)
        runs = [search.run(number, self.score) for number in range(len(search))]
        scores = {self.score(one) for one in runs if one is not None}
        return Choice(search, search.values(found), alike=len(scores) == 1)

    def ended(self, outcome: Outcome) -> Outcome:
        """Take note of a run that has ended; a result that is none makes it a failure."""
        self.running.pop(outcome.job.spec.id, None)
        if not outcome.error and self._runs.result(outcome.job.spec) is None:
            outcome = replace(outcome, error="it ended without a result that can be read")
        self._runs.ended(outcome)
        if outcome.error:
            self.failures[outcome.job.name] = outcome.error
        if search := self._searches.get(outcome.job.spec.id):
            if outcome.error:
                self._failed.add(outcome.job.spec.id)
            search.store(self._runs.out, self.score)
        return outcome


def work_off(
    queue: Queue, engine: Engine, tell: Callable[[Progress | Outcome], object], limit: Limit | None = None
) -> list[Outcome]:
    """Make all runs of a queue, each as soon as it can be made and there is room; the engine's block is entered.

    Args:
        queue: the runs.
        engine: what makes them.
        tell: called with everything that happens.
        limit: makes only runs that fit into it, and leaves those that are not done when it is over.

    Returns:
        how each ended, in the order in which they did.
    """
    outcomes = list[Outcome]()
    while True:
        while len(queue.running) < engine.workers and (job := queue.take(limit.allows if limit else any_step)):
            engine.submit(job)
        if not queue.running or (limit and limit.over):
            return outcomes
        event = engine.wait()
        if isinstance(event, Outcome):
            event = queue.ended(event)
            outcomes.append(event)
        else:
            queue.heard(event)
        tell(event)
