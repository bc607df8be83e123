"""What the words of a command line mean."""

from __future__ import annotations

import argparse
from fractions import Fraction

__all__ = ["names", "number", "numbers", "size", "whole"]


def number(text: str) -> float:
    """A decimal or a fraction, such as 0.03 or 8/255."""
    try:
        return float(Fraction(text.strip()))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number such as 0.03 or 8/255") from None


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None


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
