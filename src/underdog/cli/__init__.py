"""The command ``underdog``. Nothing heavy is imported before the arguments are understood."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from underdog.cli.parser import parser
from underdog.errors import InputError, UnderdogError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, and return its exit code: 0 success, 1 a run failed, 2 bad input, 130 interrupted."""
    options = parser().parse_args(arguments)
    try:
        from underdog.cli import commands  # noqa: PLC0415  (torch is imported here)

        commands.COMMANDS[options.command](options)
    except InputError as error:
        return _fail(error, 2)
    except UnderdogError as error:
        return _fail(error, 1)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        return _fail(error, 2)
    except KeyboardInterrupt:
        resumed = options.command in ("demo", "train", "compare", "grid", "tune")
        return _fail("interrupted" + "; the same command goes on from the last finished epoch" * resumed, 130)
    return 0


def _fail(error: object, code: int) -> int:
    from underdog.reporting.terminal import printable  # noqa: PLC0415  (not needed where nothing fails)

    print(f"underdog: error: {printable(str(error))}", file=sys.stderr)
    return code
