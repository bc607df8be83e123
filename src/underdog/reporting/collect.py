"""Read the folders of finished runs into values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError

from underdog.decision.rule import DecisionRule
from underdog.errors import InputError
from underdog.metrics import Metrics
from underdog.reporting.methods import is_own
from underdog.run.files import read_json
from underdog.run.gallery import load_gallery
from underdog.run.spec import Replicate, RunSpec
from underdog.run.tune import Study, read_study

__all__ = [
    "Aside",
    "Collected",
    "Curve",
    "Gallery",
    "Run",
    "collect",
    "read_gallery",
    "run_of",
    "tuning_runs",
    "tuning_studies",
]

#: What reading a file that is truncated, or no run's, may raise.
UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError, SafetensorError)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Aside:
    """Something left out of a report: its name, and why."""

    name: str
    reason: str


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
        source, classes, image_shape: of its data; K classes.
        minority: numbers of the rare classes.
        train, shown: (K,) training images of each class, before and after resampling.
        sizes: images in the training, validation and test parts.
        part: which images ``best`` and ``last`` are of: "test", or "validation" where there is no test part.
        best, last: scores at the best epoch by validation macro-F1, and at the last epoch.
        best_epoch: counted from 0.
        prior: (K,) class frequencies that the logits speak for.
        updates, images_seen, altered_images, altered_rows, zero_gradients: totals over the training.
        notes, environment: as the run left them.
        seconds: time by phase.
        folder: where it lies, or None.
        curve: its epochs, or None where they cannot be read.
        rule: what it chose for decisions, or None without a test part.
    """

    name: str
    spec: RunSpec
    source: str
    classes: tuple[str, ...]
    image_shape: tuple[int, ...]
    minority: frozenset[int]
    train: tuple[int, ...]
    shown: tuple[int, ...]
    sizes: Mapping[str, int]
    part: str
    best: Metrics
    last: Metrics
    best_epoch: int
    prior: tuple[float, ...]
    updates: int
    images_seen: int
    altered_images: int
    altered_rows: int
    zero_gradients: int
    notes: tuple[str, ...]
    environment: Mapping[str, str]
    seconds: Mapping[str, float]
    folder: Path | None = None
    curve: Curve | None = None
    rule: DecisionRule | None = None

    @property
    def key(self) -> Replicate:
        """What runs of different methods share when they are paired."""
        return self.spec.replicate


@dataclass(frozen=True)
class Collected:
    """The runs that could be read, each once, and what was left out."""

    runs: tuple[Run, ...]
    asides: tuple[Aside, ...] = ()


@dataclass(frozen=True, eq=False)
class Gallery:
    """Rare training images and their altered versions, under the best network of a run.

    Attributes:
        original: (n, C, H, W) uint8.
        signs: (n, C, H, W) in {-1, 0, 1}.
        altered: (n, C, H, W) in [0, 1].
        before, after: (n, K) probabilities of the original and the altered image.
        labels: (n,) true classes.
        eps: size of the change, in [0, 1].
        attack: its name.
    """

    original: npt.NDArray[np.uint8]
    signs: npt.NDArray[np.int8]
    altered: npt.NDArray[np.float32]
    before: npt.NDArray[np.float32]
    after: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    eps: float
    attack: str = field(default="")


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise ValueError(problem)


def _metrics(data: Mapping[str, Any], classes: int) -> Metrics:
    """Scores anew from the confusion matrix, the one source of all of them."""
    confusion = np.array(data["confusion"], dtype=np.int64)
    _require(confusion.shape == (classes, classes), f"a confusion matrix of shape {confusion.shape}")
    _require(bool((confusion >= 0).all() and confusion.sum() > 0), "a confusion matrix that counts nothing")
    return Metrics(confusion)


def _counts(data: Mapping[str, Any], classes: Sequence[str]) -> tuple[int, ...]:
    _require(set(data) == set(classes), "counts of other classes")
    return tuple(int(data[c]) for c in classes)


def _prior(data: Iterable[Any], classes: int) -> tuple[float, ...]:
    found = tuple(map(float, data))
    _require(len(found) == classes, f"a prior of {len(found)} classes")
    _require(all(0 <= p < math.inf for p in found) and any(found), "a prior that is none")
    return found


def _rule(decision: Mapping[str, Any] | None, classes: tuple[str, ...]) -> DecisionRule | None:
    if decision is None:
        return None
    rule = DecisionRule.from_json(decision["rule"])
    _require(rule.classes == classes, "a decision rule for other classes")
    return rule


def run_of(result: Mapping[str, Any], name: str = "") -> Run:
    """The run that a ``result.json`` describes.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OverflowError: it is no run's result.
    """
    classes = tuple(str(c) for c in result["classes"])
    _require(len(set(classes)) == len(classes) >= 2, "class names that are fewer than 2 or repeat")
    part, prefix = ("test", "test") if result["test"] is not None else ("validation", "val")
    counts = result["counts"]
    parts = {p: sum(_counts(counts[p], classes)) for p in ("train", "val", "test") if counts[p] is not None}
    return Run(
        name=name,
        spec=RunSpec.from_json(result["spec"]),
        source=str(result["source"]),
        classes=classes,
        image_shape=tuple(int(n) for n in result["image_shape"]),
        minority=frozenset(classes.index(c) for c in result["minority"]),
        train=_counts(counts["train"], classes),
        shown=_counts(counts["shown"], classes),
        sizes=parts,
        part=part,
        best=_metrics(result[prefix], len(classes)),
        last=_metrics(result[f"last_epoch_{prefix}"], len(classes)),
        best_epoch=int(result["best_epoch"]),
        prior=_prior(result["prior"], len(classes)),
        updates=int(result["updates"]),
        images_seen=int(result["images_seen"]),
        altered_images=int(result["altered_images"]),
        altered_rows=int(result["altered_rows"]),
        zero_gradients=int(result["zero_gradients"]),
        notes=tuple(str(n) for n in result["notes"]),
        environment={str(k): str(v) for k, v in result["environment"].items()},
        seconds={p: float(result["seconds"][p]) for p in ("data", "start", "refresh", "train", "evaluate")},
        rule=_rule(result.get("decision"), classes),
    )


def _curve(path: Path, epochs: int) -> Curve:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    _require(len(lines) == epochs, f"{len(lines)} epochs instead of {epochs}")
    curve = Curve(tuple(float(r["val"]["macro_f1"]) for r in lines), tuple(float(r["loss"]) for r in lines))
    _require(bool(np.isfinite([*curve.val_macro_f1, *curve.loss]).all()), "numbers that are not finite")
    return curve


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


def _check_place(folder: Path, spec: RunSpec) -> None:
    """Refuse a result that is not of the run that ``spec.json`` beside it, or the folder's name, says."""
    if (folder / "spec.json").exists():
        _require(RunSpec.from_json(read_json(folder / "spec.json")) == spec, "it is not the run in spec.json")
    named = re.fullmatch(r".+-s\d+-[0-9a-f]{12}", folder.name)
    _require(not named or folder.name == spec.id, "it is not the run that the folder's name says")


def _read(folder: Path) -> tuple[Run | None, list[Aside]]:
    try:
        run = replace(run_of(read_json(folder / "result.json"), folder.name), folder=folder)
        _check_place(folder, run.spec)
    except UNREADABLE as error:
        return None, [Aside(folder.name, f"result.json: {reason(error)}")]
    try:
        return replace(run, curve=_curve(folder / "epochs.jsonl", run.spec.epochs)), []
    except UNREADABLE as error:
        return run, [Aside(folder.name, f"its curves only; epochs.jsonl: {reason(error)}")]


def collect(folders: Iterable[Path]) -> Collected:
    """Read every folder; what cannot be read, and what is there twice, is set aside.

    Raises:
        InputError: no run is left; the message names the folders and says why.
    """
    runs: dict[RunSpec, Run] = {}
    asides: list[Aside] = []
    for folder in folders:
        run, problems = _read(folder)
        asides += problems
        if run is None:
            continue
        if run.spec in runs:
            asides.append(Aside(run.name, f"the same run as {runs[run.spec].name}"))
        runs.setdefault(run.spec, run)
    if not runs:
        raise InputError(f"no finished run to report on: {'; '.join(f'{a.name}: {a.reason}' for a in asides)}")
    return Collected(tuple(runs.values()), tuple(asides))


def read_gallery(run: Run) -> Gallery | None:
    """The altered images that lie with a run; None without any.

    Raises:
        InputError: the file is no gallery of this run.
    """
    if run.folder is None:
        return None
    try:
        found = load_gallery(run.folder)
        if found is None:
            return None
        _require(tuple(found["classes"]) == run.classes, "another run's classes")
        names = ("original", "signs", "altered", "before", "after", "labels")
        gallery = Gallery(**{n: found[n] for n in names}, eps=float(found["eps"]), attack=str(found["attack"]))
        _check_gallery(gallery, run)
    except UNREADABLE as error:
        raise InputError(f"gallery.safetensors: {reason(error)}") from error
    return gallery


def _check_gallery(gallery: Gallery, run: Run) -> None:
    n, classes = len(gallery.labels), len(run.classes)
    images = (gallery.original, gallery.signs, gallery.altered)
    _require(all(part.shape == (n, *run.image_shape) for part in images), "images of other sizes")
    _require(all(part.shape == (n, classes) for part in (gallery.before, gallery.after)), "answers of other sizes")
    _require(bool((abs(gallery.signs) <= 1).all()), "signs other than -1, 0 and 1")
    _require(bool(((gallery.labels >= 0) & (gallery.labels < classes)).all()), "labels of no class")
    answers = (gallery.altered, gallery.before, gallery.after)
    _require(all(bool(((part >= 0) & (part <= 1 + 1e-5)).all()) for part in answers), "values outside [0, 1]")


def tuning_runs(runs: Iterable[Run]) -> Collected:
    """The runs that chose eps on validation, from the ``tuning`` folders beside these runs; often none."""
    homes = sorted({run.folder.parent for run in runs if run.folder is not None})
    found = [_read(path.parent) for home in homes for path in sorted(home.glob("tuning/*/result.json"))]
    return Collected(
        tuple(run for run, _ in found if run is not None and run.spec.tuning),
        tuple(replace(aside, name=f"tuning/{aside.name}") for _, asides in found for aside in asides),
    )


def tuning_studies(runs: Iterable[Run]) -> tuple[tuple[Study, ...], tuple[Aside, ...]]:
    """The searches stored in the ``tuning`` folders beside these runs, and those that cannot be read.

    What is searched over only a method's function knows, so searches for a method of somebody's own are among the latter.
    """
    homes = sorted({run.folder.parent for run in runs if run.folder is not None})
    studies, asides = [], []
    for path in (path for home in homes for path in sorted(home.glob("tuning/study-*.json"))):
        try:
            if is_own(RunSpec.from_json(read_json(path)["spec"]).expression):
                asides.append(
                    Aside(f"tuning/{path.name}", "a search for a method of somebody's own, which is not imported here")
                )
            else:
                studies.append(read_study(path))
        except UNREADABLE:
            asides.append(Aside(f"tuning/{path.name}", "no whole search"))
    return tuple(studies), tuple(asides)
