"""How time and memory grow with the number of images, of classes, and with rho, without a network's training.

Images of 3x32x32 in K classes of which half are rare, by a factor rho. Each point is a process of its own with one thread: it
makes the set, then takes processor time and the peak of memory beyond what was resident before of

- start: balancing by random oversampling (and, where asked for, by SMOTE, whose search for neighbours compares each rare
  image with all others of its class, or with 4,096 of them);
- refresh: choosing, attacking and storing altered images, with a network of one linear layer, since a real one's gradients
  are linear in the images by themselves;
- epoch: all batches of 128, in float32, as the network would get them.

The exponent is the slope between the two largest sizes: 1 is linear. ``--plot FILE`` draws docs/growth.png. Linux only.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
import torch
from measure import arguments, environment
from torch import nn
from tqdm import tqdm

from underdog import FGSM, SMOTE, Epoch, ImageSet, Learner, Moment, Perturb, RandomOverSampler, RandomStreams
from underdog.bench.memory import reset_peak, resident
from underdog.bench.report import environment_line

SHAPE, BATCH, EPS, TAU, MB = (3, 32, 32), 128, 8 / 255, 0.5, 1e6
#: What a picture shows at least, of seconds and megabytes.
FLOOR = (1e-4, 0.01)
#: Seconds and megabytes by phase; "shown" is the examples of an epoch.
Found = dict[str, tuple[float, float]]
PHASES = ("start", "refresh", "epoch")
#: What is varied, its values, and what the other two are then.
IMAGES, CLASSES, RHO = (10**3, 10**4, 10**5, 10**6), (10, 100, 1000), (2, 10, 100, 1000)
SMOTED = (10**3, 10**4, 10**5, 3 * 10**5, 10**6)


@dataclass(frozen=True)
class Point:
    """One set: so many images in all, of which half of the classes have rho times fewer."""

    images: int
    classes: int
    rho: int
    smote: bool = False


PLAIN = Point(images=10**5, classes=10, rho=10)


def make(point: Point) -> ImageSet:
    """Random bytes, drawn a class's worth at a time; at least two images in a rare class."""
    k = point.classes
    n = max(2 * point.rho, round(point.images / (k // 2 + (k - k // 2) / point.rho)))
    counts = [n] * (k // 2) + [n // point.rho] * (k - k // 2)
    pixels = torch.empty(sum(counts), *SHAPE, dtype=torch.uint8)
    draw = torch.Generator().manual_seed(0)
    for part in torch.split(pixels, 4096):
        part.random_(0, 256, generator=draw)
    names = tuple(str(c) for c in range(k))
    return ImageSet(pixels, torch.from_numpy(np.repeat(np.arange(k), counts)), names)


def taken(work: Callable[[], Epoch | None]) -> tuple[Epoch | None, tuple[float, float]]:
    """What a call returns, its processor seconds, and megabytes at its peak."""
    reset_peak()
    before, begin = resident("VmRSS"), time.process_time()
    returned = work()
    return returned, (time.process_time() - begin, (resident("VmHWM") - before) / MB)


def measure(point: Point) -> Found:
    """Each phase's seconds and megabytes."""
    k = point.classes
    epoch, rng = Epoch.of(make(point)), RandomStreams(0)
    learner = Learner(nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, k)), k)
    first, perturb = SMOTE() if point.smote else RandomOverSampler(), Perturb(FGSM(), EPS, TAU)
    found: Found = {}
    started, found["start"] = taken(lambda: first.start(epoch, Moment(0, None, rng, started=False)))
    assert started is not None
    found["shown"] = (len(started), 0.0)
    if point.smote:
        return found
    altered, found["refresh"] = taken(lambda: perturb.refresh(started, Moment(0, None, rng, learner)))
    assert altered is not None
    _, found["epoch"] = taken(lambda: exhaust(altered.batches(BATCH, rng("shuffle", 0))))
    return found


def exhaust(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def alone(point: Point, **settings: str) -> Found:
    """``measure`` in a process of its own, with these settings of the environment."""
    settings |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--point", json.dumps([point.images, point.classes, point.rho, point.smote])]
    done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, check=True)
    return {name: (float(s), float(mb)) for name, (s, mb) in json.loads(done.stdout).items()}


def medians(point: Point, repeats: int) -> Found:
    """Time with the usual allocator, memory with one that gives large blocks back when they are freed."""
    runs = [(alone(point), alone(point, MALLOC_MMAP_THRESHOLD_="131072")) for _ in range(repeats)]
    return {name: (median(a[name][0] for a, _ in runs), median(b[name][1] for _, b in runs)) for name in runs[0][0]}


def points() -> dict[str, list[Point]]:
    """What is measured, by what is varied."""
    return {
        "images": [replace(PLAIN, images=n) for n in IMAGES],
        "classes": [replace(PLAIN, classes=k) for k in CLASSES],
        "rho": [replace(PLAIN, rho=rho) for rho in RHO],
        "images, SMOTE": [replace(PLAIN, images=n, smote=True) for n in SMOTED],
    }


def slope(sizes: list[int], values: list[float]) -> float:
    """The exponent between the two largest sizes."""
    return math.log(max(values[-1], 1e-9) / max(values[-2], 1e-9)) / math.log(sizes[-1] / sizes[-2])


def table(name: str, own: list[Point], found: list[Found]) -> str:
    """Seconds and megabytes of each phase, and their exponents where images are varied."""
    column = name.partition(",")[0]
    phases = [p for p in PHASES if p in found[0]]
    lines = [f"| {name} | shown | " + " | ".join(f"{p}, s | {p}, MB" for p in phases) + " |"]
    lines.append("|---" * (2 + 2 * len(phases)) + "|")
    for point, each in zip(own, found, strict=True):
        cells = " | ".join(f"{each[p][0]:.3g} | {each[p][1]:.3g}" for p in phases)
        lines.append(f"| {getattr(point, column):,} | {each['shown'][0]:,.0f} | {cells} |")
    if column == "images":
        sizes = [p.images for p in own]
        cells = " | ".join(f"{slope(sizes, [f[p][i] for f in found]):.2f}" for p in phases for i in (0, 1))
        lines.append(f"| exponent | | {cells} |")
    return "\n".join(lines)


def plot(results: dict[str, tuple[list[Point], list[Found]]], file: Path) -> None:
    """Time above memory, one column for each quantity that is varied."""
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(10, 6), layout="constrained")
    axes = figure.subplots(2, 3, sharey="row")
    for column, name in enumerate(("images", "classes", "rho")):
        own, found = results[name]
        for row, unit in enumerate(("processor time, s", "peak memory beyond the images, MB")):
            ax = axes[row][column]
            for phase_name, marker in zip(PHASES, "osD", strict=True):
                x, y = [getattr(p, name) for p in own], [max(f[phase_name][row], FLOOR[row]) for f in found]
                ax.loglog(x, y, marker=marker, label=phase_name)
            if name == "images":
                own_smote, found_smote = results["images, SMOTE"]
                y = [f["start"][row] for f in found_smote]
                ax.loglog([p.images for p in own_smote], y, marker="x", linestyle="--", label="start, SMOTE")
                epoch = [f["epoch"][row] for f in found]
                top = [epoch[-1] * n / own[-1].images for n in IMAGES]
                ax.loglog(IMAGES, top, color="0.7", linewidth=1, zorder=0, label="linear")
            ax.set_xlabel(name)
            ax.grid(alpha=0.3)
            if not column:
                ax.set_ylabel(unit)
    axes[0][0].legend(fontsize=8)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = arguments(str(__doc__).splitlines()[0], pairs=3)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw a picture, such as docs/growth.png")
    parser.add_argument("--point", help="measure this one alone, in this process")
    options = parser.parse_args()
    if options.point:
        point = Point(*json.loads(options.point))
        measure(replace(point, images=1000, classes=10))  # loads what is loaded on first use
        print(json.dumps(measure(point)))
        return
    results = {}
    for name, own in points().items():
        results[name] = own, [medians(p, 1 if p.images >= 10**6 else options.pairs) for p in tqdm(own, desc=name)]
    machine = environment()
    print(environment_line(machine), f"n {options.pairs} (1 of a million images)", sep=", ")
    for name, (own, found) in results.items():
        print("\n" + table(name, own, found))
    if options.plot:
        plot(results, options.plot)
    if options.json:
        rows = {name: [vars(p) | f for p, f in zip(*both, strict=True)] for name, both in results.items()}
        options.json.write_text(json.dumps({"environment": machine, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
