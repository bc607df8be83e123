"""The memory that a piece of work takes, each in a process of its own.

``python -m underdog.bench.memory CASE RARE DEVICE`` prints what one takes.
"""

from __future__ import annotations

import gc
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from underdog.bench.peers import Missing, balanced_by_imblearn, balanced_by_underdog, missing
from underdog.bench.setting import CPU, EPS, RHO, SHAPES, TAU, BenchSetting, imbalanced, installed, network
from underdog.bench.timing import TimePairs, measured
from underdog.bench.training import bare_loop, training_of
from underdog.data.images import ImageSet
from underdog.data.memory import field
from underdog.resample.aos import aos
from underdog.resample.random import RandomOverSampler
from underdog.resample.smote import SMOTE

__all__ = ["CASES", "alone", "memory", "reset_peak", "resident"]

SHAPE, MB = SHAPES["CIFAR-10"], 1e6
#: Images of a minority class in what is done first, so that libraries are loaded: more than SMOTE's neighbours.
WARM = 6
#: Processes for each case; their peaks agree within a percent.
PROCESSES = 2


def _trained(images: ImageSet, device: torch.device) -> object:
    training = training_of(images, BenchSetting(device, 1, 1, CPU))
    training.advance()
    return training


def _trained_barely(images: ImageSet, device: torch.device) -> object:
    model = network(images).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    bare_loop(model, images, device)()
    return model


#: What is measured, by name, given the images; what is left at the end.
CASES: dict[str, Callable[[ImageSet, torch.device], object]] = {
    "ROS": lambda images, _: balanced_by_underdog(RandomOverSampler(), images),
    "SMOTE": lambda images, _: balanced_by_underdog(SMOTE(), images),
    "AOS": lambda images, _: balanced_by_underdog(aos(EPS, TAU), images),
    "ROS, imbalanced-learn": lambda images, _: balanced_by_imblearn("ROS", images),
    "SMOTE, imbalanced-learn": lambda images, _: balanced_by_imblearn("SMOTE", images),
    "training": _trained,
    "bare training": _trained_barely,
}


def resident(name: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most since ``reset_peak``; Linux only."""
    return 1024 * field(Path("/proc/self/status").read_text(encoding="utf-8"), name)


def reset_peak() -> None:
    """Let VmHWM start from what is resident now."""
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")


def measure(case: str, rare: int, device: torch.device) -> int:
    """In a fresh process: the bytes at the peak, images included; a GPU's where the work is on one."""
    on_gpu = device.type == "cuda"
    torch.set_num_threads(1)
    CASES[case](imbalanced(WARM, SHAPE), device)  # loads what libraries load on first use
    images = imbalanced(rare, SHAPE)
    if on_gpu:
        gc.collect()
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
    else:
        reset_peak()
        before = resident("VmRSS") - math.prod(images.images.shape)
    kept = CASES[case](images, device)
    peak = torch.cuda.max_memory_allocated(device) if on_gpu else resident("VmHWM")
    del kept
    return peak - before


def alone(case: str, rare: int, device: str = "cpu") -> int:
    """What ``measure`` finds in a process with an allocator that gives large blocks back when they are freed."""
    settings = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}
    command = [sys.executable, "-W", "ignore", "-m", "underdog.bench.memory", case, str(rare), device]
    done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout)


def memory(setting: BenchSetting) -> Iterator[TimePairs | Missing]:
    """Peaks on the way to a balanced epoch and of training, against imbalanced-learn, a bare loop and the bytes themselves."""
    rare, device = setting.sizes.balanced, str(setting.device)
    if sys.platform != "linux":
        yield Missing("peak memory", "the highest memory of a process is read from Linux's /proc")
        return
    why = missing("imblearn")
    cases = [case for case in CASES if not (why and "imbalanced-learn" in case)]

    def peak(case: str) -> float:
        return alone(case, WARM, device) if "training" in case else alone(case, rare)

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # of processes that do not disturb each other's memory
        peaks = [n / MB for n in pool.map(peak, [case for case in cases for _ in range(PROCESSES)])]
    found = {case: peaks[n * PROCESSES : (n + 1) * PROCESSES] for n, case in enumerate(cases)}

    def compared(name: str, case: str, other: list[float], target: float | None = None) -> TimePairs:
        return measured(name, list(zip(found[case], other, strict=True)), target, "MB")

    majority, minority, image = 2 * RHO * rare, 8 * rare, math.prod(SHAPE) / MB
    held = (majority + minority) * image
    floors = {"ROS": held, "SMOTE": held + (RHO - 1) * minority * image, "AOS": held + minority * image / 4}
    for method in ("ROS", "SMOTE"):
        name = f"peak memory of a balanced epoch by {method}, against imbalanced-learn"
        yield (
            Missing(name, why)
            if why
            else compared(f"{name} {installed('imbalanced-learn')}", method, found[f"{method}, imbalanced-learn"], 1.0)
        )
    for method, size in floors.items():
        yield compared(f"the same by {method}, against the bytes of its images", method, [size] * PROCESSES)
    yield compared("peak memory of an epoch of training, against a bare loop", "training", found["bare training"], 1.05)


if __name__ == "__main__":
    print(measure(sys.argv[1], int(sys.argv[2]), torch.device(sys.argv[3])))
