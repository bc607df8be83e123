"""``underdog compare``: several methods, several seeds, one report."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from underdog.cli.common import (
    Options,
    devices_of_workers,
    local_engine,
    methods_of,
    note_precision,
    read,
    say,
    spec_of,
    writable,
)
from underdog.cli.report import page
from underdog.data.sources import Source
from underdog.decision.rule import check_target
from underdog.experiments.comparison import comparison, tuned_text, with_searches
from underdog.experiments.experiment import Experiment
from underdog.methods.expression import parse
from underdog.reporting.terminal import printable
from underdog.reporting.text import text_table
from underdog.run.folders import occupied
from underdog.run.queue import steps
from underdog.run.search import PlannedRun
from underdog.run.tune import all_tuned, study_of
from underdog.validate import check_positive

__all__ = ["compare_runs", "run"]


def run(options: Options) -> None:
    """Carry out ``compare``."""
    names = devices_of_workers(options)
    check_positive("seeds", options.seeds, whole=True)
    check_target(options.target_precision)
    options.fold = None if options.folds is None else 0  # of the first run; the others get theirs
    methods = methods_of(options, options.methods)
    early = comparison(spec_of(options, parse("baseline"), ""), methods, options.seeds, options.data_seed)
    for spec in early if options.tuned else ():
        study_of(spec, 1)  # which refuses folds
    if not options.tuned:
        with_searches(early)  # which says what is missing
    writable(options.output)
    with occupied(options.out):
        note_precision(options.precision, names[0])
        source = read(options, names[0], len(names))
        specs = [replace(spec, data=source.fingerprint) for spec in early]
        if options.tuned:
            specs = all_tuned(specs, options.out, options.budget)
            say(tuned_text(specs))
        compare_runs(with_searches(specs), source, names, options)


def compare_runs(planned: list[PlannedRun], source: Source, names: list[str], options: Options) -> None:
    """Make the runs, a table of their scores, and a report."""
    specs = [one.spec for one in planned]
    experiment = Experiment.of(steps(planned), {"": source}, options.out, say, target=options.target_precision)
    for note in experiment.notes:
        say(f"note: {printable(note)}")
    methods, seeds = len({spec.setting for spec in specs}), len({(spec.seed, spec.data_seed) for spec in specs})
    folds = f" x {specs[0].folds} folds" if specs[0].folds else ""
    experiment.make(
        partial(local_engine, names, options),
        say,
        what=f"{methods} method{'s' * (methods != 1)}, {seeds} seed{'s' * (seeds != 1)}{folds}",
        bars=True,
        limit=options.time,
        shorter="fewer --seeds, --methods or --epochs, a smaller --size or --width, or --time 30m, which makes what fits",
    )
    if found := experiment.results():
        if note := experiment.left_out():
            say(f"\nnote: {note}")
        say(f"\n{text_table([result for _, result in found])}\n")
        page([options.out / spec.id for spec, _ in found], options.output, options.target_precision)
    experiment.check(say)
