"""Methods as people write them: sums of parts with parameters, such as ``aos(eps=8/255)+balanced-softmax``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any

from underdog.errors import InputError, nearest
from underdog.methods.parameters import Axis, Declared, Value, declared
from underdog.methods.table import METHODS, ROLES
from underdog.outside import imported

__all__ = ["Expression", "Part", "check_names", "function_of", "parse", "split_list"]

#: What a part is called: a name in the table, or ``package.module:function``.
_NAME = re.compile(r"[A-Za-z_][\w.-]*(?::[A-Za-z_][\w.]*)?")
#: The part that is left away where there are others.
PLAIN = "baseline"


def function_of(name: str) -> Callable[..., Any]:
    """The function that makes a method, or changes one, of that name.

    Raises:
        InputError: it cannot be imported.
    """
    home = f"underdog.methods.{METHODS[name].home}" if name in METHODS else name
    return imported("method", home)


@lru_cache
def _of_table(name: str) -> dict[str, Declared]:
    return declared(function_of(name))


@dataclass(frozen=True)
class Part:
    """A part of a method: its name, and the parameters that were set to something else than their default."""

    name: str
    values: tuple[tuple[str, Value], ...] = ()

    @property
    def role(self) -> str:
        return METHODS[self.name].role if self.name in METHODS else "own"

    @property
    def parameters(self) -> dict[str, Declared]:
        """Its parameters by name; imports its module."""
        # A function of one's own may be another one now, in a notebook.
        return _of_table(self.name) if self.name in METHODS else declared(function_of(self.name))

    def get(self, name: str) -> Value | None:
        """The value of a parameter, or its default; None where it has neither."""
        given = dict(self.values)
        if name in given or self.name not in METHODS:
            return given.get(name)
        own = self.parameters.get(name)
        return None if own is None else own.default

    def with_values(self, values: Mapping[str, Value | str | None]) -> Part:
        """The part with other values; None is the default.

        Raises:
            InputError: a parameter that it does not have, or a value of another kind.
        """
        own, given = self.parameters, dict[str, Value]()
        for name, value in {**dict(self.values), **values}.items():
            if name not in own:
                known = f"it has {', '.join(own)}" if own else "it has none"
                raise InputError(f"{self.name} has no parameter {name!r}{nearest(name, own)} ({known})")
            if value is None:
                continue
            try:  # one value in one form, whatever its type was
                found = own[name].read(value if isinstance(value, str) else own[name].write(value))
            except InputError as error:
                raise InputError(f"{self.name}: {error}") from error
            if found != own[name].default:
                given[name] = found
        return Part(self.name, tuple((name, given[name]) for name in own if name in given))

    def __str__(self) -> str:
        if not self.values:
            return self.name
        own = self.parameters if self.name in METHODS else {}
        texts = (f"{n}={own[n].write(v) if n in own else _plain(v)}" for n, v in self.values)
        return f"{self.name}({','.join(texts)})"


def _plain(value: Value) -> str:
    """A value of a function that is not imported here: numbers that are long as decimals are often shares of 255."""
    if isinstance(value, float) and len(repr(value)) > 8 and round(value * 255) / 255 == value:
        return f"{round(value * 255)}/255"
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Expression:
    """A sum of parts, in the one order that sums are written in; its text is what identifies a method.

    >>> str(parse("balanced-softmax + aos(tau=0.5, eps=8/255)"))
    'aos(eps=8/255)+balanced-softmax'
    """

    parts: tuple[Part, ...]

    @classmethod
    def of(cls, parts: tuple[Part, ...]) -> Expression:
        """The sum of parts.

        Raises:
            InputError: two of one role, or one twice.
        """
        roles = list(ROLES)
        ordered = sorted(parts, key=lambda part: (roles.index(part.role), str(part)))
        for one, other in pairwise(ordered):
            if one.name == other.name:
                raise InputError(f"{one.name} is there twice")
            if one.role == other.role != "own":
                raise InputError(f"{one.name} and {other.name} cannot be added: both decide on {ROLES[one.role]}")
        if len(ordered) > 1:
            ordered = [part for part in ordered if part != Part(PLAIN)]
        return cls(tuple(ordered))

    @property
    def name(self) -> str:
        """The names of its parts.

        >>> parse("aos(eps=8/255)+focal").name
        'aos+focal'
        """
        return "+".join(part.name for part in self.parts)

    def __str__(self) -> str:
        return self._text

    @cached_property
    def _text(self) -> str:
        return "+".join(map(str, self.parts))

    def get(self, name: str) -> Value | None:
        """The value of a parameter, or its default, of the first part that has it; None where none has.

        >>> parse("aos(eps=8/255)").get("tau"), parse("ros").get("tau")
        (0.5, None)
        """
        return next((value for part in self.parts if (value := part.get(name)) is not None), None)

    def number(self, name: str) -> float | None:
        """``get`` of a parameter that is a number."""
        value = self.get(name)
        return float(value) if isinstance(value, int | float) else None

    def lookup(self, key: str) -> Value | None:
        """The value of the parameter of that key, or its default; None where it has neither."""
        for own, part, one in self.declared():
            if own == key:
                given = dict(part.values).get(one.name, one.default)
                # Of functions of one's own, which are not imported to read a sum, values may still be texts.
                return one.read(given) if isinstance(given, str) else given
        return None

    @property
    def values(self) -> dict[str, Value]:
        """What was set, by ``key``."""
        return {self.key(part, name): value for part in self.parts for name, value in part.values}

    @property
    def stated(self) -> dict[str, Value]:
        """What was set, by ``key``, and with what alters images also a tau that is as usual.

        >>> parse("smote(k=3)").stated, parse("aos").stated
        ({'k': 3}, {'tau': 0.5})
        """
        return {
            self.key(part, name): value
            for part in self.parts
            for name in dict.fromkeys((*(("eps", "tau") if part.role == "alteration" else ()), *dict(part.values)))
            if (value := part.get(name)) is not None
        }

    def key(self, part: Part, name: str) -> str:
        """What a part's parameter is called in the sum: its name, after the part's where another part has one of that name."""
        others = [p for p in self.parts if p is not part and p.name in METHODS and name in p.parameters]
        return f"{part.name}.{name}" if others else name

    def declared(self) -> Iterator[tuple[str, Part, Declared]]:
        """Every parameter of every part, with its key."""
        for part in self.parts:
            for name, one in part.parameters.items():
                yield self.key(part, name), part, one

    @property
    def missing(self) -> tuple[str, ...]:
        """The parameters that have no default and were not set, by key."""
        return tuple(key for key, part, one in self.declared() if one.required and part.get(one.name) is None)

    def with_first_values(self) -> Expression:
        """The expression with the first values of a search in the place of those that are missing."""
        return self.set({key: self.space[key].first for key in self.missing if key in self.space})

    @property
    def space(self) -> dict[str, Axis]:
        """What is searched over, by key; a method without parameters to search gets its learning rate."""
        found = {key: one.about.search for key, _, one in self.declared() if one.about.search is not None}
        return found or {"lr_factor": Part(PLAIN).parameters["lr_factor"].about.search}  # type: ignore[dict-item]

    def has(self, key: str) -> bool:
        """Whether a part has the parameter."""
        return any(key in (own, one.name) for own, _, one in self.declared())

    def set(self, values: Mapping[str, Value | str | None]) -> Expression:
        """The expression with parameters set, by key; None is the default.

        Raises:
            InputError: a parameter that none of the parts has or several have, or a value of another kind.

        >>> str(parse("aos+focal").set({"eps": "8/255", "gamma": 1}))
        'aos(eps=8/255)+focal(gamma=1)'
        """
        parts = list(self.parts)
        for key, value in values.items():
            last = key.rpartition(".")[2]
            owners = [n for n, p in enumerate(parts) if last in p.parameters and key in (last, f"{p.name}.{last}")]
            exact = [n for n in owners if key == Expression(tuple(parts)).key(parts[n], last)]
            owners = exact if len(exact) == 1 else owners
            if not owners and key == "lr_factor":
                parts.append(Part(PLAIN).with_values({key: value}))
                continue
            if len(owners) != 1:
                names = " and ".join(parts[n].name for n in owners)
                known = [own for own, _, _ in self.declared()]
                raise InputError(
                    f"{self.name} has {key!r} twice: say {' or '.join(f'{parts[n].name}.{key}' for n in owners)} ({names})"
                    if owners
                    else f"{self.name} has no parameter {key!r}{nearest(key, known)} (it has {', '.join(known) or 'none'})"
                )
            parts[owners[0]] = parts[owners[0]].with_values({key.rpartition(".")[2]: value})
        return Expression.of(tuple(parts))

    def renamed(self, old: str, new: str) -> Expression:
        """The expression with another part in the place of one, with the same values of parameters that both have."""
        parts = tuple(
            replace(part, name=new, values=tuple((n, v) for n, v in part.values if n in Part(new).parameters))
            if part.name == old
            else part
            for part in self.parts
        )
        return Expression.of(parts)


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """The method that a text means.

    Names of the table are checked, with their parameters; functions of one's own (``package.module:function``) are imported
    where they are used.

    Raises:
        InputError: brackets that do not match, an unknown part or parameter, a value of another kind, parts that cannot be
            added; the message points at the part.
    """
    parts = [_part(piece.strip(), text) for piece in _pieces(text, "+")]
    try:
        return Expression.of(tuple(parts))
    except InputError as error:
        raise InputError(f"method {text!r}: {error}") from error


def split_list(text: str) -> list[str]:
    """The methods in a list with commas, of which those in brackets belong to a method.

    >>> split_list("ros, aos(eps=8/255,tau=0.5),focal")
    ['ros', 'aos(eps=8/255,tau=0.5)', 'focal']
    """
    return [piece.strip() for piece in _pieces(text, ",") if piece.strip()]


def _pieces(text: str, separator: str) -> list[str]:
    """The text cut at a separator, but not within brackets.

    Raises:
        InputError: brackets that do not match.
    """
    pieces, depth = [""], 0
    for at, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth not in (0, 1):
            what = "a bracket within brackets" if depth > 1 else "a bracket that closes none"
            raise InputError(f"method {text!r} has {what}: {text[:at]} >{letter}<")
        if letter == separator and not depth:
            pieces.append("")
        else:
            pieces[-1] += letter
    if depth:
        raise InputError(f"method {text!r} has a bracket that is not closed: {text} >)<")
    return pieces


def check_names(text: str) -> None:
    """Refuse a method whose brackets do not match or that names an unknown part; imports nothing.

    Raises:
        InputError: as ``parse``.

    >>> check_names("smoot(k=3)")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    underdog.errors.InputError: unknown method 'smoot'; did you mean 'smote'? (known: baseline, ...)
    """
    for piece in _pieces(text, "+"):
        _read(piece.strip(), text)


def _read(text: str, whole: str) -> tuple[str, dict[str, str]]:
    """The name of a part such as ``aos(eps=8/255)``, and its parameters as texts."""

    def wrong(problem: str) -> InputError:
        return InputError(problem if text == whole else f"method {whole!r}: {problem}")

    name, bracket, rest = text.partition("(")
    name = name.strip()
    if not name or (bracket and not rest.endswith(")")):
        raise wrong(f"a part is a name with parameters in brackets, such as aos(eps=8/255), not {text!r}")
    if name not in METHODS and not (":" in name and _NAME.fullmatch(name)):
        known = [*METHODS, "package.module:function"]
        raise wrong(f"unknown method {name!r}{nearest(name, METHODS)} (known: {', '.join(known)})")
    given: dict[str, str] = {}
    for item in filter(str.strip, rest[:-1].split(",")) if bracket else ():
        key, equals, value = (piece.strip() for piece in item.partition("="))
        if not equals or not key.isidentifier() or not value:
            raise wrong(f"{name}: parameters are given as name=value, not {item.strip()!r}")
        if key in given:
            raise wrong(f"{name}: {key} is given twice")
        given[key] = value
    return name, given


def _part(text: str, whole: str) -> Part:
    """The part that a text such as ``aos(eps=8/255)`` means."""
    name, given = _read(text, whole)
    if name not in METHODS:
        return Part(name, tuple(sorted(given.items())))
    try:
        return Part(name).with_values(given)
    except InputError as error:
        raise InputError(str(error) if text == whole else f"method {whole!r}: {error}") from error
