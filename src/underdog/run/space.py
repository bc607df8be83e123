"""Which values a method's parameters are searched over, and which of them are tried next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

from underdog.errors import InputError
from underdog.names import PARAMETERS
from underdog.rng import RandomStreams

__all__ = ["SPACE", "TUNING_SEED", "Axis", "Values", "check_trials", "first_values", "next_values", "require_optuna"]

#: Seed and data seed of the runs that choose parameters; no reported run uses it.
TUNING_SEED = 1_000_003
#: Trials that are drawn at random before those before them say where to look.
RANDOM_TRIALS = 5
#: How often the sampler may ask for values that were tried before.
PATIENCE = 20

#: A parameter's name -> its value.
Values = Mapping[str, float]


class Axis(NamedTuple):
    """The values that a parameter is searched over.

    Attributes:
        values: all of them, ascending.
        first: of the first trial: the usual one, where there is one.
        log: whether small ones lie closer together.
    """

    values: tuple[float, ...]
    first: float
    log: bool = False


#: eps: from the smallest change of a byte to a quarter of its range, where pictures hardly stay recognisable; equal factors
#: are equal steps, since each of published attacks' sizes (1, 2, 4, 8, 16 / 255) doubles the one before. The others: from
#: next to nothing to their usual value, where that is the strongest, or to twice as much and more, where it is not.
SPACE: dict[str, Axis] = {
    "eps": Axis(tuple(n / 255 for n in range(1, 65)), first=16 / 255, log=True),
    "tau": Axis((0.2, 0.4, 0.6, 0.8, 1.0), first=0.6),
    "k": Axis(tuple(range(1, 21)), first=5, log=True),
    "ratio": Axis(tuple(n / 20 for n in range(1, 21)), first=1.0),
    "power": Axis(tuple(n / 10 for n in range(1, 21)), first=1.0),
    "lr_factor": Axis(tuple(4 ** (n / 10) for n in range(-10, 11)), first=1.0),
}


def check_trials(trials: int) -> None:
    """Every method must be able to try as many different values."""
    most = min(math.prod(len(SPACE[name].values) for name in own) for own in PARAMETERS.values())
    if not 1 <= trials <= most:
        raise InputError(f"trials must be from 1 to {most}, the values of the smallest search space, not {trials}")


def first_values(method: str) -> dict[str, float]:
    """What a search tries first: the usual values, so that it never ends below them.

    >>> first_values("smote")
    {'k': 5}
    """
    return {name: SPACE[name].first for name in PARAMETERS[method]}


def next_values(method: str, tried: Sequence[tuple[Values, float]]) -> dict[str, float]:
    """What to try after some values with their scores: a function of these alone, and never one of them again.

    Optuna's TPE sampler suggests them, at random at first; where it only repeats itself, some of those left are drawn.

    Raises:
        InputError: Optuna is not installed.

    *Source*: Bergstra et al. 2011, "Algorithms for hyper-parameter optimization", section 4.

    >>> next_values("ros", [])
    {'ratio': 1.0}
    """
    if not tried:
        return first_values(method)
    axes = {name: SPACE[name] for name in PARAMETERS[method]}
    rng = RandomStreams(TUNING_SEED)
    before = [dict(values) for values, _ in tried]
    # Methods with the same parameters, such as aos and its control, meet the same draws.
    study = _study(axes, tried, rng.torch_seed("tune", *axes, len(tried)))
    for _ in range(PATIENCE):
        asked = study.ask(_distributions(axes)).params
        values = {name: axis.values[asked[name] - 1] for name, axis in axes.items()}
        if values not in before:
            return values
    every = (dict(zip(axes, point, strict=True)) for point in product(*(axis.values for axis in axes.values())))
    left = [values for values in every if values not in before]
    return left[rng("tune-left", *axes, len(tried)).integers(len(left))]


def _study(axes: Mapping[str, Axis], tried: Sequence[tuple[Values, float]], seed: int) -> Any:
    """Optuna's study of what was tried; it numbers an axis's values from 1."""
    optuna = require_optuna()
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for values, score in tried:
        numbers = {name: axis.values.index(values[name]) + 1 for name, axis in axes.items()}
        study.add_trial(optuna.trial.create_trial(params=numbers, distributions=_distributions(axes), value=score))
    return study


def _distributions(axes: Mapping[str, Axis]) -> dict[str, Any]:
    distribution = require_optuna().distributions.IntDistribution
    return {name: distribution(1, len(axis.values), log=axis.log) for name, axis in axes.items()}


def require_optuna() -> Any:
    """The module of Optuna.

    Raises:
        InputError: it is not installed.
    """
    try:
        import optuna  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise InputError("tuning needs Optuna: pip install 'underdog[tune]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # not a line for every study
    return optuna
