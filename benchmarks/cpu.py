"""Steps towards faster training on a CPU, each with and without: what was predicted is in docs/performance.md.

Epochs of a bare loop with Table 1's network, batches of 128, one thread: the memory format, the precision, ``torch.compile``;
four networks with stacked weights; then how memory is allocated, in processes of their own, for the bare loop and
(``--parts grids``, an hour) for a grid of two workers, whose processor time is that of all their runs. ``--profile``
says where a step's time goes instead. Linux only.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from multiprocessing import forkserver
from pathlib import Path
from statistics import median

import torch
from measure import TimePairs, Work, arguments, compare, random_images, report
from stacked import stacked
from torch import nn
from tqdm import tqdm

from grid import run_all, source
from underdog.bench.setting import SHAPES, network
from underdog.bench.timing import measured
from underdog.bench.training import bare_loop
from underdog.learner import PRECISIONS as DTYPES
from underdog.names import PRECISIONS
from underdog.run.engine import Job
from underdog.run.local import TUNABLES, LocalEngine
from underdog.run.spec import RunSpec

CPU, IMAGES = torch.device("cpu"), [51] * 10
PER = sum(IMAGES) * 1e-6
#: Ways not to pay for the pages of every step's activations again; the engine of grids sets large ones by itself.
SMALL = {TUNABLES: "glibc.malloc.hugetlb=0"}
ALLOCATORS = {
    "large pages": {TUNABLES: "glibc.malloc.hugetlb=1"},
    "memory never given back": {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)},
    "torch's own large pages": {"THP_MEM_ALLOC_ENABLE": "1"},
}


def loop(data: str, precision: str, memory_format: torch.memory_format, compiled: bool = False) -> Work:
    """An epoch of the bare loop."""
    images = random_images(IMAGES, SHAPES[data])
    model: nn.Module = network(images).to(memory_format=memory_format)  # type: ignore[call-overload]
    if compiled:
        model = torch.compile(model)  # type: ignore[assignment]
    return bare_loop(model, images, CPU, precision, memory_format)


def steps(pairs: int) -> Iterator[TimePairs]:
    """Each step against the loop without it."""
    last, first = torch.channels_last, torch.contiguous_format

    def compared(name: str, with_it: Work, without: Work) -> TimePairs:
        return compare(name, with_it, without, None, PER, "us/image", pairs)

    for precision in PRECISIONS:
        name = f"channels_last against contiguous, {precision}, CIFAR-10"
        yield compared(name, loop("CIFAR-10", precision, last), loop("CIFAR-10", precision, first))
    for data in SHAPES:
        name = f"bfloat16 with channels_last against float32 and contiguous, {data}"
        yield compared(name, loop(data, "bfloat16", last), loop(data, "float32", first))
    for precision, data in (("float32", "CIFAR-10"), ("bfloat16", "CIFAR-10"), ("bfloat16", "MNIST")):
        compiled, begin = loop(data, precision, last, compiled=True), time.process_time()
        compiled()
        took = f"{time.process_time() - begin:.0f} s for the first epoch"
        name = f"torch.compile against eager, {precision}, {data} ({took})"
        yield compared(name, compiled, loop(data, precision, last))


def stacks(pairs: int) -> Iterator[TimePairs]:
    """An update of four trainings with stacked weights against four updates of the loop."""
    for precision in PRECISIONS:
        one = stacked(SHAPES["CIFAR-10"], 4, "cpu", DTYPES[precision], updates=1)
        four = loop("CIFAR-10", precision, torch.channels_last)
        for work in (one, four):
            work()
        name = f"four trainings stacked against one after the other, {precision}, CIFAR-10"
        yield compare(name, one, four, None, PER, "us/image", pairs)


def child(arguments: list[str], settings: dict[str, str]) -> float:
    """What this script prints in a process with such an environment."""
    command = [sys.executable, "-W", "ignore", __file__, *arguments]
    done = subprocess.run(command, env=os.environ | SMALL | settings, stdout=subprocess.PIPE, check=True)
    return float(done.stdout)


def allocated(name: str, allocator: str, arguments: list[str], pairs: int) -> TimePairs:
    """With an allocator's settings against glibc's own, in turns."""
    sides = []
    for n in range(pairs):
        order = (True, False) if n % 2 else (False, True)
        found = {changed: child(arguments, ALLOCATORS[allocator] if changed else {}) for changed in order}
        sides.append((found[True], found[False]))
    return measured(f"{allocator} against glibc as it is, {name}", sides, None, "us/image")


def allocators(pairs: int) -> Iterator[TimePairs]:
    """Of the loop alone."""
    for precision in PRECISIONS:
        for allocator in ALLOCATORS:
            yield allocated(f"bare loop, {precision}", allocator, ["--alone", "CIFAR-10", precision], pairs)


def grids(pairs: int) -> Iterator[TimePairs]:
    """Large pages of a grid's workers."""
    for precision in PRECISIONS:
        yield allocated(f"a grid of two workers, {precision}", "large pages", ["--grid", precision], pairs)


PARTS = {"steps": steps, "stacks": stacks, "allocators": allocators, "grids": grids}


def alone(data: str, precision: str) -> float:
    """Microseconds an image of the bare loop, the median of five epochs after the first."""
    work, times = loop(data, precision, torch.channels_last), []
    for _ in range(6):
        begin = time.process_time()
        work()
        times.append((time.process_time() - begin) / PER)
    return median(times[1:])


def grid(precision: str) -> float:
    """Microseconds of processor time an image of two workers with a run each, from their start to their results."""
    data, epochs = source(100), 12
    spec = RunSpec("random", "ros", minority=("0",), epochs=epochs, lr=1e-4, precision=precision)
    with tempfile.TemporaryDirectory() as name:
        jobs = [Job(f"run {k}", "data", replace(spec, seed=k), Path(name, "grid")) for k in range(2)]
        run_all(LocalEngine({"data": data}, Path(name, "images"), ["cpu", "cpu"]), jobs)
    server = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    of_children = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()[13:15]  # what it has waited for
    return sum(map(int, of_children)) / os.sysconf("SC_CLK_TCK") / (len(jobs) * epochs * len(data.train)) * 1e6


def profile(precision: str) -> None:
    """Where the time of an epoch goes, by torch's own operations."""
    work = loop("CIFAR-10", precision, torch.channels_last)
    work()
    with torch.profiler.profile() as found:
        work()
    print(
        f"\n{precision}\n"
        + found.key_averages().table(sort_by="self_cpu_time_total", row_limit=14, max_name_column_width=40)
    )


def main() -> None:
    parser = arguments(str(__doc__).splitlines()[0], pairs=5)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[*PARTS], help="what to measure (default: all)")
    parser.add_argument("--profile", action="store_true", help="print the profile of a step instead")
    parser.add_argument("--alone", nargs=2, help="a bare loop in this process")
    parser.add_argument("--grid", help="a grid in this process")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    if options.alone or options.grid:
        print(alone(*options.alone) if options.alone else grid(options.grid))
        return
    if options.profile:
        for precision in PRECISIONS:
            profile(precision)
        return
    rows, measurements = [], chain.from_iterable(PARTS[part](options.pairs) for part in options.parts)
    for row in tqdm(measurements, unit="step"):
        tqdm.write(f"{row.name}: {row.ratio:.3f}", file=sys.stderr)
        rows.append(row)
    report(rows, options.json)


if __name__ == "__main__":
    main()
