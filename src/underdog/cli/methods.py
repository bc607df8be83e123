"""``underdog methods``: which methods there are, and what each of them does."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from underdog.cli.common import Options
from underdog.errors import InputError
from underdog.methods.expression import Part, function_of, parse
from underdog.methods.table import METHODS

__all__ = ["run"]


def run(options: Options) -> None:
    """Carry out the command."""
    print("\n".join(_card(options.name) if options.name else _list()))


def _list() -> Iterator[str]:
    """A line for each method: name, what it does, and its parameters with their defaults."""
    for name, entry in METHODS.items():
        given = ", ".join(
            n if d.default is None else f"{n}={d.write(d.default)}" for n, d in Part(name).parameters.items()
        )
        yield f"{name:<17} {entry.about}{f' ({given})' if given else ''}"
    yield "\nsums: 'aos(eps=8/255)+balanced-softmax'; your own: package.module:function; 'underdog methods NAME' explains one"


def _card(name: str) -> Iterator[str]:
    """What a method does, its parameters, and its source."""
    if len(parse(name).parts) > 1:
        raise InputError(f"{name!r} is a sum: ask for its parts one by one")
    part = parse(name).parts[0]
    name = part.name
    about = METHODS[name].about if name in METHODS else "a method of your own"
    yield f"{name}: {about}"
    text = inspect.getdoc(function_of(name)) or ""
    # Marks of the documentation; a star between spaces is one of a formula.
    yield "\n" + re.sub(r"\*(\S+?)\*", r"\1", text.partition(">>>")[0].replace("``", "")).strip()
    parameters = part.parameters
    if parameters:
        yield "\nparameters:"
    for one in parameters.values():
        usual = "needed" if one.required else "" if one.default is None else f"default {one.write(one.default)}"
        choices = " or ".join(one.choices)
        told = "; ".join(filter(None, (choices, one.about.help, usual)))
        yield f"  {one.name:<10} {told}"
        if (axis := one.about.search) is not None:
            yield f"  {'':<10} 'underdog tune' tries {one.write(axis.values[0])} to {one.write(axis.values[-1])}"
    yield f"\nuse: underdog train photos/ --method '{name}'"
