"""Time two ways of doing the same work in interleaved pairs, and say on what machine."""

from __future__ import annotations

import argparse
import gc
import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
import torch

from underdog import ImageSet

__all__ = ["Comparison", "arguments", "compare", "environment", "interval", "random_images", "report"]

Work = Callable[[], object]


@dataclass(frozen=True)
class Comparison:
    """What one side took beside its floor: medians in ``unit``, and the median of the pairs' ratios."""

    name: str
    unit: str
    underdog: float
    floor: float
    ratio: float
    low: float
    high: float
    target: float
    pairs: int


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The order statistics that enclose the median with probability of at least 0.95 (0.94 for 5 values).

    >>> interval(range(15))
    (3, 11)
    """
    n = len(values)
    below = [2 * sum(math.comb(n, i) for i in range(j)) / 2**n for j in range(1, n)]
    k = max(1, sum(tail <= 0.05 for tail in below))
    ordered = sorted(values)
    return ordered[k - 1], ordered[n - k]


def seconds(work: Work, clock: Callable[[], float] = time.process_time) -> float:
    """Processor time of this process: what other processes do counts less than in wall time.

    With one thread and nothing to wait for, the two agree on an idle machine.
    """
    gc.collect()
    begin = clock()
    work()
    return clock() - begin


def compare(
    name: str,
    underdog: Work,
    floor: Work,
    target: float,
    per: float = 1.0,
    unit: str = "s",
    pairs: int = 21,
    clock: Callable[[], float] = time.process_time,
) -> Comparison:
    """Run both once to warm up, then ``pairs`` times in the orders AB, BA, AB, ...

    Args:
        per: seconds are divided by this to give ``unit``.
        target: what the ratio should not exceed.
        clock: processor time without; wall time where there is something to wait for.
    """
    seconds(underdog, clock), seconds(floor, clock)
    times = []
    for pair in range(pairs):
        if pair % 2:
            b, a = seconds(floor, clock), seconds(underdog, clock)
        else:
            a, b = seconds(underdog, clock), seconds(floor, clock)
        times.append((a / per, b / per))
    ratios = [a / b for a, b in times]
    ours, bare = (median(side) for side in zip(*times, strict=True))
    return Comparison(name, unit, ours, bare, median(ratios), *interval(ratios), target, pairs)


@cache
def environment() -> dict[str, str | int | float]:
    """Hardware, versions and load at the first call, without names of machines or people."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    describe = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    git = subprocess.run(describe, capture_output=True, text=True, check=False)
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": os.cpu_count() or 0,
        "load": round(os.getloadavg()[0], 1),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": git.stdout.strip() or "unknown",
    }


def arguments(description: str, pairs: int) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has; one thread from here on."""
    torch.set_num_threads(1)
    environment()
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--pairs", type=int, default=pairs, help="interleaved repetitions (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    return parser


def report(rows: Sequence[Comparison], file: Path | None, more: Mapping[str, object] | None = None) -> None:
    """Print the environment and a table in Markdown, and write both as JSON where asked."""
    machine = environment()
    print(", ".join(f"{k} {v}" for k, v in machine.items()), end="\n\n")
    print("| | underdog | floor | unit | ratio | 95% interval | target | pairs |")
    print("|---|---|---|---|---|---|---|---|")
    for r in rows:
        sides = f"{r.underdog:.4g} | {r.floor:.4g} | {r.unit} | {r.ratio:.3f} | {r.low:.3f} to {r.high:.3f}"
        print(f"| {r.name} | {sides} | {r.target:g} | {r.pairs} |")
    if file:
        file.write_text(
            json.dumps({"environment": machine, "rows": [asdict(r) for r in rows], **(more or {})}, indent=2) + "\n"
        )


def random_images(counts: Sequence[int], shape: tuple[int, int, int]) -> ImageSet:
    """Random bytes: neither a gradient nor a neighbour takes longer for real pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(sum(counts), *shape), dtype=np.uint8)
    labels = np.repeat(np.arange(len(counts)), counts)
    names = tuple(str(k) for k in range(len(counts)))
    return ImageSet(torch.from_numpy(pixels), torch.from_numpy(labels), names)
