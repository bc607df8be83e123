"""Runs on the machines of a Ray cluster, without a disk that they share."""

from __future__ import annotations

import math
import os
import queue
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

from underdog.data.images import ImageSet
from underdog.data.pixels import PixelFile
from underdog.data.sources import Source
from underdog.errors import InputError, UnderdogError
from underdog.run.engine import Job, Outcome, Progress, carry_out
from underdog.run.execute import finished
from underdog.run.files import write_atomic
from underdog.run.ray_cluster import Ray, check_versions, first_line, joined, own_cluster, probe
from underdog.run.state import STATE

__all__ = ["RayEngine"]

#: Nodes that a run may lose before it is given up: it may be what ends them.
NODES = 3
#: Seconds between two copies of an unfinished run's state to the one who submitted it, at least.
KEEP = 60
#: The files from which an unfinished run resumes.
UNFINISHED = ("spec.json", "config.json", "epochs.jsonl", STATE)
#: Parts of a source.
PARTS = ("train", "val", "test")

Files = Mapping[str, bytes]


@dataclass(frozen=True)
class _Said:
    """What a run's task says while it runs: how far it is."""

    done: int
    total: int
    text: str


@dataclass(frozen=True)
class _Kept:
    """What a run's task sends now and then: the files from which it resumes elsewhere."""

    files: Files


@dataclass(frozen=True)
class _End:
    """A task's last word: how the run failed, or its files."""

    error: str
    details: str
    files: Files


@dataclass
class _RayRun:
    """A job that was handed to Ray.

    Attributes:
        job: which.
        begin: when it was first heard of; None before.
        node: where it runs; "" before it is heard of.
        total: images that it will show.
        lost: nodes that ended while they did it.
    """

    job: Job
    begin: float | None = None
    node: str = ""
    total: int = 0
    lost: int = 0


class RayEngine:
    """Runs as tasks of a Ray cluster.

    Images travel once per data set, as bytes, through Ray's object store, where all processes of a machine share
    them; the files of a finished run come back as bytes and are written by this process alone, ``result.json`` last.
    A run whose node is lost resumes elsewhere from the state that was last sent; one that ends its own process has failed.

    Args:
        sources: the data sets by name.
        address: HOST:PORT of the cluster's head; None for a cluster of this machine alone, which ends with the engine.
        device: where the runs train, "cpu" or "cuda"; a run has a GPU of its own.
        threads: of each run, and so the CPUs that it is given.
        workers: runs at a time, at most; None for as many as there is room for.
        message: told what is odd about the cluster.

    Raises:
        InputError: on entering: Ray is not installed, no cluster answers, or its nodes lack what is needed.
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        address: str | None = None,
        device: str = "cpu",
        threads: int = 1,
        workers: int | None = None,
        message: Callable[[str], object] = lambda text: None,
    ) -> None:
        self._sources, self._address, self._device = sources, address, torch.device(device).type
        self._threads, self._message = threads, message
        self._most = workers
        self._running: dict[Any, _RayRun] = {}
        self._data: dict[str, Any] = {}
        self._ray: Ray = None

    @property
    def workers(self) -> int:
        """Runs that the cluster has room for, at least one and at most as many as were asked for; nodes come and go."""
        return max(1, min(self._room(), self._most or sys.maxsize))

    def _room(self) -> int:
        has = self._ray.cluster_resources()
        room = int(has.get("CPU", 0)) // self._threads
        return min(room, int(has.get("GPU", 0))) if self._device == "cuda" else room

    def __enter__(self) -> Self:
        packed = {name: _packed(source) for name, source in self._sources.items()}
        self._cluster = self._join(packed)
        self._ray = self._cluster.__enter__()
        try:
            if self._address:
                check_versions(self._ray, self._message)
            if not self._room():
                raise InputError(f"Ray's cluster has no node for a run that needs {self._needs()}")
            self._data = {name: self._ray.put(parts) for name, parts in packed.items()}
        except BaseException as error:
            self._cluster.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def _join(self, packed: Mapping[str, Any]) -> AbstractContextManager[Ray]:
        if self._address:
            return joined(self._address)
        size = sum(math.prod(s.images.shape) for source in self._sources.values() for s in _parts(source).values())
        cpus = (self._most or os.cpu_count() or 1) * self._threads
        return own_cluster(cpus, None if self._device == "cuda" else 0, size)

    def _needs(self) -> str:
        cpus = f"{self._threads} CPU{'s' * (self._threads > 1)}"
        return f"{cpus} and a GPU" if self._device == "cuda" else cpus

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._running.clear()
        self._data.clear()
        self._cluster.__exit__(kind, error, trace)

    def submit(self, job: Job) -> None:
        """Hand a job to Ray, with what an interrupted run of it has left here."""
        self._start(_RayRun(job))

    def _start(self, running: _RayRun) -> None:
        # Ray's own retries would not tell a node's end from the run's: they begin anew whatever ended.
        options = {"num_cpus": self._threads, "num_gpus": int(self._device == "cuda"), "max_retries": 0}
        work = self._ray.remote(_work).options(**options, name=running.job.spec.id)
        job = running.job
        left = _files(job.folder, UNFINISHED)
        task = work.remote(job, left, self._data[job.dataset], self._device, self._threads, KEEP)
        self._running[task] = running

    def wait(self) -> Progress | Outcome:
        """What a run reports, or that it has ended."""
        while True:
            task = self._ray.wait(list(self._running), num_returns=1)[0][0]
            running = self._running[task]
            try:
                said = self._ray.get(next(task))
            except self._ray.exceptions.RayError as error:
                return self._broken(task, error)
            running.begin = running.begin or time.monotonic()
            if isinstance(said, str):
                running.node = said
            elif isinstance(said, _Said):
                running.total = said.total
                return Progress(running.job, said.done, said.total, said.text)
            elif isinstance(said, _Kept):
                with suppress(OSError):  # a help, and no more: where the disk is full, the result will say so
                    _write(running.job.folder, said.files)
            else:
                return self._ended(task, said.error or _keep(running.job, said.files), said.details)

    def _ended(self, task: Any, error: str, details: str) -> Outcome:
        running = self._running.pop(task)
        begin = running.begin or time.monotonic()
        return Outcome(running.job, time.monotonic() - begin, error, details)

    def _broken(self, task: Any, error: Exception) -> Progress | Outcome:
        """What becomes of a run that could not say its last word: it starts again where its node is to blame."""
        running = self._running[task]
        if not self._node_lost(running.node, error):
            return self._ended(task, self._reason(error), str(error))
        if running.lost + 1 == NODES:
            return self._ended(task, f"{NODES} nodes were lost while they did it", str(error))
        del self._running[task]
        self._start(replace(running, node="", lost=running.lost + 1))
        return Progress(running.job, 0, running.total, "its node was lost: it starts on another")

    def _reason(self, error: Exception) -> str:
        if isinstance(error, self._ray.exceptions.WorkerCrashedError):
            return "its process died (by a segmentation fault, for instance, or because somebody ended it)"
        return f"it could not be carried out: {first_line(getattr(error, 'cause', None) or error)}"

    def _node_lost(self, node: str, error: Exception) -> bool:
        """Whether a task broke because its node did."""
        lost = self._ray.exceptions
        if isinstance(error, (lost.NodeDiedError, lost.ObjectLostError)):
            return True
        return isinstance(error, lost.WorkerCrashedError) and not self._alive(node)

    def _alive(self, node: str) -> bool:
        """Whether a node still answers; Ray itself notices its end only after a while."""
        for known in self._ray.nodes():
            if known["NodeID"] == node and known["Alive"]:
                try:
                    probe(f"{known['NodeManagerAddress']}:{known['NodeManagerPort']}")
                except InputError:
                    return False
                return True
        return False


def _work(
    job: Job, files: Files, source: Mapping[str, Any], device: str, threads: int, keep: float
) -> Iterator[str | _Said | _Kept | _End]:
    """Do a job on the machine where this is called; yields its node, how it goes, and last its files."""
    import ray  # noqa: PLC0415  (an extra)

    yield ray.get_runtime_context().get_node_id()
    torch.set_num_threads(threads)
    said: queue.SimpleQueue[_Said | None] = queue.SimpleQueue()
    end: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory(prefix="underdog-") as folder:
        here = replace(job, out=Path(folder))
        _write(here.folder, files)

        def work() -> None:
            try:
                end.append(
                    carry_out(here, _unpacked(source), device, lambda p: said.put(_Said(p.done, p.total, p.text)))
                )
            finally:
                said.put(None)

        thread = threading.Thread(target=work)
        thread.start()
        sent = time.monotonic()
        while (word := said.get()) is not None:
            yield word
            if time.monotonic() - sent > keep and STATE in (state := _files(here.folder, UNFINISHED)):
                yield _Kept(state)
                sent = time.monotonic()
        thread.join()
        error, details = end[0]
        names = [path.name for path in here.folder.glob("[!.]*")]
        yield _End(error, details, {} if error else _files(here.folder, names))


def _keep(job: Job, files: Files) -> str:
    """Write the files of a finished run here, unless it is there already; what went wrong, or ""."""
    try:
        if not finished(job.folder, job.spec):
            _write(job.folder, files)
        for name in (STATE, ".lock"):  # of a run that was interrupted here
            (job.folder / name).unlink(missing_ok=True)
    except (UnderdogError, OSError) as error:
        return str(error)
    return ""


def _files(folder: Path, names: Iterable[str]) -> Files:
    """Those files of a run's folder that are there, by name."""
    return {name: (folder / name).read_bytes() for name in names if (folder / name).is_file()}


def _write(folder: Path, files: Files) -> None:
    """Write files, ``result.json`` last: it says that the others are there."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key="result.json".__eq__):
        write_atomic(folder / name, partial(Path.write_bytes, data=files[name]))


def _parts(source: Source) -> dict[str, ImageSet]:
    return {name: part for name in PARTS if (part := getattr(source, name)) is not None}


def _packed(source: Source) -> dict[str, Any]:
    """A source as plain values and numpy's arrays, which Ray shares between processes without a copy."""
    plain = {f.name: getattr(source, f.name) for f in fields(source) if f.name not in PARTS}
    return plain | {name: _packed_part(part) for name, part in _parts(source).items()}


def _packed_part(part: ImageSet) -> dict[str, Any]:
    if isinstance(part.images, PixelFile):
        raise InputError(
            "Ray sends images through memory, into which these do not fit: --engine local reads them from disk"
        )
    plain = {f.name: getattr(part, f.name) for f in fields(part)}
    return plain | {"images": part.images.numpy(), "labels": part.labels.numpy()}


def _unpacked(packed: Mapping[str, Any]) -> Source:
    """The source that ``_packed`` described."""
    parts = {name: _unpacked_part(packed[name]) for name in PARTS if name in packed}
    return Source(**{**packed, **parts})


def _unpacked_part(packed: Mapping[str, Any]) -> ImageSet:
    with warnings.catch_warnings():  # the memory cannot be written to, and nobody writes
        warnings.filterwarnings("ignore", ".*not writable", UserWarning)
        tensors = {name: torch.from_numpy(packed[name]) for name in ("images", "labels")}
    return ImageSet(**{**packed, **tensors})
