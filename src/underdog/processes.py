"""What processes that are started by others have in common."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread, current_thread, main_thread

__all__ = ["deaf", "end_with_parent", "how_it_ended"]


@contextmanager
def deaf() -> Iterator[None]:
    """Ctrl-C reaches every process of a terminal: those started within ignore it, and are ended by this one."""
    if current_thread() is not main_thread():  # which alone can say so
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def end_with_parent() -> None:
    """End this process when the one that started it has ended: one that was killed cannot end those that it started."""
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def how_it_ended(code: int) -> str:
    """An exit code in words.

    >>> how_it_ended(-9), how_it_ended(3)
    ('was ended by SIGKILL', 'ended with 3')
    """
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
