"""A report as plain data for JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

import underdog
from underdog.reporting.summary import Spread
from underdog.run.spec import Replicate, RunSpec, Setting

__all__ = ["SCHEMA", "json_text"]

#: Counts changes of the meaning or the place of what is there already; new keys may come without.
SCHEMA = 1
#: What differs between the runs on one problem.
VARYING = {*Setting._fields, *Replicate._fields}


def json_text(report: object) -> str:
    """A report with the number of its schema: fields of values are keys, and numbers that are not finite are null."""
    found = {"schema": SCHEMA, "underdog": underdog.__version__, **_plain(report)}
    # As ASCII, since a name may hold a lone surrogate, which UTF-8 cannot say.
    return json.dumps(found, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    value = _named(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(own) for name, own in value.items() if not isinstance(own, np.ndarray)}
    return [_plain(own) for own in value] if isinstance(value, tuple | list) else value


def _named(value: Any) -> Any:
    """The parts of a value by name; anything else as it is. Pictures are left out, being no numbers that a page says."""
    match value:
        case RunSpec():
            return {name: own for name, own in value.to_json().items() if name not in VARYING}
        case Spread():
            return {
                "n": value.n,
                "mean": value.mean,
                "sd": value.sd,
                "interval": value.interval,
                "values": value.values,
            }
        case Replicate():
            return value._asdict() | {"fold": None if value.fold < 0 else value.fold}
        case _ if is_dataclass(value):
            return {f.name: getattr(value, f.name) for f in fields(value)}
    return value
