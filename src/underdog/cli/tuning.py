"""What ``underdog tune`` does."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from underdog.cli.commands import device, methods_of, read, say, spec_of
from underdog.cli.progress import bar, duration, watching
from underdog.data.sources import Source
from underdog.errors import InputError, TrainingError
from underdog.reporting.methods import parameters_text, value_text
from underdog.reporting.terminal import aligned, printable
from underdog.run.compare import plan
from underdog.run.execute import execute, split_of
from underdog.run.space import check_trials, require_optuna
from underdog.run.spec import RunSpec
from underdog.run.tune import TUNING_SEED, Study, searched, study_of, tune

__all__ = ["search"]

#: Columns of a parameter's values.
WIDE = 12


@dataclass(frozen=True)
class Trials:
    """Carries out the trials of a study.

    Attributes:
        name: of the method.
        device: where to train.
        seconds: time it took to read the source.
    """

    name: str
    device: str
    seconds: float

    def __call__(self, spec: RunSpec, source: Source, out: Path) -> dict[str, Any]:
        try:
            with watching(self.name, spec.epochs) as watcher:
                return execute(spec, source, out, self.device, watcher, self.seconds)
        except TrainingError as error:
            say(f"{self.name}: {error}")
            raise


def search(options: argparse.Namespace, methods: Sequence[str]) -> None:
    """Search for the parameters of every method, one after the other."""
    on = device(options.device)
    early = [spec_of(options, method, "") for method in methods_of(options, methods, searched=True)]
    # Before the source is read, which may take long: a wrong setting fails at once.
    check_trials(options.trials, [spec.expression for spec in early])
    asked = [study_of(spec, options.trials, options.budget).spec for spec in early]
    if twice := [spec for n, spec in enumerate(early) if asked[n] in asked[:n]]:
        raise InputError(f"method {searched(twice[0])!r} is there twice")
    require_optuna()
    source, seconds = read(options, on)
    specs = [replace(spec, data=source.fingerprint) for spec in early]
    studies = [study_of(spec, options.trials, options.budget).stored(options.out) for spec in specs]
    _announce(studies, source, options.out, on)
    found = [_searched(study, source, options.out, Trials(searched(study.spec), on, seconds)) for study in studies]
    say("\n" + _summary(found))
    say(f"('train' and 'compare' with --tuned, the same data and options and --out {options.out} use these)")


def _announce(studies: Sequence[Study], source: Source, out: Path, on: str) -> None:
    """Say what will be done and how long it may take; a setting that the data do not allow shows here."""
    runs, done = sum(s.wanted for s in studies), sum(len(s.trials) for s in studies)
    seconds = 0.0
    for study in studies:
        if (spec := study.next()) is not None:
            seconds += plan([spec], source, out / "tuning", on).seconds * (study.wanted - len(study.trials))
    say(
        f"{runs} runs ({len(studies)} methods, {studies[0].wanted} trials each, seed {TUNING_SEED}, not reported), {done} of them "
        f"done, about {duration(seconds)} for the others on {on}"
    )
    for note in split_of(studies[0].spec, source).notes:
        say(f"note: {printable(note)}")


def _searched(study: Study, source: Source, out: Path, run: Trials) -> Study:
    """Do the trials that a study lacks, and print a line for each of all."""
    say(f"\n{searched(study.spec)}\n{_heading(study)}")
    for n in range(len(study.trials)):
        say(_line(study, n))
    with _trials_bar(study) as told:
        study = tune(study, source, out, run, told)
    best = study.best
    say(f"best: {parameters_text(best.values)} (trial {study.trials.index(best) + 1})")
    return study


@contextmanager
def _trials_bar(study: Study) -> Iterator[Any]:
    """A bar of trials with the best score so far; yields what is to be called after each."""
    with bar(f"{searched(study.spec)}, trials", study.wanted, "") as shown:
        shown.update(len(study.trials))

        def told(study: Study) -> None:
            with shown.external_write_mode():
                say(_line(study, len(study.trials) - 1))
            shown.set_postfix_str(f"best {_score(study.best.score)}", refresh=False)
            shown.update(1)

        yield told


def _heading(study: Study) -> str:
    names = "".join(f"{name.replace('_', ' '):>{WIDE}}" for name in study.spec.expression.space)
    return f"trial{names}  validation macro-F1"


def _line(study: Study, n: int) -> str:
    trial = study.trials[n]
    values = "".join(f"{value_text(name, trial.values[name]):>{WIDE}}" for name in study.spec.expression.space)
    return f"{n + 1:>5}{values}  {_score(trial.score):>19}"


def _score(score: float | None) -> str:
    return "failed" if score is None else f"{score:.4f}"


def _summary(studies: Sequence[Study]) -> str:
    """The best trial of each method."""
    head = ("method", "best of the trials", "trials", "validation macro-F1")
    rows = [
        (searched(s.spec), parameters_text(s.best.values), str(len(s.trials)), _score(s.best.score)) for s in studies
    ]
    return "\n".join(aligned([head, *rows], left=2))
