"""``underdog data info``: what is in a source, before anything is trained on it."""

from __future__ import annotations

import json
import sys

from underdog.cli.common import Options, reading_of, say, writable
from underdog.cli.progress import bar
from underdog.data.prepare import Division
from underdog.inspect.images import inspect_images
from underdog.reporting.data_page import write_data_page
from underdog.reporting.data_text import data_text
from underdog.run.spec import RunSpec

__all__ = ["run"]


def run(options: Options) -> None:
    """Print what is in a source, and write the page that was asked for."""
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
