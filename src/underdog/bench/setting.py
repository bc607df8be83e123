"""On what, how often and how much is measured; random images; the machine in words."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch
from torch import nn

from underdog import __version__
from underdog.bench.timing import Clock, TimePairs, Work, clock_of, compare
from underdog.data.images import ImageSet
from underdog.model.normalize import normalized
from underdog.model.paper import PaperNet

__all__ = [
    "BATCH",
    "CPU",
    "EPS",
    "GPU",
    "LR",
    "RHO",
    "SHAPES",
    "TAU",
    "BenchSetting",
    "BenchSizes",
    "environment",
    "imbalanced",
    "installed",
    "network",
    "random_images",
    "sizes_for",
]

#: (C, H, W) of the paper's smaller data sets.
SHAPES = {"CIFAR-10": (3, 32, 32), "MNIST": (1, 28, 28)}
BATCH, RHO, EPS, TAU, LR = 128, 50, 8 / 255, 0.4, 1e-4


@dataclass(frozen=True)
class BenchSizes:
    """How much work one side of a pair is.

    Args:
        batches: of an epoch of training.
        rare: images of a minority class in epochs of AOS and ROS. From 8 on, the 64 gradients that a refresh takes at
            least are as many for each example shown as at CIFAR-10's full size, which has 100.
        balanced: images of a minority class in the set that is balanced without training.
        matrices: sides of the square matrices whose product shows the machine's highest rate.
    """

    batches: int
    rare: int
    balanced: int
    matrices: tuple[int, ...]


CPU = BenchSizes(batches=4, rare=8, balanced=100, matrices=(1024, 2048))
GPU = BenchSizes(batches=390, rare=100, balanced=100, matrices=(4096, 8192, 16384))


def sizes_for(device: torch.device) -> BenchSizes:
    """Work that takes a device long enough to be measured, and no longer than people wait."""
    return GPU if device.type == "cuda" else CPU


@dataclass(frozen=True)
class BenchSetting:
    """Where, how often and how much: what all measurements of a run have in common.

    Args:
        device: where the network is.
        threads: of this process.
        pairs: interleaved repetitions.
        sizes: how much work.
    """

    device: torch.device
    threads: int
    pairs: int
    sizes: BenchSizes

    @property
    def clock(self) -> Clock:
        return clock_of(self.device, self.threads)

    def compare(
        self,
        name: str,
        underdog: Work,
        other: Work,
        target: float,
        per: float = 1.0,
        unit: str = "s",
        times: int = 1,
    ) -> TimePairs:
        """``timing.compare`` by this setting's clock, with ``times`` as many pairs where one takes little."""
        return compare(name, underdog, other, target, per, unit, times * self.pairs, self.clock)


def random_images(counts: Sequence[int], shape: tuple[int, int, int]) -> ImageSet:
    """Random bytes: neither a gradient nor a neighbour takes longer for real pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, size=(sum(counts), *shape), dtype=np.uint8)
    labels = np.repeat(np.arange(len(counts)), counts)
    names = tuple(str(k) for k in range(len(counts)))
    return ImageSet(torch.from_numpy(pixels), torch.from_numpy(labels), names)


def imbalanced(rare: int, shape: tuple[int, int, int]) -> ImageSet:
    """Two majority classes, and eight minority classes of ``rare`` images: the paper's CIFAR-10 (mu 0.8), if rare is 100."""
    return random_images([RHO * rare] * 2 + [rare] * 8, shape)


def network(images: ImageSet) -> nn.Module:
    """Table 1's network for images of ten classes."""
    torch.manual_seed(0)
    channels, height, width = images.shape
    return normalized(PaperNet(channels, len(images.classes), (height, width)), images.images)


def installed(distribution: str) -> str:
    """The version of a distribution, "missing" where there is none.

    >>> installed("no-such-thing")
    'missing'
    """
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "missing"


@cache
def environment(device: str = "cpu") -> dict[str, str | int | float]:
    """Hardware, versions and load at the first call, without names of machines or people."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    about = dict(line.replace("\t", "").split(":", 1) for line in lines if ":" in line)
    model = about.get("model name", platform.machine()).strip()
    family = f" (family {about['cpu family'].strip()}, model {about['model'].strip()})" if "cpu family" in about else ""
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {}
    return {
        "cpu": model + family,
        "cores": os.cpu_count() or 0,
        **gpu,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else 0.0,
        "threads": torch.get_num_threads(),
        "cpu capability": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "underdog": __version__,
        "commit": _commit(),
    }


def _commit() -> str:
    """The commit of the checkout that underdog runs from, "unknown" where it is installed or git is not there."""
    here = Path(__file__)

    def git(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], cwd=here.parent, capture_output=True, text=True, check=False)
        except OSError:
            return None
        return None if done.returncode else done.stdout.strip()

    # A package that is installed below somebody's checkout is none of its files.
    ours = git("ls-files", "--error-unmatch", here.name)
    return (ours and git("describe", "--always", "--dirty")) or "unknown"
