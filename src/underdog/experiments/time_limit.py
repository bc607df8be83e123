"""A time in which as many runs are made as fit, whole replicates first."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from underdog.run.estimate import Estimate
from underdog.run.queue import Queue, Step
from underdog.run.spec import Replicate

__all__ = ["TimeLimit"]


@dataclass
class TimeLimit:
    """Lets a replicate begin only if all of its runs are likely to be done in time, so that what is done can be paired.

    The first replicate always begins, with the searches before it.

    Attributes:
        seconds: from now on.
        queue: the runs.
        estimate: of their time.
        workers: runs at once.
        clock: seconds since any moment.
    """

    seconds: float
    queue: Queue
    estimate: Estimate
    workers: int
    clock: Callable[[], float] = time.monotonic
    _begun: set[Replicate] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._end = self.clock() + self.seconds

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.clock() >= self._end

    def allows(self, step: Step) -> bool:
        """Whether a run may begin."""
        if step.spec.tuning or step.spec.replicate in self._begun:
            return not self.over
        if self._begun and not self._fits(step.spec.replicate):
            return False
        self._begun.add(step.spec.replicate)
        return not self.over

    def _fits(self, replicate: Replicate) -> bool:
        begun = [s.spec for s in self.queue.waiting() if s.spec.replicate in self._begun]
        these = [s.spec for s in self.queue.waiting() if s.spec.replicate == replicate]
        left = self.estimate.left([*begun, *these], self.queue.running.values(), self.workers)
        return left is not None and self.clock() + left < self._end
