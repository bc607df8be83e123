"""``underdog tune``: as many trials for every method, on validation images of a seed that is not reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from underdog.cli.arguments.values import ALL
from underdog.cli.common import (
    Options,
    devices_of_workers,
    local_engine,
    methods_of,
    note_precision,
    read,
    say,
    spec_of,
)
from underdog.data.sources import Source
from underdog.errors import InputError, TrainingError
from underdog.experiments.comparison import check_complete
from underdog.experiments.experiment import Experiment
from underdog.methods.table import METHODS
from underdog.reporting.methods import parameters_text, value_text
from underdog.reporting.terminal import aligned, printable
from underdog.run.folders import occupied
from underdog.run.queue import steps_of
from underdog.run.search import Trials
from underdog.run.space import TUNING_SEED, check_trials, require_optuna
from underdog.run.tune import Study, searched, study_of

__all__ = ["run"]

#: Columns of a parameter's values.
WIDE = 12


def run(options: Options) -> None:
    """Search for the parameters of every method."""
    names = devices_of_workers(options)
    methods = methods_of(options, list(METHODS) if ALL in options.method else options.method)
    for method in methods:
        check_complete(method.with_first_values())
    early = [spec_of(options, method, "") for method in methods]
    # Before the source is read, which may take long: a wrong setting fails at once.
    check_trials(options.trials, [spec.expression for spec in early])
    asked = [study_of(spec, options.trials, options.budget).spec for spec in early]
    if twice := [spec for n, spec in enumerate(early) if asked[n] in asked[:n]]:
        raise InputError(f"method {searched(twice[0])!r} is there twice")
    require_optuna()
    with occupied(options.out):
        note_precision(options.precision, names[0])
        source = read(options, names[0], len(names))
        specs = [replace(spec, data=source.fingerprint) for spec in early]
        _search([Trials(study_of(spec, options.trials, options.budget)) for spec in specs], source, names, options)


def _search(searches: Sequence[Trials], source: Source, names: Sequence[str], options: Options) -> None:
    steps = [step for search in searches for step in steps_of("", search)]
    experiment = Experiment.of(steps, {"": source}, options.out, say)
    for note in experiment.notes:
        say(f"note: {printable(note)}")
    what = f"{len(searches)} method{'s' * (len(searches) != 1)}, {options.trials} trials each, seed {TUNING_SEED}, not reported"
    experiment.make(
        partial(local_engine, names, options), say, what=what, bars=True, shorter="fewer --trials, --method or --epochs"
    )
    studies = [study for search in searches if (study := search.done(experiment.queue.score))]
    for study in studies:
        study.save(options.out)  # which may have been done in runs before this one
        say(f"\n{_table(study)}")
    if len(studies) < len(searches):
        experiment.check(say)
        raise TrainingError("a search is not finished")
    say("\n" + _summary(studies))
    say(f"('train' and 'compare' with --tuned, the same data and options and --out {options.out} use these)")


def _table(study: Study) -> str:
    """A line for each trial, and the best of them."""
    names = "".join(f"{name.replace('_', ' '):>{WIDE}}" for name in study.spec.expression.space)
    lines = [searched(study.spec), f"trial{names}  validation macro-F1"]
    for n, trial in enumerate(study.trials, start=1):
        values = "".join(f"{value_text(name, trial.values[name]):>{WIDE}}" for name in study.spec.expression.space)
        lines.append(f"{n:>5}{values}  {_score(trial.score):>19}")
    best = study.best
    return "\n".join([*lines, f"best: {parameters_text(best.values)} (trial {study.trials.index(best) + 1})"])


def _score(score: float | None) -> str:
    return "failed" if score is None else f"{score:.4f}"


def _summary(studies: Sequence[Study]) -> str:
    """The best trial of each method."""
    head = ("method", "best of the trials", "trials", "validation macro-F1")
    rows = [
        (searched(s.spec), parameters_text(s.best.values), str(len(s.trials)), _score(s.best.score)) for s in studies
    ]
    return "\n".join(aligned([head, *rows], left=2))
