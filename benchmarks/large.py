"""Training on 100,000 images of 128x128 pixels (4.9 GB decoded) where processes may take 2 GB of memory.

A folder of JPEGs (1,000 pictures, each under 100 names) is trained on by ``underdog train`` under an ``RLIMIT_DATA`` of 2 GB:
decoded into a new cache, then an epoch of AOS, with a small network, since its memory is no matter of the data's. The peak is
what ``VmHWM`` says, summed over the command's processes. The same images are then loaded whole under the same limit, which has
to fail. Last, an epoch on images that fit, from disk against from memory: wall time, in interleaved pairs. Linux only.

``--images`` makes it smaller; ``--folder`` is where pictures, cache and runs are put, and is removed afterwards.
"""

from __future__ import annotations

import copy
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measure import Comparison, arguments, compare, environment, random_images, report
from PIL import Image
from torch import nn

from underdog import Hyperparameters, ImageSet, Method, PaperNet, Split, normalized
from underdog.data.pixels import PixelFile
from underdog.train import Training

SIZE, PICTURES, LIMIT, GB = 128, 1000, 2 * 10**9, 1e9
#: Share of the images in each class.
CLASSES = {"a": 0.4, "b": 0.4, "c": 0.1, "d": 0.1}
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


def peak(command: list[str]) -> tuple[int, float, float]:
    """Exit code, seconds, and the bytes at the peak of a command and all processes that it starts, under the limit."""
    begin, peaks = time.perf_counter(), dict[int, int]()
    here = str(Path(__file__).parent)
    paths = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(command, preexec_fn=limited, env=os.environ | {"PYTHONPATH": paths})  # noqa: PLW1509
    while process.poll() is None:
        for pid in descendants(process.pid):
            peaks[pid] = max(peaks.get(pid, 0), high_water(pid))
        time.sleep(0.2)
    return process.returncode, time.perf_counter() - begin, sum(peaks.values())


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
    """A command on more images than it may hold, and the same images loaded whole."""
    pictures, cache = make_pictures(folder / "pictures", images), folder / "cache"
    command = [sys.executable, "-m", "underdog", "train", pictures, "--cache", cache, "--out", folder / "runs"]
    command += ["--model", "large:network", "--method", "aos", "--eps", "0.03", "--epochs", "1"]
    code, seconds, most = peak(list(map(str, command)))
    assert code == 0, "training failed"
    whole, _, _ = peak([sys.executable, "-c", WHOLE, str(pictures), str(cache)])
    assert whole != 0, "the images fit into memory as a whole"
    (result,) = (folder / "runs").glob("*/result.json")
    told = json.loads(result.read_text())
    phases = told["seconds"]
    return {"peak": most, "seconds": seconds, "images_seen": told["images_seen"], **phases}


def from_disk(images: ImageSet, folder: Path) -> ImageSet:
    """The same images, in a file."""
    np.save(folder / "pixels.npy", images.images[:].numpy())
    return replace(images, images=PixelFile.open(folder / "pixels.npy"))


def against_memory(
    name: str, shape: tuple[int, int, int], images: int, folder: Path, pairs: int, paper: bool
) -> Comparison:
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
    report(rows, None)
    size = f"{args.images:,} images of {SIZE}x{SIZE} ({args.images * 3 * SIZE**2 / GB:.2f} GB)"
    print(f"\n{size}, RLIMIT_DATA {LIMIT / GB:.1f} GB: peak {found['peak'] / GB:.3f} GB")
    print(", ".join(f"{k} {v:,.1f}" for k, v in found.items()))
    if args.json:
        rates = [vars(r) for r in rows]
        args.json.write_text(json.dumps({"environment": environment(), "rows": rates, "large": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
