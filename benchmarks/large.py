"""Training on 100,000 images of 128x128 pixels (4.9 GB decoded) where processes may take 2 GB of memory.

A folder of JPEGs (1,000 pictures, each under 100 names) is trained on by ``underdog train`` under an ``RLIMIT_DATA`` of 2 GB:
decoded into a new cache, then an epoch of AOS, with a small network, since its memory is no matter of the data's. The peak is
what ``VmHWM`` says, summed over the command's processes; a peak of 2 GB or more is an error. The same images are then loaded
whole under the same limit, which has to fail, and for lack of memory. Before that, an epoch on images that fit, from disk
against from memory: wall time, in interleaved pairs. Linux only.

``--images`` makes it smaller (below 40,691 nothing is loaded whole, since that would fit); ``--folder`` is where a folder for
pictures, cache and runs is made, which is removed afterwards.
"""

from __future__ import annotations

import copy
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from measure import TimePairs, arguments, compare, environment, random_images, report
from PIL import Image
from torch import nn

from underdog import Hyperparameters, ImageSet, Method, PaperNet, Split, normalized
from underdog.data.pixels import PixelFile
from underdog.train import Training

SIZE, PICTURES, LIMIT, GB = 128, 1000, 2 * 10**9, 1e9
#: Share of the images in each class.
CLASSES = {"a": 0.4, "b": 0.4, "c": 0.1, "d": 0.1}
#: What the last words of a process say that was refused memory.
REFUSED = re.compile("MemoryError|[Cc]an(no|')t allocate memory")
WHOLE = "import sys, underdog; from pathlib import Path; underdog.load_images(sys.argv[1], cache=Path(sys.argv[2]), memory=10**15)"


def network(channels: int, classes: int, size: tuple[int, int]) -> nn.Module:
    """A network that looks at every pixel, and costs little."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 8, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, classes)
    )


def make_pictures(folder: Path, images: int) -> Path:
    """So many JPEGs in class folders; those beyond the first of a class's pictures are other names of the same files."""
    draw = np.random.default_rng(0)
    for name, share in CLASSES.items():
        (folder / name).mkdir(parents=True)
        own = max(1, round(share * PICTURES))
        for n in range(round(share * images)):
            path = folder / name / f"{n:06}.jpg"
            if n < own:
                coarse = Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8))
                coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path, quality=90)
            else:
                os.link(folder / name / f"{n % own:06}.jpg", path)
    return folder


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (LIMIT, LIMIT))


@dataclass(frozen=True)
class Finished:
    """How a command ended: its exit code, what it wrote to stderr, seconds, and bytes at the peak of all its processes."""

    code: int
    stderr: str
    seconds: float
    peak: int


def under_limit(command: list[str | Path]) -> Finished:
    """Run a command, and all processes that it starts, each under the limit."""
    begin, peaks = time.perf_counter(), dict[int, int]()
    here = str(Path(__file__).parent)
    paths = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    with tempfile.TemporaryFile("w+") as stderr:
        env = os.environ | {"PYTHONPATH": paths}
        process = subprocess.Popen(command, preexec_fn=limited, env=env, stderr=stderr)  # noqa: PLW1509
        while process.poll() is None:
            for pid in descendants(process.pid):
                peaks[pid] = max(peaks.get(pid, 0), high_water(pid))
            time.sleep(0.1)
        stderr.seek(0)
        return Finished(process.returncode, stderr.read(), time.perf_counter() - begin, sum(peaks.values()))


def descendants(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        below = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return []
    return [pid, *(one for child in below for one in descendants(child))]


def high_water(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def beyond_memory(folder: Path, images: int) -> dict[str, float]:
    """A command on more images than it may hold.

    Raises:
        SystemExit: it failed, or took as much memory as the limit.
    """
    pictures, cache = make_pictures(folder / "pictures", images), folder / "cache"
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "underdog",
        "train",
        pictures,
        "--cache",
        cache,
        "--out",
        folder / "runs",
    ]
    command += ["--model", "large:network", "--method", "aos", "--eps", "0.03", "--epochs", "1"]
    done = under_limit(command)
    if done.code:
        sys.exit(f"training failed at {done.peak / GB:.3f} GB: {done.stderr}")
    if done.peak >= LIMIT:
        sys.exit(f"training took {done.peak / GB:.3f} GB, not less than {LIMIT / GB:.1f} GB")
    (result,) = (folder / "runs").glob("*/result.json")
    told = json.loads(result.read_text())
    return {"peak": done.peak, "seconds": done.seconds, "images_seen": told["images_seen"], **told["seconds"]}


def as_a_whole(folder: Path, images: int) -> str:
    """What becomes of loading the same images into memory, in a sentence.

    Raises:
        SystemExit: they fit, or something else than memory was wanting.
    """
    if images * 3 * SIZE**2 < LIMIT:
        return "these images would fit as a whole, so that it was not tried: the figures show nothing about larger sets"
    done = under_limit([sys.executable, "-c", WHOLE, folder / "pictures", folder / "cache"])
    if not done.code:
        sys.exit("the images fit into memory as a whole")
    if not REFUSED.search(done.stderr):
        sys.exit(f"loading the images as a whole failed, but not for lack of memory: {done.stderr}")
    return f"loading them as a whole fails: {done.stderr.strip().splitlines()[-1].replace(str(folder), 'FOLDER')}"


def from_disk(images: ImageSet, folder: Path) -> ImageSet:
    """The same images, in a file."""
    np.save(folder / "pixels.npy", images.images[:].numpy())
    return replace(images, images=PixelFile.open(folder / "pixels.npy"))


def against_memory(
    name: str, shape: tuple[int, int, int], images: int, folder: Path, pairs: int, paper: bool
) -> TimePairs:
    """An epoch of ``Training.advance`` whose images are on disk (and in the system's file cache), or in memory."""
    train, val = random_images([images // 4] * 4, shape), random_images([8] * 4, shape)
    torch.manual_seed(0)
    body = PaperNet(shape[0], 4, shape[1:]) if paper else network(shape[0], 4, shape[1:])
    model, hyper = normalized(body, train.images), Hyperparameters(epochs=10**6, lr=1e-4)
    disk, memory = (
        Training(copy.deepcopy(model), Method(), Split(own, val, None), hyper)
        for own in (from_disk(train, folder), train)
    )
    per, clock = images * 1e-6, time.perf_counter
    return compare(name, disk.advance, memory.advance, 1.05, per, "us/image", pairs, clock)


def main() -> None:
    parser = arguments(str(__doc__), pairs=11)
    parser.add_argument("--images", type=int, default=100_000, help="of the large set (default: %(default)s)")
    parser.add_argument(
        "--folder", type=Path, help="on a disk with room for twice the images (default: a temporary one)"
    )
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as name:
        folder = Path(name)
        rows = [
            against_memory("PaperNet, 3x32x32, from disk against memory", (3, 32, 32), 1280, folder, args.pairs, True),
            against_memory("small network, 3x128x128", (3, 128, 128), 1280, folder, args.pairs, False),
        ]
        found = beyond_memory(folder, args.images)
        whole = as_a_whole(folder, args.images)
    report(rows, None)
    size = f"{args.images:,} images of {SIZE}x{SIZE} ({args.images * 3 * SIZE**2 / GB:.2f} GB)"
    print(f"\n{size}, RLIMIT_DATA {LIMIT / GB:.1f} GB: peak {found['peak'] / GB:.3f} GB")
    print(", ".join(f"{k} {v:,.1f}" for k, v in found.items()))
    print(whole)
    if args.json:
        told = {"environment": environment(), "rows": [vars(r) for r in rows], "large": found, "whole": whole}
        args.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
