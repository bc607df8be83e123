"""What experiments say: how many runs there are, what is left to do, and the scores."""

from __future__ import annotations

from collections.abc import Sequence

from underdog.reporting.terminal import printable
from underdog.reporting.text import text_table
from underdog.reporting.words import duration
from underdog.run.engine import Outcome
from underdog.run.estimate import Estimate
from underdog.run.folders import Runs
from underdog.run.queue import Queue, described
from underdog.run.spec import RunSpec, differing, settings_text

__all__ = ["failures", "seconds_left", "share", "state", "summary", "time_left"]


def seconds_left(queue: Queue, estimate: Estimate, workers: int) -> float | None:
    """What the runs that are not done will take; None as long as that is unknown."""
    return estimate.left((step.spec for step in queue.waiting()), queue.running.values(), workers)


def time_left(queue: Queue, estimate: Estimate, workers: int) -> str:
    """The same in words, "about 3 min"; "" as long as it is unknown."""
    seconds = seconds_left(queue, estimate, workers)
    return "" if seconds is None else f"about {duration(seconds)}"


def state(queue: Queue, runs: Runs, estimate: Estimate, workers: int | None, what: str = "") -> str:
    """How many runs there are, how many of them are done, and the time that the others will take if that is known.

    Args:
        queue, runs, estimate: of an experiment.
        workers: runs at once; None where nothing is to be made.
        what: the runs in words, such as "3 methods, 2 seeds".
    """
    for step in queue.steps:
        spec = queue.resolved(step)
        if spec is not None and (result := runs.result(spec)) is not None:
            estimate.learn(spec, result)
    waiting = queue.waiting()
    searches = sum(step.spec.tuning for step in queue.steps)
    reported, done = len(queue.steps) - searches, len(queue.steps) - len(waiting)
    numbers = f"{reported} runs" + (f" ({what})" if what else "")
    if searches:
        numbers += f" and {searches} that choose parameters" if reported else ""
        numbers = numbers if reported else f"{searches} runs ({what})"
    if not waiting:
        return f"{numbers}, {done} of them done; nothing to do"
    left = time_left(queue, estimate, workers or 1)
    left = f"{left} for the others, on " if left else "on "
    return f"{numbers}, {done} of them done; {left}{_many(workers or 1, 'worker')}"


def _many(n: int, thing: str) -> str:
    return f"{n} {thing}{'s' * (n != 1)}"


def share(outcomes: Sequence[Outcome], runs: Runs, seconds: float, workers: int) -> str:
    """How much of the workers' time, in all ``seconds``, was the training of the runs that were finished in it."""
    results = [(o, runs.result(o.job.spec)) for o in outcomes if not o.error]
    # No more than the run took here: it may have begun in an earlier call.
    trained = [min(o.seconds, sum(r["seconds"].values()) - r["seconds"]["data"]) for o, r in results if r is not None]
    done, at_once = _many(len(trained), "run"), _many(workers, "worker")
    part = f"{100 * sum(trained) / (workers * seconds):.1f} %"
    return f"{done} in {duration(seconds)}, on {at_once}; training, refreshing and evaluating took {part} of their time"


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
    """What failed and why, and what could not be begun for that; "" where nothing failed."""
    if not queue.failures:
        return ""
    lines = [f"failed: {name}: {error}" for name, error in queue.failures.items()]
    if waiting := [step for step in queue.waiting() if queue.resolved(step) is None]:
        lines.append(f"not begun, since every run of the search for their parameters failed: {len(waiting)} runs")
        lines += [f"  {described(step.dataset, step.spec, queue.names)}" for step in waiting[:10]]
    return "\n".join(printable(line) for line in lines)
