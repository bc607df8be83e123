"""Peak memory, and time, to make a balanced epoch of CIFAR-10's shape and to go over it once in batches.

rho 50, mu 0.8: 10,800 random images (2 x 5,000 + 8 x 100, 3x32x32, uint8) become 50,000. Every measurement
is a process of its own, with one thread, which first does the same with 72 images, so that libraries are
loaded. The figures are the resident size beyond that, images included, at its peak and at the end. The
time is processor time of the resampler alone: ``start`` and ``refresh``, or ``fit_resample``. Linux only.

imbalanced-learn is given the same bytes for random oversampling, and float32 copies of them for SMOTE,
which wraps around on uint8. AOS takes its gradients from the paper's network; the last row is one
training step of that network without underdog, which is needed anyway.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from imblearn import over_sampling
from measure import arguments, environment, random_images
from torch.nn import functional

from underdog import SMOTE, Epoch, ImageSet, Learner, PaperNet, RandomOverSampler, RandomStreams, aos, to_unit
from underdog.resample.base import Resampler

SHAPE, COUNTS, BATCH, MB = (3, 32, 32), [5000] * 2 + [100] * 8, 128, 1e6
VALUES, TINY = 3 * 32 * 32, [12] * 2 + [6] * 8
IMAGES, NEW, SIGNS = sum(COUNTS) * VALUES, 8 * 4900 * VALUES, 8 * 100 * VALUES // 4

#: What is left at the end, and the seconds to make it.
Result = tuple[object, float]
Case = Callable[[ImageSet], Result]


def of_underdog(resampler: Resampler) -> Case:
    def case(images: ImageSet) -> Result:
        rng, learner = RandomStreams(0), Learner(PaperNet(3, 10, (32, 32)), 10)
        begin = time.process_time()
        epoch = resampler.start(Epoch.of(images), rng)
        epoch = resampler.refresh(epoch, 0, learner, rng)
        seconds = time.process_time() - begin
        for x, _ in epoch.batches(BATCH, rng("shuffle")):
            assert x.dtype == torch.float32
        return epoch, seconds

    return case


def of_imblearn(sampler: over_sampling.RandomOverSampler | over_sampling.SMOTE, dtype: type) -> Case:
    def case(images: ImageSet) -> Result:
        begin = time.process_time()
        flat: Any = images.images[:].flatten(1).numpy().astype(dtype, copy=False)
        x, y = sampler.fit_resample(flat, images.labels.numpy())
        seconds = time.process_time() - begin
        for rows in torch.split(torch.from_numpy(np.random.default_rng(0).permutation(len(y))), BATCH):
            to_unit(torch.from_numpy(x[rows.numpy()]).view(-1, *SHAPE))
        return (x, y), seconds

    return case


def training_step(images: ImageSet) -> Result:
    begin = time.process_time()
    model = PaperNet(3, 10, (32, 32)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x = to_unit(images.images[:BATCH]).contiguous(memory_format=torch.channels_last)
    functional.cross_entropy(model(x), images.labels[:BATCH]).backward()  # type: ignore[no-untyped-call]
    return model, time.process_time() - begin


#: Name -> what to run, and the floor in bytes: the images once, and the new rows as bytes or two-bit signs.
CASES: dict[str, tuple[Case, int]] = {
    "ROS, underdog": (of_underdog(RandomOverSampler()), IMAGES),
    "ROS, imbalanced-learn (uint8)": (of_imblearn(over_sampling.RandomOverSampler(random_state=0), np.uint8), IMAGES),
    "SMOTE, underdog": (of_underdog(SMOTE()), IMAGES + NEW),
    "SMOTE, imbalanced-learn (float32)": (of_imblearn(over_sampling.SMOTE(random_state=0), np.float32), IMAGES + NEW),
    "AOS, underdog": (of_underdog(aos(8 / 255, 0.4)), IMAGES + SIGNS),
    "one training step of 128 images": (training_step, IMAGES),
}


def resident(field: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most since the last reset."""
    line = next(s for s in Path("/proc/self/status").read_text().splitlines() if s.startswith(field))
    return int(line.split()[1]) * 1024


def measure(name: str) -> None:
    """In a fresh process: print (peak, held, seconds)."""
    torch.set_num_threads(1)
    CASES[name][0](random_images(TINY, SHAPE))  # loads what libraries load on first use
    images = random_images(COUNTS, SHAPE)
    gc.collect()
    before = resident("VmRSS") - IMAGES
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
    kept, seconds = CASES[name][0](images)
    peak = resident("VmHWM") - before
    gc.collect()
    print(json.dumps((peak, resident("VmRSS") - before, seconds)))
    del kept


def alone(name: str, **settings: str) -> list[float]:
    """What ``measure`` finds in a process with one thread and these settings of the environment."""
    settings |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--case", name]
    done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, check=True)
    return list(json.loads(done.stdout))


def main() -> None:
    parser = arguments(str(__doc__), pairs=5)
    parser.add_argument("--case", choices=CASES, help="measure this one alone, in this process")
    args = parser.parse_args()
    if args.case:
        measure(args.case)
        return
    runs: dict[str, list[list[float]]] = {name: [] for name in CASES}
    for _ in range(args.pairs):
        for name, results in runs.items():
            # For memory, an allocator that gives large blocks back when they are freed; for time, the usual one.
            peak, held, _slower = alone(name, MALLOC_MMAP_THRESHOLD_="131072")
            results.append([peak, held, alone(name)[2]])
    machine = environment()
    print(", ".join(f"{k} {v}" for k, v in machine.items()), f"processes {args.pairs}", sep=", ", end="\n\n")
    print("| | peak, MB | held, MB | floor, MB | peak / floor | s (range) |\n|---|---|---|---|---|---|")
    rows = []
    for name, (_, floor) in CASES.items():
        peak, held, s = (median(column) for column in zip(*runs[name], strict=True))
        rows.append({"name": name, "peak": peak, "held": held, "floor": floor, "seconds": s, "runs": runs[name]})
        times = [run[2] for run in runs[name]]
        size = f"{peak / MB:.1f} | {held / MB:.1f} | {floor / MB:.1f} | {peak / floor:.2f}"
        print(f"| {name} | {size} | {s:.3f} ({min(times):.3f} to {max(times):.3f}) |")
    if args.json:
        args.json.write_text(json.dumps({"environment": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
