"""The state of an unfinished run on disk, from which it resumes."""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

import underdog
from underdog.epoch import Epoch
from underdog.errors import TrainingError
from underdog.run.files import write_atomic, write_tensors
from underdog.train import Training

__all__ = ["STATE", "Synthetic", "environment", "resume", "save_epochs", "save_state"]

#: Written anew after every epoch, and removed with the end of the run.
STATE = "state.safetensors"


def environment(training: Training) -> dict[str, Any]:
    """What bit-identical results depend on besides the spec."""
    device = training.learner.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "underdog": underdog.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": device.type,
        "hardware": name,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        # Unless switched off, convolutions in "float32" round their inputs to 10 bits of mantissa on a GPU.
        "tf32": device.type == "cuda" and torch.backends.cudnn.allow_tf32,
        "memory_format": "channels_last",
    }


@dataclass(frozen=True, eq=False)
class Synthetic:
    """Images that a resampler made when a run began, such as SMOTE's: made again when it resumes, and not saved.

    Attributes:
        made: the rows of each resampler, by their number among ``Epoch.made``.
        digest: by which a state knows those that it was saved with.
    """

    made: Mapping[int, Tensor]
    digest: str

    @classmethod
    def of(cls, epoch: Epoch) -> Synthetic:
        made = {n: one.rows for n, one in enumerate(epoch.made) if isinstance(one.rows, Tensor)}
        digest = blake2b(digest_size=16)
        for images in made.values():
            digest.update(images.cpu().contiguous().numpy().data)
        return cls(made, digest.hexdigest())

    def among(self, epoch: Epoch) -> dict[str, int]:
        """The tensors of an epoch's state that are these images, with their numbers here."""
        return {
            f"epoch.made.{n}.images": m
            for n, one in enumerate(epoch.made)
            for m, images in self.made.items()
            if one.rows is images
        }


def save_state(training: Training, folder: Path, made: Synthetic) -> None:
    """Write everything that ``resume`` needs, and the epochs."""
    tensors, plain = training.state()
    if again := made.among(training.epoch):
        tensors = {k: v for k, v in tensors.items() if k not in again}
        plain |= {"again": again, "synthetic": made.digest}
    plain["environment"] = environment(training)
    meta = {"plain": json.dumps(plain)}
    own = {k: v.contiguous() for k, v in tensors.items()}
    write_atomic(folder / STATE, lambda path: write_tensors(path, own, meta))
    save_epochs(training, folder)


def save_epochs(training: Training, folder: Path) -> None:
    """Write ``epochs.jsonl``, a line for each epoch."""
    records = (record.to_json(training.split.train.classes) for record in training.records)
    lines = "".join(json.dumps(record) + "\n" for record in records)
    write_atomic(folder / "epochs.jsonl", lambda path: path.write_text(lines, encoding="utf-8"))


def resume(training: Training, folder: Path, made: Synthetic, tell: Callable[[str], object]) -> None:
    """Put back what ``save_state`` wrote, where it did.

    Raises:
        TrainingError: the file cannot be read, or is of other data.
    """
    path = folder / STATE
    if not path.exists():
        return
    try:
        with safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
            plain = json.loads(file.metadata()["plain"])
        training.restore({k: made.made[n] for k, n in plain.get("again", {}).items()} | tensors, plain)
    except Exception as error:
        raise TrainingError(f"{path} cannot be resumed from ({error}): remove it to start the run again") from error
    done, now = plain["environment"], environment(training)
    tell(f"resuming {folder.name}: {len(training.records)} of {training.hyper.epochs} epochs are done")
    if changed := [k for k in now if done.get(k) != now[k]]:
        tell(
            f"it was begun elsewhere ({', '.join(changed)} differ): its results may differ in the last digits "
            "from an uninterrupted run's"
        )
    if plain.get("synthetic", made.digest) != made.digest:
        note = "the resampler made other images when the run went on than when it was begun, elsewhere or by other versions"
        training.epoch = replace(
            training.epoch, notes=(*training.epoch.notes, note)
        )  # which is saved with the next state
        tell(note)
