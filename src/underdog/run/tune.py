"""Choose the methods' parameters on validation images of a seed that is not reported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from underdog.errors import InputError
from underdog.names import TRIALS
from underdog.run.files import read_json, write_json
from underdog.run.space import TUNING_SEED, Values, check_trials, next_values
from underdog.run.spec import RunSpec

__all__ = ["TUNING_SEED", "Study", "Trial", "all_tuned", "read_study", "searched", "study_of", "tuned", "values_of"]


@dataclass(frozen=True)
class Trial:
    """One run of a search.

    Attributes:
        values: of the method's parameters.
        score: validation macro-F1 of the best epoch; None where the training failed.
    """

    values: Values
    score: float | None


@dataclass(frozen=True)
class Study:
    """The search for a method's parameters on one problem: a value, from which the next run follows.

    Attributes:
        spec: a run of it, with the least value of every parameter, whose id names the study.
        wanted: trials in all.
        trials: those that are done, in order.
    """

    spec: RunSpec
    wanted: int = TRIALS
    trials: tuple[Trial, ...] = ()

    @property
    def complete(self) -> bool:
        return len(self.trials) == self.wanted

    @property
    def best(self) -> Trial:
        """The trial with the highest score, the first of equals."""
        return max(self.trials, key=lambda trial: -1.0 if trial.score is None else trial.score)

    def next(self) -> RunSpec | None:
        """The run to do next, in the folder ``tuning`` of the runs; None when all are done.

        Raises:
            InputError: Optuna is not installed.
        """
        if self.complete:
            return None
        tried = [(trial.values, trial.score or 0.0) for trial in self.trials]
        return self.run(next_values(self.spec.expression, tried))

    def run(self, values: Values) -> RunSpec:
        """The run of a trial with these values."""
        return self.spec.with_values(values)

    def applied(self, spec: RunSpec) -> RunSpec:
        """A run with the best values; usual ones say no more which budget they were found for."""
        return replace(spec.with_values(self.best.values), budget=self.spec.budget)

    def after(self, done: RunSpec, score: float | None) -> Study:
        """The study with the trial that ``next`` asked for."""
        return replace(self, trials=(*self.trials, Trial(values_of(done), score)))

    def path(self, out: Path) -> Path:
        """Where the study is stored in a folder of runs."""
        return out / "tuning" / f"study-{self.spec.id}.json"

    def save(self, out: Path) -> None:
        """Store it, all of whose trials are done; one of more trials that is there stays."""
        if (there := self.finished(out)) is not None and there.wanted > self.wanted:
            return
        trials = [{"values": t.values, "val_macro_f1": t.score, "run": self.run(t.values).id} for t in self.trials]
        about = {"spec": self.spec.to_json(), "wanted": self.wanted, "trials": trials, "best": self.best.values}
        write_json(self.path(out), about)

    def finished(self, out: Path) -> Study | None:
        """The study as it was stored, whatever its number of trials; None if it was not.

        Raises:
            InputError: the file is damaged, or another study's.
        """
        path = self.path(out)
        if not path.exists():
            return None
        found = read_study(path)
        if found.spec != self.spec:
            raise InputError(f"{path} belongs to another search: choose another --out")
        return found


def values_of(spec: RunSpec) -> dict[str, float]:
    """The values of those of a run's parameters that are searched for, usual ones included.

    >>> values_of(RunSpec("some data", "smote")), values_of(RunSpec("some data", "ros(ratio=0.5)"))
    ({'k': 5}, {'ratio': 0.5})
    """
    found = {key: spec.expression.lookup(key) for key in spec.expression.space}
    return {key: 1.0 if value is None else value for key, value in found.items()}  # type: ignore[misc]


def study_of(spec: RunSpec, wanted: int = TRIALS, budget: str | None = None) -> Study:
    """The search that serves a run, before its first trial: of its method, data and settings, whatever its seeds.

    Args:
        spec: the run; what its parameters are makes no difference.
        wanted: trials.
        budget: the comparison's, which a spec of ros with its usual ratio does not tell; the spec's by default.

    Raises:
        InputError: a number of trials that a space does not have; a run with folds.
    """
    check_trials(wanted, [spec.expression])
    if spec.folds is not None:
        raise InputError("tuning excludes folds: a search would see images that other folds test on")
    least = {name: axis.values[0] for name, axis in spec.expression.space.items()}
    # Devices share the work, not the question: runs on several are served by a search on one.
    fixed: dict[str, Any] = {"seed": TUNING_SEED, "data_seed": TUNING_SEED, "tuning": True, "devices": 1}
    return Study(replace(spec.with_values(least), budget=budget or spec.budget, **fixed), wanted)


def read_study(path: Path) -> Study:
    """A study that was stored.

    Raises:
        InputError: the file is no whole study.
    """
    try:
        data = read_json(path)
        spec = RunSpec.from_json(data["spec"])
        study = Study(spec, int(data["wanted"]))
        check_trials(study.wanted, [spec.expression])
        for trial in data["trials"]:
            study = study.after(study.run(_on_axes(spec, trial["values"])), _score(trial["val_macro_f1"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is no whole study ({error}): remove it; runs that are finished stay") from error
    if not study.complete or not spec.tuning:
        raise InputError(f"{path} is no whole study (other trials than wanted, or reported runs): remove it")
    return study


def _on_axes(spec: RunSpec, values: Values) -> dict[str, float]:
    space = spec.expression.space
    if set(values) != set(space) or any(values[name] not in space[name].values for name in values):
        raise InputError(f"no values of {spec.expression.name}'s parameters: {values}")
    return dict(values)


def _score(score: Any) -> float | None:
    if score is not None and not 0 <= float(score) <= 1:
        raise InputError(f"no macro-F1: {score}")
    return None if score is None else float(score)


def tuned(spec: RunSpec, out: Path, budget: str | None = None) -> RunSpec | None:
    """The run with the best values of a search that is stored in a folder of runs; None without a complete one.

    Args:
        spec: the run.
        out: folder of runs.
        budget: see ``study_of``.

    Raises:
        InputError: the stored search is damaged; a run with folds.
    """
    study = study_of(spec, 1, budget).finished(out)  # whatever its number of trials
    return None if study is None else study.applied(spec)


def all_tuned(specs: Iterable[RunSpec], out: Path, budget: str | None = None) -> list[RunSpec]:
    """The runs of a comparison with the best values of their methods' searches.

    Raises:
        InputError: a search is missing, or they had different numbers of trials; the message says what to do.
    """
    found = [(spec, study_of(spec, 1, budget).finished(out)) for spec in specs]
    if missing := dict.fromkeys(searched(spec) for spec, study in found if study is None):
        raise InputError(
            f"{out / 'tuning'} has no complete search for {', '.join(missing)} with this data and these settings: "
            f"'underdog tune SOURCE --method {_quoted(missing)}' with the same options makes it"
        )
    trials = {searched(spec): study.wanted for spec, study in found if study}
    if len(set(trials.values())) > 1:
        each = ", ".join(f"{method} {n}" for method, n in trials.items())
        raise InputError(
            f"methods were tuned by different numbers of trials ({each}): 'underdog tune SOURCE --method "
            f"{_quoted(trials)} --trials {max(trials.values())}' with the same options evens that out"
        )
    applied = [study.applied(spec) for spec, study in found if study]
    if twice := [spec for n, spec in enumerate(applied) if spec in applied[:n]]:
        raise InputError(f"several methods are the same, {twice[0].method}, once their parameters are tuned")
    return applied


def searched(spec: RunSpec) -> str:
    """A run's method without the values that a search chooses.

    >>> searched(RunSpec("some data", "aos(eps=8/255,attack=pgd)"))
    'aos(attack=pgd)'
    """
    return str(spec.expression.set(dict.fromkeys(spec.expression.space)))


def _quoted(methods: Iterable[str]) -> str:
    """A list of methods as a shell takes it within a sentence."""
    text = ",".join(methods)
    return f'"{text}"' if "(" in text else text
