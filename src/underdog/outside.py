"""Functions of somebody's own, by name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from underdog.errors import InputError

__all__ = ["imported"]


def imported(kind: str, name: str) -> Callable[..., Any]:
    """The function called ``package.module:function``, looked up in the current folder too.

    Args:
        kind: what it is for, in messages.
        name: of module and function.

    Raises:
        InputError: the module cannot be imported, or has no such function.

    >>> imported("example", "math:sqrt")(4)
    2.0
    """
    module, _, function = name.partition(":")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    try:
        found = getattr(importlib.import_module(module), function)
    except (Exception, SystemExit) as error:  # it is anybody's code
        said = f"{error}" if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
        raise InputError(f"{kind} {name!r} cannot be imported: {said.removesuffix(': ')}") from error
    if not callable(found):
        raise InputError(f"{kind} {name!r} must be a function, not {type(found).__name__}")
    return found  # type: ignore[no-any-return]
