"""What ``underdog grid`` says of a grid and its runs."""

from __future__ import annotations

from collections.abc import Mapping

from underdog.experiments.experiment import Experiment
from underdog.reporting.methods import parameters_text
from underdog.reporting.terminal import aligned, printable
from underdog.reporting.words import duration
from underdog.run.folders import Runs
from underdog.run.grid import Grid
from underdog.run.queue import Step
from underdog.run.spec import RunSpec, settings_text

__all__ = ["changes", "introduction", "listing"]


def introduction(grid: Grid) -> str:
    """What the grid is, and where it departs from its source."""
    lines = [f"grid {grid.name}" + (f": {grid.about}" if grid.about else "")]
    return "\n".join(printable(line) for line in [*lines, *(f"  deviation: {text}" for text in grid.deviations)])


def changes(changed: Mapping[str, str], runs: Runs) -> list[str]:
    """Which data sets are different from those that runs were made of, a line each."""
    return [
        f"note: {name} is not what it was: {runs.of_data(before)} runs of the images it had before, fingerprint {before[:12]}, "
        "stay where they are and are not among these"
        for name, before in changed.items()
    ]


def listing(experiment: Experiment, workers: int) -> str:
    """A line for every run, those of a search together."""
    queue, runs = experiment.queue, experiment.runs
    whole = experiment.state(workers=workers)
    also = ("settings",) if queue.names else ()
    rows = [("data", "mu", "method", "parameters", "budget", *also, "seed", "state", "time")]
    for step in queue.steps:
        spec = queue.resolved(step)
        done = "waits" if spec is None else runs.state(spec)
        result = None if spec is None else runs.result(spec)
        seconds = experiment.estimate.seconds(step.spec) if result is None else sum(result["seconds"].values())
        known = spec or step.spec
        mu = "" if known.mu is None else f"{known.mu:g}"
        seed = "search" if known.tuning else str(known.replicate)
        what = (step.dataset, mu, known.expression.name, _parameters(spec, step), known.budget)
        settings = (settings_text(known, queue.names),) if queue.names else ()
        rows.append((*what, *settings, seed, done, "" if seconds is None else duration(seconds)))
    return "\n".join([*aligned(rows), whole])


def _parameters(spec: RunSpec | None, step: Step) -> str:
    if spec is None:
        return "" if step.search is None else step.search.wish if step.number is None else f"trial {step.number + 1}"
    return parameters_text(spec.expression.stated)
