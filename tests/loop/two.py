"""Two gloo processes on the CPU that run one function."""

from __future__ import annotations

import multiprocessing
import os
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch

#: How long one process waits for the other, which is then taken for hanging.
HANGS = timedelta(seconds=40)
#: Seconds for all that they do, on a machine that has other things to do.
PATIENCE = 120


def _rank(function: Callable[..., Any], rank: int, store: Path, answer: Connection, arguments: tuple[Any, ...]) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=store.as_uri(), rank=rank, world_size=2, timeout=HANGS)
    try:
        answer.send(function(rank, *arguments))
    except BaseException:
        answer.send(traceback.format_exc())
        raise
    torch.distributed.destroy_process_group()


def in_two(function: Callable[..., Any], folder: Path, *arguments: Any) -> list[Any]:
    """What ``function(rank, *arguments)``, importable and with plain data for an answer, returned on ranks 0 and 1."""
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe(duplex=False) for _ in range(2)]
    processes = [
        context.Process(target=_rank, args=(function, rank, folder / "store", pipes[rank][1], arguments))
        for rank in range(2)
    ]
    for process in processes:
        process.start()
    try:
        answers = [here.recv() if wait([here], PATIENCE) else "this rank has not answered" for here, _ in pipes]
        for process in processes:
            process.join(PATIENCE)
        assert [p.exitcode for p in processes] == [0, 0], "\n".join(map(str, answers))
    finally:
        for process in processes:
            process.kill()
            process.join()
    return answers
