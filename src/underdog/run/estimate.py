"""How long runs will take, before they are made."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import torch

from underdog.data.images import ImageSet
from underdog.data.sources import Source
from underdog.data.split import Split
from underdog.epoch import Epoch
from underdog.methods.method import expected_examples
from underdog.run.execute import Watcher, method_of, split_of, start
from underdog.run.spec import RunSpec
from underdog.train import Training

__all__ = ["Estimate", "image_seconds", "outline"]

#: Updates that are timed, after one that is not.
PROBES = 3

#: Evaluating an image costs a third of training on it.
EVALUATION = 1 / 3
#: What it takes to train on an image depends on these settings.
_PACE = ("data", "model", "width", "depth", "precision", "batch")


def outline(source: Source) -> Source:
    """The source with images of a single pixel: it is divided, and cut, exactly as the source is, at no cost.

    >>> from underdog import load_images
    >>> small = outline(load_images("digits"))
    >>> len(small.train), small.train.shape
    (1797, (1, 1, 1))
    """

    def empty(part: ImageSet | None) -> ImageSet | None:
        return None if part is None else replace(part, images=torch.zeros(len(part), 1, 1, 1, dtype=torch.uint8))

    train = empty(source.train)
    assert train is not None
    return replace(source, train=train, val=empty(source.val), test=empty(source.test))


@dataclass
class Estimate:
    """Seconds for runs: the images that each shows, at the pace of runs like it that are finished, or else are at work, or else
    of a few updates that are timed.

    Args:
        sources: the data sets by fingerprint.
        device: where updates are timed; None where nothing is, and what a run takes is unknown until one like it is at work.
    """

    sources: Mapping[str, Source]
    device: str | None = None
    _outlines: dict[str, Source] = field(default_factory=dict)
    _splits: dict[RunSpec, Split] = field(default_factory=dict)
    _paces: dict[tuple[object, ...], list[float]] = field(default_factory=dict)
    _images: dict[RunSpec, float] = field(default_factory=dict)
    _live: dict[tuple[object, ...], float] = field(default_factory=dict)

    def split(self, spec: RunSpec) -> Split:
        """The run's parts, their pixels left out.

        Raises:
            InputError: the data cannot be divided or cut so.
        """
        about = replace(spec.variant(), data_seed=spec.data_seed, fold=spec.fold)
        if about not in self._splits:
            if spec.data not in self._outlines:
                self._outlines[spec.data] = outline(self.sources[spec.data])
            self._splits[about] = split_of(replace(about, tuning=False), self._outlines[spec.data])
        return self._splits[about]

    def images(self, spec: RunSpec) -> float:
        """Images that the run trains on, all epochs together, and a third of those that it evaluates.

        Raises:
            InputError: the data do not allow the run.
        """
        if spec not in self._images:
            self._images[spec] = self._counted(spec)
        return self._images[spec]

    def _counted(self, spec: RunSpec) -> float:
        split = self.split(spec)
        tested = 0 if spec.tuning or split.test is None else 2 * len(split.test)
        # eps and its like, where they are still to be chosen, make no difference.
        method = method_of(replace(spec, method=str(spec.expression.with_first_values())))
        shown = expected_examples(method, Epoch.of(split.train), spec.epochs)
        return shown + EVALUATION * (spec.epochs * len(split.val) + tested)

    def learn(self, spec: RunSpec, result: Mapping[str, Any]) -> None:
        """Take a finished run into account."""
        self._paces.setdefault(_pace(spec), []).append(sum(result["seconds"].values()) / self.images(spec))

    def observe(self, spec: RunSpec, share: float, seconds: float) -> None:
        """Take into account that this share of a run, above 0, took so long."""
        self._live[_pace(spec)] = seconds / (share * self.images(spec))

    def seconds(self, spec: RunSpec) -> float | None:
        """What the run will take, or None as long as that is unknown."""
        pace = _pace(spec)
        if known := self._paces.get(pace):
            return self.images(spec) * median(known)
        if pace not in self._live and self.device is not None:
            plain = replace(spec, method="baseline", tuning=True)
            self._live[pace] = image_seconds(start(plain, self.sources[spec.data], self.device, Watcher()))
        return self.images(spec) * self._live[pace] if pace in self._live else None

    def left(self, waiting: Iterable[RunSpec], running: Iterable[tuple[RunSpec, float]], workers: int) -> float | None:
        """What some runs and the rest of those at work, of which a share is done, will take together; None if that is unknown."""
        each = [(self.seconds(spec), 1.0) for spec in waiting] + [(self.seconds(s), 1 - done) for s, done in running]
        known = [seconds * share for seconds, share in each if seconds is not None]
        return max(sum(known) / workers, max(known, default=0)) if len(known) == len(each) else None


def _pace(spec: RunSpec) -> tuple[object, ...]:
    return tuple(getattr(spec, name) for name in _PACE)


def image_seconds(training: Training) -> float:
    """Seconds that it takes to train on an image, by a few updates."""
    learner, batch = training.learner, training.hyper.batch
    rows = training.first.index[:batch]
    x, y = training.first.show(rows), torch.from_numpy(training.first.labels[rows]).to(learner.device)
    learner.step(x, y)
    learner.flush(check=False)  # which waits for the device
    begin = time.perf_counter()
    for _ in range(PROBES):
        learner.step(x, y)
    learner.flush(check=False)
    return (time.perf_counter() - begin) / (PROBES * len(rows))
