"""What carries out runs: jobs go in, their progress and outcomes come out."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from underdog.data.sources import Source
from underdog.errors import UnderdogError
from underdog.history import EpochRecord
from underdog.names import TARGET_PRECISION
from underdog.ranks import ALONE, Ranks
from underdog.run.execute import Watcher, execute
from underdog.run.spec import RunSpec

__all__ = ["Engine", "Job", "Outcome", "Progress", "Serial", "carry_out"]

#: Seconds between two reports on one run, at least.
QUIET = 0.5


@dataclass(frozen=True)
class Job:
    """A run that is to be done.

    Attributes:
        name: for people, such as "mnist mu 0.6 aos seed 0".
        dataset: which of the engine's sources it trains on.
        spec: its settings.
        out: folder of runs, on the machine of the one who submits; the run's own folder is in it.
        target: precision that thresholds have to reach on validation images.
    """

    name: str
    dataset: str
    spec: RunSpec
    out: Path
    target: float = TARGET_PRECISION

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.out / self.spec.id


@dataclass(frozen=True)
class Progress:
    """How far a run is: images shown, of how many in all, and how it goes in words."""

    job: Job
    done: int
    total: int
    text: str = ""


@dataclass(frozen=True)
class Outcome:
    """A job that has ended.

    Attributes:
        job: which.
        seconds: from its start to its end, everything included.
        error: why it failed; "" where it is finished, and ``job.folder`` holds its files, ``result.json`` among them.
        details: what there is to read about the failure, such as a traceback.
    """

    job: Job
    seconds: float
    error: str = ""
    details: str = ""


class Engine(Protocol):
    """Carries out jobs, several at once; leaving its ``with`` block ends those that still run.

    An engine is made with the sources that jobs name. A failure of one job, whatever its kind, is an outcome of that
    job and nothing else; only ``Serial`` raises it. The results of a run depend on its spec and on the threads it is given, not on
    the number of workers.
    """

    @property
    def workers(self) -> int:
        """How many jobs to submit before waiting for one to end."""

    def submit(self, job: Job) -> None:
        """Take a job, to begin as soon as there is room."""

    def wait(self) -> Progress | Outcome:
        """The next thing that happens; called only while a job is not done. Every job has one outcome, the last one heard of it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def carry_out(job: Job, source: Source, device: str, tell: Callable[[Progress], object]) -> tuple[str, str]:
    """Do a job in this process; how it failed and details, both "" where it did not.

    Args:
        job: the run, or what is left of it.
        source: its data.
        device: where to train.
        tell: called with the run's progress, now and then.
    """
    try:
        execute(job.spec, source, job.out, device, _watcher(job, tell), job.target)
    except (UnderdogError, OSError) as error:
        return str(error), traceback.format_exc() if error.__cause__ else ""
    except Exception as error:  # anybody's network may run here: it fails alone
        return f"{type(error).__name__}: {error}", traceback.format_exc()
    return "", ""


class Serial:
    """One run after the other in this process, whose errors are raised where they happen: for a single run, and for Python.

    Args:
        sources: the data sets by name.
        device: where to train.
        watch: from a job to who wants to know how it goes.
        ranks: the processes that train together.
    """

    workers = 1

    def __init__(
        self,
        sources: Mapping[str, Source],
        device: str,
        watch: Callable[[Job], AbstractContextManager[Watcher]],
        ranks: Ranks = ALONE,
    ) -> None:
        self._sources, self._device, self._watch, self._ranks = sources, device, watch, ranks
        self._waiting: list[Job] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._waiting.clear()

    def submit(self, job: Job) -> None:
        """Take a job."""
        self._waiting.append(job)

    def wait(self) -> Outcome:
        """Make the next run."""
        job, begin = self._waiting.pop(0), time.monotonic()
        with self._watch(job) as watcher:
            execute(job.spec, self._sources[job.dataset], job.out, self._device, watcher, job.target, self._ranks)
        return Outcome(job, time.monotonic() - begin)


def _watcher(job: Job, tell: Callable[[Progress], object]) -> Watcher:
    """Tells about a run every ``QUIET`` seconds."""
    done, total, text, last = 0, 0, "", time.monotonic()

    def begin(images: int, before: int) -> None:
        nonlocal done, total
        done, total = before, images
        tell(Progress(job, done, total))

    def images(n: int) -> None:
        nonlocal done, last
        done += n
        if time.monotonic() - last > QUIET:
            last = time.monotonic()
            tell(Progress(job, done, total, text))

    def epoch(record: EpochRecord) -> None:
        nonlocal text
        text = f"epoch {record.epoch + 1}/{job.spec.epochs}, validation macro-F1 {record.val.macro_f1:.3f}"

    def preparing(share: float) -> None:
        nonlocal last
        if time.monotonic() - last > QUIET:
            last = time.monotonic()
            tell(Progress(job, done, total, f"preparing: {share:.0%}"))

    return Watcher(begin=begin, images=images, epoch=epoch, preparing=preparing)
