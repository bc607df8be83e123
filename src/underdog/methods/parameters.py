"""The parameters of a method, as its function declares them: in its signature, and nowhere else."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from underdog.errors import InputError

__all__ = ["Axis", "Declared", "Parameter", "Value", "declared", "number_of"]

#: What a parameter may be set to.
Value = float | int | bool | str

#: Longer texts are no number that anybody means, and a fraction of many digits takes for ever to compute.
_LONGEST = 40


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


@dataclass(frozen=True)
class Parameter:
    """What the signature of a method's function says of a parameter: ``Annotated[float, Parameter("...")]``.

    Args:
        help: what it is, for people.
        search: the values that ``underdog tune`` tries; none where it is not tuned.
        unit: what values are written in: 255 writes 8/255 instead of 0.0313.

    >>> def method(share: Annotated[float, Parameter("of the images that are kept")] = 0.5): ...
    >>> declared(method)["share"].about.help
    'of the images that are kept'
    """

    help: str = ""
    search: Axis | None = None
    unit: int | None = None


@dataclass(frozen=True)
class Declared:
    """A parameter of a method.

    Attributes:
        name: in the signature.
        kinds: the types that its value may have; none where the signature does not say.
        choices: the texts that it may be, where it is one of some.
        default: its value where none is given.
        required: whether there is no default.
        about: what is said of it.
    """

    name: str
    kinds: tuple[type, ...]
    choices: tuple[str, ...]
    default: Value | None
    required: bool
    about: Parameter

    def read(self, text: str) -> Value:
        """The value that a text means.

        Raises:
            InputError: it means none.

        >>> declared(lambda eps=0.1: ...)["eps"].read("8/256")
        0.03125
        """
        if self.choices:
            if text not in self.choices:
                raise InputError(f"{self.name} must be {' or '.join(self.choices)}, not {text!r}")
            return text
        if bool in self.kinds:
            if text.lower() not in ("true", "false"):
                raise InputError(f"{self.name} must be true or false, not {text!r}")
            return text.lower() == "true"
        if self.kinds and str in self.kinds:
            return text
        number = number_of(text)
        if number is None:
            if not self.kinds:
                return text
            raise InputError(f"{self.name} must be a number such as 0.03 or 8/255, not {text!r}")
        if self.kinds == (int,) or (not self.kinds and re.fullmatch(r"[+-]?\d+", text)):
            if number != int(number):
                raise InputError(f"{self.name} must be a whole number, not {text}")
            return int(number)
        return number

    def write(self, value: Value) -> str:
        """The text that ``read`` gives the value for."""
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, str):
            return value
        if not math.isfinite(value):
            return repr(float(value))
        unit = self.about.unit
        if unit and 0 < value <= 1 and float(Fraction(round(value * unit), unit)) == value:
            return f"{round(value * unit)}/{unit}"
        return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def number_of(text: str) -> float | None:
    """The finite number that a text means, a decimal or a fraction; None where it means none.

    >>> number_of("0.25"), number_of("1/4"), number_of("1e999999999"), number_of("x")
    (0.25, 0.25, None, None)
    """
    above, slash, below = text.strip().partition("/")
    if len(text) > _LONGEST:
        return None
    try:
        if slash:
            return float(Fraction(int(above), int(below)))
        number = float(above)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def declared(function: Callable[..., Any]) -> dict[str, Declared]:
    """The parameters of a method's function, in order.

    Raises:
        InputError: a signature that has no names to give values to.
    """
    try:
        signature = inspect.signature(function)
        hints = get_type_hints(function, include_extras=True)
    except (TypeError, ValueError, NameError) as error:
        raise InputError(f"the parameters of {_called(function)} cannot be read: {error}") from error
    found = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise InputError(f"{_called(function)} must have parameters that can be named, not {parameter}")
        required = parameter.default is parameter.empty
        default = None if required else parameter.default
        found[name] = _declared(name, hints.get(name), default, required)
    return found


def _called(function: Callable[..., Any]) -> str:
    """What a function is called, as a part of a method is."""
    name = getattr(function, "__qualname__", None)
    return f"{function.__module__}:{name}" if name else repr(function)


def _declared(name: str, hint: object, default: Any, required: bool) -> Declared:
    about, kind = Parameter(), hint
    if get_origin(hint) is Annotated:
        kind, *more = get_args(hint)
        axis = next((one for one in more if isinstance(one, Axis)), None)
        about = next((one for one in more if isinstance(one, Parameter)), Parameter(search=axis))
    if (search := about.search) is not None and search.first not in search.values:
        raise InputError(
            f"parameter {name} has an Axis whose first value, {search.first}, is not among its values {search.values}"
        )
    kinds = [
        one for one in (get_args(kind) if get_origin(kind) in (Union, UnionType) else [kind]) if one is not NoneType
    ]
    choices = tuple(str(value) for one in kinds if get_origin(one) is Literal for value in get_args(one))
    types = tuple(one for one in kinds if isinstance(one, type))
    if not types and not choices and default is not None:
        types = (type(default),)
    return Declared(name, types, choices, default, required, about)
