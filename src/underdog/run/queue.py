"""The runs of a grid in order: those that wait for a choice of eps come after the search for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from underdog.names import DEFAULTS
from underdog.run.engine import Engine, Job, Outcome, Progress
from underdog.run.folders import Runs
from underdog.run.grid import Entry
from underdog.run.search import Search, Trials
from underdog.run.spec import RunSpec

__all__ = ["Queue", "Step", "described", "work_off"]


def described(dataset: str, spec: RunSpec) -> str:
    """A run in words, such as "mnist mu 0.6 aos eps 16/255 seed 0"."""
    parts = [dataset]
    if spec.mu is not None:
        parts.append(f"mu {spec.mu:g}")
    parts.append(spec.method)
    if spec.eps is not None:
        parts.append(f"eps {spec.eps * 255:.4g}/255")
    parts += [f"{name} {value:.3g}" for name in DEFAULTS if (value := getattr(spec, name)) is not None]
    if spec.budget == "updates":
        parts.append("equal updates")
    parts.append("search" if spec.tuning else f"seed {spec.seed}")
    return " ".join(parts)


@dataclass(frozen=True)
class Step:
    """A run of a grid, or one of a search, in its place in the order.

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


def steps(entries: Sequence[Entry]) -> Iterator[Step]:
    """The runs in order, each search before the first that needs it."""
    searched: set[Search] = set()
    for entry in entries:
        search = entry.search
        if search is not None and search not in searched:
            searched.add(search)
            for number in range(len(search)):
                yield Step(entry.dataset, search.spec, search, number)
        yield Step(entry.dataset, entry.spec, search)


class Queue:
    """Which run comes next. What is done is known by the runs' folders alone.

    Args:
        entries: the runs of a grid.
        runs: their folders.
    """

    def __init__(self, entries: Sequence[Entry], runs: Runs) -> None:
        self.steps = tuple(steps(entries))
        self._runs = runs
        self._searches: dict[str, Search] = {}
        self._hopeless: set[str] = set()
        self._waiting = [s for s in self.steps if not self.done(s)]
        self._taken: set[str] = set()
        self._running: set[str] = set()
        self.failures: dict[str, str] = {}

    def resolved(self, step: Step) -> RunSpec | None:
        """The run with everything that was to be chosen, or None while the search is not done."""
        if step.search is None:
            return step.spec
        if step.number is not None:
            return step.search.run(step.number, self._score)
        return step.search.applied(step.spec, self._score)

    def _score(self, spec: RunSpec) -> float | None:
        """What a search's run came to; one that failed, unlike its data's others, counts as one that recognised nothing."""
        result = self._runs.result(spec)
        if result is not None:
            return float(result["val"]["macro_f1"])
        return 0.0 if spec.id in self._hopeless else None

    def done(self, step: Step) -> bool:
        """Whether there is a result."""
        spec = self.resolved(step)
        return spec is not None and self._runs.result(spec) is not None

    def waiting(self) -> list[Step]:
        """What no worker has taken yet, in order."""
        return list(self._waiting)

    def settled(self) -> int:
        """How many runs are done, or have failed."""
        return len(self.steps) - len(self._waiting) - len(self._running)

    def take(self) -> Job | None:
        """The first run that can be made now, or None; what was done meanwhile under another name falls out."""
        for step in list(self._waiting):
            spec = self.resolved(step)
            if spec is None:
                continue
            self._waiting.remove(step)
            if spec.id not in self._taken and self._runs.result(spec) is None:
                self._taken.add(spec.id)
                self._running.add(spec.id)
                if step.search is not None and step.number is not None:
                    self._searches[spec.id] = step.search
                return Job(described(step.dataset, spec), step.dataset, spec, self._runs.home(spec))
        return None

    def ended(self, outcome: Outcome) -> Outcome:
        """Take note of a run that has ended; a result that is none makes it a failure."""
        self._running.discard(outcome.job.spec.id)
        if not outcome.error and self._runs.result(outcome.job.spec) is None:
            outcome = replace(outcome, error="it ended without a result that can be read")
        self._runs.ended(outcome)
        if outcome.error:
            self.failures[outcome.job.name] = outcome.error
        if search := self._searches.get(outcome.job.spec.id):
            if outcome.error and isinstance(search, Trials) and outcome.job.spec != search.run(0, self._score):
                self._hopeless.add(outcome.job.spec.id)
            search.store(self._runs.out, self._score)
        return outcome


def work_off(queue: Queue, engine: Engine, tell: Callable[[Progress | Outcome], object]) -> None:
    """Make all runs of a queue, each as soon as it can be made and there is room; the engine's block is entered."""
    running = 0
    while True:
        while running < engine.workers and (job := queue.take()):
            engine.submit(job)
            running += 1
        if not running:
            return
        event = engine.wait()
        if isinstance(event, Outcome):
            running -= 1
            event = queue.ended(event)
        tell(event)
