"""Run folders that look finished, without any training."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from underdog.methods.expression import parse
from underdog.metrics import Metrics
from underdog.run.spec import RunSpec

HOSTILE = (
    "<script>alert(1)</script>",
    'a"b',
    "$x_1$",
    "日本",
    "very" * 60,
    "'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}",
)
SKILL = {"baseline": 0.7, "rus": 0.6, "ros": 0.75, "smote": 0.77, "noise": 0.78, "aos": 0.82}


def confusion_of(rng: np.random.Generator, support: Sequence[int], skill: float) -> np.ndarray:
    """(K, K) counts in which about a share ``skill`` of every class is right."""
    k = len(support)
    chances = np.full((k, k), (1 - skill) / max(k - 1, 1))
    np.fill_diagonal(chances, skill)
    return np.array([rng.multinomial(n, row) for n, row in zip(support, chances, strict=True)])


def write_run(
    out: Path,
    method: str,
    seed: int = 0,
    classes: Sequence[str] = ("cat", "dog", "owl"),
    minority: Sequence[str] | None = None,
    shape: tuple[int, int, int] = (1, 8, 8),
    skill: float | None = None,
    confusion: np.ndarray | None = None,
    notes: Sequence[str] = (),
    source: str = "toy",
    updates: int = 40,
    gallery: bool = False,
    predictions: bool = False,
    **settings: Any,
) -> Path:
    """A folder with ``result.json``, ``epochs.jsonl`` and, if asked for, ``gallery.safetensors``.

    Settings that are no run's are the method's.
    """
    own = {name: settings.pop(name) for name in set(settings) - {f.name for f in fields(RunSpec)}}
    expression = parse(method)
    altering = any(part.role == "alteration" for part in expression.parts)
    if altering and expression.get("eps") is None:
        own.setdefault("eps", 16 / 255)
    method = expression.name
    spec = RunSpec(
        method=str(expression.set(own) if own else expression),
        **{"data": "0123abcd" * 4, "seed": seed, "data_seed": seed, "epochs": 3} | settings,
    )
    classes, rare = tuple(classes), list(classes[:1] if minority is None else minority)
    rng = np.random.default_rng([seed, *method.encode()])
    level = SKILL.get(method, 0.7) if skill is None else skill
    support = [30] * len(classes)

    def scores() -> dict[str, Any]:
        matrix = confusion_of(rng, support, level) if confusion is None else confusion
        return Metrics(np.asarray(matrix)).to_json(classes)

    train = {c: 5 if c in rare else 50 for c in classes}
    shown = dict.fromkeys(classes, 50) if method in ("ros", "smote", "noise", "aos") else train
    balancing = {"class-weighted", "balanced-softmax"} & set(method.split("+"))
    test = None if spec.tuning else scores()
    result = {
        "spec": spec.to_json(),
        "source": source,
        "classes": list(classes),
        "minority": rare,
        "counts": {
            "train": train,
            "shown": shown,
            "val": dict.fromkeys(classes, 10),
            "test": None if spec.tuning else dict(zip(classes, support, strict=True)),
        },
        "image_shape": list(shape),
        "reading": {"size": list(shape[1:]), "resize": "crop", "channels": shape[0]},
        "test": test,
        "last_epoch_test": None if spec.tuning else scores(),
        "val": scores(),
        "last_epoch_val": scores(),
        "best_epoch": 1,
        "prior": [1.0] * len(classes) if balancing else [float(shown[c]) for c in classes],
        "adjusted": "logit-adjust" in method,
        "updates": updates,
        "images_seen": updates * 16,
        "altered_images": 100 if altering else 0,
        "altered_rows": 10 if altering else 0,
        "zero_gradients": 0,
        "notes": list(notes),
        "environment": {"underdog": "0.1.0", "torch": "2", "device": "cpu"},
        "seconds": {"data": 1.0, "start": 0.0, "refresh": 0.1, "train": 2.0, "evaluate": 0.2},
    }
    folder = out / spec.id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    lines = [json.dumps({"loss": 1 / (t + 1), "val": {"macro_f1": 0.3 + 0.1 * t}}) for t in range(spec.epochs)]
    (folder / "epochs.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    if gallery:
        write_gallery(folder, classes, shape, rng)
    if predictions:
        write_predictions(folder, classes, shape, rng, level)
    return folder


def write_predictions(
    folder: Path, classes: Sequence[str], shape: tuple[int, int, int], rng: np.random.Generator, skill: float
) -> None:
    """``predictions.csv`` of 10 validation and 30 test images of each class, and ``errors.safetensors`` of all the latter."""
    lines: list[list[object]] = [["part", "epoch", "item", "group", "label", *(f"logit:{c}" for c in classes)]]
    for part, n in (("val", 10), ("test", 30)):
        for k, c in enumerate(classes):
            logits = rng.normal(size=(n, len(classes)))
            logits[:, k] += 3 * skill
            lines += [[part, "best", f"{part}/{c}/{i}", f"{c} {i // 2}", c, *z] for i, z in enumerate(logits.tolist())]
    with (folder / "predictions.csv").open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows(lines)
    items = [f"test/{c}/{i}" for c in classes for i in range(30)]
    pixels = rng.integers(0, 256, (len(items), *shape), dtype=np.uint8)
    save_file({"images": pixels}, folder / "errors.safetensors", metadata={"plain": json.dumps({"items": items})})


def write_gallery(folder: Path, classes: Sequence[str], shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    n, k = 3, len(classes)
    original = rng.integers(0, 256, (n, *shape), dtype=np.uint8)
    signs = rng.integers(-1, 2, (n, *shape)).astype(np.int8)
    tensors = {
        "original": original,
        "signs": signs,
        "altered": np.clip(original / 255 + signs * 16 / 255, 0, 1).astype(np.float32),
        "before": rng.dirichlet(np.ones(k), n).astype(np.float32),
        "after": rng.dirichlet(np.ones(k), n).astype(np.float32),
        "labels": np.arange(n, dtype=np.int64) % k,
    }
    plain = json.dumps({"classes": list(classes), "eps": 16 / 255, "attack": "FGSM"})
    save_file(tensors, folder / "gallery.safetensors", metadata={"plain": plain})
