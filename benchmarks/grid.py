"""The cost of a grid beside its training, what workers are worth, and the paper's grid in core-hours."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from measure import environment, interval, random_images

from underdog.data.images import ImageSet
from underdog.data.sources import Source
from underdog.run.engine import Job, Outcome
from underdog.run.estimate import Estimate, image_seconds
from underdog.run.execute import Watcher, execute, start
from underdog.run.grid import entries
from underdog.run.grid_file import read_grid
from underdog.run.local import LocalEngine
from underdog.run.search import PlannedRun
from underdog.run.spec import RunSpec

#: Training and test images of each class in the paper's data sets, and their shapes.
SHAPES: dict[str, tuple[Sequence[int], Sequence[int], tuple[int, int, int]]] = {
    "cifar10": ([5000] * 10, [1000] * 10, (3, 32, 32)),
    "mnist": (
        [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
        [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009],
        (1, 28, 28),
    ),
    "intel": ([2191, 2271, 2404, 2512, 2274, 2382], [437, 474, 553, 525, 510, 501], (3, 150, 150)),
    "mit67": ([233] * 67, [], (3, 240, 240)),  # 15,620 in all; their own counts differ from class to class
}


def source(images: int) -> Source:
    """Random images of CIFAR-10's shape, as many in each class."""
    return Source("random", random_images([images] * 10, (3, 32, 32)), None, random_images([200] * 10, (3, 32, 32)))


def shapes(name: str) -> Source:
    """The sizes of a data set, its images all one pixel held once."""
    train, test, shape = SHAPES[name]

    def part(counts: Sequence[int]) -> ImageSet:
        few = random_images([1] * len(counts), shape)
        labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        return ImageSet(torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(len(labels), *shape), labels, few.classes)

    return Source(name, part(train), None, part(test) if test else None)


def run_all(engine: LocalEngine, jobs: Sequence[Job]) -> tuple[float, list[float]]:
    """Seconds for all jobs with the engine in use, and those of each."""
    with engine:
        begin = time.perf_counter()
        seconds: list[float] = []
        for job in jobs:
            engine.submit(job)
        while len(seconds) < len(jobs):
            event = engine.wait()
            if isinstance(event, Outcome):
                assert not event.error, event.error
                seconds.append(event.seconds)
        return time.perf_counter() - begin, seconds


def overhead(data: Source, spec: RunSpec, folder: Path, pairs: int) -> dict[str, object]:
    """A run in the grid's engine against ``execute`` in this process, in turns."""
    engine = LocalEngine({"data": data}, folder / "images", ["cpu"])

    def alone(n: int) -> float:
        begin = time.perf_counter()
        execute(replace(spec, seed=n), data, folder / "alone")
        return time.perf_counter() - begin

    def within(n: int) -> float:
        return run_all(engine, [Job("run", "data", replace(spec, seed=n), folder / "grid")])[1][0]

    alone(10**6), within(10**6)
    times = []
    for n in range(pairs):
        b, a = (alone(n), within(n)) if n % 2 else (within(n), alone(n))[::-1]
        times.append((a, b))
    ratios = [a / b for a, b in times]
    engine_s, alone_s = (median(side) for side in zip(*times, strict=True))
    low, high = interval(ratios)
    return {"grid_s": engine_s, "alone_s": alone_s, "ratio": median(ratios), "low": low, "high": high, "pairs": pairs}


def workers(data: Source, spec: RunSpec, folder: Path, pairs: int) -> dict[str, object]:
    """Two workers of one thread against one worker of two threads, two runs each, in turns: images a second and core."""
    images = 2 * spec.epochs * len(data.train)
    found: dict[str, list[float]] = {"two workers of one thread": [], "one worker of two threads": []}
    kinds = [("two workers of one thread", ["cpu", "cpu"], 1), ("one worker of two threads", ["cpu"], 2)]
    for n in range(pairs):
        for name, places, threads in kinds if n % 2 else kinds[::-1]:
            out = folder / f"{name}-{n}"
            jobs = [Job(f"run {k}", "data", replace(spec, seed=2 * n + k), out) for k in range(2)]
            total, _ = run_all(LocalEngine({"data": data}, folder / "images", places, threads), jobs)
            found[name].append(images / total / 2)
    ratios = [a / b for a, b in zip(*found.values(), strict=True)]
    rates: dict[str, object] = {name: median(rates) for name, rates in found.items()}
    return rates | {"ratio": median(ratios), "range": (min(ratios), max(ratios)), "pairs": pairs}


def core_hours(name: str, precision: str) -> dict[str, float]:
    """The grid's estimated hours on one core for each data set, by a few timed updates, searches for eps included."""
    grid = read_grid(name)
    sources = {data.name: shapes(data.name) for data in grid.datasets}
    found = entries(grid, {data: data for data in sources})
    hours = {}
    for data, whole in sources.items():
        mine = [e for e in found if e.dataset == data]
        specs = {s.id: s for e in mine for s in specs_of(e)}
        estimate = Estimate({data: whole}, "cpu")
        few = Source(data, random_images([40] * len(whole.train.classes), whole.train.shape))
        probe = replace(mine[0].spec, method="baseline", rho=None, mu=None, precision=precision)
        pace = image_seconds(start(probe, few, "cpu", Watcher()))
        hours[data] = sum(estimate.images(s) for s in specs.values()) * pace / 3600
    return hours


def specs_of(entry: PlannedRun) -> list[RunSpec]:
    search = entry.search
    found = [] if search is None else [search.run(number, lambda run: None) for number in range(len(search))]
    return [entry.spec, *(spec for spec in found if spec is not None)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=7, help="interleaved repetitions (default: %(default)s)")
    parser.add_argument("--images", type=int, default=1000, help="training images of a class (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=2, help="of a run (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    machine = environment()
    print(", ".join(f"{k} {v}" for k, v in machine.items()), end="\n\n")
    data = source(options.images)
    # Natural counts: all methods show as many images.
    spec = RunSpec("random", "ros", minority=("0",), epochs=options.epochs, lr=1e-4)
    figures: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as name:
        figures["overhead"] = overhead(data, spec, Path(name, "a"), options.pairs)
        print("a run in the grid against execute alone:", figures["overhead"])
        figures["workers"] = workers(data, spec, Path(name, "b"), max(1, options.pairs // 2))
        print("images a second and core:", figures["workers"])
    for precision in ("float32", "bfloat16"):
        hours = core_hours("paper", precision)
        figures[f"paper_core_hours_{precision}"] = hours
        each = ", ".join(f"{data} {h:.1f}" for data, h in hours.items())
        print(
            f"the paper's grid in {precision}: {sum(hours.values()):.0f} core-hours ({each}), {os.cpu_count()} cores here"
        )
    if options.json:
        options.json.write_text(json.dumps({"environment": machine, "figures": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
