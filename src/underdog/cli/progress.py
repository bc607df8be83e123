"""Progress: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from underdog.run.execute import Watcher
from underdog.train import EpochRecord

__all__ = ["bar", "duration", "watching"]

#: Seconds between plain lines on one run, at least.
QUIET = 30


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(44), duration(100), duration(9000)
    ('44 s', '1 min 40 s', '2 h 30 min')
    """
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    if hours:
        return f"{hours} h {m} min"
    return f"{minutes} min {s} s" if minutes else f"{s} s"


@contextmanager
def bar(text: str, total: int | None, unit: str) -> Iterator[tqdm[None]]:
    """A bar on standard error that is silent where that is no terminal, and leaves nothing behind."""
    with tqdm(
        total=total, desc=text, unit=unit, disable=not sys.stderr.isatty(), leave=False, unit_scale=True
    ) as shown:
        yield shown


@contextmanager
def watching(name: str, epochs: int) -> Iterator[Watcher]:
    """A watcher of one run."""
    last = time.monotonic()
    with bar(name, None, " images") as shown:

        def begin(total: int, done: int) -> None:
            shown.total, shown.n, shown.initial = total, done, done
            shown.refresh()

        def epoch(record: EpochRecord) -> None:
            nonlocal last
            text = f"epoch {record.epoch + 1}/{epochs}, loss {record.loss:.4f}, validation macro-F1 {record.val.macro_f1:.4f}"
            shown.set_postfix_str(text)
            if shown.disable and time.monotonic() - last > QUIET and record.epoch + 1 < epochs:
                print(f"  {name}: {text}", flush=True)
                last = time.monotonic()

        yield Watcher(
            begin=begin, images=shown.update, epoch=epoch, message=lambda text: print(f"  {text}", flush=True)
        )
