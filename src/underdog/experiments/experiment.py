"""Runs of several methods, seeds and data sets in one folder: which there are, and how the rest of them are made."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from underdog.data.sources import Source
from underdog.errors import TrainingError
from underdog.experiments.display import Display
from underdog.experiments.text import failures, share, state, time_left
from underdog.experiments.time_limit import TimeLimit
from underdog.names import TARGET_PRECISION
from underdog.reporting.terminal import printable
from underdog.reporting.words import duration
from underdog.run.engine import Engine
from underdog.run.estimate import Estimate
from underdog.run.execute import Watcher, start, try_network
from underdog.run.folders import Runs
from underdog.run.queue import Queue, Step, work_off
from underdog.run.saved import run_of
from underdog.run.spec import Replicate, RunSpec

__all__ = ["Experiment", "Make"]

#: The settings of a network.
NETWORK = ("data", "model", "width", "depth", "weights", "mean", "std", "freeze_until", "augment", "optimizer")
#: Makes an engine for sources by name.
Make = Callable[[Mapping[str, Source]], Engine]


@dataclass(frozen=True)
class Experiment:
    """Runs, of which some may be done.

    Attributes:
        queue: the runs in order.
        runs: their folders.
        estimate: of the time they take.
        sources: the data sets by name.
    """

    queue: Queue
    runs: Runs
    estimate: Estimate
    sources: Mapping[str, Source]

    @classmethod
    def of(
        cls,
        steps: Iterable[Step],
        sources: Mapping[str, Source],
        out: Path,
        say: Callable[[str], object],
        *,
        target: float = TARGET_PRECISION,
        write: bool = True,
        apart: bool = True,
        timed_on: str | None = None,
    ) -> Experiment:
        """An experiment whose every run is known to be possible with these data.

        Args:
            steps: its runs.
            sources: the data sets by name.
            out: folder of runs.
            say: called with notes.
            target: precision that thresholds have to reach on validation images.
            write: whether runs are to be made: a folder that is no run's is then set aside, and methods of somebody's own are
                tried.
            apart: whether other processes will make the runs: their networks are then tried here.
            timed_on: where a few updates are timed for an estimate, see ``Estimate``.

        Raises:
            InputError: anything that can be known before the first run is made.
        """
        runs = Runs(out, run_of, write, lambda text: say(f"note: {printable(text)}"))
        queue = Queue(steps, runs, target)
        estimate = Estimate({source.fingerprint: source for source in sources.values()}, timed_on)
        waiting = [step.spec for step in queue.waiting()]
        if write and apart:
            _try_networks(waiting, estimate)
        for step in queue.steps:
            estimate.images(step.spec)  # which checks what the method needs
        if write:
            _try_own(waiting, estimate)
        return cls(queue, runs, estimate, sources)

    @property
    def notes(self) -> list[str]:
        """Remarks on how the data are divided for the runs that are still to be made."""
        return [*dict.fromkeys(note for step in self.queue.waiting() for note in self.estimate.split(step.spec).notes)]

    def state(self, what: str = "", workers: int | None = None) -> str:
        """How many runs there are, see ``text.state``."""
        return state(self.queue, self.runs, self.estimate, workers, what)

    def make(
        self,
        engine: Make,
        say: Callable[[str], object],
        *,
        what: str = "",
        bars: bool = False,
        limit: float | None = None,
        shorter: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make the runs that are not done, each as soon as it can be made.

        Args:
            engine: what makes them.
            say: called with every line.
            what: the runs in words, see ``state``.
            bars: whether to show bars where standard error is a terminal.
            limit: seconds in which to make those that fit, whole replicates first.
            shorter: what would make a plan of over an hour shorter.

        """
        if not self.queue.waiting():
            say(self.state(what))
            return
        begin = time.monotonic()
        with engine(self.sources) as made:
            say(self.state(what, made.workers))
            within = None if limit is None else TimeLimit(limit, self.queue, self.estimate, made.workers, clock)
            with Display(self.queue, self.runs, self.estimate, made.workers, say, bars, shorter) as display:
                outcomes = work_off(self.queue, made, display.tell, within)
        say("\n" + share(outcomes, self.runs, time.monotonic() - begin, made.workers))
        if limit is not None and (left := self.queue.total() - self.queue.settled()):
            about = time_left(self.queue, self.estimate, made.workers)
            say(
                f"the time limit of {duration(limit)} leaves {left} of {self.queue.total()} runs to be made"
                f"{about and f', {about} of work'}: the same command resumes them"
            )

    def check(self, say: Callable[[str], object]) -> None:
        """Say what failed.

        Raises:
            TrainingError: some run did.
        """
        if text := failures(self.queue):
            say("\n" + text)
            failed = self.queue.failures
            name, error = next(iter(failed.items()))
            what = f"{name} failed: {error}" if len(failed) == 1 else f"{len(failed)} runs failed, listed above"
            raise TrainingError(f"{what}; the same command tries again, from the last finished epoch")

    def results(self) -> list[tuple[RunSpec, dict[str, Any]]]:
        """The reported runs that are done, in order: where some are not, those of whole replicates, if there are any."""
        whole = self._whole()
        wanted = {place for place, complete in whole.items() if complete} or set(whole)
        return [(spec, result) for place, spec, result in self._done() if place in wanted]

    def left_out(self) -> str:
        """What ``results`` leaves out, or why they cannot be paired; "" where all runs are done."""
        whole = self._whole()
        cut = [f"seed {replicate}" for (_, replicate), complete in whole.items() if not complete]
        if not cut:
            return ""
        if len(cut) == len(whole):
            return "no seed is whole yet: the methods' means are over different seeds"
        return f"{', '.join(cut)} left out of what follows: not every method's run is done"

    def _done(self) -> Iterator[tuple[tuple[str, Replicate], RunSpec, dict[str, Any]]]:
        """The reported runs that are done, each with its data set and replicate."""
        for step in self.queue.steps:
            spec = self.queue.resolved(step) if step.number is None else None
            if spec is not None and (result := self.runs.result(spec)) is not None:
                yield (step.dataset, step.spec.replicate), spec, result

    def _whole(self) -> dict[tuple[str, Replicate], bool]:
        """Whether all runs of a replicate are done."""
        wanted = Counter((step.dataset, step.spec.replicate) for step in self.queue.steps if step.number is None)
        done = Counter(place for place, _, _ in self._done())
        return {place: done[place] == n for place, n in wanted.items()}


def _try_networks(specs: Iterable[RunSpec], estimate: Estimate) -> None:
    """Make each network that other processes will make, in memory: what is wrong with it shows before anything is written."""
    kinds = {tuple(getattr(spec, name) for name in NETWORK): spec for spec in specs}
    for spec in kinds.values():
        try_network(spec, estimate.sources[spec.data].train)


def _try_own(specs: Iterable[RunSpec], estimate: Estimate) -> None:
    """Begin a run of each method with parts of somebody's own, in memory, likewise."""
    for spec in {spec.method: spec for spec in specs}.values():
        if any(part.role == "own" for part in spec.expression.parts):
            known = replace(spec, method=str(spec.expression.with_first_values()))
            start(known, estimate.sources[spec.data], "cpu", Watcher())
