"""The arguments of ``underdog methods``, and what the help of other commands says of methods."""

from __future__ import annotations

from underdog.cli.arguments.base import Commands
from underdog.cli.arguments.values import method
from underdog.methods.table import METHODS

__all__ = ["METHOD_HELP", "add_methods"]

_NAMES = "\n".join(f"  {name:<17} {entry.about}" for name, entry in METHODS.items())
#: What the help of every command with methods says of them.
METHOD_HELP = (
    f"methods:\n{_NAMES}\n\n"
    "A method may be a sum of these with parameters in brackets, such as 'aos(eps=8/255,tau=0.5)+balanced-softmax' (quote it: "
    "shells know brackets), or a function of your own, package.module:function. 'underdog methods NAME' explains one."
)


def add_methods(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "methods",
        help="the methods, their parameters, and what each does",
        description="List the methods with their parameters, or explain one of them.",
        epilog="examples:\n  underdog methods\n  underdog methods aos\n  underdog methods mine.halve:method",
    )
    command.add_argument(
        "name", type=method, nargs="?", metavar="NAME", help="a method, or package.module:function of your own"
    )
