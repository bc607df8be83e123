"""What a run means for a decision, kept with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import safe_open

from underdog.data.images import ImageSet
from underdog.decision.answers import Answers
from underdog.decision.figures import decision_report
from underdog.evaluation import Evaluation
from underdog.history import History
from underdog.run.files import write_atomic, write_tensors
from underdog.train import Training

__all__ = ["answers_of", "load_errors", "save_decision"]


def answers_of(images: ImageSet, evaluation: Evaluation) -> Answers:
    """A network's answers to a part of the data."""
    groups = () if images.groups is None else tuple(images.groups)
    return Answers(
        images.classes, images.labels.numpy(), evaluation.logits.astype(np.float64), tuple(images.names), groups
    )


def save_decision(folder: Path, training: Training, history: History, target_precision: float) -> dict[str, Any] | None:
    """The decision report of the best epoch, and ``errors.safetensors`` with the pictures of its worst errors.

    None, and no file, where there is no test part.
    """
    test, classes = training.split.test, training.split.train.classes
    if test is None or history.test is None:
        return None
    report = decision_report(
        answers_of(training.split.val, history.val),
        answers_of(test, history.test),
        training.prior,
        [classes[k] for k in sorted(training.first.minority)],
        target_precision,
    )
    if report["errors"] and test.images.shape[1] in (1, 3):  # features are nothing to look at
        pixels = test.images[[error["image"] for error in report["errors"]]].cpu().contiguous()
        meta = {"plain": json.dumps({"items": [error["item"] for error in report["errors"]]})}
        write_atomic(folder / "errors.safetensors", lambda path: write_tensors(path, {"images": pixels}, meta))
    return report


def load_errors(folder: Path) -> dict[str, npt.NDArray[np.uint8]]:
    """The pictures that ``save_decision`` kept, (C, H, W) uint8 by item; empty without any.

    Raises:
        OSError, ValueError, KeyError, SafetensorError: the file is none of its.
    """
    path = folder / "errors.safetensors"
    if not path.exists():
        return {}
    with safe_open(path, framework="np") as file:
        images, plain = file.get_tensor("images"), json.loads(file.metadata()["plain"])
    if images.dtype != np.uint8 or images.ndim != 4:
        raise ValueError(f"pictures of shape {images.shape} and type {images.dtype}")
    return dict(zip(map(str, plain["items"]), images, strict=True))
