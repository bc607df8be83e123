"""A problem's settings, notes and searches in words."""

from __future__ import annotations

from collections.abc import Mapping

from underdog.methods.parameters import Value
from underdog.metrics import G_MEAN_CORRECTION
from underdog.reporting.methods import value_text
from underdog.reporting.problem import Problem
from underdog.reporting.searches import PARAMETER_NAMES, Search
from underdog.reporting.words import enumerated, plural, thousands
from underdog.run.spec import RunSpec

__all__ = ["DEFINITIONS", "notes", "searched", "settings", "updates_remark", "values_text"]

DEFINITIONS: dict[str, str] = {
    "recall": "Of a class's images, the share that the network recognised.",
    "macro-F1": "Mean over classes of F1, the harmonic mean of a class's precision and recall (0 where nothing is right).",
    "G-mean": "Geometric mean of the recalls; 0 as soon as one class is never recognised.",
    "G-mean, corrected": f"The same with {G_MEAN_CORRECTION:g} in the place of a recall of 0.",
    "zero-recall classes": "Number of classes that were never recognised, mean over seeds.",
    "balanced accuracy": "Arithmetic mean of the recalls.",
    "recall, rare classes": "Mean of the recalls of the classes that are rare with that seed; other classes likewise.",
    "best epoch": "The epoch with the highest macro-F1 on validation images, the first of equals.",
    "updates": "Steps of the optimiser over the whole training.",
    "images shown": "Training examples shown over the whole training, repeats counted.",
    "altered images": "Those of them that were shown altered.",
    "mean ± SD": "Over seeds, with the sample standard deviation (n \N{MINUS SIGN} 1).",
    "paired difference": "Macro-F1 of a method minus another's with the same seed, so with the same data and first weights.",
}  # fmt: skip


def updates_remark(problem: Problem) -> str:
    """Whether the methods took equally many steps."""
    means = {label: own.mean for label, m in problem.methods.items() if (own := m.cost["updates"])}
    low, high = min(means.values()), max(means.values())
    fewest, most = (enumerated([label for label, mean in means.items() if mean == end]) for end in (low, high))
    epochs = ("at most " if problem.settings.early_stopping else "") + plural(problem.settings.epochs, "epoch")
    if low == high:
        return f"Every method was trained for {epochs}, which took {thousands(low)} updates."
    return (
        f"The budget is equal epochs, not equal updates: each method was trained for {epochs}, which took "
        f"from {thousands(low)} updates ({fewest}) to {thousands(high)} ({most}). "
        "Part of a difference between methods may come from that."
    )


def settings(problem: Problem) -> dict[str, str]:
    """Data, settings and surroundings of the runs; where runs differ, every value."""
    spec = problem.settings
    parts = [f"{part} {' or '.join(map(thousands, own))}" for part, own in problem.images.items() if own]
    facts = {
        "source": " or ".join(problem.sources),
        "data fingerprint": spec.data,
        "images": " \N{MULTIPLICATION SIGN} ".join(map(str, problem.image_shape)) + " (channels, height, width)",
        "images in each part": ", ".join(parts),
        "rare classes": _rare_classes(problem),
        "imbalance": _induced(spec),
        "seeds": ", ".join(map(str, problem.replicates)),
        "epochs": str(spec.epochs),
        "learning rate": f"{spec.lr:g}",
        "batch": plural(spec.batch, "image") + (f", shared by {spec.devices} devices" if spec.devices > 1 else ""),
        "network": f"{spec.model}, width {spec.width:g}" + (f", depth {spec.depth}" if spec.depth else ""),
        "precision": spec.precision,
        "revision": f"{spec.revision} (runs of another revision of underdog's arithmetic are not comparable)",
    }
    return facts | {name: " or ".join(own) for name, own in problem.environment.items()}


def _rare_classes(problem: Problem) -> str:
    sets = set(problem.rare)
    if len(sets) > 1:
        return f"{plural(len(sets), 'choice')} over the seeds, see the recall of each class"
    return ", ".join(problem.rare[0]) or "none"


def _induced(spec: RunSpec) -> str:
    if spec.rho is None:
        return "none induced: natural counts"
    which = (
        f"mu = {spec.mu:g} of the classes made rare"
        if spec.minority is None and spec.mu is not None
        else "the named classes made rare"
    )
    size = "" if spec.majority_size is None else f", of {thousands(spec.majority_size)} training images each"
    return f"induced: {which}, to 1/{spec.rho:g} of the others{size} (rho = {spec.rho:g})"


def notes(problem: Problem) -> dict[str, str]:
    """What runs remarked, and how many of them did."""
    found = {note.text: f"{note.runs} of {plural(problem.runs, 'run')}" for note in problem.notes}
    if problem.altered_rows:
        share = f"{thousands(problem.unmoved_rows)} of {thousands(problem.altered_rows)}"
        found["altered images that do not differ from their originals"] = share
    return found


def searched(search: Search) -> str:
    """The parameters that a search tried."""
    return ", ".join(PARAMETER_NAMES.get(name, name) for name in search.tried[0].values)


def values_text(values: Mapping[str, Value]) -> str:
    """The values of a trial, in the order of ``searched``."""
    return ", ".join(value_text(name, value) for name, value in values.items())
