"""The weights that a run has saved."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from underdog.errors import InputError
from underdog.model.pretrained import SHOWN, differences, read_tensors

__all__ = ["load_saved"]


def load_saved(path: Path, model: nn.Module, classes: Sequence[str]) -> None:
    """Put a run's ``model.safetensors`` into the very model that it is of.

    Raises:
        InputError: no such file, one that is damaged, of another network or other classes, or numbers that are not finite.
    """
    given, own = read_tensors(path), model.state_dict()
    if _about(path).get("classes") != list(classes):
        raise InputError(f"{path} has the weights of a network for other classes")
    wrong = differences(given, own, frozenset())
    wrong += [
        f"{k} is of {given[k].dtype}, not {own[k].dtype}" for k in own.keys() & given if given[k].dtype != own[k].dtype
    ]
    wrong += [f"{k} is missing" for k in own.keys() - given if not wrong]  # of which nothing else was said
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise InputError(f"{path} has the weights of another network: {'; '.join(wrong[:SHOWN])}{more}")
    if broken := [k for k, v in given.items() if not v.isfinite().all()]:
        raise InputError(f"{path} has weights that are not finite numbers ({broken[0]})")
    model.load_state_dict(dict(given))


def _about(path: Path) -> dict[str, Any]:
    """What a run noted beside its weights."""
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("plain", "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    return about if isinstance(about, dict) else {}
