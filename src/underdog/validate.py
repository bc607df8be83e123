"""Rules that several parts check alike: each error names the argument, the rule and the value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import UnionType

from underdog.errors import InputError

__all__ = [
    "check_callable",
    "check_classes",
    "check_eps",
    "check_kind",
    "check_least",
    "check_positive",
    "check_ratio",
    "check_same",
    "check_step",
    "check_tau",
    "check_whole",
]


def _shown(value: object) -> str:
    """A value, or what it is where it is long."""
    text = f"{value:g}" if isinstance(value, float) else repr(value)
    return text if len(text) <= 60 else f"a {type(value).__name__}"


def _number(name: str, value: object) -> float:
    """As a number: one of Python, numpy or torch."""
    try:
        return float("nan" if isinstance(value, str) else value)  # type: ignore[arg-type]
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} must be a number, not {_shown(value)}") from error


def check_kind(name: str, value: object, kinds: type | UnionType, what: str) -> None:
    """An argument must be of one of some types, or of what ``what`` calls them."""
    if not isinstance(value, kinds):
        raise InputError(f"{name} must be {what}, not {_shown(value)}")


def check_callable(name: str, value: object, what: str) -> None:
    """An argument must be a function, if it is given at all."""
    if value is not None and not callable(value):
        raise InputError(f"{name} must be {what}, not {_shown(value)}")


def check_whole(name: str, value: object, least: int = 0, most: int | None = None) -> int:
    """A whole number in a range, as one of Python."""
    number = _number(name, value)
    if not (math.isfinite(number) and number == int(number) and least <= number and (most is None or number <= most)):
        up_to = "" if most is None else f" and at most {most}"
        raise InputError(f"{name} must be a whole number of at least {least}{up_to}, not {_shown(value)}")
    return int(number)


def check_classes(name: str, classes: object) -> frozenset[int]:
    """Class numbers as those of Python, whatever they came in: a tensor's elements equal nothing."""
    try:
        return frozenset(check_whole(name, k) for k in classes)  # type: ignore[attr-defined]
    except (TypeError, InputError) as error:
        raise InputError(f"{name} must be class numbers from 0, such as [2], not {_shown(classes)}") from error


def check_same(state: Mapping[str, object], own: Mapping[str, object]) -> None:
    """A state must be one that ``state_dict`` returned, with the same values of what must not have changed."""
    check_kind("state", state, Mapping, "what state_dict() returned")
    for name, mine in own.items():
        if name not in state:
            raise InputError(f"state must be what state_dict() returned, which has {name!r}, not {_shown(list(state))}")
        if state[name] != mine:
            raise InputError(
                f"state must be of the same {name}, but was saved with {_shown(state[name])}, and here it is {_shown(mine)}"
            )


def check_eps(eps: float) -> None:
    """eps must be a number in [0, 1]: more than 1 is no length within [0, 1] and mostly a forgotten /255."""
    if not 0 <= _number("eps", eps) <= 1:
        raise InputError(
            f"eps must be a number in [0, 1], in units of pixels from 0 to 1 (such as 8/255), not {_shown(eps)}"
        )


def check_step(step_size: float) -> None:
    """A step must be a number in (0, 1], for the same reason."""
    if not 0 < _number("step_size", step_size) <= 1:
        raise InputError(
            "step_size must be a number above 0 and at most 1, in units of pixels from 0 to 1 (such as 2/255), not "
            f"{_shown(step_size)}"
        )


def check_tau(tau: float) -> None:
    """tau must be a probability."""
    if not 0 <= _number("tau", tau) <= 1:
        raise InputError(f"tau must be a probability in [0, 1], not {_shown(tau)}")


def check_ratio(ratio: float) -> None:
    """The images of a class in relation to those of another, which are more."""
    if not 0 < ratio <= 1:
        raise InputError(f"ratio must be a number above 0 and at most 1, not {ratio:g}")


def check_positive(name: str, value: float, whole: bool = False) -> None:
    """A count or rate must be finite and more than 0, and a whole number where it counts."""
    number = _number(name, value)
    if not (math.isfinite(number) and number > 0) or (whole and number != int(number)):
        raise InputError(f"{name} must be a {'whole ' if whole else ''}number above 0, not {_shown(value)}")


def check_least(name: str, value: float, least: float) -> None:
    """A finite number of at least so much."""
    if not (math.isfinite(number := _number(name, value)) and number >= least):
        raise InputError(f"{name} must be a number of at least {least:g}, not {_shown(value)}")
