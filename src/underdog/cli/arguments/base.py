"""What all commands' arguments are made of."""

from __future__ import annotations

import argparse
from typing import NoReturn, TypeAlias

__all__ = ["Commands", "Parser"]


class Parser(argparse.ArgumentParser):
    """Keeps the line breaks of descriptions and epilogues, understands no abbreviated option, and complains in one line."""

    def __init__(self, **options: object) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"underdog: error: {message} ('{self.prog} --help' explains)\n")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # the type has no public name
