"""What a training leaves behind: a record of each epoch, and the evaluations at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from underdog.evaluation import Evaluation
from underdog.metrics import Metrics

__all__ = ["EpochRecord", "History"]


@dataclass(frozen=True, eq=False)
class EpochRecord:
    """One epoch as it went.

    Attributes:
        epoch: its number, from 0.
        loss: mean training loss of its images.
        val: scores on the validation part after it.
        updates, images: steps of the optimiser, and examples shown.
        altered_images: examples that showed an altered image.
        altered_rows: distinct altered images.
        zero_gradients: altered images that do not differ from their originals.
        refreshed: whether the altered images were made anew before this epoch.
        prior: (K,) class frequencies, up to a factor, that the logits speak for after it.
        seconds: time by phase (refresh, train, evaluate).
    """

    epoch: int
    loss: float
    val: Metrics
    updates: int
    images: int
    altered_images: int
    altered_rows: int
    zero_gradients: int
    refreshed: bool
    prior: tuple[float, ...]
    seconds: Mapping[str, float]

    def to_json(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """Plain data, one line of ``epochs.jsonl``."""
        own = {k: getattr(self, k) for k in self.__dataclass_fields__}
        return own | {"val": self.val.to_json(classes), "seconds": dict(self.seconds)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> EpochRecord:
        """The record that ``to_json`` described."""
        return cls(**dict(data) | {"val": Metrics(np.array(data["val"]["confusion"])), "prior": tuple(data["prior"])})


@dataclass(frozen=True, eq=False)
class History:
    """A finished training.

    Attributes:
        records: one for each epoch.
        best_epoch: the epoch with the highest validation macro-F1, the first of equals.
        val, last_epoch_val: evaluations of the validation part, at the best and the last epoch.
        test, last_epoch_test: the same of the test part, or None where there is none.
        notes: remarks on what was shown, the model and how it was trained.
    """

    records: tuple[EpochRecord, ...]
    best_epoch: int
    val: Evaluation
    last_epoch_val: Evaluation
    test: Evaluation | None
    last_epoch_test: Evaluation | None
    notes: tuple[str, ...] = ()
