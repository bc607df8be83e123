"""The folder of a grid's runs: who uses it, which runs are done, what is none, and what went wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from underdog.data.sources import Source
from underdog.errors import InputError
from underdog.run.engine import Outcome
from underdog.run.execute import whole_result
from underdog.run.files import read_json, write_json
from underdog.run.grid import Grid
from underdog.run.spec import RunSpec
from underdog.run.state import STATE

__all__ = ["Runs", "occupied", "record_data"]

#: Where folders go that hold something else than the run whose name they have.
ASIDE = "set-aside"
FAILED = "failed.json"
LOCK = ".lock"
RECORD = "grid.json"
#: What looking into a file raises that is no run's.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


@contextmanager
def occupied(out: Path) -> Iterator[None]:
    """While this command alone works in a folder of runs, which is not left behind where nothing came into it.

    Raises:
        InputError: another one does, or the folder cannot be made.
    """
    new = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise InputError(f"{out} is in use by another command: wait for it, or choose another --out") from None
    except OSError as error:
        raise InputError(f"{out} cannot be written: {error.strerror or error}") from error
    try:
        yield
    finally:
        (out / LOCK).unlink(missing_ok=True)
        lock.release()
        for folder in new:
            if [*folder.iterdir()]:
                break
            folder.rmdir()


@dataclass
class Runs:
    """What is known of runs by their folders; every result is looked at once.

    Args:
        out: folder of runs.
        check: raises where a result lacks what reports need.
        move: whether a folder that is no run's is set aside, so that the run can be made; otherwise it is only named.
        say: told about those.
    """

    out: Path
    check: Callable[[Mapping[str, Any]], object]
    move: bool
    say: Callable[[str], object]
    _results: dict[Path, dict[str, Any]] = field(default_factory=dict)
    _strange: set[Path] = field(default_factory=set)

    def home(self, spec: RunSpec) -> Path:
        """The folder that the run's own folder is in."""
        return self.out / "tuning" if spec.tuning else self.out

    def folder(self, spec: RunSpec) -> Path:
        """The run's own folder."""
        return self.home(spec) / spec.id

    def result(self, spec: RunSpec) -> dict[str, Any] | None:
        """The result of a run that is done and whole, or None."""
        folder = self.folder(spec)
        if folder not in self._results:
            try:
                result = whole_result(folder, spec)
                if result is not None:
                    self.check(result)
                    self._results[folder] = result
            except UNREADABLE as error:
                self._aside(folder, error)
        return self._results.get(folder)

    def state(self, spec: RunSpec) -> str:
        """How far the run is, in a word or two."""
        folder = self.folder(spec)
        if self.result(spec) is not None:
            return "done"
        if folder in self._strange:
            return "to be set aside"
        if (folder / FAILED).exists():
            return "failed"
        if (folder / STATE).exists():
            return "begun"
        return ""

    def ended(self, outcome: Outcome) -> None:
        """Keep why a run failed beside what there is of it; forget why it did once it is done."""
        path = outcome.job.folder / FAILED
        if outcome.error:
            when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            write_json(path, {"error": outcome.error, "details": outcome.details, "when": when})
        else:
            path.unlink(missing_ok=True)

    def of_data(self, fingerprint: str) -> int:
        """How many runs there are of these images."""
        found = 0
        for path in [*self.out.glob("*/spec.json"), *self.out.glob("tuning/*/spec.json")]:
            try:
                found += read_json(path)["data"] == fingerprint
            except UNREADABLE:
                continue
        return found

    def _aside(self, folder: Path, error: Exception) -> None:
        if folder in self._strange:
            return
        self._strange.add(folder)
        reason = f"no field {error}" if isinstance(error, KeyError) else str(error)
        if not self.move:
            self.say(f"{folder} is not the run that its name says ({reason}): it will be set aside")
            return
        number = 0
        while (place := folder.with_name(ASIDE) / f"{folder.name}{f'-{number}' if number else ''}").exists():
            number += 1
        place.parent.mkdir(exist_ok=True)
        folder.rename(place)
        self._strange.discard(folder)
        self.say(f"{folder} is not the run that its name says ({reason}): set aside as {place}, and made anew")


def record_data(out: Path, grid: Grid, sources: Mapping[str, Source], write: bool) -> dict[str, str]:
    """Keep in ``grid.json`` which images the data sets are; the fingerprints of those that were others before, by name.

    The file has {"name", "about", "deviations", "datasets": {name: {"fingerprint", "source", "before"}}}, the last a list of
    earlier fingerprints, of the newest grid in the folder; data sets of others stay.
    """
    try:
        before: dict[str, Any] = dict(read_json(out / RECORD)["datasets"])
        known = {name: str(old["fingerprint"]) for name, old in before.items()}
        earlier = {name: [str(f) for f in old.get("before", [])] for name, old in before.items()}
    except UNREADABLE:
        before, known, earlier = {}, {}, {}
    changed = {name: known[name] for name, s in sources.items() if known.get(name, s.fingerprint) != s.fingerprint}
    if write:
        for name, source in sources.items():
            old = [f for f in earlier.get(name, []) if f != source.fingerprint]
            old += [changed[name]] if name in changed else []
            before[name] = {"fingerprint": source.fingerprint, "source": source.name, "before": old}
        about = {"name": grid.name, "about": grid.about, "deviations": list(grid.deviations)}
        write_json(out / RECORD, about | {"datasets": before})
    return changed
