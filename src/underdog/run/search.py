"""What a run of a grid waits for: its method's parameters, chosen on validation by other runs of the grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from underdog.names import EPS_GRID
from underdog.run.space import TUNING_SEED
from underdog.run.spec import RunSpec
from underdog.run.tune import Study, best_eps, tuning_specs

__all__ = ["FAILED", "EpsSearch", "Scores", "Search", "Trials", "eps_search"]

#: In the place of a score: the run failed, and counts as one that recognised nothing.
FAILED = -1.0
#: The validation macro-F1 of a run, ``FAILED``, or None where it is still to be made.
Scores = Callable[[RunSpec], float | None]


@dataclass(frozen=True)
class EpsSearch:
    """The choice of eps among ``EPS_GRID``, whose runs are known beforehand.

    Attributes:
        spec: a run of it without eps.
    """

    spec: RunSpec

    def __len__(self) -> int:
        return len(EPS_GRID)

    @property
    def wish(self) -> str:
        """What is searched for, in words."""
        return f"{self.spec.expression.name}'s best eps"

    def run(self, number: int, scores: Scores) -> RunSpec | None:
        """The run of that number, from 0."""
        return _eps_runs(self.spec)[number]

    def applied(self, spec: RunSpec, scores: Scores) -> RunSpec | None:
        """A run with what was chosen, or None while the search is not done, or where all of it failed."""
        found = [(scores(run), n / 255) for run, n in zip(_eps_runs(self.spec), EPS_GRID, strict=True)]
        known = [(score, eps) for score, eps in found if score is not None]
        if len(known) < len(found) or all(score == FAILED for score, _ in known):
            return None
        return spec.with_values({"eps": best_eps(known)})

    def store(self, out: Path, scores: Scores) -> None:
        """Nothing: the runs tell all of it."""


@dataclass(frozen=True)
class Trials:
    """A study of a method's parameters, each of whose runs follows from the scores of those before it.

    Attributes:
        study: before its first trial.
    """

    study: Study

    def __len__(self) -> int:
        return self.study.wanted

    @property
    def spec(self) -> RunSpec:
        """A run of it."""
        return self.study.spec

    @property
    def wish(self) -> str:
        """What is searched for, in words."""
        return f"best of {self.study.wanted} trials"

    def run(self, number: int, scores: Scores) -> RunSpec | None:
        """The run of that number, from 0; None while those before it are not done."""
        study, following = self._advanced(scores)
        if number < len(study.trials):
            return study.run(study.trials[number].values)
        return following if number == len(study.trials) else None

    def applied(self, spec: RunSpec, scores: Scores) -> RunSpec | None:
        """A run with what was chosen, or None while the search is not done, or where all of it failed."""
        study, _ = self._advanced(scores)
        return study.applied(spec) if study.complete and study.best.score is not None else None

    def store(self, out: Path, scores: Scores) -> None:
        """Keep the study, once it is done, where ``--tuned`` finds it."""
        study, _ = self._advanced(scores)
        if study.complete and study.best.score is not None:
            study.save(out)

    def _advanced(self, scores: Scores) -> tuple[Study, RunSpec | None]:
        """The study with all trials that are done, and the run of the next one."""
        done: tuple[float, ...] = ()
        while True:
            study, following = _after(self.study.spec, self.study.wanted, done)
            score = None if following is None else scores(following)
            if score is None:
                return study, following
            done += (score,)


Search = EpsSearch | Trials


def eps_search(spec: RunSpec) -> EpsSearch:
    """The choice of eps that serves a run, whatever its seeds."""
    return EpsSearch(replace(spec, seed=TUNING_SEED, data_seed=TUNING_SEED, tuning=True))


@cache
def _eps_runs(spec: RunSpec) -> tuple[RunSpec, ...]:
    return tuple(tuning_specs(spec))


@cache
def _after(spec: RunSpec, wanted: int, scores: tuple[float, ...]) -> tuple[Study, RunSpec | None]:
    """A study after trials with these scores, which say all of it, and its next run."""
    study = Study(spec, wanted)
    if scores:
        before, run = _after(spec, wanted, scores[:-1])
        assert run is not None
        study = before.after(run, None if scores[-1] == FAILED else scores[-1])
    return study, study.next()
