"""Time two ways of doing the same work in interleaved pairs."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

__all__ = ["Clock", "TimePairs", "Work", "clock_of", "compare", "interval", "measured"]

Work = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class TimePairs:
    """What underdog took beside another way: medians in ``unit``, and the median of the pairs' ratios.

    Attributes:
        name: what was done, and against what.
        unit: of both sides; less is better.
        underdog, other: medians.
        ratio: underdog's by the other's, the median of the pairs.
        low, high: see ``interval``.
        target: what the ratio should not exceed, None where there is nothing to reach.
        pairs: how many.
    """

    name: str
    unit: str
    underdog: float
    other: float
    ratio: float
    low: float
    high: float
    target: float | None
    pairs: int


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The order statistics that enclose the median with probability of at least 0.95 (less for fewer than 6 values).

    >>> interval(range(15))
    (3, 11)
    """
    n = len(values)
    below = [2 * sum(math.comb(n, i) for i in range(j)) / 2**n for j in range(1, n)]
    k = max(1, sum(tail <= 0.05 for tail in below))
    ordered = sorted(values)
    return ordered[k - 1], ordered[n - k]


def clock_of(device: torch.device, threads: int) -> Clock:
    """Processor time where one thread works, since what other processes do counts less in it; else wall time.

    A GPU's clock waits for what the GPU has been given.
    """
    if device.type == "cuda":

        def synchronized() -> float:
            torch.cuda.synchronize(device)
            return time.perf_counter()

        return synchronized
    return time.process_time if threads == 1 else time.perf_counter


def seconds(work: Work, clock: Clock = time.process_time) -> float:
    """What one call takes."""
    gc.collect()
    begin = clock()
    work()
    return clock() - begin


def measured(name: str, sides: Sequence[tuple[float, float]], target: float | None, unit: str) -> TimePairs:
    """The comparison of pairs (underdog, other)."""
    ratios = [a / b for a, b in sides]
    ours, others = (median(side) for side in zip(*sides, strict=True))
    return TimePairs(name, unit, ours, others, median(ratios), *interval(ratios), target, len(sides))


def compare(
    name: str,
    underdog: Work,
    other: Work,
    target: float | None = None,
    per: float = 1.0,
    unit: str = "s",
    pairs: int = 21,
    clock: Clock = time.process_time,
) -> TimePairs:
    """Run both once to warm up, then ``pairs`` times in the orders AB, BA, AB, ...

    Args:
        name: what is done, and against what.
        underdog, other: the two sides.
        target: what the ratio should not exceed.
        per: seconds are divided by this to give ``unit``.
        unit: of the two sides' figures.
        pairs: how many.
        clock: see ``clock_of``.
    """
    seconds(underdog, clock), seconds(other, clock)
    sides = []
    for pair in range(pairs):
        if pair % 2:
            b, a = seconds(other, clock), seconds(underdog, clock)
        else:
            a, b = seconds(underdog, clock), seconds(other, clock)
        sides.append((a / per, b / per))
    return measured(name, sides, target, unit)
