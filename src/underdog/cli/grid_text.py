"""What ``underdog grid`` says: the grid, its runs, what is left to do, and the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from underdog.cli.progress import duration
from underdog.reporting.methods import parameters_text
from underdog.reporting.terminal import aligned, printable
from underdog.reporting.text import text_table
from underdog.run.engine import Outcome
from underdog.run.estimate import Estimate
from underdog.run.folders import Runs
from underdog.run.grid import Grid
from underdog.run.queue import Queue, Step, described, stated
from underdog.run.spec import RunSpec, differing, settings_text

__all__ = ["changes", "failures", "introduction", "listing", "seconds_left", "share", "state", "summary"]


def introduction(grid: Grid) -> str:
    """What the grid is, and where it departs from its source."""
    lines = [f"grid {grid.name}" + (f": {grid.about}" if grid.about else "")]
    return "\n".join(printable(line) for line in [*lines, *(f"  deviation: {text}" for text in grid.deviations)])


def changes(changed: Mapping[str, str], runs: Runs) -> list[str]:
    """Which data sets are others than when runs were made of them, a line each."""
    return [
        f"note: {name} is not what it was: {runs.of_data(before)} runs of the images it had before, fingerprint {before[:12]}, "
        "stay where they are and are not among these"
        for name, before in changed.items()
    ]


def seconds_left(steps: Sequence[Step], estimate: Estimate, workers: int) -> float:
    """About how long some runs will take."""
    each = [estimate.seconds(step.spec) for step in steps]
    return max(sum(each) / workers, max(each, default=0))


def state(queue: Queue, runs: Runs, estimate: Estimate, workers: int) -> str:
    """How many runs there are, how many of them are done, and the time that the others will take."""
    for step in queue.steps:
        spec = queue.resolved(step)
        if spec is not None and (result := runs.result(spec)) is not None:
            estimate.learn(spec, result)
    waiting = queue.waiting()
    searches = sum(step.spec.tuning for step in queue.steps)
    also = f" and {searches} that choose parameters" if searches else ""
    at_once = f"{workers} worker{'s' * (workers != 1)}"
    left = f"about {duration(seconds_left(waiting, estimate, workers))} for the others, on {at_once}"
    done = len(queue.steps) - len(waiting)
    return f"{len(queue.steps) - searches} runs{also}, {done} of them done; {left if waiting else 'nothing to do'}"


def share(outcomes: Sequence[Outcome], runs: Runs, seconds: float, workers: int) -> str:
    """How much of the workers' time, in all ``seconds``, was the training of the runs that were finished in it."""
    results = [(o, runs.result(o.job.spec)) for o in outcomes if not o.error]
    # No more than the run took here: it may have begun in an earlier call.
    trained = [min(o.seconds, sum(r["seconds"].values()) - r["seconds"]["data"]) for o, r in results if r is not None]
    done, many = f"{len(trained)} run{'s' * (len(trained) != 1)}", f"{workers} worker{'s' * (workers != 1)}"
    part = f"{100 * sum(trained) / (workers * seconds):.1f} %"
    return f"{done} in {duration(seconds)}, on {many}; training, refreshing and evaluating took {part} of their time"


def listing(queue: Queue, runs: Runs, estimate: Estimate, workers: int) -> str:
    """A line for every run, those of a search together."""
    whole = state(queue, runs, estimate, workers)
    also = ("settings",) if queue.names else ()
    rows = [("data", "mu", "method", "parameters", "budget", *also, "seed", "state", "time")]
    for step in queue.steps:
        spec = queue.resolved(step)
        done = "waits" if spec is None else runs.state(spec)
        result = None if spec is None else runs.result(spec)
        seconds = estimate.seconds(step.spec) if result is None else sum(result["seconds"].values())
        known = spec or step.spec
        mu = "" if known.mu is None else f"{known.mu:g}"
        seed = "search" if known.tuning else str(known.replicate)
        what = (step.dataset, mu, known.expression.name, _parameters(spec, step), known.budget)
        settings = (settings_text(known, queue.names),) if queue.names else ()
        rows.append((*what, *settings, seed, done, duration(seconds)))
    return "\n".join([*aligned(rows), whole])


def _parameters(spec: RunSpec | None, step: Step) -> str:
    if spec is None:
        return "" if step.search is None else step.search.wish if step.number is None else f"trial {step.number + 1}"
    return parameters_text(stated(spec.expression))


def summary(queue: Queue, runs: Runs) -> str:
    """A table of scores for each data set and variant, of the runs that are done."""
    found: dict[tuple[str, RunSpec], dict[str, tuple[RunSpec, dict[str, object]]]] = {}
    for step in queue.steps:
        spec = queue.resolved(step)
        result = None if spec is None or spec.tuning else runs.result(spec)
        if spec is not None and result is not None:
            found.setdefault((step.dataset, spec.variant()), {})[spec.id] = spec, result
    tables = []
    for (dataset, spec), group in found.items():
        like = [s for d, s in found if (d, s.rho, s.mu) == (dataset, spec.rho, spec.mu)]
        title = ", ".join(filter(None, [_variant(dataset, spec), settings_text(spec, differing(like))]))
        tables.append(f"{printable(title)}\n" + text_table([result for _, result in group.values()]))
    return "\n\n".join(tables) or "no run is done"


def _variant(dataset: str, spec: RunSpec) -> str:
    parts = [dataset]
    parts += [f"{name} {value:g}" for name in ("rho", "mu") if (value := getattr(spec, name)) is not None]
    return ", ".join(parts)


def failures(queue: Queue) -> str:
    """What failed and why, and what could not be begun for that."""
    lines = [f"failed: {name}: {error}" for name, error in queue.failures.items()]
    if waiting := queue.waiting():
        lines.append(f"not begun, since every run of the search for their parameters failed: {len(waiting)} runs")
        lines += [f"  {described(step.dataset, step.spec, queue.names)}" for step in waiting[:10]]
    return "\n".join(printable(line) for line in lines)
