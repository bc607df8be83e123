"""How long runs will take, before they are made."""

from __future__ import annotations

import time
from collections.abc import Mapping
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
    """Seconds for runs: the images that each shows, at the pace of runs that are finished, or else of a few timed updates.

    Args:
        sources: the data sets by fingerprint.
        device: where runs without finished ones beside them are timed.
    """

    sources: Mapping[str, Source]
    device: str
    _outlines: dict[str, Source] = field(default_factory=dict)
    _splits: dict[RunSpec, Split] = field(default_factory=dict)
    _paces: dict[tuple[object, ...], list[float]] = field(default_factory=dict)
    _probes: dict[tuple[object, ...], float] = field(default_factory=dict)

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
        """Images that the run trains on, all epochs together, and a third of those that it evaluates."""
        split = self.split(spec)
        tested = 0 if spec.tuning or split.test is None else 2 * len(split.test)
        # eps and its like, where they are still to be chosen, make no difference.
        method = method_of(replace(spec, method=str(spec.expression.with_first_values())))
        shown = expected_examples(method, Epoch.of(split.train), spec.epochs)
        return shown + EVALUATION * (spec.epochs * len(split.val) + tested)

    def learn(self, spec: RunSpec, result: Mapping[str, Any]) -> None:
        """Take a finished run into account."""
        self._paces.setdefault(_pace(spec), []).append(sum(result["seconds"].values()) / self.images(spec))

    def seconds(self, spec: RunSpec) -> float:
        """What the run will take."""
        pace = _pace(spec)
        if known := self._paces.get(pace):
            return self.images(spec) * median(known)
        if pace not in self._probes:
            plain = replace(spec, method="baseline", tuning=True)
            training = start(plain, self.sources[spec.data], self.device, Watcher())
            self._probes[pace] = image_seconds(training)
        return self.images(spec) * self._probes[pace]


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
