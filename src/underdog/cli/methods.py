"""``underdog methods``: which methods there are, and what each of them does."""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Iterator
from typing import Any

from underdog.errors import InputError
from underdog.methods.table import METHODS

__all__ = ["METHOD_HELP", "add_methods", "methods"]

_NAMES = "\n".join(f"  {name:<17} {entry.about}" for name, entry in METHODS.items())
#: What the help of every command with methods says of them.
METHOD_HELP = (
    f"methods:\n{_NAMES}\n\n"
    "A method may be a sum of these with parameters in brackets, such as 'aos(eps=8/255,tau=0.5)+balanced-softmax' (quote it: "
    "shells know brackets), or a function of your own, package.module:function. 'underdog methods NAME' explains one."
)


def add_methods(commands: Any) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "methods",
        help="the methods, their parameters, and what each does",
        description="List the methods with their parameters, or explain one of them.",
        epilog="examples:\n  underdog methods\n  underdog methods aos\n  underdog methods mine.halve:method",
    )
    command.add_argument("name", nargs="?", metavar="NAME", help="a method, or package.module:function of your own")


def methods(options: argparse.Namespace) -> None:
    """Carry out the command."""
    print("\n".join(_card(options.name) if options.name else _list()))


def _list() -> Iterator[str]:
    """A line for each method: name, what it does, and its parameters with their defaults."""
    from underdog.methods.expression import Part  # noqa: PLC0415  (torch is imported with the methods)

    for name, entry in METHODS.items():
        given = ", ".join(
            n if d.default is None else f"{n}={d.write(d.default)}" for n, d in Part(name).parameters.items()
        )
        yield f"{name:<17} {entry.about}{f' ({given})' if given else ''}"
    yield "\nsums: 'aos(eps=8/255)+balanced-softmax'; your own: package.module:function; 'underdog methods NAME' explains one"


def _card(name: str) -> Iterator[str]:
    """What a method does, its parameters, and its source."""
    from underdog.methods.expression import function_of, parse  # noqa: PLC0415

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
