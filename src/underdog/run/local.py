"""Runs on this machine, in processes of their own."""

from __future__ import annotations

import faulthandler
import gc
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import current_thread, main_thread
from types import FrameType, TracebackType
from typing import NamedTuple, Self

import torch

from underdog.data.sources import Source
from underdog.processes import deaf, end_with_parent, how_it_ended
from underdog.run.engine import Job, Outcome, Progress, carry_out
from underdog.run.shared import map_source, save_source

__all__ = ["SHARED", "LocalEngine"]

#: Where images lie that processes share, in a folder of runs.
SHARED = ".shared-images"
#: What the server imports before it forks: all that a run needs, SMOTE's neighbours too, and what torch imports, for
#: over a second, when the first optimiser is made. A name that there is no longer is passed over.
PRELOADED = ["underdog.run.local", "sklearn.neighbors", "torch._dynamo"]
#: Where glibc's allocator is told how to work.
TUNABLES = "GLIBC_TUNABLES"
#: Seconds for a process to end by itself.
PATIENCE = 1
#: Characters of what a run that failed has said on its standard output and error.
TAIL = 16_000


@dataclass(frozen=True)
class _Worker:
    """A process that does jobs.

    Attributes:
        slot: its number.
        process: the process.
        line: where it gets jobs, and says how they go.
        log: what it prints.
    """

    slot: int
    process: BaseProcess
    line: Connection
    log: Path


@dataclass(frozen=True)
class _Running:
    """A job that is being done: which, by whom, and since when."""

    job: Job
    worker: _Worker
    begin: float


class _Done(NamedTuple):
    """The last word on a job.

    Attributes:
        error: why it failed, in short; "" where it did not.
        details: the same at length.
        lasts: whether its process goes on, and waits for the next one.
    """

    error: str = ""
    details: str = ""
    lasts: bool = False


class LocalEngine:
    """Runs in processes forked from a server that has torch imported, so that a start takes a hundredth of a second.

    On the CPU each run has a process of its own. On a GPU a process takes seconds to begin, and goes on with the next run
    unless one has failed. Images are written once to files that all processes map. A process that dies takes no other with
    it, and one whose parent died ends itself.

    Args:
        sources: the data sets by name.
        scratch: folder for the images while the engine is in use; what an engine that was killed left there is removed.
        devices: where the runs train, one name for each worker, such as ("cpu", "cpu") or ("cuda:0", "cuda:1").
        threads: of each run, whatever the number of workers, since results depend on it in their last digits.
    """

    def __init__(self, sources: Mapping[str, Source], scratch: Path, devices: Sequence[str], threads: int = 1) -> None:
        self._sources, self._scratch = sources, scratch
        self._devices, self._threads = tuple(devices), threads
        self._waiting: list[Job] = []
        self._running: list[_Running] = []
        self._idle: dict[int, _Worker] = {}
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
        with deaf(), _large_pages():
            forkserver.ensure_running()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        workers = [*(r.worker for r in self._running), *self._idle.values()]
        for worker in workers:  # whose files are whole or not there, whenever they end
            worker.process.kill()
        for worker in workers:
            _left(worker)
        self._running.clear()
        self._idle.clear()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def submit(self, job: Job) -> None:
        """Start a job where a worker is free, or else keep it until one is."""
        self._waiting.append(job)
        self._fill()

    def wait(self) -> Progress | Outcome:
        """What a run reports, or that it has ended."""
        ready = wait([r.worker.line for r in self._running])
        running = next(r for r in self._running if r.worker.line in ready)
        try:
            report = running.worker.line.recv()
        except (EOFError, OSError):
            report = None
        if isinstance(report, _Done | None):
            with _undisturbed():  # so that every process is known as what it is
                return self._ended(running, report)
        return Progress(running.job, *report)

    def _ended(self, running: _Running, done: _Done | None) -> Outcome:
        """How a run ended of which there is nothing more to hear: its last word, or None where its process died."""
        worker = running.worker
        if done and done.lasts:
            self._idle[worker.slot] = worker
        else:
            code = _left(worker)
            done = done or _Done(f"its process {how_it_ended(code)}", _tail(worker.log))
        self._running.remove(running)
        self._fill()
        return Outcome(running.job, time.monotonic() - running.begin, done.error, done.details)

    def _fill(self) -> None:
        """Start waiting jobs while workers are free."""
        taken = {r.worker.slot for r in self._running}
        for slot in [s for s in range(self.workers) if s not in taken][: len(self._waiting)]:
            with _undisturbed():  # so that whatever was started is known, and can be ended
                self._running.append(self._start(self._waiting.pop(0), slot))

    def _start(self, job: Job, slot: int) -> _Running:
        begin, worker = time.monotonic(), self._idle.pop(slot, None)
        if worker is not None and not worker.process.is_alive():  # anything may have ended it meanwhile
            _left(worker)
            worker = None
        worker = worker or self._hired(slot)
        with suppress(OSError):
            worker.log.write_bytes(b"")  # what the run before has said is not this one's
        with suppress(OSError):  # of a process that has died just now, which is heard of where it is waited for
            worker.line.send((job, self._data(job.dataset)))
        return _Running(job, worker, begin)

    def _hired(self, slot: int) -> _Worker:
        device, log = self._devices[slot], self._scratch / f"{slot}.log"
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=_work, args=(there, device, self._threads, log, _lasts(device)), name=f"worker {slot}"
        )
        process.start()
        there.close()  # so that the end of the process is the end of the line
        return _Worker(slot, process, here, log)

    def _data(self, name: str) -> Path:
        return self._scratch / f"data-{list(self._sources).index(name)}"


def _lasts(device: str) -> bool:
    """Whether a worker's process goes on with the next run.

    On a GPU it does, where its context and libraries take seconds. On the CPU it would gain nothing, and a run in a new
    process depends on none before it.
    """
    return device != "cpu"


def _left(worker: _Worker) -> int:
    """Let a process end that has said its last word, and end it where it does not; its exit code."""
    worker.line.close()
    worker.process.join(PATIENCE)
    worker.process.kill()  # a thread of somebody's network may hold it for ever
    worker.process.join(PATIENCE)
    code = worker.process.exitcode
    if code is None:  # not even the system can end it: it waits for a device
        return -signal.SIGKILL
    worker.process.close()
    return code


def _work(line: Connection, device: str, threads: int, log: Path, lasting: bool) -> None:
    """Do one job, or job after job: all of a process's life."""
    end_with_parent()
    _print_to(log)
    faulthandler.enable()
    torch.set_num_threads(threads)
    goes_on = True
    while goes_on:
        try:
            job, data = line.recv()
        except EOFError:  # nobody asks any more
            return
        _print_to(log)
        multiprocessing.current_process().name = job.spec.id
        done = _do(job, data, device, line)
        goes_on = lasting and not done.error and _cleared()
        line.send(done._replace(lasts=goes_on))


def _print_to(log: Path) -> None:
    """Let what is printed from now on stand alone in a file: among the lines of other runs nobody would know whose they are."""
    with suppress(Exception):  # whatever somebody's network has put there
        sys.stdout.flush()
        sys.stderr.flush()
    with suppress(OSError), log.open("wb") as file:
        for standard in (1, 2):
            os.dup2(file.fileno(), standard)


def _cleared() -> bool:
    """Give back what a run has held; False where the device has failed, and would fail every later run of this process."""
    try:
        gc.collect()
        torch.cuda.empty_cache()  # other processes may need the memory
    except Exception:
        return False
    return True


def _do(job: Job, data: Path, device: str, line: Connection) -> _Done:
    return _Done(*carry_out(job, map_source(data), device, lambda p: line.send((p.done, p.total, p.text))))


def _tail(log: Path) -> str:
    """The end of what a process has printed."""
    try:
        return log.read_bytes()[-TAIL:].decode("utf-8", "replace").strip()
    except OSError:
        return ""


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ctrl-C within comes at the end."""
    if current_thread() is not main_thread():  # which alone is told
        yield
        return
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
