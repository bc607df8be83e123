"""Which runs a grid's tables count, and what their data sets are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from underdog.reporting.collect import UNREADABLE, Aside, Run, reason
from underdog.reporting.words import plural
from underdog.run.files import read_json

__all__ = ["Names", "dataset_names", "of_these_data", "reported"]


def reported(runs: Iterable[Run]) -> tuple[tuple[Run, ...], tuple[Aside, ...]]:
    """The runs that have test images, and the others with the reason why no table counts them."""
    runs = tuple(runs)
    why = "it has no test images; a run that chose a setting is not reported"
    return tuple(r for r in runs if r.part == "test"), tuple(Aside(r.name, why) for r in runs if r.part != "test")


@dataclass(frozen=True)
class Names:
    """What the ``grid.json`` in a folder of runs says of data sets, by fingerprint.

    Attributes:
        now: the names of those that there are.
        before: the names of those that there were, before their images changed.
        asides: why nothing is known, if the file cannot be read.
    """

    now: Mapping[str, str]
    before: Mapping[str, str]
    asides: tuple[Aside, ...] = ()


def dataset_names(home: Path) -> Names:
    """The names of data sets; none without the file."""
    path = home / "grid.json"
    if not path.exists():
        return Names({}, {})
    try:
        known = {str(name): own for name, own in read_json(path)["datasets"].items()}
        now = {str(own["fingerprint"]): name for name, own in known.items()}
        before = {str(f): name for name, own in known.items() for f in own.get("before", []) if f not in now}
    except UNREADABLE as error:
        return Names({}, {}, (Aside(path.name, f"data sets are named after their sources; {reason(error)}"),))
    return Names(now, before)


def of_these_data(runs: Iterable[Run], names: Names) -> tuple[tuple[Run, ...], tuple[Aside, ...]]:
    """The runs on data sets as they are, and how many there are of each as it was."""
    runs = tuple(runs)
    old = Counter(names.before[r.spec.data] for r in runs if r.spec.data in names.before)
    why = 'of the images that {} had before they changed, by grid.json\'s "before"; not counted'
    return (
        tuple(r for r in runs if r.spec.data not in names.before),
        tuple(Aside(plural(n, "run"), why.format(name)) for name, n in old.items()),
    )
