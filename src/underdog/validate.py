"""Rules that several parts check alike: each error names the argument, the rule and the value."""

from __future__ import annotations

import math

from underdog.errors import InputError

__all__ = ["check_eps", "check_positive", "check_ratio", "check_tau"]


def check_eps(eps: float) -> None:
    """eps must be a number in [0, 1]: more than 1 is no length within [0, 1] and mostly a forgotten /255."""
    if not (math.isfinite(eps) and 0 <= eps <= 1):
        raise InputError(f"eps must be a number in [0, 1], in units of pixels from 0 to 1 (such as 8/255), not {eps:g}")


def check_tau(tau: float) -> None:
    """tau must be a probability."""
    if not 0 <= tau <= 1:
        raise InputError(f"tau must be a probability in [0, 1], not {tau:g}")


def check_ratio(ratio: float) -> None:
    """The images of a class in relation to those of another, which are more."""
    if not 0 < ratio <= 1:
        raise InputError(f"ratio must be a number above 0 and at most 1, not {ratio:g}")


def check_positive(name: str, value: float, whole: bool = False) -> None:
    """A count or rate must be finite and more than 0, and a whole number where it counts."""
    if not (math.isfinite(value) and value > 0) or (whole and value != int(value)):
        raise InputError(f"{name} must be a {'whole ' if whole else ''}number above 0, not {value:g}")
