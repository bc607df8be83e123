"""The arguments of ``underdog data``."""

from __future__ import annotations

from pathlib import Path

from underdog.cli.arguments.base import Commands
from underdog.cli.arguments.images import add_images
from underdog.cli.arguments.values import whole
from underdog.data.known import KNOWN

__all__ = ["add_data"]


def add_data(commands: Commands) -> None:
    """The arguments of the command."""
    command = commands.add_parser(
        "data",
        help="what is in a source of images, data sets to download, and what is cached",
        description="Commands about data.",
        epilog="examples:\n  underdog data info photos/\n  underdog data fetch mnist --to data\n  underdog data cache\n\n"
        "'underdog data COMMAND --help' explains a command.",
    )
    subcommands = command.add_subparsers(dest="what", required=True, metavar="COMMAND", parser_class=type(command))
    add_info(subcommands)
    add_fetch(subcommands)
    add_cache(subcommands)


def add_info(subcommands: Commands) -> None:
    """The arguments of the command."""
    command = subcommands.add_parser(
        "info",
        help="classes, sizes, corrupt files, equal images, groups, and what a run would train on",
        description="Look at every image of a source once: classes, sizes and modes, who is rare and why, files that cannot be "
        "decoded, equal images across parts or with different labels, groups in several parts, and how many images of each "
        "class a run with the same options would train, choose and report on. Nothing of this is an error here.",
        epilog="examples:\n"
        "  underdog data info photos/ -o photos.html\n"
        "  underdog data info photos.tar.xz --groups patients.csv:image,patient --rho 20 --mu 0.5\n"
        "  underdog data info photos/ --json > photos.json",
    )
    add_images(command)
    command.add_argument(
        "--data-seed", type=whole, default=0, help="seed of validation part and imbalance (default: 0)"
    )
    group = command.add_argument_group("output")
    group.add_argument("--json", action="store_true", help="print JSON instead of tables")
    group.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write a page with sample images of each class"
    )


def add_fetch(subcommands: Commands) -> None:
    """The arguments of the command."""
    command = subcommands.add_parser(
        "fetch",
        help="download a well-known data set, or say how to get it",
        description="Download a well-known data set and check it. For one that needs an account, print what to do.\n\ndata sets:\n"
        + "\n".join(f"  {name:<8} {own.title}" for name, own in KNOWN.items()),
        epilog="examples:\n"
        "  underdog data fetch --list\n"
        "  underdog data fetch mnist --to data\n"
        "  underdog data fetch cifar10 --to data\n\n"
        "A download that broke off resumes where it was when the same command is given again.",
    )
    command.add_argument("name", nargs="?", metavar="NAME", help="one of the data sets above")
    command.add_argument("--to", type=Path, metavar="DIR", help="the folder that it is to lie in")
    command.add_argument("--list", action="store_true", help="list names, sizes and licences, and how each is got")


def add_cache(subcommands: Commands) -> None:
    """The arguments of the command."""
    command = subcommands.add_parser(
        "cache",
        help="list decoded images that are kept, or remove them",
        description="List what is kept of decoded images, or remove it.",
        epilog="examples:\n"
        "  underdog data cache\n"
        "  underdog data cache --clear 4a3367b384b1\n"
        "  underdog data cache --clear",
    )
    command.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="the cache (default: the variable UNDERDOG_CACHE, or underdog's folder among the user's caches)",
    )  # fmt: skip
    command.add_argument(
        "--clear", nargs="?", const="", metavar="ENTRY",
        help="remove the entries whose names begin so; everything where none is named",
    )  # fmt: skip
    command.add_argument("--json", action="store_true", help="print JSON")
