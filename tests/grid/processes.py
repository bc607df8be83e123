"""Processes that tests start: whether they are there, and waiting for what they do."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

__all__ = ["alive", "until"]


def until(condition: Callable[[], Any]) -> None:
    """Wait for something that has to happen soon, however busy the machine is."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
