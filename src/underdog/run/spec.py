"""What a run is: the settings that its figures depend on, and nothing else."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

from underdog.data.prepare import Division
from underdog.errors import InputError, unknown
from underdog.names import (
    ALTERING,
    AUGMENTATIONS,
    BUDGETS,
    DEFAULTS,
    METHODS,
    OPTIMIZERS,
    OVERSAMPLING,
    PARAMETERS,
    PRECISIONS,
    SCHEDULERS,
)
from underdog.validate import check_eps, check_positive, check_ratio, check_tau

__all__ = ["REVISION", "NetworkFiles", "Replicate", "RunSpec", "Setting", "differing", "settings_text"]

#: Counts changes of underdog that move the figures of a run. Runs of another revision are other runs.
REVISION = 1


#: Settings that runs of this revision may be older than: those had their defaults.
YOUNGER = {"val_fraction", "test_fraction", "folds", "fold"} | {"optimizer", "weight_decay", "lr_backbone", "scheduler"}
YOUNGER |= {"warmup", "early_stopping", "augment", "weights", "mean", "std", "freeze_until", "devices"}

#: Settings that came later still, of which a default does not enter a run's id: older runs keep theirs.
ABSENT = {"majority_size": None, "k": None, "ratio": None, "power": None, "lr_factor": None}


class Setting(NamedTuple):
    """A method as it was set; None for what it does not have, or has as usual."""

    method: str
    eps: float | None
    tau: float | None
    budget: str
    k: int | None = None
    ratio: float | None = None
    power: float | None = None
    lr_factor: float | None = None


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
        method: name in the table of methods.
        seed: of initialisation, shuffling and resampling.
        data_seed: of the validation part and the imbalance.
        eps, tau: of noise and aos; None for the others.
        k, ratio, power: of smote, of rus and ros, and of class-weighted and balanced-softmax, see ``named_method``; None for
            the usual value, and for the others.
        lr_factor: what a baseline's learning rates are multiplied with, where they were tuned.
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
    eps: float | None = None
    tau: float | None = None
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
    k: int | None = None
    ratio: float | None = None
    power: float | None = None
    lr_factor: float | None = None
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
        for name, usual in DEFAULTS.items():
            if getattr(self, name) == usual:
                object.__setattr__(self, name, None)
        if self.method in OVERSAMPLING and self.ratio is None:
            object.__setattr__(self, "budget", "epochs")
        if self.minority is not None:
            object.__setattr__(self, "minority", tuple(sorted(set(self.minority))))

    def _check_method(self) -> None:
        if self.method not in METHODS:
            raise unknown("method", self.method, METHODS)
        if self.precision not in PRECISIONS:
            raise unknown("precision", self.precision, PRECISIONS)
        if self.budget not in BUDGETS:
            raise unknown("budget", self.budget, BUDGETS)
        if self.method in ALTERING:
            if self.eps is not None:  # None while it is still to be chosen
                check_eps(self.eps)
            check_tau(math.nan if self.tau is None else self.tau)
        elif (self.eps, self.tau) != (None, None):
            raise InputError(f"eps and tau belong to {' and '.join(ALTERING)}, not to {self.method!r}")
        self._check_parameters()
        for name, whole in (("epochs", True), ("lr", False), ("batch", True), ("width", False), ("devices", True)):
            check_positive(name, getattr(self, name), whole)
        if self.devices > self.batch:
            raise InputError(f"devices must be at most the images of a batch, {self.batch}, not {self.devices}")

    def _check_parameters(self) -> None:
        for name in DEFAULTS:
            if (value := getattr(self, name)) is None:
                continue
            if name not in PARAMETERS[self.method]:
                owners = " and ".join(m for m, own in PARAMETERS.items() if name in own)
                raise InputError(f"{name} belongs to {owners}, not to {self.method!r}")
            if name == "ratio":
                check_ratio(value)
            else:
                check_positive(name, value, whole=name == "k")

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
        plain = {k: v for k, v in self.to_json().items() if k not in ABSENT or v != ABSENT[k]}
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
        return f"{self.method}-s{self.seed}-{blake2b(text.encode(), digest_size=6).hexdigest()}"

    @property
    def division(self) -> Division:
        """How the parts that the source does not have are held out."""
        return Division(self.val_fraction, self.test_fraction, self.folds, self.fold)

    @property
    def setting(self) -> Setting:
        """The method with everything that may differ between methods on the same problem."""
        return Setting(*(getattr(self, name) for name in Setting._fields))

    @property
    def replicate(self) -> Replicate:
        """The seeds and the fold."""
        return Replicate(self.seed, self.data_seed, -1 if self.fold is None else self.fold)

    def variant(self) -> RunSpec:
        """What all methods and seeds on the same problem have in common."""
        free: dict[str, Any] = dict.fromkeys(Setting._fields) | {"method": "baseline", "budget": "epochs"}
        return replace(self, **free, seed=0, data_seed=0, fold=self.folds and 0)

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``spec.json`` and ``result.json``."""
        plain = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        del plain["files"]
        return plain

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> RunSpec:
        """The spec that ``to_json`` described; settings that are younger than the run have their defaults.

        Raises:
            InputError: keys or values that are no spec's.
        """
        known = {f.name for f in fields(cls) if f.compare}
        if not known - YOUNGER - set(ABSENT) <= set(data) <= known:
            raise InputError(f"not a run's spec: keys {', '.join(sorted(data))}")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        return cls(**plain)


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
