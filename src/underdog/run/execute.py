"""Carry out one run in its folder."""

from __future__ import annotations

import csv
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from underdog.augment import Augment
from underdog.data.images import ImageSet
from underdog.data.prepare import prepare
from underdog.data.sources import Source
from underdog.data.split import Split
from underdog.decision.rule import check_target
from underdog.errors import InputError
from underdog.evaluation import Evaluation
from underdog.history import EpochRecord, History
from underdog.hyper import Hyperparameters
from underdog.methods.build import build
from underdog.methods.method import Method
from underdog.names import TARGET_PRECISION
from underdog.optimizer import named_optimizer, named_scheduler
from underdog.ranks import ALONE, Ranks
from underdog.run.decide import save_decision
from underdog.run.files import read_json, write_atomic, write_json, write_tensors
from underdog.run.gallery import save_gallery
from underdog.run.network import build_model
from underdog.run.spec import RunSpec
from underdog.run.state import STATE, Synthetic, environment, resume, save_epochs, save_state
from underdog.train import Training

__all__ = ["Watcher", "execute", "finish", "finished", "split_of", "start", "try_network", "whole_result"]

#: How the names of files begin in which resamplers keep what is too dear to be made twice.
KEPT = "kept-"


@dataclass(frozen=True)
class Watcher:
    """Who wants to know how a run goes.

    Attributes:
        begin: called with the images that the run will show, and those it has shown before it was interrupted.
        images: called with the number of images after an update.
        epoch: called after an epoch.
        message: called with a sentence.
        preparing: called with the share of a resampler's long work that is done.
    """

    begin: Callable[[int, int], object] = lambda total, done: None
    images: Callable[[int], object] = lambda images: None
    epoch: Callable[[EpochRecord], object] = lambda record: None
    message: Callable[[str], object] = lambda text: None
    preparing: Callable[[float], object] = lambda share: None


def split_of(spec: RunSpec, source: Source) -> Split:
    """The parts of a run's data. Runs that only choose eps get no test part."""
    split = prepare(source, spec.data_seed, spec.rho, spec.mu, spec.minority, spec.division, spec.majority_size).split
    return replace(split, test=None) if spec.tuning else split


def start(
    spec: RunSpec, source: Source, device: str, watcher: Watcher, ranks: Ranks = ALONE, folder: Path | None = None
) -> Training:
    """Everything that can be wrong with a run's settings, data or network shows here, before anything is written but what a
    resampler keeps in the run's folder, where there is one."""
    split = split_of(spec, source)
    method = method_of(spec)
    model, notes = build_model(spec, split.train)
    training = Training(
        model, method, split, hyperparameters(spec), spec.seed, device, spec.precision, watcher.images, ranks,
        kept=partial(_kept, folder), preparing=watcher.preparing,
    )  # fmt: skip
    training.notes = notes
    return training


def try_network(spec: RunSpec, images: ImageSet) -> None:
    """Make a run's network in memory, and give it a few images.

    Raises:
        InputError: it cannot be made, or does not fit them.
    """
    _, first = np.unique(images.labels.numpy(), return_index=True)
    few = images.select(first)
    Training(
        build_model(spec, few)[0], Method(), Split(few, few, None), hyperparameters(spec), precision=spec.precision
    )


def _kept(folder: Path | None, name: str, make: Callable[[], Tensor]) -> Tensor:
    """What lies in a run's folder until it is finished, made where it is not there."""
    if folder is None:
        return make()
    path = folder / f"{KEPT}{re.sub(r'[^A-Za-z0-9.-]', '_', name)}.safetensors"
    if path.exists():
        try:
            return load_file(path)["kept"]
        except (SafetensorError, OSError, KeyError):
            path.unlink()  # damaged, and can be made again
    made = make()
    write_atomic(path, lambda temporary: write_tensors(temporary, {"kept": made.cpu().contiguous()}, {}))
    return made


def method_of(spec: RunSpec) -> Method:
    """The method of a run, as it was set."""
    return build(spec.expression, spec.budget)


def hyperparameters(spec: RunSpec) -> Hyperparameters:
    """How long and how fast a run trains."""
    return Hyperparameters(
        epochs=spec.epochs,
        lr=spec.lr,
        batch=spec.batch,
        optimizer=named_optimizer(spec.optimizer, spec.weight_decay),
        lr_backbone=spec.lr_backbone,
        scheduler=named_scheduler(spec.scheduler, spec.warmup),
        early_stopping=spec.early_stopping,
        augment=Augment(spec.augment),
    )


def finished(folder: Path, spec: RunSpec) -> dict[str, Any] | None:
    """The result of a run that is done, or None.

    Raises:
        InputError: the folder holds another run, or something unreadable.
    """
    try:
        return whole_result(folder, spec)
    except ValueError as error:
        raise InputError(f"{folder} {error}: choose another --out") from error


def whole_result(folder: Path, spec: RunSpec) -> dict[str, Any] | None:
    """As ``finished``.

    Raises:
        ValueError: the folder holds another run, or something unreadable; the message says which, without the folder.
    """
    try:
        found = [RunSpec.from_json(read_json(path)) for path in [folder / "spec.json"] if path.exists()]
        result: dict[str, Any] | None = None
        if (folder / "result.json").exists():
            result = read_json(folder / "result.json")
            found.append(RunSpec.from_json(result["spec"]))
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise ValueError(f"holds a file that is no run's ({error})") from error
    if any(other != spec for other in found):
        raise ValueError("belongs to another run")
    return result


def execute(
    spec: RunSpec,
    source: Source,
    out: Path,
    device: str = "cpu",
    watcher: Watcher | None = None,
    target_precision: float = TARGET_PRECISION,
    ranks: Ranks = ALONE,
) -> dict[str, Any]:
    """Do a run, or what is left of it, and return its result.

    The folder ``out / spec.id`` gets ``spec.json``, ``config.json`` of a Transformers model, ``epochs.jsonl``,
    ``model.safetensors`` (best epoch), ``predictions.csv``, ``errors.safetensors`` (pictures of its worst errors) and, last,
    ``result.json``. While the run lasts it also holds ``state.safetensors``, written anew after every epoch, from which an
    interrupted run resumes to the same results.

    Args:
        spec: the run.
        source: its data.
        out: folder of runs.
        device: where to train.
        watcher: told about the progress.
        target_precision: what the thresholds of the rule in the result have to reach on validation.
        ranks: the processes that train together, as many as the spec says; rank 0 writes the folder.

    Raises:
        InputError: settings that the data do not allow, another number of ranks than the spec's, or a folder in use or of
            another run; nothing is written then.
        TrainingError: the run failed; what was saved stays.
    """
    check_target(target_precision)
    if ranks.world != spec.devices:
        raise InputError(f"a run on {spec.devices} devices needs as many ranks, not {ranks.world}")
    watcher = watcher or Watcher()
    folder = out / spec.id
    if ranks.rank:
        return _accompany(spec, source, folder, device, ranks)
    if result := ranks.broadcast(finished(folder, spec)):
        _tidy(folder)
        return result
    begin = time.perf_counter()
    training = start(spec, source, device, watcher, ranks, folder)
    prepared = time.perf_counter() - begin - training.start_seconds
    with _locked(folder):
        if result := ranks.broadcast(finished(folder, spec)):  # by another process, while this one waited or prepared
            return result
        for leftover in folder.glob(".*.*"):  # of a process that was killed while it wrote
            leftover.unlink()
        write_json(folder / "spec.json", spec.to_json())
        if spec.files.folder is not None:  # without which nobody could build the network again
            write_atomic(folder / "config.json", partial(shutil.copyfile, spec.files.folder / "config.json"))
        made = Synthetic.of(training.epoch)
        resume(training, folder, made, watcher.message)
        ranks.all_gather(None)  # when all have read the state, it may change
        watcher.begin(training.expected_examples, sum(r.images for r in training.records))
        while not training.finished:
            watcher.epoch(training.advance())
            save_state(training, folder, made)
        result = finish(folder, spec, source, training, target_precision, prepared)[0]
        _tidy(folder)
    return ranks.broadcast(result)


def finish(
    folder: Path, spec: RunSpec, source: Source, training: Training, target_precision: float, seconds: float
) -> tuple[dict[str, Any], History]:
    """Evaluate a training that is done, and write what its run leaves behind, ``result.json`` last.

    Args:
        seconds: it took to divide the data and make the network.
    """
    begin = time.perf_counter()
    history = training.finish()
    tested = time.perf_counter() - begin
    result = _result(spec, source, training, history)
    result["seconds"] = _seconds(training, seconds, tested)
    write_atomic(folder / "model.safetensors", lambda path: _save_model(path, training, source))
    write_atomic(folder / "predictions.csv", lambda path: _save_predictions(path, training.split, history))
    if source.frozen is None:
        save_gallery(folder, training)
    result["decision"] = save_decision(folder, training, history, target_precision)
    save_epochs(training, folder)  # again, since the run may have been killed between its state and this
    write_json(folder / "result.json", result)
    return result, history


def _accompany(spec: RunSpec, source: Source, folder: Path, device: str, ranks: Ranks) -> dict[str, Any]:
    """The part of the other ranks in ``execute``: train along, read what rank 0 reads, and write nothing."""
    nothing: dict[str, Any] | None = None
    if result := ranks.broadcast(nothing):
        return result
    training = start(spec, source, device, Watcher(), ranks)
    if result := ranks.broadcast(nothing):
        return result
    resume(training, folder, Synthetic.of(training.epoch), Watcher().message)
    ranks.all_gather(None)
    while not training.finished:
        training.advance()
    training.finish()
    return ranks.broadcast({})


def _tidy(folder: Path) -> None:
    """Remove what only an unfinished run needs."""
    for path in (folder / STATE, folder / ".lock", *folder.glob(f"{KEPT}*")):
        path.unlink(missing_ok=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a run's folder for this process; leave no folder behind in which nothing was written."""
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise InputError(f"{folder} is in use by another process") from error
    except (OSError, InputError):  # such as of a resampler of somebody's own that breaks a rule in its first epoch
        if new and not (folder / STATE).exists():
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _result(spec: RunSpec, source: Source, training: Training, history: History) -> dict[str, Any]:
    split, classes = training.split, training.split.train.classes

    def scores(evaluation: Evaluation | None) -> dict[str, Any] | None:
        return None if evaluation is None else evaluation.metrics.to_json(classes)

    records, frozen = history.records, source.frozen
    shape = split.train.shape if frozen is None else (frozen.channels, *frozen.size)
    return {
        "spec": spec.to_json(),
        "source": source.name,
        "classes": list(classes),
        "minority": [classes[k] for k in sorted(training.first.minority)],
        "counts": {
            "train": dict(zip(classes, split.train.counts, strict=True)),
            "shown": dict(zip(classes, training.epoch.shown, strict=True)),
            "val": dict(zip(classes, split.val.counts, strict=True)),
            "test": None if split.test is None else dict(zip(classes, split.test.counts, strict=True)),
        },
        "image_shape": list(shape),
        "reading": {"size": list(shape[1:]), "resize": source.reading.resize, "channels": shape[0]},
        "frozen": frozen and frozen.to_json(),
        "test": scores(history.test),
        "last_epoch_test": scores(history.last_epoch_test),
        "val": scores(history.val),
        "last_epoch_val": scores(history.last_epoch_val),
        "best_epoch": history.best_epoch,
        "updates": sum(r.updates for r in records),
        "images_seen": sum(r.images for r in records),
        "prior": list(training.prior),
        "adjusted": training.adjustment is not None,
        "altered_images": sum(r.altered_images for r in records),
        "altered_rows": sum(r.altered_rows for r in records if r.refreshed),
        "zero_gradients": sum(r.zero_gradients for r in records if r.refreshed),
        "epochs": len(records),
        "stopped_early": training.stopped_early,
        "notes": [*source.notes, *split.notes, *history.notes, *_twice(training), *_stopped(training)],
        "environment": environment(training),
    }


def _twice(training: Training) -> list[str]:
    """What to know where the largest class ends up as if it were rarer than the smallest: two parts correct for counts."""
    counts, prior = training.first.counts, training.prior
    held = [k for k, n in enumerate(counts) if n]
    most, least = max(held, key=lambda k: counts[k]), min(held, key=lambda k: counts[k])
    if counts[most] == counts[least] or prior[most] > 0.99 * prior[least]:
        return []
    return [
        f"{training.split.train.classes[least]!r} is corrected for more than once: what is shown and the loss, or what is done to "
        "logits, each make up for its few images"
    ]


def _stopped(training: Training) -> list[str]:
    if not training.stopped_early:
        return []
    done, hyper = len(training.records), training.hyper
    return [
        f"stopped after {done} of {hyper.epochs} epochs: validation macro-F1 had not risen for {hyper.early_stopping} of them"
    ]


def _seconds(training: Training, data: float, tested: float) -> dict[str, float]:
    phases = {p: sum(r.seconds[p] for r in training.records) for p in ("refresh", "train", "evaluate")}
    phases["evaluate"] += tested
    return {"data": data, "start": training.start_seconds} | phases


def _save_model(path: Path, training: Training, source: Source) -> None:
    weights = {k: v.contiguous() for k, v in training.best_weights.items()}
    plain = {"classes": training.split.train.classes, "shape": training.split.train.shape, "source": source.name}
    write_tensors(path, weights, {"plain": json.dumps(plain)})  # one entry: several come in no fixed order


def _save_predictions(path: Path, split: Split, history: History) -> None:
    """A line for every image of the validation and test parts, at the best and the last epoch."""
    parts = (
        ("val", "best", split.val, history.val),
        ("val", "last", split.val, history.last_epoch_val),
        ("test", "best", split.test, history.test),
        ("test", "last", split.test, history.last_epoch_test),
    )
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["part", "epoch", "item", "group", "label", *(f"logit:{c}" for c in split.train.classes)])
        for part, epoch, images, evaluation in parts:
            if images is None or evaluation is None:
                continue
            groups = np.full(len(images), "") if images.groups is None else images.groups
            for item, group, k, logits in zip(
                images.names, groups, images.labels.tolist(), evaluation.logits.tolist(), strict=True
            ):
                # %.9g gives every float32 back exactly.
                writer.writerow([part, epoch, item, group, images.classes[k], *(f"{z:.9g}" for z in logits)])
