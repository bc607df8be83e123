"""How runs are getting on: a bar for the whole and one for each worker, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from types import TracebackType
from typing import Self

from tqdm import tqdm

from underdog.experiments.text import seconds_left, time_left
from underdog.reporting.methods import parameters_text
from underdog.reporting.terminal import printable, shortened
from underdog.reporting.words import duration
from underdog.run.engine import Outcome, Progress
from underdog.run.estimate import Estimate
from underdog.run.folders import Runs
from underdog.run.queue import Queue

__all__ = ["Display"]

#: Seconds between plain lines while no run ends, at least.
QUIET = 60
#: Seconds of a run's training after which its pace is believed, and of a plan that is called long.
BELIEVED, LONG = 2, 3600


class Display:
    """Shows what an engine tells, and lets the estimate learn from it.

    Args:
        queue, runs, estimate: of an experiment.
        workers: runs at once.
        say: called with every line.
        bars: whether to show bars where standard error is a terminal.
        shorter: what would make a plan of over an hour shorter.
    """

    def __init__(
        self,
        queue: Queue,
        runs: Runs,
        estimate: Estimate,
        workers: int,
        say: Callable[[str], object],
        bars: bool = False,
        shorter: str = "",
    ) -> None:
        self._queue, self._runs, self._estimate, self._workers = queue, runs, estimate, workers
        self._line, self._terminal, self._shorter = say, bars and sys.stderr.isatty(), shorter
        self._running: dict[str, Progress] = {}
        #: When a run's training began here, and the images it had shown before.
        self._begun: dict[str, tuple[float, int]] = {}
        self._places: dict[str, int] = {}
        self._said, self._announced = time.monotonic(), False
        self._bars: list[tqdm[None]] = []

    def __enter__(self) -> Self:
        if self._terminal:
            rest = {"leave": False, "unit_scale": True, "unit": " images", "dynamic_ncols": True}
            self._bars = [
                tqdm(
                    total=self._queue.total(),
                    initial=self._queue.settled(),
                    unit=" runs",
                    leave=False,
                    dynamic_ncols=True,
                )
            ]
            self._bars += [tqdm(position=n + 1, total=1, **rest) for n in range(self._workers)]
        self._announce(say=False)  # what is known now has been said
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for bar in reversed(self._bars):
            bar.close()

    def tell(self, event: Progress | Outcome) -> None:
        """Show what happened."""
        if isinstance(event, Progress):
            self._running[event.job.spec.id] = event
            self._learn(event)
            self._show(event)
        else:
            self._ended(event)

    def _learn(self, event: Progress) -> None:
        now = time.monotonic()
        begin, before = self._begun.setdefault(event.job.spec.id, (now, event.done))
        if event.done > before and now - begin > BELIEVED:
            self._estimate.observe(event.job.spec, (event.done - before) / event.total, now - begin)

    def left(self) -> str:
        """The time that the rest will take, as the end of a sentence."""
        found = time_left(self._queue, self._estimate, self._workers)
        return f"; {found} left" if found else ""

    def _announce(self, say: bool) -> None:
        """Once, as soon as it is known how long it will take: say so, and what would make it shorter."""
        seconds = seconds_left(self._queue, self._estimate, self._workers)
        if self._announced or seconds is None:
            return
        self._announced = True
        if say:
            self._say(f"about {duration(seconds)} left")
        if seconds > LONG and self._shorter:
            self._say(f"shorter with {self._shorter}")

    def _show(self, event: Progress) -> None:
        self._announce(say=True)
        if self._bars:
            place = self._place(event.job.spec.id)
            if place is None:
                return
            bar = self._bars[place]
            bar.total, bar.n = event.total, event.done
            bar.set_description(shortened(event.job.name, 50), refresh=False)
            bar.set_postfix_str(event.text)
            self._bars[0].set_postfix_str(self.left().removeprefix("; "))
        elif time.monotonic() - self._said > QUIET:
            at_work = "; ".join(f"{p.job.name}, {p.text or 'begun'}" for p in self._running.values())
            self._say(f"  {at_work}{self.left()}")

    def _place(self, run: str) -> int | None:
        """The number of the run's bar; an engine may have grown since it began."""
        if run not in self._places:
            free = set(range(1, len(self._bars))) - set(self._places.values())
            if not free:
                return None
            self._places[run] = min(free)
        return self._places[run]

    def _ended(self, outcome: Outcome) -> None:
        run = outcome.job.spec.id
        self._running.pop(run, None)
        self._begun.pop(run, None)
        place = self._places.pop(run, None)
        result = None if outcome.error else self._runs.result(outcome.job.spec)
        if result is not None:
            self._estimate.learn(outcome.job.spec, result)
            scores, part = (result["test"], "test") if result["test"] else (result["val"], "validation")
            text = (
                f"macro-F1 {scores['macro_f1']:.4f}, G-mean {scores['g_mean']:.4f} on {part} images, "
                f"{duration(outcome.seconds)}"
            )
        else:
            text = f"failed: {outcome.error}"
        self._say(f"[{self._queue.settled()}/{self._queue.total()}] {outcome.job.name}: {text}{self.left()}")
        self._announce(say=False)  # which this line has said
        if choice := self._queue.chosen(outcome.job.spec):
            alike = f"was taken: all {len(choice.search)} trials scored alike"
            why = alike if choice.alike else choice.search.reason
            self._say(f"{choice.search.method}: {parameters_text(choice.values)} {why}")
        if self._bars:
            self._bars[0].n, self._bars[0].total = self._queue.settled(), self._queue.total()
            self._bars[0].refresh()  # also when two runs end at once
        if place is not None:
            self._bars[place].reset(total=1)
            self._bars[place].set_description("", refresh=False)
            self._bars[place].set_postfix_str("")

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        with tqdm.external_write_mode() if self._bars else nullcontext():
            self._line(printable(text))
