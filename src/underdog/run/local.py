"""Runs on this machine, each in a process of its own."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from types import FrameType, TracebackType
from typing import NamedTuple, Self

import torch

from underdog.data.sources import Source
from underdog.run.engine import Job, Outcome, Progress, carry_out
from underdog.run.shared import map_source, save_source

__all__ = ["LocalEngine"]

#: What the server imports before it forks: all that a run needs, SMOTE's neighbours too, and what torch imports, for
#: over a second, when the first optimiser is made. A name that there is no longer is passed over.
PRELOADED = ["underdog.run.local", "sklearn.neighbors", "torch._dynamo"]
#: Where glibc's allocator is told how to work.
TUNABLES = "GLIBC_TUNABLES"
#: Characters of what a run that failed has said on its standard output and error.
TAIL = 16_000


@dataclass(frozen=True)
class _Running:
    """A job that is being done.

    Attributes:
        job: which.
        slot: the worker's number.
        process: which does it.
        reports: where it says how it goes.
        log: what it prints.
        begin: when it started.
    """

    job: Job
    slot: int
    process: BaseProcess
    reports: Connection
    log: Path
    begin: float


class _Failure(NamedTuple):
    """Why a run failed, in short and at length."""

    error: str = ""
    details: str = ""


class LocalEngine:
    """Runs in processes forked from a server that has torch imported, so that a start takes a hundredth of a second.

    Images are written once to files that all processes map. A process that dies takes nothing with it, and one whose
    parent died ends itself.

    Args:
        sources: the data sets by name.
        scratch: folder for the images while the engine is in use; what an engine that was killed left there is removed.
        devices: where the runs train, one name for each worker, such as ("cpu", "cpu") or ("cuda:0", "cuda:1").
        threads: of each run, whatever the number of workers, since figures depend on it in their last digits.
    """

    def __init__(self, sources: Mapping[str, Source], scratch: Path, devices: Sequence[str], threads: int = 1) -> None:
        self._sources, self._scratch = sources, scratch
        self._devices, self._threads = tuple(devices), threads
        self._waiting: list[Job] = []
        self._running: list[_Running] = []
        self._context = multiprocessing.get_context("forkserver")

    @property
    def workers(self) -> int:
        """As many as devices."""
        return len(self._devices)

    def __enter__(self) -> Self:
        shutil.rmtree(self._scratch, ignore_errors=True)
        for name, source in self._sources.items():
            save_source(source, self._data(name))
        self._context.set_forkserver_preload(PRELOADED)
        with _deaf(), _large_pages():
            forkserver.ensure_running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for running in self._running:  # whose files are whole or not there, whenever they end
            running.process.kill()
        for running in self._running:
            running.process.join()
        self._running.clear()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def submit(self, job: Job) -> None:
        """Start a job where a worker is free, or else keep it until one is."""
        self._waiting.append(job)
        self._fill()

    def wait(self) -> Progress | Outcome:
        """What a run reports, or that it has ended."""
        ready = wait([r.reports for r in self._running])
        running = next(r for r in self._running if r.reports in ready)
        try:
            report = running.reports.recv()
        except EOFError:
            return self._ended(running, _Failure())
        if isinstance(report, _Failure):
            return self._ended(running, report)
        return Progress(running.job, *report)

    def _ended(self, running: _Running, failure: _Failure) -> Outcome:
        """What became of a run that has said its last word."""
        running.process.join()
        running.reports.close()
        code = running.process.exitcode or 0
        if code and not failure.error:
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
            failure = _Failure(f"its process {how}", _tail(running.log))
        running.process.close()
        self._running.remove(running)
        self._fill()
        return Outcome(running.job, time.monotonic() - running.begin, failure.error, failure.details)

    def _fill(self) -> None:
        """Start waiting jobs while workers are free."""
        taken = {r.slot for r in self._running}
        for slot in [s for s in range(self.workers) if s not in taken][: len(self._waiting)]:
            with _undisturbed():  # so that whatever was started is known, and can be ended
                self._running.append(self._start(self._waiting.pop(0), slot))

    def _start(self, job: Job, slot: int) -> _Running:
        log = self._scratch / f"{slot}.log"
        here, there = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_work,
            args=(job, self._data(job.dataset), self._devices[slot], self._threads, there, log),
            name=job.spec.id,
        )
        process.start()
        there.close()  # so that the end of the process is the end of the reports
        return _Running(job, slot, process, here, log, time.monotonic())

    def _data(self, name: str) -> Path:
        return self._scratch / f"data-{list(self._sources).index(name)}"


def _work(job: Job, data: Path, device: str, threads: int, reports: Connection, log: Path) -> None:
    """Do a job: all of a process's life."""
    Thread(target=_end_with_parent, daemon=True).start()
    with log.open("wb") as file:  # among the lines of other runs nobody would know whose they are
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    faulthandler.enable()
    torch.set_num_threads(threads)
    begin = time.perf_counter()
    source = map_source(data)
    seconds = time.perf_counter() - begin
    error, details = carry_out(job, source, device, lambda p: reports.send((p.done, p.total, p.text)), seconds)
    if error:
        reports.send(_Failure(error, details))


def _tail(log: Path) -> str:
    """The end of what a process has printed."""
    try:
        return log.read_bytes()[-TAIL:].decode("utf-8", "replace").strip()
    except OSError:
        return ""


@contextmanager
def _deaf() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal: those started within ignore it, and are ended by this one."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C within comes at the end."""
    came: list[tuple[int, FrameType | None]] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        if came and callable(before):
            before(*came[0])


@contextmanager
def _large_pages() -> Iterator[None]:
    """What is started within takes memory in pages of 2 MB where glibc and Linux have them (docs/performance.md).

    A training step's activations are new memory, whose pages cost more than a tenth of its time when they are small. It is
    read where a program starts, so that the runs of this process itself cannot have it; whoever has set it is left alone.
    """
    before = os.environ.get(TUNABLES)
    os.environ.setdefault(TUNABLES, "glibc.malloc.hugetlb=1")
    try:
        yield
    finally:
        if before is None:
            del os.environ[TUNABLES]


def _end_with_parent() -> None:
    """A process that was killed cannot end those that it started: they end themselves."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
