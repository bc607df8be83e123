"""What the words of a command line mean."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from underdog.errors import InputError, unknown
from underdog.methods.expression import check_names, split_list
from underdog.methods.parameters import number_of
from underdog.names import GRIDS, LIBRARIES, MODELS

__all__ = [
    "ALL", "duration", "grid", "method", "methods", "model", "names", "number", "numbers", "size", "whole",
]  # fmt: skip

T = TypeVar("T")

#: Every method of the table, where methods are listed.
ALL = "all"


def number(text: str) -> float:
    """A decimal or a fraction, such as 0.03 or 8/255."""
    found = number_of(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 0.03 or 8/255")
    return found


def explained(read: Callable[[str], T]) -> Callable[[str], T]:
    """A function for argparse, whose error says what ``read`` says."""

    def found(text: str) -> T:
        try:
            return read(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return found


@explained
def method(text: str) -> str:
    """A method, whose names are known before anything heavy is imported."""
    check_names(text)
    return text


@explained
def methods(text: str) -> list[str]:
    """A comma-separated list of methods, whose parameters may have commas between them."""
    found = split_list(text)
    if not found:
        raise InputError("at least one method is needed")
    return [one if one == ALL else method(one) for one in dict.fromkeys(found)]


@explained
def model(text: str) -> str:
    """A network by its name, or by a library's or module's."""
    if ":" not in text and text not in MODELS:
        raise unknown("model", text, [*MODELS, *LIBRARIES.values(), "package.module:factory"])
    return text


@explained
def grid(text: str) -> str:
    """A grid by its name, or its file."""
    if Path(text).suffix not in (".yaml", ".yml") and text not in GRIDS:
        raise InputError(f"{unknown('grid', text, GRIDS)}; one of your own is a file that ends in .yaml")
    return text


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


def duration(text: str) -> float:
    """Seconds of a time such as 30m, 1h30m or 90s."""
    found = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    seconds = sum(int(n or 0) * unit for n, unit in zip(found.groups(), (3600, 60, 1), strict=True)) if found else 0
    if not seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 30m, 1h30m or 90s")
    return float(seconds)


def size(text: str) -> tuple[int, int]:
    """SIZE or WIDTHxHEIGHT, returned as (height, width)."""
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(p.isdigit() and int(p) > 0 for p in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a size in pixels such as 64 or 64x48 (width x height)")
    return int(parts[-1]), int(parts[0])


def names(text: str) -> list[str]:
    """A comma-separated list without empty or repeated names."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise argparse.ArgumentTypeError("at least one name is needed")
    return list(dict.fromkeys(found))


def numbers(text: str) -> tuple[float, ...]:
    """A comma-separated list of numbers."""
    return tuple(number(part) for part in text.split(","))
