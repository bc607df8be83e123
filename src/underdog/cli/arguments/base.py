"""What all commands' arguments are made of."""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn, TypeAlias

from underdog.errors import nearest

__all__ = ["Commands", "Parser"]


class Parser(argparse.ArgumentParser):
    """Keeps the line breaks of descriptions and epilogues, understands no abbreviated option, and complains in one line."""

    def __init__(self, **options: object) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)  # type: ignore[arg-type]

    def parse_known_args(self, *args: Any, **options: Any) -> tuple[Any, list[str]]:
        """Also a command's own parser knows no other options than its own."""
        found, others = super().parse_known_args(*args, **options)
        if others and self.prog.count(" "):
            near = nearest(others[0], [name for name in self._option_string_actions if name.startswith("--")])
            self.error(f"unrecognized arguments: {' '.join(others)}{near}")
        return found, others

    def error(self, message: str) -> NoReturn:
        if wrong := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)$", message):
            message += nearest(wrong[1], re.findall(r"[\w.-]+", wrong[2]))
        self.exit(2, f"underdog: error: {message} ('{self.prog} --help' explains)\n")


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # the type has no public name
