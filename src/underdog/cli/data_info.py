"""``underdog data info``: what is in a source, before anything is trained on it."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from underdog.cli.image_options import add_images
from underdog.cli.values import whole

__all__ = ["add_info", "info"]


def add_info(subcommands: Any) -> None:
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
    command.set_defaults(action=info)


def info(options: argparse.Namespace) -> None:
    """Print what is in a source, and write the page that was asked for."""
    from underdog.cli.commands import reading_of, say, writable  # noqa: PLC0415
    from underdog.cli.progress import bar  # noqa: PLC0415
    from underdog.data.prepare import Division  # noqa: PLC0415
    from underdog.inspect.images import inspect_images  # noqa: PLC0415
    from underdog.reporting.data_page import write_data_page  # noqa: PLC0415
    from underdog.reporting.data_text import data_text  # noqa: PLC0415
    from underdog.run.spec import RunSpec  # noqa: PLC0415

    if options.output is not None:
        writable(options.output)
    minority = None if options.minority is None else tuple(options.minority)
    size = options.majority_size
    RunSpec(
        "", "baseline", rho=options.rho, mu=options.mu, minority=minority, majority_size=size
    )  # refuses nonsense at once
    division = Division(options.val_fraction, options.test_fraction)
    with bar(f"reading {options.source}", None, " images") as shown:
        found = inspect_images(
            options.source,
            reading_of(options),
            shown.update,
            options.data_seed,
            options.rho,
            options.mu,
            minority,
            division,
            size,
        )
    if options.output is not None:
        write_data_page(found, options.output)
    if options.json:
        say(json.dumps(found.to_json(), indent=1, allow_nan=False))
        return
    # A terminal that does not know a letter is shown its number instead of an error.
    encoding = sys.stdout.encoding or "utf-8"
    say(data_text(found).encode(encoding, "backslashreplace").decode(encoding))
    if options.output is not None:
        say(f"\npage: {options.output}")
