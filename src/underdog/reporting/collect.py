"""Read folders of finished runs, and what lies beside them; what cannot be read is set aside."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from underdog.errors import InputError
from underdog.reporting.methods import is_own
from underdog.run.files import read_json
from underdog.run.saved import UNREADABLE, Run, read_curve, read_run, reason
from underdog.run.spec import RunSpec
from underdog.run.tune import Study, read_study

__all__ = ["Aside", "Collected", "collect", "tuning_runs", "tuning_studies"]

OWN_SEARCH = "a search for a method of somebody's own, which is not imported here"


@dataclass(frozen=True)
class Aside:
    """Something left out of a report: its name, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Collected:
    """The runs that could be read, each once, and what was left out."""

    runs: tuple[Run, ...]
    asides: tuple[Aside, ...] = ()


def _read(folder: Path) -> tuple[Run | None, list[Aside]]:
    try:
        run = read_run(folder)
    except UNREADABLE as error:
        return None, [Aside(folder.name, f"result.json: {reason(error)}")]
    try:
        return read_curve(run), []
    except UNREADABLE as error:
        return run, [Aside(folder.name, f"its curves only; epochs.jsonl: {reason(error)}")]


def collect(folders: Iterable[Path]) -> Collected:
    """Read every folder; what cannot be read, and what is there twice, is set aside.

    Raises:
        InputError: no run is left; the message names the folders and says why.
    """
    runs: dict[RunSpec, Run] = {}
    asides: list[Aside] = []
    for folder in folders:
        run, problems = _read(folder)
        asides += problems
        if run is None:
            continue
        if run.spec in runs:
            asides.append(Aside(run.name, f"the same run as {runs[run.spec].name}"))
        runs.setdefault(run.spec, run)
    if not runs:
        raise InputError(f"no finished run to report on: {'; '.join(f'{a.name}: {a.reason}' for a in asides)}")
    return Collected(tuple(runs.values()), tuple(asides))


def _beside(runs: Iterable[Run], pattern: str) -> list[Path]:
    """What lies in the ``tuning`` folders beside these runs."""
    homes = sorted({run.folder.parent for run in runs if run.folder is not None})
    return [path for home in homes for path in sorted((home / "tuning").glob(pattern))]


def tuning_runs(runs: Iterable[Run]) -> Collected:
    """The runs that chose eps on validation, from the ``tuning`` folders beside these runs; often none."""
    found = [_read(path.parent) for path in _beside(runs, "*/result.json")]
    return Collected(
        tuple(run for run, _ in found if run is not None and run.spec.tuning),
        tuple(replace(aside, name=f"tuning/{aside.name}") for _, asides in found for aside in asides),
    )


def tuning_studies(runs: Iterable[Run]) -> tuple[tuple[Study, ...], tuple[Aside, ...]]:
    """The searches stored in the ``tuning`` folders beside these runs, and those that cannot be read.

    What is searched over only a method's function knows, so searches for a method of somebody's own are among the latter.
    """
    studies, asides = [], []
    for path in _beside(runs, "study-*.json"):
        try:
            if is_own(RunSpec.from_json(read_json(path)["spec"]).expression):
                asides.append(Aside(f"tuning/{path.name}", OWN_SEARCH))
            else:
                studies.append(read_study(path))
        except UNREADABLE:
            asides.append(Aside(f"tuning/{path.name}", "no whole search"))
    return tuple(studies), tuple(asides)
