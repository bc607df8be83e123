"""Choose eps on validation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from underdog.data.sources import Source
from underdog.names import EPS_GRID
from underdog.run.spec import RunSpec

__all__ = ["TUNING_SEED", "choose_eps", "tuning_specs"]

#: Seed and data seed of the runs that choose eps; no reported run uses it.
TUNING_SEED = 1_000_003


def tuning_specs(spec: RunSpec) -> list[RunSpec]:
    """One run for each eps of the grid, on data and weights that are not reported, without the test part.

    >>> [round(s.eps * 255) for s in tuning_specs(RunSpec("some data", "aos", tau=0.5))]
    [2, 4, 8, 16, 32, 64]
    """
    fixed = replace(spec, seed=TUNING_SEED, data_seed=TUNING_SEED, tuning=True)
    return [replace(fixed, eps=n / 255) for n in EPS_GRID]


def choose_eps(
    spec: RunSpec, source: Source, out: Path, run: Callable[[RunSpec, Source, Path], dict[str, Any]]
) -> float:
    """The eps with the highest validation macro-F1 of its best epoch, the smallest of equals.

    Args:
        spec: a run of noise or aos, without eps.
        source: its data.
        out: folder of runs; those of the choice are kept in ``tuning/`` there and never done twice.
        run: carries out a run, such as ``execute``.
    """
    scores = [(run(s, source, out / "tuning")["val"]["macro_f1"], s.eps) for s in tuning_specs(spec)]
    best = max(score for score, _ in scores)
    return min(eps for score, eps in scores if score == best and eps is not None)
