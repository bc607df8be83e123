"""Comparisons: what a comparison of six runs does besides training them, and how many runs an hour two workers make.

``--parts counts`` counts, in this process, how often the data are divided (as images, and as outlines without pixels), resamplers
are started and networks are made. ``--parts own`` gives the wall time of a run on digits beside training, refreshing and
evaluating: dividing the set, the network, states, predictions, the decision report. ``--parts workers`` times
``underdog compare`` on digits with one worker and with two, in turn, the start of the command and the report included. The last
two want idle cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch as watched

import torch

import underdog as ud
from underdog.run.execute import execute, split_of
from underdog.run.network import build_model
from underdog.run.spec import RunSpec
from underdog.train import Training

PARTS = ("counts", "own", "workers")
RUNS = ["baseline", "ros", "smote"]


def counted(calls: Counter[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Any:
        calls[name] += 1
        return function(*given, **named)

    return call


def counts() -> None:
    """Print what six runs take besides training."""
    calls = Counter[str]()
    with (
        tempfile.TemporaryDirectory() as out,
        watched("underdog.run.execute.split_of", counted(calls, "divisions of the images", split_of)),
        watched("underdog.run.estimate.split_of", counted(calls, "divisions of outlines", split_of)),
        watched("underdog.run.execute.build_model", counted(calls, "networks made", build_model)),
        watched("underdog.train.Training._started", counted(calls, "starts", Training._started)),
    ):
        ud.compare(
            ud.load_images("digits"), RUNS, seeds=2, out=out, rho=20, mu=0.6, epochs=1, width=0.2, say=lambda line: None
        )
    for name, n in calls.items():
        print(f"{name}: {n} for 6 runs")


def own(pairs: int) -> None:
    """Print a run's own work beside training."""
    digits, beside = ud.load_images("digits"), []
    spec = RunSpec(digits.fingerprint, "ros", rho=20, mu=0.6, epochs=4, batch=64)
    for _ in range(pairs + 1):  # the first one imports
        with tempfile.TemporaryDirectory() as out:
            begin = time.perf_counter()
            result = execute(spec, digits, Path(out))
            trained = sum(result["seconds"][phase] for phase in ("train", "refresh", "evaluate"))
            beside.append(time.perf_counter() - begin - trained)
    found = sorted(beside[1:])
    print(
        f"a run's own work beside training: {found[len(found) // 2]:.2f} s ({found[0]:.2f} to {found[-1]:.2f}), n = {pairs}"
    )


def workers(pairs: int) -> None:
    """Print the runs an hour of two workers by those of one."""
    times = [(seconds(1), seconds(2)) for _ in range(pairs)]
    for n, taken in zip((1, 2), zip(*times, strict=True), strict=True):
        print(f"16 runs with {n} at once: {min(taken):.1f} to {max(taken):.1f} s")
    ratios = sorted(one / two for one, two in times)
    middle = ratios[len(ratios) // 2]
    print(
        f"runs an hour of two workers by those of one: {middle:.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), {pairs} pairs"
    )


def seconds(n: int) -> float:
    """What ``underdog compare`` takes for sixteen runs with ``n`` workers."""
    with tempfile.TemporaryDirectory() as out:
        options = (
            f"digits --rho 20 --mu 0.6 --batch 64 --epochs 4 --methods ros,smote --seeds 8 --workers {n} --out {out}"
        )
        command = [sys.executable, "-m", "underdog", "compare", *options.split(), "-o", str(Path(out) / "report.html")]
        begin = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - begin


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--pairs", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if "counts" in options.parts:
        counts()
    if "own" in options.parts:
        own(options.pairs)
    if "workers" in options.parts:
        workers(options.pairs)
