"""Which values a method's parameters are searched over, and which of them are tried next."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Any

from underdog.errors import InputError
from underdog.methods.expression import Expression
from underdog.methods.parameters import Axis
from underdog.rng import RandomStreams

__all__ = ["TUNING_SEED", "Values", "check_trials", "first_values", "next_values", "require_optuna"]

#: Seed and data seed of the runs that choose parameters; no reported run uses it.
TUNING_SEED = 1_000_003
#: Trials that are drawn at random before those before them say where to look.
RANDOM_TRIALS = 5
#: How often the sampler may ask for values that were tried before.
PATIENCE = 20

#: A parameter's name -> its value.
Values = Mapping[str, float]


def check_trials(trials: int, methods: Iterable[Expression]) -> None:
    """Every method must be able to try as many different values."""
    most = min(math.prod(len(axis.values) for axis in method.space.values()) for method in methods)
    if not 1 <= trials <= most:
        raise InputError(f"trials must be from 1 to {most}, the values of the smallest search space, not {trials}")


def first_values(method: Expression) -> dict[str, float]:
    """What a search tries first: the usual values, so that it never ends below them.

    >>> from underdog.methods.expression import parse
    >>> first_values(parse("smote"))
    {'k': 5}
    """
    return {name: axis.first for name, axis in method.space.items()}


def next_values(method: Expression, tried: Sequence[tuple[Values, float]]) -> dict[str, float]:
    """What to try after some values with their scores: a function of these alone, and never one of them again.

    Optuna's TPE sampler suggests them, at random at first; where it only repeats itself, some of those left are drawn.

    Raises:
        InputError: Optuna is not installed.

    *Source*: Bergstra et al. 2011, "Algorithms for hyper-parameter optimization", section 4.

    >>> from underdog.methods.expression import parse
    >>> next_values(parse("ros"), [])
    {'ratio': 1.0}
    """
    if not tried:
        return first_values(method)
    axes = method.space
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
