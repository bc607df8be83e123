"""How a grid is getting on: a bar for the whole and one for each worker, or plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from tqdm import tqdm

from underdog.cli.grid_text import seconds_left
from underdog.cli.progress import duration
from underdog.reporting.terminal import printable, shortened
from underdog.run.engine import Outcome, Progress
from underdog.run.estimate import Estimate
from underdog.run.folders import Runs
from underdog.run.queue import Queue

__all__ = ["Display"]

#: Seconds between plain lines while no run ends, at least.
QUIET = 60


class Display:
    """Shows what an engine tells.

    Args:
        queue, runs: of the grid.
        estimate: learns from runs that end.
        workers: runs at once.
    """

    def __init__(self, queue: Queue, runs: Runs, estimate: Estimate, workers: int) -> None:
        self._queue, self._runs, self._estimate, self._workers = queue, runs, estimate, workers
        self._running: dict[str, Progress] = {}
        self._places: dict[str, int] = {}
        self._said = time.monotonic()
        self._bars: list[tqdm[None]] = []

    def __enter__(self) -> Self:
        off = not sys.stderr.isatty()
        if not off:
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
            self._show(event)
        else:
            self._ended(event)

    def left(self) -> str:
        """The time that the rest will take."""
        begun = sum(self._estimate.seconds(p.job.spec) * (1 - p.done / max(p.total, 1)) for p in self._running.values())
        seconds = seconds_left(self._queue.waiting(), self._estimate, self._workers) + begun / self._workers
        return f"about {duration(seconds)} left"

    def _show(self, event: Progress) -> None:
        if self._bars:
            place = self._place(event.job.spec.id)
            if place is None:
                return
            bar = self._bars[place]
            bar.total, bar.n = event.total, event.done
            bar.set_description(shortened(event.job.name, 50), refresh=False)
            bar.set_postfix_str(event.text)
        elif time.monotonic() - self._said > QUIET:
            at_work = "; ".join(f"{p.job.name}, {p.text or 'begun'}" for p in self._running.values())
            self._say(f"  {self.left()}: {at_work}")

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
        place = self._places.pop(run, None)
        result = None if outcome.error else self._runs.result(outcome.job.spec)
        if result is not None:
            self._estimate.learn(outcome.job.spec, result)
            scores, part = (result["test"], "test") if result["test"] else (result["val"], "validation")
            text = f"macro-F1 {scores['macro_f1']:.4f} on {part} images, {duration(outcome.seconds)}"
        else:
            text = f"failed: {outcome.error}"
        self._say(f"[{self._queue.settled()}/{self._queue.total()}] {outcome.job.name}: {text}; {self.left()}")
        if self._bars:
            self._bars[0].n, self._bars[0].total = self._queue.settled(), self._queue.total()
            self._bars[0].refresh()  # also when two runs end at once
        if place is not None:
            self._bars[place].reset(total=1)
            self._bars[place].set_description("", refresh=False)
            self._bars[place].set_postfix_str("")

    def _say(self, text: str) -> None:
        self._said = time.monotonic()
        tqdm.write(printable(text))
        sys.stdout.flush()
