"""Several methods on the same data and seeds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from underdog.data.sources import Source
from underdog.errors import InputError
from underdog.names import DEFAULTS, PARAMETERS
from underdog.run.execute import Watcher, finished, split_of, start
from underdog.run.spec import RunSpec
from underdog.train import Training

__all__ = ["Plan", "comparison", "image_seconds", "plan"]

#: Updates that are timed to estimate a run's duration, after one that is not.
PROBES = 3


def comparison(
    base: RunSpec,
    methods: Iterable[str],
    seeds: int,
    data_seed: int | None = None,
    budget: str = "epochs",
    parameters: Mapping[str, float] | None = None,
) -> list[RunSpec]:
    """Every method with every seed 0, 1, ..., seed by seed.

    The data's seed follows the run's, so that the spread covers the choice of data too, unless
    ``data_seed`` fixes it. Within a seed all methods share data, first weights and draws. With ``folds``
    in the base, every seed is repeated with each fold as the test part. Of the ``parameters``, and the base's
    eps and tau, each method gets those that it has.

    Raises:
        InputError: a parameter that none of the methods has.

    >>> specs = comparison(RunSpec("some data", "aos", eps=0.1, tau=0.5), ["ros", "aos"], seeds=2)
    >>> [(s.method, s.seed, s.data_seed, s.eps) for s in specs]
    [('ros', 0, 0, None), ('aos', 0, 0, 0.1), ('ros', 1, 1, None), ('aos', 1, 1, 0.1)]
    """
    methods = list(methods)
    given = {"eps": base.eps, "tau": base.tau} | dict(parameters or {})
    if idle := [n for n in parameters or () if not any(n in PARAMETERS.get(m, ()) for m in methods)]:
        raise InputError(f"none of the methods {', '.join(methods)} has {' or '.join(idle)}")
    unset: dict[str, Any] = dict.fromkeys(("eps", "tau", *DEFAULTS))
    return [
        replace(
            base,
            **unset | {n: given[n] for n in PARAMETERS.get(method, ()) if n in given},
            method=method,
            budget=budget,
            seed=seed,
            data_seed=seed if data_seed is None else data_seed,
            fold=fold,
        )
        for seed in range(seeds)
        for fold in ([None] if base.folds is None else range(base.folds))
        for method in methods
    ]


@dataclass(frozen=True)
class Plan:
    """What is to be done: how many runs, how many of them are finished, seconds for the others (an estimate), and warnings."""

    runs: int
    done: int
    seconds: float
    notes: tuple[str, ...] = ()


def plan(specs: list[RunSpec], source: Source, out: Path, device: str) -> Plan:
    """Check every spec against the data before the first run starts, and estimate the time all will take.

    Each method is set up once on the first seed, and timed for a few updates; other seeds only have
    their data divided.

    Raises:
        InputError: anything that would stop one of the runs before its first epoch.
    """
    seconds: dict[str, float] = {}
    pending = [s for s in specs if not finished(out / s.id, s)]
    for spec in pending:
        if spec.method not in seconds:
            training = start(spec, source, device, Watcher())
            # Evaluation costs a third of training an image.
            images = len(training.epoch) + len(training.split.val) / 3
            seconds[spec.method] = spec.epochs * images * image_seconds(training)
    notes: dict[str, None] = {}
    for other in {(s.data_seed, s.fold): s for s in pending}.values():
        notes |= dict.fromkeys(split_of(other, source).notes)
    return Plan(len(specs), len(specs) - len(pending), sum(seconds[s.method] for s in pending), tuple(notes))


def image_seconds(training: Training) -> float:
    """Seconds that it takes to train on an image, by a few updates."""
    learner, batch = training.learner, training.hyper.batch
    rows = training.first.index[:batch]
    x, y = training.first.show(rows), torch.from_numpy(training.first.labels[rows]).to(learner.device)
    learner.step(x, y)
    learner.flush(check=False)  # which waits for the device
    begin = time.perf_counter()
    for _ in range(PROBES):
        learner.step(x, y)
    learner.flush(check=False)
    return (time.perf_counter() - begin) / (PROBES * len(rows))
