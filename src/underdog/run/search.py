"""What a run waits for: its method's parameters, chosen on validation by other runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from underdog.names import DECAYS, EPS_GRID
from underdog.run.space import TUNING_SEED
from underdog.run.spec import RunSpec
from underdog.run.tune import Study, searched, values_of

__all__ = ["FAILED", "GridSearch", "PlannedRun", "Scores", "Search", "Trials", "decay_search", "eps_search"]

#: In the place of a score: the run failed, and counts as one that recognised nothing.
FAILED = -1.0
#: The validation macro-F1 of a run, ``FAILED``, or None where it is still to be made.
Scores = Callable[[RunSpec], float | None]


@dataclass(frozen=True)
class GridSearch:
    """The choice among settings that are known beforehand, such as the values of eps.

    Attributes:
        spec: a run of it without them.
        points: of each run: weight_decay, or parameters of the method, by name.
    """

    spec: RunSpec
    points: tuple[tuple[tuple[str, float], ...], ...]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def runs(self) -> tuple[RunSpec, ...]:
        """One run for each point."""
        return tuple(_at(self.spec, point) for point in self.points)

    @property
    def method(self) -> str:
        """Whose parameters are searched for."""
        return self.spec.method

    @property
    def _keys(self) -> tuple[str, ...]:
        return tuple(dict(self.points[0]))

    def values(self, run: RunSpec) -> dict[str, float]:
        """What was chosen for a run."""
        known = {"weight_decay": run.weight_decay or 0.0, **values_of(run)}
        return {key: known[key] for key in self._keys}

    @property
    def reason(self) -> str:
        """Why what was chosen was."""
        return f"has the highest validation macro-F1 of {len(self)} trials (the first of equals)"

    @property
    def wish(self) -> str:
        """What is searched for, in words."""
        return f"{self.spec.expression.name}'s best {' and '.join(self._keys).replace('_', ' ')}"

    def run(self, number: int, scores: Scores) -> RunSpec | None:
        """The run of that number, from 0."""
        return self.runs[number]

    def known(self, number: int) -> RunSpec:
        """What is known of that run before any is done: all of it."""
        return self.runs[number]

    def applied(self, spec: RunSpec, scores: Scores) -> RunSpec | None:
        """A run with what was chosen, or None while the search is not done, or where all of it failed."""
        found = [scores(run) for run in self.runs]
        known = [score for score in found if score is not None]
        if len(known) < len(found) or max(known) == FAILED:
            return None
        return _at(spec, self.points[known.index(max(known))])

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
    def method(self) -> str:
        """Whose parameters are searched for."""
        return searched(self.spec)

    @property
    def wish(self) -> str:
        """What is searched for, in words."""
        return f"best of {self.study.wanted} trials"

    def values(self, run: RunSpec) -> dict[str, float]:
        """What was chosen for a run."""
        return values_of(run)

    @property
    def reason(self) -> str:
        """Why what was chosen was."""
        return f"has the highest validation macro-F1 of {self.study.wanted} trials"

    def known(self, number: int) -> RunSpec:
        """What is known of the run of that number before any is done."""
        return self.spec

    def done(self, scores: Scores) -> Study | None:
        """The study with all of its trials; None while they are not done, or where all of them failed."""
        study, _ = self._advanced(scores)
        return study if study.complete and study.best.score is not None else None

    def run(self, number: int, scores: Scores) -> RunSpec | None:
        """The run of that number, from 0; None while those before it are not done."""
        study, following = self._advanced(scores)
        if number < len(study.trials):
            return study.run(study.trials[number].values)
        return following if number == len(study.trials) else None

    def applied(self, spec: RunSpec, scores: Scores) -> RunSpec | None:
        """A run with what was chosen, or None while the search is not done, or where all of it failed."""
        return study.applied(spec) if (study := self.done(scores)) else None

    def store(self, out: Path, scores: Scores) -> None:
        """Keep the study, once it is done, where ``--tuned`` finds it."""
        if study := self.done(scores):
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


Search = GridSearch | Trials


def eps_search(spec: RunSpec) -> GridSearch:
    """The choice of eps that serves a run, whatever its seeds: on data and weights that are not reported, without the test part.

    >>> [run.method for run in eps_search(RunSpec("some data", "aos")).runs][:3]
    ['aos(eps=2/255)', 'aos(eps=4/255)', 'aos(eps=8/255)']
    """
    return GridSearch(_unreported(spec), tuple((("eps", n / 255),) for n in EPS_GRID))


def decay_search(spec: RunSpec) -> GridSearch:
    """The choice of the weight decay of a linear head, and of eps where it is missing, among as many points for each method.

    >>> len(decay_search(RunSpec("some data", "ros"))) == len(decay_search(RunSpec("some data", "aos")))
    True
    """
    if spec.expression.missing:
        pairs = [(decay, eps) for decay in DECAYS[1::2] for eps in (8 / 255, 32 / 255)]
        return GridSearch(_unreported(spec), tuple((("weight_decay", d), ("eps", e)) for d, e in pairs))
    return GridSearch(_unreported(spec), tuple((("weight_decay", decay),) for decay in DECAYS))


def _unreported(spec: RunSpec) -> RunSpec:
    return replace(spec, seed=TUNING_SEED, data_seed=TUNING_SEED, tuning=True)


@cache
def _at(spec: RunSpec, point: tuple[tuple[str, float], ...]) -> RunSpec:
    values = dict(point)
    decay = values.pop("weight_decay", None)
    return replace(spec if decay is None else replace(spec, weight_decay=decay)).with_values(values)


@dataclass(frozen=True)
class PlannedRun:
    """A run that is wanted.

    Attributes:
        dataset: name of its data set; "" where there is but one.
        spec: its settings; eps is None, or parameters are those of a search's first trial, where they are still to be chosen.
        search: what chooses the parameters that are still to be chosen; None where all are given.
    """

    dataset: str
    spec: RunSpec
    search: Search | None = None


@cache
def _after(spec: RunSpec, wanted: int, scores: tuple[float, ...]) -> tuple[Study, RunSpec | None]:
    """A study after trials with these scores, which say all of it, and its next run."""
    study = Study(spec, wanted)
    if scores:
        before, run = _after(spec, wanted, scores[:-1])
        assert run is not None
        study = before.after(run, None if scores[-1] == FAILED else scores[-1])
    return study, study.next()
