"""What ranks do in tests of how they are started and ended; imported by processes that import little else."""

from __future__ import annotations

import os
import signal
import time
from argparse import Namespace
from pathlib import Path

from underdog.errors import InputError
from underdog.ranks import Ranks


def fails(options: Namespace, ranks: Ranks) -> None:
    """Rank 1 ends in some way, while rank 0 waits for it."""
    ranks.all_gather(None)
    if ranks.rank == 1:
        if options.how == "input":
            raise InputError("the disk of rank 1 is gone")
        if options.how == "any":
            raise ZeroDivisionError("by rank 1")
        os.kill(os.getpid(), signal.SIGKILL)
    ranks.all_gather(None)


def sleeps(options: Namespace, ranks: Ranks) -> None:
    """Say which processes there are, interrupt this one and the parent as Ctrl-C does if asked to, and sleep."""
    pids = ranks.all_gather(os.getpid())
    if ranks.rank == 0:
        print(*pids, flush=True)
    if options.interrupt:
        os.kill(os.getpid(), signal.SIGINT)
        if ranks.rank == 0:
            os.kill(os.getppid(), signal.SIGINT)
    time.sleep(300)
    Path("woke up").touch()


def main() -> None:
    from underdog.cli.devices import on_all  # noqa: PLC0415  (not in the ranks)

    on_all(sleeps, Namespace(interrupt=False), ["cpu", "cpu"])


if __name__ == "__main__":
    main()
