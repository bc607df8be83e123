"""``underdog demo``: a comparison on images that come with a dependency."""

from __future__ import annotations

from dataclasses import replace

from underdog.cli.arguments.runs import DEMO, DEMO_EPS, DEMO_METHODS, DEMO_SEEDS
from underdog.cli.common import Options, devices_of_workers, note_precision, say, writable
from underdog.cli.compare import compare_runs
from underdog.data.sources import load_images
from underdog.experiments.comparison import comparison, with_searches
from underdog.methods.expression import parse
from underdog.reporting.methods import eps_text
from underdog.run.folders import occupied
from underdog.run.spec import RunSpec

__all__ = ["run"]


def run(options: Options) -> None:
    """Carry out the command."""
    names = devices_of_workers(options)
    writable(options.output)
    chosen = f"eps = {eps_text(DEMO_EPS)} was chosen on validation images of a seed that is not among these (docs/results.md)"
    with occupied(options.out):
        note_precision(options.precision, names[0])
        source = replace(load_images("digits"), notes=(chosen,))
        methods = [parse(name) for name in DEMO_METHODS]
        methods = [method.set({"eps": DEMO_EPS}) if method.missing else method for method in methods]
        base = RunSpec(source.fingerprint, "baseline", precision=options.precision, **DEMO)  # type: ignore[arg-type]
        say(chosen)
        compare_runs(with_searches(comparison(base, methods, DEMO_SEEDS)), source, names, options)
