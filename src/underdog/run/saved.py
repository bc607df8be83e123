"""The one reader of a finished run: its ``result.json``, believed only after it is checked, and its curves."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError

from underdog.data.frozen import FrozenNetwork
from underdog.data.reading import Reading
from underdog.decision.rule import DecisionRule
from underdog.errors import InputError, nearest
from underdog.metrics import Metrics
from underdog.run.files import read_json
from underdog.run.spec import Replicate, RunSpec

__all__ = ["UNREADABLE", "Curve", "Run", "open_run", "read_curve", "read_run", "reason", "run_of"]

#: What reading a file that is truncated, or no run's, may raise.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, SafetensorError)
#: Pixels on a side of what a network sees, at most: no run of ours comes near, and a hostile one asks for more.
LARGEST = 4096
PHASES = ("data", "start", "refresh", "train", "evaluate")


@dataclass(frozen=True)
class Curve:
    """A training epoch by epoch: (T,) macro-F1 on validation images, and (T,) mean training loss."""

    val_macro_f1: tuple[float, ...]
    loss: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run.

    Attributes:
        name: of its folder.
        spec: its settings.
        source, classes, image_shape: of its data; K classes, and (C, H, W) pixels.
        reading: the size that images are brought to, and how.
        minority: numbers of the rare classes.
        train, shown: (K,) training images of each class, before and after resampling.
        sizes: images in the training, validation and test parts.
        part: which images ``best`` and ``last`` are of: "test", or "validation" where there is no test part.
        best, last: scores at the best epoch by validation macro-F1, and at the last epoch.
        best_epoch: counted from 0.
        prior: (K,) class frequencies that the logits speak for.
        adjusted: whether the method does something to the network's logits.
        updates, images_seen, altered_images, altered_rows, zero_gradients: totals over the training.
        notes, environment: as the run left them.
        seconds: time by phase.
        frozen: the network whose features it was trained on; None where that were images.
        rule: what it chose for decisions, or None without a test part.
        folder: where it lies, or None.
        curve: its epochs, or None where they were not read.
    """

    name: str
    spec: RunSpec
    source: str
    classes: tuple[str, ...]
    image_shape: tuple[int, int, int]
    reading: Reading
    minority: frozenset[int]
    train: tuple[int, ...]
    shown: tuple[int, ...]
    sizes: Mapping[str, int]
    part: str
    best: Metrics
    last: Metrics
    best_epoch: int
    prior: tuple[float, ...]
    adjusted: bool
    updates: int
    images_seen: int
    altered_images: int
    altered_rows: int
    zero_gradients: int
    notes: tuple[str, ...]
    environment: Mapping[str, str]
    seconds: Mapping[str, float]
    frozen: FrozenNetwork | None
    rule: DecisionRule | None
    folder: Path | None = None
    curve: Curve | None = None

    @property
    def key(self) -> Replicate:
        """What runs of different methods share when they are paired."""
        return self.spec.replicate

    @property
    def rare(self) -> tuple[str, ...]:
        """Names of the rare classes."""
        return tuple(self.classes[k] for k in sorted(self.minority))


def run_of(result: Mapping[str, Any], name: str = "", folder: Path | None = None) -> Run:
    """The run that a ``result.json`` describes.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OverflowError: it is no run's result.
    """
    spec = RunSpec.from_json(result["spec"])
    classes, rare = _names("classes", result["classes"]), _names("minority", result["minority"])
    if len(classes) < 2 or not set(rare) <= set(classes):
        raise InputError("classes must be at least two, the rare ones among them")
    shape, reading = _seen(result)
    if not isinstance(result["adjusted"], bool):
        raise InputError("adjusted must be true or false")
    rule, counts = _rule(result.get("decision"), classes), result["counts"]
    train = _counts(counts["train"], classes)
    part, prefix = ("test", "test") if result["test"] is not None else ("validation", "val")
    return Run(
        name=name or spec.id,
        spec=spec,
        source=str(result["source"]),
        classes=classes,
        image_shape=shape,
        reading=reading,
        minority=frozenset(map(classes.index, rare)),
        train=train,
        shown=_counts(counts["shown"], classes),
        sizes={p: sum(_counts(counts[p], classes)) for p in ("train", "val", "test") if counts[p] is not None},
        part=part,
        best=_metrics(result[prefix], len(classes)),
        last=_metrics(result[f"last_epoch_{prefix}"], len(classes)),
        best_epoch=int(result["best_epoch"]),
        prior=_prior(result["prior"], len(classes)),
        adjusted=result["adjusted"],
        updates=int(result["updates"]),
        images_seen=int(result["images_seen"]),
        altered_images=int(result["altered_images"]),
        altered_rows=int(result["altered_rows"]),
        zero_gradients=int(result["zero_gradients"]),
        notes=tuple(str(n) for n in result["notes"]),
        environment={str(k): str(v) for k, v in result["environment"].items()},
        seconds={p: float(result["seconds"][p]) for p in PHASES},
        frozen=result.get("frozen") and FrozenNetwork.from_json(result["frozen"]),
        rule=rule,
        folder=folder,
    )


def read_run(folder: Path) -> Run:
    """The run in a folder, which is the one that ``spec.json`` beside its result, or the folder's name, says.

    Raises:
        One of ``UNREADABLE``: there is no such run; ``reason`` has it in words.
    """
    run = run_of(read_json(folder / "result.json"), folder.name, folder)
    if (folder / "spec.json").exists() and RunSpec.from_json(read_json(folder / "spec.json")) != run.spec:
        raise InputError("it is not the run in spec.json")
    if re.fullmatch(r".+-s\d+-[0-9a-f]{12}", folder.name) and folder.name != run.spec.id:
        raise InputError("it is not the run that the folder's name says")
    return run


def open_run(folder: Path) -> Run:
    """The run in a folder that somebody named, wherever it was moved since.

    Raises:
        InputError: no finished run, or a result.json that is none.
    """
    path = folder / "result.json"
    if not path.is_file():
        raise InputError(_no_run(folder))
    try:
        result = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    try:
        run = run_of(result, folder=folder)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path} is not a run's result: {reason(error)}") from error
    return run


def _no_run(folder: Path) -> str:
    """What a folder without a result is."""
    if (folder / "spec.json").is_file():
        return f"run {str(folder)!r} is not finished: give its command again, and it resumes"
    if inside := sorted(path.parent.name for path in folder.glob("*/result.json")):
        some = ", ".join(inside[:5]) + (", ..." if len(inside) > 5 else "")
        return f"{str(folder)!r} is a folder of {len(inside)} runs: name one of them ({some})"
    beside = [path.name for path in folder.parent.glob("*/")]
    return f"{str(folder)!r} is no finished run (a folder with result.json){nearest(folder.name, beside)}"


def read_curve(run: Run) -> Run:
    """The run with its epochs.

    Raises:
        One of ``UNREADABLE``: its ``epochs.jsonl`` is missing, or another's.
    """
    assert run.folder is not None
    text = (run.folder / "epochs.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    if len(lines) != run.spec.epochs:
        raise InputError(f"{len(lines)} epochs instead of {run.spec.epochs}")
    curve = Curve(tuple(float(r["val"]["macro_f1"]) for r in lines), tuple(float(r["loss"]) for r in lines))
    if not np.isfinite([*curve.val_macro_f1, *curve.loss]).all():
        raise InputError("numbers that are not finite")
    return replace(run, curve=curve)


def reason(error: BaseException) -> str:
    """Why a file could not be read, in words and without its place on this machine."""
    match error:
        case json.JSONDecodeError():
            return f"not whole JSON ({error.msg} at character {error.pos})"
        case KeyError():
            return f"no field {error}"
        case OSError():
            return error.strerror or type(error).__name__
        case _:
            return str(error) or type(error).__name__


def _names(field: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value) or len(set(value)) != len(value):
        raise InputError(f"{field} must be a list of different names")
    return tuple(value)


def _seen(result: Mapping[str, Any]) -> tuple[tuple[int, int, int], Reading]:
    """The shape of an image as the network sees it, and how it came to that."""
    channels, height, width = _whole("image_shape", result["image_shape"], 3)
    manner = result["reading"]
    size = tuple(_whole("size", manner["size"], 2))
    if size != (height, width) or manner["channels"] != channels or channels not in (1, 3):
        raise InputError("reading must have the size of image_shape, and 1 or 3 channels")
    return (channels, height, width), Reading(size=(height, width), resize=manner["resize"])


def _whole(field: str, value: Any, length: int) -> list[int]:
    whole = isinstance(value, list) and all(type(v) is int and 0 < v <= LARGEST for v in value)
    if not whole or len(value) != length:
        raise InputError(f"{field} must be {length} whole numbers from 1 to {LARGEST}, not {value!r}")
    return list(value)


def _rule(decision: Mapping[str, Any] | None, classes: tuple[str, ...]) -> DecisionRule | None:
    if decision is None:
        return None
    rule = DecisionRule.from_json(decision["rule"])
    if rule.classes != classes:
        raise InputError("the decision rule is for other classes")
    return rule


def _counts(data: Mapping[str, Any], classes: tuple[str, ...]) -> tuple[int, ...]:
    missing = [f": no field {c!r}" for c in classes if c not in data]
    if missing or len(data) != len(classes):
        raise InputError(f"counts of other classes{''.join(missing[:1])}")
    if not all(type(data[c]) is int and data[c] >= 0 for c in classes):
        raise InputError("counts must be whole numbers of at least 0")
    return tuple(data[c] for c in classes)


def _metrics(data: Mapping[str, Any], classes: int) -> Metrics:
    """Scores anew from the confusion matrix, the one source of all of them."""
    confusion = np.array(data["confusion"], dtype=np.int64)
    if confusion.shape != (classes, classes):
        raise InputError(f"a confusion matrix of shape {confusion.shape}")
    if not ((confusion >= 0).all() and confusion.sum() > 0):
        raise InputError("a confusion matrix that counts nothing")
    return Metrics(confusion)


def _prior(data: Iterable[Any], classes: int) -> tuple[float, ...]:
    found = tuple(map(float, data))
    if len(found) != classes:
        raise InputError(f"a prior of {len(found)} classes")
    if not (all(0 <= p < math.inf for p in found) and any(found)):
        raise InputError("a prior that is none")
    return found
