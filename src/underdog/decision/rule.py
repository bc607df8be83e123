"""From a network's logits to probabilities, classes and flags, by a rule chosen on validation images."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from underdog.decision.calibration import Floats, Labels, fit_temperature, log_prior, nll
from underdog.decision.curves import ranked
from underdog.errors import InputError
from underdog.names import TARGET_PRECISION

__all__ = ["DecisionRule", "Threshold", "check_target", "choose_threshold", "corrections"]


def check_target(precision: float) -> None:
    """A precision to be reached must be in (0, 1]."""
    if not (math.isfinite(precision) and 0 < precision <= 1):
        raise InputError(f"target precision must be a number in (0, 1], not {precision:g}")


@dataclass(frozen=True)
class Threshold:
    """The least probability at which a class is flagged, and what that gave on validation images.

    Attributes:
        value: in [0, 1]; None where no threshold reached the precision asked for, so that nothing is ever flagged.
        precision, recall: on the validation images, by which the threshold was chosen, and so likely too high.
        flagged: validation images that reach it.
        positives: validation images of the class. With few of them the threshold is a guess.
    """

    value: float | None
    precision: float
    recall: float
    flagged: int
    positives: int

    def __post_init__(self) -> None:
        value = 0.0 if self.value is None else self.value
        if not all(0 <= share <= 1 for share in (value, self.precision, self.recall)):
            raise InputError(f"a threshold, its precision and its recall must be in [0, 1], not {self}")
        if min(self.flagged, self.positives) < 0:
            raise InputError(f"a threshold's numbers of images must not be negative: {self}")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Threshold:
        """The threshold that ``dataclasses.asdict`` described.

        Raises:
            InputError: keys or values that are no threshold's.
        """
        _check_keys(cls, data)
        value = None if data["value"] is None else _number("value", data["value"])
        precision, recall = (_number(name, data[name]) for name in ("precision", "recall"))
        return cls(value, precision, recall, *(_whole(name, data[name]) for name in ("flagged", "positives")))


@dataclass(frozen=True)
class DecisionRule:
    """What a trained network's logits z mean for a decision; everything in it comes from validation images.

    Three things can be asked of an image, and they answer different questions:

    - ``probabilities``: p = softmax(z / T + shift). How likely is each class, where classes are as frequent as among
      the validation images? Training on balanced data makes a network speak as if all classes were equally frequent;
      the shift takes that back (log of the validation share minus log of the share that the training showed).
    - ``decide``: argmax z - tau log prior. Which one class to name? tau = 0 is the network's own answer, on which all scores
      of a run are; tau = 1 the logit-adjusted one, which treats classes as equally frequent. For a network
      trained on balanced data both are the same.
    - ``flags``: p_k >= threshold_k, each class by itself. Which classes are likely enough to act on? An image can have no
      flag or several.

    Attributes:
        classes: (K,) names.
        temperature: T > 0; 1 changes nothing.
        shift: (K,) what is added to the logits after the temperature; zeros change nothing.
        log_prior: (K,) logarithms of the class shares that the network's logits are for.
        thresholds: (K,) one for each class.
        target_precision: what the thresholds had to reach on validation, in (0, 1].

    Raises:
        InputError: values of other lengths or outside their ranges.

    *Source*: Guo et al. 2017 (temperature); Saerens et al. 2002, equation 4 (prior); Menon et al. 2021, "Long-tail learning
    via logit adjustment", equation 9 (tau log prior).

    >>> logits = np.array([[2.0, 0], [1.5, 0], [1, 0], [-1, 0], [0.5, 0], [-2, 0]])
    >>> rule = DecisionRule.choose(logits, [0, 0, 0, 0, 1, 1], ["rare", "other"], shown=[50, 50])
    >>> rule.correction, rule.thresholds[0].value is not None, rule.thresholds[0].recall
    ('prior and temperature', True, 1.0)
    >>> rule.decide([[3.0, 0.0]]).tolist(), rule.flags([[3.0, 0.0]]).tolist()
    ([0], [[True, False]])
    """

    classes: tuple[str, ...]
    temperature: float
    shift: tuple[float, ...]
    log_prior: tuple[float, ...]
    thresholds: tuple[Threshold, ...]
    target_precision: float = TARGET_PRECISION

    def __post_init__(self) -> None:
        check_target(self.target_precision)
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes):
            raise InputError(f"classes must be at least 2 different names, not {self.classes}")
        for name in ("shift", "log_prior", "thresholds"):
            if len(getattr(self, name)) != len(self.classes):
                raise InputError(f"{name} must have a value for each of {len(self.classes)} classes")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise InputError(f"temperature must be a number above 0, not {self.temperature:g}")
        if not all(map(math.isfinite, (*self.shift, *self.log_prior))):
            raise InputError("shift and log_prior must be finite numbers")

    @classmethod
    def choose(
        cls,
        logits: npt.ArrayLike,
        labels: npt.ArrayLike,
        classes: Sequence[str],
        shown: Sequence[float],
        target_precision: float = TARGET_PRECISION,
    ) -> DecisionRule:
        """The rule that suits a network's answers to validation images.

        Of no correction, temperature, prior, and both, it takes the one with the least negative log-likelihood; of thresholds
        the least whose precision reaches the target, which is the one with the highest recall.

        Args:
            logits: (N, K) of validation images.
            labels: (N,) their class numbers.
            classes: (K,) names.
            shown: (K,) how often the training showed each class, times its weight in the loss where it had one; equal
                numbers for balanced data, and for balanced softmax, whose logits are for equal shares.
            target_precision: in (0, 1].

        Raises:
            InputError: shapes that do not fit, no image, or values outside their ranges.
        """
        check_target(target_precision)
        z, y = checked(logits, labels, len(classes))
        if len(shown) != len(classes) or not all(math.isfinite(n) and n >= 0 for n in shown):
            raise InputError(f"shown must be a number of at least 0 for each of {len(classes)} classes, not {shown}")
        temperature, shift = min(corrections(z, y, shown).values(), key=lambda c: nll(z / c[0] + c[1], y))
        p = softmax(z / temperature + shift, axis=1)
        return cls(
            classes=tuple(classes),
            temperature=temperature,
            shift=tuple(shift.tolist()),
            log_prior=tuple(log_prior(shown).tolist()),
            thresholds=tuple(choose_threshold(p[:, k], y == k, target_precision) for k in range(len(classes))),
            target_precision=float(target_precision),
        )

    @property
    def correction(self) -> str:
        """What is done to the logits: "none", "temperature", "prior", or "prior and temperature"."""
        parts = ["prior"] * any(self.shift) + ["temperature"] * (self.temperature != 1)
        return " and ".join(parts) or "none"

    @property
    def uncorrected(self) -> DecisionRule:
        """The rule without its correction, whose probabilities are softmax(z); its thresholds are not for those."""
        return replace(self, temperature=1.0, shift=(0.0,) * len(self.classes))

    def probabilities(self, logits: npt.ArrayLike) -> Floats:
        """(N, K) probabilities of (N, K) logits, where classes are as frequent as in validation."""
        return np.asarray(softmax(self._logits(logits) / self.temperature + self.shift, axis=1))

    def decide(self, logits: npt.ArrayLike, tau: float = 0.0) -> Labels:
        """(N,) class numbers: argmax of logits - tau log prior."""
        return np.asarray((self._logits(logits) - tau * np.asarray(self.log_prior)).argmax(1))

    def flags(self, logits: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """(N, K) whether the probability of a class reaches its threshold; never where there is none."""
        values = [math.inf if t.value is None else t.value for t in self.thresholds]
        return np.asarray(self.probabilities(logits) >= values)

    def _logits(self, logits: npt.ArrayLike) -> Floats:
        return checked_logits(logits, len(self.classes))

    def to_json(self) -> dict[str, Any]:
        """Plain data, as in ``result.json``."""
        plain = asdict(self)
        return plain | {name: list(plain[name]) for name in ("classes", "shift", "log_prior", "thresholds")}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> DecisionRule:
        """The rule that ``to_json`` described.

        Raises:
            InputError: keys or values that are no rule's.
        """
        _check_keys(cls, data)
        lists = {name: _list(name, data[name]) for name in ("classes", "shift", "log_prior", "thresholds")}
        if not all(isinstance(c, str) for c in lists["classes"]):
            raise InputError("not a decision rule: classes must be names")
        return cls(
            classes=tuple(lists["classes"]),
            temperature=_number("temperature", data["temperature"]),
            shift=tuple(_number("shift", v) for v in lists["shift"]),
            log_prior=tuple(_number("log_prior", v) for v in lists["log_prior"]),
            thresholds=tuple(Threshold.from_json(t) for t in lists["thresholds"]),
            target_precision=_number("target_precision", data["target_precision"]),
        )


def corrections(logits: Floats, labels: Labels, shown: Sequence[float]) -> dict[str, tuple[float, Floats]]:
    """Temperature and shift of every correction there is, by name, from the simplest on, fitted to validation images."""
    zeros = np.zeros(logits.shape[1])
    counts = np.bincount(labels, minlength=logits.shape[1]).astype(np.float64)
    prior = log_prior(counts) - log_prior(shown)
    return {
        "none": (1.0, zeros),
        "prior": (1.0, prior),
        "temperature": (fit_temperature(logits, labels, zeros), zeros),
        "prior and temperature": (fit_temperature(logits, labels, prior), prior),
    }


def choose_threshold(scores: Floats, truth: npt.NDArray[np.bool_], target: float) -> Threshold:
    """The least threshold at which (N,) scores find the (N,) true ones with at least the target precision.

    >>> choose_threshold(np.array([0.9, 0.8, 0.7, 0.2]), np.array([True, False, True, False]), 0.6)
    Threshold(value=0.7, precision=0.6666666666666666, recall=1.0, flagged=3, positives=2)
    """
    positives = int(truth.sum())
    nothing = Threshold(None, 0.0, 0.0, 0, positives)
    if not positives:
        return nothing
    found, wrong, values = ranked(scores, truth)
    precision = found / (found + wrong)
    reached = np.flatnonzero((precision >= target) & (found > 0))
    if not len(reached):
        return nothing
    at = reached[-1]
    flagged = int(found[at] + wrong[at])
    return Threshold(float(values[at]), float(precision[at]), float(found[at] / positives), flagged, positives)


def checked_logits(logits: npt.ArrayLike, classes: int) -> Floats:
    """Logits as (N, K) finite float64."""
    z = np.asarray(logits, dtype=np.float64)
    if z.ndim != 2 or z.shape[1] != classes:
        raise InputError(f"logits must be of shape (N, {classes}), an image a row, not {z.shape}")
    if not np.isfinite(z).all():
        raise InputError("logits must be finite numbers")
    return z


def checked(logits: npt.ArrayLike, labels: npt.ArrayLike, classes: int) -> tuple[Floats, Labels]:
    """Logits as (N, K) finite float64 and labels as (N,) class numbers, N > 0."""
    z, y = checked_logits(logits, classes), np.asarray(labels)
    if y.shape != (len(z),) or not len(y):
        raise InputError(f"labels must be a class number for each of {len(z)} images, not of shape {y.shape}")
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= classes:
        raise InputError(f"labels must be class numbers from 0 to {classes - 1}")
    return z, y.astype(np.int64)


def _check_keys(cls: type, data: Mapping[str, Any]) -> None:
    if not isinstance(data, Mapping) or set(data) != {f.name for f in fields(cls)}:
        raise InputError(f"not a {cls.__name__}: {f'keys {sorted(data)}' if isinstance(data, Mapping) else data!r}")


def _list(name: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise InputError(f"not a decision rule: {name} must be a list")
    return list(value)


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e300 < value < 1e300:
        raise InputError(f"not a decision rule: {name} must be a finite number, not {value!r}")
    return float(value)


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"not a decision rule: {name} must be a whole number, not {value!r}")
    return value
