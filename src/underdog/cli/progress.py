"""Progress: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from underdog.history import EpochRecord
from underdog.reporting.words import duration
from underdog.run.execute import Watcher

__all__ = ["bar", "duration", "watching"]

#: Seconds between plain lines on one run, at least.
QUIET = 30


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

        def preparing(share: float) -> None:
            nonlocal last
            shown.set_postfix_str(f"preparing: {share:.0%}")
            if shown.disable and time.monotonic() - last > QUIET:
                print(f"  {name}: preparing, {share:.0%}", flush=True)
                last = time.monotonic()

        yield Watcher(
            begin=begin,
            images=shown.update,
            epoch=epoch,
            message=lambda text: print(f"  {text}", flush=True),
            preparing=preparing,
        )
