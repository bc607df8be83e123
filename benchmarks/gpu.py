"""Training on one GPU, step by step: each way of making it faster against the one before, and the floors of the hardware.

Random images of CIFAR-10's and MNIST's shapes, the paper's network and batches. ``--parts`` chooses what is measured:

steps       images on the GPU, then bfloat16, channels_last, fused Adam, underdog's eager updates, updates captured as a CUDA
            graph; an epoch that records an update anew
compiled    torch.compile, which needs a C compiler
evaluate    5,000 images in large batches against batches of 512
refresh     the signs of 800 images in large chunks against chunks of 64
interleave  k runs at once on one GPU: as k streams of one process, with stacked weights, and as k processes
grid        a data set's part of ``underdog grid paper``, eps given, ``--workers`` runs at once; scaled to all runs by their images

Whether the fast path is the same training is measured by ``seeds.py precision``.
"""

from __future__ import annotations

import copy
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch
from measure import TimePairs, Work, arguments, compare, random_images, report
from stacked import stacked
from torch import nn
from torch.nn import functional

import underdog.resample.perturb
import underdog.train
from grid import SHAPES, run_all
from underdog import (
    FGSM,
    Epoch,
    Hyperparameters,
    Method,
    Moment,
    PaperNet,
    Perturb,
    RandomStreams,
    Split,
    evaluate,
    normalized,
)
from underdog.bench.timing import seconds
from underdog.captured import CapturedLearner
from underdog.data.images import to_device, to_unit
from underdog.data.pixels import Pixels
from underdog.data.sources import Source
from underdog.run.engine import Job
from underdog.run.estimate import Estimate
from underdog.run.grid import entries
from underdog.run.grid_file import read_grid
from underdog.run.local import LocalEngine
from underdog.train import Training

BATCH, UPDATES = 128, 60
RECORDING = "an epoch that records an update, against one that only replays"
PARTS = ("steps", "compiled", "evaluate", "refresh", "interleave", "grid")


@dataclass(frozen=True)
class Data:
    """A data set's image shape, what an image costs a training step in FLOP, and the bytes that it moves at least."""

    shape: tuple[int, int, int]
    flop: float

    @property
    def fused(self) -> float:
        """With the best fusion: 1.4 MB for 32x32 pixels."""
        return 1.4e6 * self.shape[1] * self.shape[2] / 32**2

    @property
    def unfused(self) -> float:
        return 3.4e6 * self.shape[1] * self.shape[2] / 32**2


DATA = {
    "cifar10": Data((3, 32, 32), 115.7e6),
    "mnist": Data((1, 28, 28), 83.8e6),
    "intel": Data((3, 150, 150), 3044.2e6),
}


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def waiting(work: Work, device: str) -> Work:
    """Work, until the device has done it."""

    def whole() -> None:
        work()
        wait(device)

    return whole


def peaks(device: str, side: int = 8192) -> tuple[float, float]:
    """FLOP/s of a bfloat16 matrix product, and bytes/s of a copy, which reads and writes."""
    a = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    b = torch.empty_like(a)

    def best(work: Work) -> float:
        return min(seconds(waiting(work, device), time.perf_counter) for _ in range(10))

    return 2 * side**3 / best(lambda: torch.mm(a, a, out=b)), 2 * 20 * a.nbytes / best(
        lambda: [b.copy_(a) for _ in range(20)]
    )


def network(shape: tuple[int, int, int], images: Pixels) -> nn.Module:
    torch.manual_seed(0)
    return normalized(PaperNet(shape[0], 10, shape[1:]), images)


def training(data: Data, device: str, method: Method | None = None, **options: Any) -> Training:
    """Of ``UPDATES`` whole batches and one of half the size an epoch."""
    train, val = random_images([BATCH * UPDATES // 10 + 6] * 10, data.shape), random_images([1] * 10, data.shape)
    hyper = Hyperparameters(epochs=10**6, lr=1e-4, batch=BATCH)
    return Training(
        network(data.shape, train.images), method or Method(), Split(train, val), hyper, device=device, **options
    )


def updates(training: Training) -> Work:
    """An epoch's updates, without its evaluation."""
    t = iter(range(10**9))

    def epoch() -> None:
        for _ in training._updates(next(t)):
            pass
        training.learner.flush()

    return epoch


def bare(
    data: Data,
    device: str,
    precision: torch.dtype,
    channels_last: bool,
    fused: bool,
    resident: bool = True,
    compiled: bool = False,
) -> Work:
    """The same updates in plain PyTorch; images that are not resident are float32 on the host, which sends each batch."""
    like, on = training(data, device, capture=False), torch.device(device)
    kind = torch.channels_last if channels_last else torch.contiguous_format
    model = copy.deepcopy(like.learner.model).to(memory_format=kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=fused or None)
    where = on if resident else torch.device("cpu")
    images, labels = like.first.images[:].to(where), torch.from_numpy(like.first.labels).to(where)
    images = images if resident else to_unit(images)
    stream, t = RandomStreams(0), iter(range(10**9))
    network = torch.compile(model) if compiled else model

    def epoch() -> None:
        order = torch.from_numpy(stream("shuffle", next(t)).permutation(len(images))).to(where)
        for rows in torch.split(order, BATCH):
            x, y = to_device(images[rows], on), to_device(labels[rows], on)
            x = (x.to(torch.float32).div_(255) if resident else x).contiguous(memory_format=kind)
            with torch.autocast(device, precision, enabled=precision != torch.float32):
                logits = network(x)
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(logits.float(), y).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        wait(device)

    return epoch


def steps(name: str, device: str, pairs: int) -> list[TimePairs]:
    """Each step against the one before."""
    data, bf16 = DATA[name], torch.bfloat16
    ways: list[tuple[str, Callable[[], Work]]] = [
        ("images sent from the host", lambda: bare(data, device, torch.float32, False, False, resident=False)),
        ("images on the GPU", lambda: bare(data, device, torch.float32, False, False)),
        ("bfloat16", lambda: bare(data, device, bf16, False, False)),
        ("channels_last", lambda: bare(data, device, bf16, True, False)),
        ("fused Adam", lambda: bare(data, device, bf16, True, True)),
        ("underdog, eager", lambda: updates(training(data, device, precision="bfloat16", capture=False))),
        ("underdog, captured", lambda: updates(training(data, device, precision="bfloat16"))),
    ]
    rows = []
    for (before, slow), (after, fast) in pairwise(ways):
        rows.append(against(f"{name}: {after}, against {before}", fast(), slow(), BATCH * UPDATES + 60, pairs))
    captured = updates(training(data, device))
    eager = updates(training(data, device, capture=False))
    rows.append(against(f"{name}: float32 captured, against eager", captured, eager, BATCH * UPDATES + 60, pairs))
    return [*rows, recording(name, device, pairs)]


def compiled(name: str, device: str, pairs: int) -> list[TimePairs]:
    """torch.compile, which on a GPU needs a C compiler."""
    plain, fast = (bare(DATA[name], device, torch.bfloat16, True, True, compiled=each) for each in (False, True))
    return [against(f"{name}: compiled kernels, against fused Adam", fast, plain, BATCH * UPDATES + 60, pairs)]


def recording(name: str, device: str, pairs: int) -> TimePairs:
    """An epoch whose second update is recorded anew, in milliseconds."""
    own = training(DATA[name], device, precision="bfloat16")
    epoch, learner = updates(own), own.learner
    assert isinstance(learner, CapturedLearner)

    def anew() -> None:
        learner._recording = None
        epoch()

    for work in (anew, epoch):
        work()
    return compare(f"{name}: {RECORDING}", anew, epoch, per=1e-3, unit="ms", pairs=pairs, clock=time.perf_counter)


def against(name: str, ours: Work, floor: Work, images: int, pairs: int) -> TimePairs:
    for work in (ours, ours, floor, floor):  # captures, and choices of kernels
        work()
    return compare(
        name, ours, floor, target=1, per=images * 1e-6, unit="us/image", pairs=pairs, clock=time.perf_counter
    )


@contextmanager
def setting(module: Any, name: str, value: object) -> Iterator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


def evaluation(name: str, device: str, pairs: int, images: int = 5000) -> list[TimePairs]:
    data = DATA[name]
    learner, part = training(data, device, precision="bfloat16").learner, random_images([images // 10] * 10, data.shape)
    part = replace(part, images=part.images.to(device))

    def small() -> None:
        with setting(underdog.train, "EVALUATION_VALUES", 512 * data.shape[0] * data.shape[1] * data.shape[2]):
            evaluate(learner, part)

    return [against(f"{name}: evaluation in large batches", lambda: evaluate(learner, part), small, images, pairs)]


def refresh(name: str, device: str, pairs: int) -> list[TimePairs]:
    rare = random_images([5000] * 2 + [100] * 8, DATA[name].shape)
    learner = training(DATA[name], device, precision="bfloat16").learner
    epoch, rng, perturb, t = Epoch.of(rare, device), RandomStreams(0), Perturb(FGSM(), 8 / 255, 1), iter(range(10**9))

    def large() -> None:
        perturb.refresh(epoch, Moment(next(t), None, rng, learner))
        wait(device)

    def small() -> None:
        with setting(underdog.resample.perturb, "GPU_VALUES", 0):
            large()

    return [against(f"{name}: refresh in large chunks", large, small, 800, pairs)]


def together(name: str, device: str, k: int, epochs: int) -> float:
    """Images a second of k trainings, whose updates take turns on streams of their own, in this process."""
    trainings = [training(DATA[name], device, precision="bfloat16") for _ in range(k)]
    streams = [torch.cuda.Stream() for _ in trainings] if device == "cuda" else [None] * k  # type: ignore[no-untyped-call]
    wait(device)

    def epoch(t: int) -> None:
        for _ in zip(*map(on_stream, trainings, [t] * k, streams), strict=True):
            pass
        wait(device)

    epoch(0)
    begin = time.perf_counter()
    for t in range(1, 1 + epochs):
        epoch(t)
    return k * epochs * len(trainings[0].epoch) / (time.perf_counter() - begin)


def as_one(name: str, device: str, k: int, epochs: int) -> float:
    """Images a second of k trainings with their weights stacked."""
    epoch = waiting(stacked(DATA[name].shape, k, device, torch.bfloat16, UPDATES), device)
    epoch()
    return k * BATCH * UPDATES * epochs / sum(seconds(epoch, time.perf_counter) for _ in range(epochs))


def on_stream(training: Training, t: int, stream: Any) -> Iterator[None]:
    """The updates of epoch t, all on a stream: the order of the images too, which other streams would not wait for."""
    with torch.cuda.stream(stream):
        work = training._updates(t)
    while True:
        with torch.cuda.stream(stream):
            if next(work, work) is work:
                return
        yield


def begin_together(barrier: Any) -> None:
    """Let this process of a pool know the barrier at which all of them meet."""
    globals()["BARRIER"] = barrier


def one_of(name: str, device: str, epochs: int) -> tuple[float, float, float, int]:
    """A process of several: seconds until it was ready, when it began and ended, and the images it has shown."""
    begin = time.time()
    own = training(DATA[name], device, precision="bfloat16")
    epoch = updates(own)
    epoch()
    ready = time.time()
    globals()["BARRIER"].wait()
    start = time.time()
    for _ in range(epochs):
        epoch()
    return ready - begin, start, time.time(), epochs * len(own.epoch)


def apart(name: str, device: str, k: int, epochs: int) -> tuple[float, float]:
    """Images a second of k trainings in processes of their own, and the seconds until one of them is ready."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(k, context, begin_together, (context.Barrier(k),)) as pool:
        found = [pool.submit(one_of, name, device, epochs) for _ in range(k)]
        ready, starts, ends, images = zip(*(each.result() for each in found), strict=True)
    return sum(images) / (max(ends) - min(starts)), median(ready)


def interleave(name: str, device: str, counts: Sequence[int], epochs: int) -> list[dict[str, object]]:
    found = []
    for k in counts:
        rate, ready = apart(name, device, k, epochs)
        streams, one = together(name, device, k, epochs), as_one(name, device, k, epochs)
        found.append({"data": name, "runs": k, "streams": streams, "stacked": one, "processes": rate, "ready_s": ready})
        print(
            f"{name}: {k} runs: {streams:,.0f} images/s by streams, {one:,.0f} stacked, {rate:,.0f} by processes, "
            f"ready in {ready:.1f} s"
        )
    return found


def whole_grid(
    name: str, device: str, workers: int, precision: str, methods: Sequence[str] | None, runs: int | None
) -> dict[str, object]:
    """Seconds for the paper's runs of a data set, results on disk, or for some of them, and scaled to all by their images.

    Some are those of the first seeds, each mu and method once before any twice.
    """
    train, test, shape = SHAPES[name]
    source = Source(name, random_images(train, shape), None, random_images(test, shape))
    grid = read_grid("paper")
    data = {each.name: source.fingerprint if each.name == name else each.name for each in grid.datasets}
    specs = [e.spec for e in entries(grid, data) if e.dataset == name]
    specs = [
        replace(s.with_values({"eps": 8 / 255}) if s.expression.missing else s, precision=precision) for s in specs
    ]
    some = sorted((s for s in specs if not methods or s.expression.name in methods), key=lambda s: s.seed)[:runs]
    images = Estimate({source.fingerprint: source}, device).images
    with tempfile.TemporaryDirectory() as folder:
        jobs = [Job(f"run {n}", name, spec, Path(folder)) for n, spec in enumerate(some)]
        total, _ = run_all(LocalEngine({name: source}, Path(folder, "images"), [device] * workers), jobs)
    about: dict[str, object] = {"data": name, "precision": precision, "workers": workers}
    about |= {"methods": sorted({s.expression.name for s in some}), "runs": len(some), "of": len(specs)}
    scaled = total * sum(map(images, specs)) / sum(map(images, some))
    print(f"grid: {about}, {total:.1f} s, {scaled:.1f} s for all")
    return about | {"seconds": total, "scaled_seconds": scaled}


def floors(rows: Sequence[TimePairs], device: str) -> dict[str, object]:
    """What part of the time of each captured row the arithmetic and the memory floors are."""
    flop, moved = peaks(device)
    print(f"\nmeasured peaks: {flop / 1e12:.0f} TFLOP/s in bfloat16, {moved / 1e12:.2f} TB/s")
    for row in rows:
        data = DATA[row.name.partition(":")[0]]
        parts = [data.flop / flop, data.fused / moved, data.unfused / moved]
        arithmetic, fused, unfused = (1e6 * part / row.underdog for part in parts)
        print(
            f"{row.name}: arithmetic {arithmetic:.1%}, memory {fused:.1%} (fused) to {unfused:.1%} (unfused) of the time"
        )
    return {"flop_per_s": flop, "bytes_per_s": moved}


def main() -> None:
    parser = arguments(str(__doc__), pairs=9)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="what to measure (default: all)")
    parser.add_argument(
        "--data",
        nargs="+",
        choices=tuple(DATA),
        default=["cifar10", "mnist"],
        help="whose shapes (default: cifar10 mnist)",
    )
    parser.add_argument(
        "--runs", type=int, nargs="+", default=[1, 2, 4, 8], metavar="K", help="at once (default: 1 2 4 8)"
    )
    parser.add_argument("--workers", type=int, default=4, help="runs of the grid at once (default: %(default)s)")
    parser.add_argument("--precision", default="bfloat16", help="of the grid (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", metavar="M", help="of the grid, such as aos (default: all)")
    parser.add_argument("--grid-runs", type=int, metavar="N", help="some of the grid's runs, and scale (default: all)")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py measures training on an NVIDIA GPU, and torch finds none here")
    device, more = "cuda", dict[str, object]()
    print(torch.cuda.get_device_name(), end="\n\n")
    rows: list[TimePairs] = []
    measured = {"steps": steps, "compiled": compiled, "evaluate": evaluation, "refresh": refresh}
    for part in [p for p in options.parts if p in measured]:
        for name in options.data:
            found = measured[part](name, device, options.pairs)
            print(*(f"{row.name}: {row.ratio:.3f}" for row in found), sep="\n")
            rows += found
    for part, name in [(p, n) for p in options.parts for n in options.data]:
        if part == "interleave":
            more[f"interleave {name}"] = interleave(name, device, options.runs, epochs=20)
        elif part == "grid":
            more[f"grid {name}"] = whole_grid(
                name, device, options.workers, options.precision, options.methods, options.grid_runs
            )
    more["gpu"] = torch.cuda.get_device_name()
    more |= floors([r for r in rows if not any(n in r.name for n in ("evaluation", "refresh", RECORDING))], device)
    report(rows, options.json, more)


if __name__ == "__main__":
    main()
