"""What a run is: the settings that its results depend on, and nothing else."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from underdog.data.prepare import Division
from underdog.errors import InputError, unknown
from underdog.methods.build import as_long_as_oversampling, build
from underdog.methods.expression import Expression, parse
from underdog.names import AUGMENTATIONS, BUDGETS, OPTIMIZERS, PRECISIONS, SCHEDULERS
from underdog.validate import check_positive

__all__ = ["REVISION", "NetworkFiles", "Replicate", "RunSpec", "Setting", "differing", "settings_text"]

#: Counts changes of underdog that move the results of a run. Runs of another revision are different runs.
REVISION = 2


class Setting(NamedTuple):
    """A method as it was set, with its budget and regularisation: what may differ between the runs that a comparison pairs."""

    method: str
    budget: str
    weight_decay: float = 0.0

    @property
    def expression(self) -> Expression:
        return parse(self.method)


class Replicate(NamedTuple):
    """What runs of different methods share when they are paired; fold is -1 where there are no folds."""

    seed: int
    data_seed: int
    fold: int

    def __str__(self) -> str:
        data = "" if self.data_seed == self.seed else f" (data seed {self.data_seed})"
        return f"{self.seed}{data}" + ("" if self.fold < 0 else f" fold {self.fold}")


class NetworkFiles(NamedTuple):
    """Where a network's parts lie on this machine: a run's identity knows what is in them, not where they are.

    Attributes:
        folder: with the ``config.json`` of a Transformers model.
        weights: the pretrained weights, a file or a Transformers folder.
    """

    folder: Path | None = None
    weights: Path | None = None


@dataclass(frozen=True)
class RunSpec:
    """The resolved scientific settings of one run; no path, kind of device or thread count is among what identifies it.

    Attributes:
        data: fingerprint of the source's images, labels and class names.
        method: the method's expression in its one form, see ``Expression``; parameters may still be missing while they are to
            be chosen.
        seed: of initialisation, shuffling and resampling.
        data_seed: of the validation part and the imbalance.
        rho, mu, minority: the imbalance to induce; None for natural counts, or for a random choice.
        majority_size: training images of a class that is not made rare; None for the smallest class's.
        val_fraction, test_fraction, folds, fold: see ``Division``.
        epochs, lr, batch, lr_backbone, early_stopping, augment: see ``Hyperparameters``.
        optimizer, weight_decay: see ``named_optimizer``.
        scheduler, warmup: see ``named_scheduler``.
        model, width, depth: see ``model_factory``; a Transformers model by its kind and the hash of its configuration.
        weights: fingerprint of the pretrained weights; None for weights drawn from the seed.
        mean, std: of the channels, in units of [0, 1], for the normalising layer; None for the training part's.
        freeze_until: name of the first layer that is trained.
        precision: the one used.
        budget: "updates" where the method's epochs are filled up to the length of random oversampling's.
        devices: processes that share each batch, of which BatchNorm sees the shares.
        tuning: a run that only serves to choose eps, and never sees the test part.
        revision: see ``REVISION``.
        files: where on this machine the network comes from; no part of what the run is.

    Raises:
        InputError: a value outside its range; the message names it.
    """

    data: str
    method: str
    seed: int = 0
    data_seed: int = 0
    rho: float | None = None
    mu: float | None = None
    minority: tuple[str, ...] | None = None
    val_fraction: float | None = None
    test_fraction: float | None = None
    folds: int | None = None
    fold: int | None = None
    epochs: int = 20
    lr: float = 1e-3
    batch: int = 128
    model: str = "paper"
    width: float = 1
    depth: int | None = None
    precision: str = "float32"
    budget: str = "epochs"
    devices: int = 1
    tuning: bool = False
    optimizer: str = "adam"
    weight_decay: float | None = None
    lr_backbone: float | None = None
    scheduler: str = "constant"
    warmup: int = 0
    early_stopping: int | None = None
    augment: tuple[str, ...] = ()
    weights: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    freeze_until: str | None = None
    majority_size: int | None = None
    revision: int = REVISION
    files: NetworkFiles = field(default=NetworkFiles(), compare=False, repr=False)

    def __post_init__(self) -> None:
        self._check_method()
        self._check_training()
        self._resolve()
        self._check_imbalance()
        _ = self.division  # which checks itself

    def _resolve(self) -> None:
        """Give one setting one form, and so one id: 60 and 60.0, a default and its value, names in any order."""
        for f in fields(self):
            value = getattr(self, f.name)
            if value is not None and f.type.startswith(("float", "int")):
                object.__setattr__(self, f.name, float(value) if "float" in f.type else int(value))
        if self.model == "paper" and self.depth is None:
            object.__setattr__(self, "depth", 2)
        if self.weight_decay is None:
            object.__setattr__(self, "weight_decay", OPTIMIZERS[self.optimizer])
        object.__setattr__(self, "augment", tuple(name for name in AUGMENTATIONS if name in self.augment))
        for name in ("mean", "std"):
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(map(float, values)))
        object.__setattr__(self, "method", str(self.expression))
        if self.budget != "epochs" and self._as_long_as_oversampling:
            object.__setattr__(self, "budget", "epochs")
        if self.minority is not None:
            object.__setattr__(self, "minority", tuple(sorted(set(self.minority))))

    def _check_method(self) -> None:
        parse(self.method)
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.budget not in BUDGETS:
            raise unknown("budget", self.budget, BUDGETS)
        for name, whole in (("epochs", True), ("lr", False), ("batch", True), ("width", False), ("devices", True)):
            check_positive(name, getattr(self, name), whole)
        if self.devices > self.batch:
            raise InputError(f"devices must be at most the images of a batch, {self.batch}, not {self.devices}")

    @property
    def _as_long_as_oversampling(self) -> bool:
        """Whether both budgets are one; of functions of somebody's own, which are not imported here, nobody knows."""
        return not any(part.role == "own" for part in self.expression.parts) and _full_length(self.method)

    def _check_training(self) -> None:
        tables = (("optimizer", OPTIMIZERS), ("scheduler", SCHEDULERS))
        for kind, table in tables:
            if getattr(self, kind) not in table:
                raise unknown(kind, getattr(self, kind), table)
        for name in self.augment:
            if name not in AUGMENTATIONS:
                raise unknown("augmentation", name, AUGMENTATIONS)
        for name, whole in (("lr_backbone", False), ("early_stopping", True)):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name), whole)
        if self.weight_decay is not None and not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise InputError(f"weight_decay must be a number of at least 0, not {self.weight_decay:g}")
        if not 0 <= self.warmup < self.epochs:
            raise InputError(
                f"warmup must be a number of epochs from 0 to fewer than all {self.epochs}, not {self.warmup}"
            )
        self._check_normalization()

    def _check_normalization(self) -> None:
        if self.mean is None and self.std is None:
            return
        if self.mean is None or self.std is None or len(self.mean) != len(self.std):
            raise InputError("mean and std go together: one number each for every channel")
        if not all(math.isfinite(v) for v in (*self.mean, *self.std)) or min(self.std) <= 0:
            raise InputError(
                f"mean must be finite and std above 0, in units of pixels from 0 to 1, not {self.mean} and {self.std}"
            )
        if max(self.mean) > 1:
            raise InputError(f"mean must be in units of pixels from 0 to 1 (divide by 255), not {self.mean}")

    def _check_imbalance(self) -> None:
        if self.minority is not None and self.mu is not None:
            raise InputError("mu and minority exclude each other: the one draws the rare classes, the other names them")
        if self.rho is None and self.mu is not None:
            raise InputError("mu needs rho: together they say which imbalance to induce")
        if self.rho is not None and not (math.isfinite(self.rho) and self.rho >= 1):
            raise InputError(f"rho must be a number of at least 1, not {self.rho:g}")
        if self.mu is not None and not 0 <= self.mu < 1:
            raise InputError(f"mu must be in [0, 1), not {self.mu:g}")
        if self.rho is not None and self.mu is None and self.minority is None:
            raise InputError("rho needs mu, the share of classes to make rare (such as --mu 0.5), or --minority")
        if self.majority_size is not None:
            check_positive("majority-size", self.majority_size, whole=True)
            if self.rho is None:
                raise InputError("majority-size needs rho: together they say how many images the classes keep")

    @property
    def id(self) -> str:
        """The run's name and folder: its method, seed and 48 bits of the hash of everything."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        name = re.sub(r"[^A-Za-z0-9.+_-]", "_", self.expression.name)
        return f"{name}-s{self.seed}-{blake2b(text.encode(), digest_size=6).hexdigest()}"

    @property
    def expression(self) -> Expression:
        """The method as a sum of parts with parameters."""
        return parse(self.method)

    def with_values(self, values: Mapping[str, Any]) -> RunSpec:
        """The run with parameters of its method set, see ``Expression.set``."""
        return replace(self, method=str(self.expression.set(values)))

    @property
    def division(self) -> Division:
        """How the parts that the source does not have are held out."""
        return Division(self.val_fraction, self.test_fraction, self.folds, self.fold)

    @property
    def setting(self) -> Setting:
        """The method with everything that may differ between methods on the same problem."""
        return Setting(self.method, self.budget, self.weight_decay or 0.0)

    @property
    def replicate(self) -> Replicate:
        """The seeds and the fold."""
        return Replicate(self.seed, self.data_seed, -1 if self.fold is None else self.fold)

    def variant(self) -> RunSpec:
        """What all methods and seeds on the same problem have in common."""
        return replace(
            self, method="baseline", budget="epochs", weight_decay=None, seed=0, data_seed=0, fold=self.folds and 0
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``spec.json`` and ``result.json``."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        del plain["files"]
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunSpec:
        """The spec that ``to_json`` described.

        Raises:
            InputError: keys or values that are no spec's, or another revision's.
        """
        if isinstance(data, Mapping) and data.get("revision", REVISION) != REVISION:
            raise InputError(
                f"a run of revision {data.get('revision')} of underdog's arithmetic, and this is revision {REVISION}"
            )
        if set(data) != {f.name for f in fields(cls) if f.compare}:
            raise InputError(f"not a run's spec: keys {', '.join(sorted(data))}")
        if not isinstance(data["method"], str):
            raise InputError(f"method must be a text, not {data['method']!r}")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**plain)


@lru_cache(maxsize=1024)
def _full_length(method: str) -> bool:
    return as_long_as_oversampling(build(parse(method).with_first_values()))


def differing(specs: Iterable[RunSpec]) -> tuple[str, ...]:
    """The settings that are not the same in all of some runs.

    >>> differing([RunSpec("some data", "ros", seed=n, epochs=5) for n in range(3)])
    ('seed',)
    """
    found = list(specs)
    return tuple(f.name for f in fields(RunSpec) if f.compare and len({getattr(s, f.name) for s in found}) > 1)


def settings_text(spec: RunSpec, names: Sequence[str]) -> str:
    """Some of a run's settings in words.

    >>> settings_text(RunSpec("some data", "ros", lr=0.1), ["epochs", "lr", "augment"])
    'epochs 20, lr 0.1, augment none'
    """
    return ", ".join(f"{name} {_value(name, getattr(spec, name))}" for name in names)


def _value(name: str, value: object) -> str:
    if value is None or value == ():
        return "none"
    if isinstance(value, tuple):
        return " + ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)[:8] if name == "data" else str(value)
