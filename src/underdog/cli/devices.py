"""A command on several devices: one process for each, started, watched and ended together."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import torch
from torch import distributed

from underdog.errors import InputError, TrainingError, UnderdogError
from underdog.processes import deaf, end_with_parent, how_it_ended
from underdog.ranks import Ranks

__all__ = ["Command", "devices", "on_all"]

#: A command that is carried out by one of several ranks.
Command = Callable[[argparse.Namespace, Ranks], None]

#: Seconds in which the other processes may end by themselves after one has failed; what they say is then known too.
GRACE = 2
#: How long a rank waits for another one, which may be reading or evaluating; one that died ends all at once.
PATIENCE = timedelta(days=1)
#: The ranks talk within this machine only.
LOOPBACK = {"linux": "lo", "darwin": "lo0"}


class Failure(NamedTuple):
    """Why and when a rank gave up."""

    when: float
    error: Exception


def devices(kind: str, count: int) -> list[str]:
    """The devices of ``count`` processes, of a kind ("cpu" or "cuda") that torch has.

    Raises:
        InputError: fewer GPUs than that; one GPU by its number.

    >>> devices("cpu", 2)
    ['cpu', 'cpu']
    """
    if count == 1:
        return [kind]
    if ":" in kind:
        raise InputError(f"devices are counted from the first one, so --device must be 'cuda' or 'cpu', not {kind!r}")
    if kind == "cpu":
        return [kind] * count
    if count > torch.cuda.device_count():
        raise InputError(
            f"devices must be at most the GPUs that torch sees, {torch.cuda.device_count()}, not {count} "
            "(--device cpu trains on the processor)"
        )
    return [f"{kind}:{n}" for n in range(count)]


def on_all(command: Command, options: argparse.Namespace, names: Sequence[str]) -> None:
    """Carry out a command by one process for each device, and wait for all of them.

    Rank 0 says what there is to say. When a process fails or dies all others are ended, and so they are with
    this one, however it ends.

    Raises:
        UnderdogError: what a rank raised; TrainingError where it died.
    """
    context = multiprocessing.get_context("spawn")
    with TemporaryDirectory(prefix="underdog-") as folder:
        pipes = [context.Pipe(duplex=False) for _ in names]
        processes: list[BaseProcess] = [
            context.Process(target=_rank, args=(command, options, list(names), rank, Path(folder, "store"), pipe[1]))
            for rank, pipe in enumerate(pipes)
        ]
        try:
            with deaf():
                for process in processes:
                    process.start()
            if not _all_end_well(processes):
                raise _cause(processes, [here for here, _ in pipes], names)
        finally:
            _end(processes)


def _all_end_well(processes: Sequence[BaseProcess]) -> bool:
    """Wait for all processes, or, once one has failed, a little for the others."""
    left, failed = list(processes), False
    while left:
        ready = wait([p.sentinel for p in left], GRACE if failed else None)
        if not ready:
            break
        for p in [p for p in left if p.sentinel in ready]:
            p.join()
            left.remove(p)
            failed = failed or p.exitcode != 0
    return not failed


def _cause(processes: Sequence[BaseProcess], reports: Sequence[Connection], names: Sequence[str]) -> Exception:
    """Why it all ended: a process that died without a word, otherwise the first that gave up, which the others notice later."""
    failures = {rank: here.recv() for rank, here in enumerate(reports) if here.poll()}
    for rank, p in enumerate(processes):
        if p.exitcode and rank not in failures:
            return TrainingError(
                f"the process of device {rank} ({names[rank]}) {how_it_ended(p.exitcode)}, and so the others were too; the same "
                "command resumes from the last finished epoch"
            )
    first = min(failures.values(), key=lambda failure: failure.when)
    assert isinstance(first.error, Exception)
    return first.error


def _end(processes: Sequence[BaseProcess]) -> None:
    """End what still runs."""
    running = [p for p in processes if p.pid is not None and p.is_alive()]
    for p in running:
        p.terminate()
    for p in running:
        p.join(GRACE)
        if p.is_alive():
            p.kill()
            p.join()
    if running and sys.stderr.isatty():
        print(end="\r\N{ESCAPE}[K", file=sys.stderr)  # rank 0's bar, which nobody else takes away


def _rank(
    command: Command, options: argparse.Namespace, names: list[str], rank: int, store: Path, report: Connection
) -> None:
    """One process: carry out the command as one of several ranks."""
    end_with_parent()
    if rank:  # rank 0 speaks for all
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    try:
        _join(names, rank, store)
        command(options, Ranks(rank, len(names)))
        distributed.destroy_process_group()
    except Exception as error:  # anybody's code may run here; the parent says what happened
        known = isinstance(error, UnderdogError | OSError)
        told = error if known else TrainingError(f"device {rank} ({names[rank]}) failed:\n{traceback.format_exc()}")
        report.send(Failure(time.time(), told))
        report.close()
        sys.exit(1)


def _join(names: list[str], rank: int, store: Path) -> None:
    """Make this process one of a group: NCCL where there are GPUs, gloo otherwise."""
    torch.set_num_threads(max(1, torch.get_num_threads() // len(names)))
    if sys.platform in LOOPBACK:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK[sys.platform])
    backend = "gloo"
    if names[rank] != "cpu":
        backend = "nccl"
        torch.cuda.set_device(torch.device(names[rank]))
    distributed.init_process_group(
        backend, init_method=store.as_uri(), rank=rank, world_size=len(names), timeout=PATIENCE
    )
