"""What can go wrong, by whose hand it can be mended."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "TrainingError", "UnderdogError", "nearest", "unknown"]


class UnderdogError(Exception):
    """Base of every error that underdog raises on purpose."""


class InputError(UnderdogError, ValueError):
    """Something the caller gave is wrong: the message names it, the rule and the value (exit code 2)."""


class TrainingError(UnderdogError, RuntimeError):
    """A run failed while it trained, such as by a loss that is not a number (exit code 1)."""


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is in no table, with the nearest names that are.

    >>> print(unknown("method", "smoot", ["ros", "smote"]))
    unknown method 'smoot'; did you mean 'smote'? (known: ros, smote)
    """
    known = list(known)
    return InputError(f"unknown {kind} {name!r}{nearest(name, known)} (known: {', '.join(known)})")


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message: the known names that look most like ``name``, if any do.

    >>> nearest("smoot", ["ros", "smote"])
    "; did you mean 'smote'?"
    """
    near = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
