"""The command ``underdog``. Nothing heavy is imported before the arguments are understood."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from underdog.cli.arguments.parser import parser
from underdog.errors import InputError, UnderdogError
from underdog.paths import check_paths

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code: 0 success, 1 a run failed, 2 bad input, 130 interrupted."""
    root = parser()
    options = root.parse_args(arguments)
    if options.command is None:
        root.print_help()
        return 0
    name = f"data_{options.what}" if options.command == "data" else options.command
    try:
        check_paths(options)
        import_module(f"underdog.cli.{name}").run(options)  # torch is imported here
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (UnderdogError, OSError) as error:
        return _fail(error, 2 if isinstance(error, InputError | OSError) else 1)
    except KeyboardInterrupt:
        resumes = options.command in ("demo", "train", "compare", "probe", "grid", "tune")
        return _fail("interrupted" + "; the same command resumes from the last finished epoch" * resumes, 130)
    return 0


def _fail(error: object, code: int) -> int:
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(error))
    print(f"underdog: error: {text}", file=sys.stderr)
    return code
