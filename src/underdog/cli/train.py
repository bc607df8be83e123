"""``underdog train``: one method, one run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from underdog.cli.common import Options, device, methods_of, note_precision, read, say, spec_of
from underdog.cli.devices import devices, on_all
from underdog.cli.progress import watching
from underdog.data.sources import Source
from underdog.decision.rule import check_target
from underdog.experiments.comparison import tuned_text, with_searches
from underdog.experiments.experiment import Experiment
from underdog.ranks import ALONE, Ranks
from underdog.reporting.terminal import aligned, printable
from underdog.reporting.words import duration
from underdog.run.engine import Job, Serial
from underdog.run.estimate import Estimate
from underdog.run.execute import Watcher, execute, finished, split_of, try_network
from underdog.run.queue import steps_of
from underdog.run.search import Search
from underdog.run.space import TUNING_SEED
from underdog.run.spec import RunSpec
from underdog.run.tune import all_tuned
from underdog.validate import check_positive

__all__ = ["run"]


def run(options: Options, ranks: Ranks = ALONE) -> None:
    """Carry out the command, as one of several ranks where the run has several devices."""
    check_positive("devices", options.devices, whole=True)
    names = devices(device(options.device), options.devices)
    on = names[ranks.rank]
    check_target(options.target_precision)
    # Before the source is read, which may take long: a wrong setting fails at once.
    early = spec_of(options, methods_of(options, [options.method])[0], "")
    early = replace(early, seed=options.seed, data_seed=options.data_seed)
    if not options.tuned:
        with_searches([early])
    note_precision(options.precision, on)
    if ranks.world < len(names):
        on_all(run, options, names)  # whose processes come here again
        return
    source = read(options, on, ranks.world)
    spec = replace(early, data=source.fingerprint)
    for note in split_of(spec, source).notes:
        say(f"note: {printable(note)}")
    if options.tuned:
        (spec,) = all_tuned([spec], options.out, options.budget)
        say(tuned_text([spec]))
    (entry,) = with_searches([spec])
    if entry.search is not None:
        spec = _searched(spec, entry.search, source, options, on, ranks)
    name = f"{spec.method} seed {spec.seed}"
    if (result := finished(options.out / spec.id, spec)) is not None:
        say(f"{name}: finished before")
        execute(spec, source, options.out, on, ranks=ranks)  # which only tidies up
    else:
        with watching(name, spec.epochs) as watcher:
            result = execute(spec, source, options.out, on, watcher, options.target_precision, ranks)
        if ranks.rank == 0:
            say(f"{name}: {_scores(result)}")
    if ranks.rank == 0:
        say(_recalls(result))
        say(f"saved in {options.out / spec.id}")


def _searched(spec: RunSpec, search: Search, source: Source, options: Options, on: str, ranks: Ranks) -> RunSpec:
    """The run with the eps that validation chooses; the cost is said first."""
    try_network(spec, source.train)  # what the data do not allow shows before a search
    Estimate({source.fingerprint: source}).images(spec)
    say(
        f"no --eps: choosing it on validation takes {len(search)} more runs of {spec.expression.name} (seed {TUNING_SEED}, not "
        "reported)"
    )
    trials = Experiment.of(steps_of("", search), {"": source}, options.out, say, write=ranks.rank == 0, apart=False)
    trials.make(lambda sources: Serial(sources, on, _watched, ranks), say, what="of the search")
    found = search.applied(spec, trials.queue.score)
    assert found is not None  # a run that fails is an error here
    return found


def _watched(job: Job) -> AbstractContextManager[Watcher]:
    return watching(job.name, job.spec.epochs)


def _scores(result: Mapping[str, Any]) -> str:
    scores = result["test"] or result["val"]
    return (
        f"macro-F1 {scores['macro_f1']:.4f}, G-mean {scores['g_mean']:.4f} on {'test' if result['test'] else 'validation'} images "
        f"(best epoch {result['best_epoch'] + 1} of {result['spec']['epochs']}, {result['updates']} updates, "
        f"{duration(sum(result['seconds'].values()))})"
    )


def _recalls(result: Mapping[str, Any]) -> str:
    """Per-class recalls, rare classes marked with a star."""
    recall, counts, rare = result["test"]["recall"], result["counts"]["train"], result["minority"]
    rows = [(c, "*" if c in rare else "", f"{r:.3f}", f"{counts[c]}") for c, r in recall.items()]
    lines = aligned([("class", "", "recall", "training images"), *rows])
    return "\n".join([*lines, "(* rare)"] if rare else lines)
