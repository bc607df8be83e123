"""What a finished run's result.json says of its network, believed only after it is checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from underdog.data.reading import Reading
from underdog.decision.rule import DecisionRule
from underdog.errors import InputError, nearest
from underdog.methods.build import build
from underdog.methods.method import Adjustment
from underdog.run.files import read_json
from underdog.run.network import untrained
from underdog.run.spec import NetworkFiles, RunSpec

__all__ = ["Description", "describe"]

#: Pixels on a side of what a network sees, at most: no run of ours comes near, and a hostile one asks for more.
LARGEST = 4096


@dataclass(frozen=True)
class Description:
    """A run's network and what it needs.

    Attributes:
        name: of the run.
        spec: its settings.
        classes, rare: (K,) names, and those of the rare ones.
        reading: the size that images are brought to, and how.
        channels: 1 or 3.
        rule: from logits to decisions, or None.
        adjustment: what the method does to the network's logits, or None.
    """

    name: str
    spec: RunSpec
    classes: tuple[str, ...]
    rare: tuple[str, ...]
    reading: Reading
    channels: int
    rule: DecisionRule | None
    adjustment: Adjustment | None

    def model(self) -> nn.Module:
        """The run's model, to put its weights into."""
        assert self.reading.size is not None
        return untrained(self.spec, self.channels, len(self.classes), self.reading.size)


def describe(folder: Path) -> Description:
    """What the folder of a finished run says.

    Raises:
        InputError: no finished run, or a result.json that is none.
    """
    result = _result(folder)
    try:
        return _checked(result, folder)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        what = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{folder / 'result.json'} is not a run's result: {what}") from error


def _result(folder: Path) -> Any:
    path = folder / "result.json"
    if path.is_file():
        try:
            return read_json(path)
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} cannot be read: {error}") from error
    if (folder / "spec.json").is_file():
        raise InputError(f"run {str(folder)!r} is not finished: give its command again, and it goes on")
    inside = _runs(folder)
    if inside:
        some = ", ".join(inside[:5]) + (", ..." if len(inside) > 5 else "")
        raise InputError(f"{str(folder)!r} is a folder of {len(inside)} runs: name one of them ({some})")
    beside = [path.name for path in folder.parent.glob("*/")]
    raise InputError(f"{str(folder)!r} is no finished run (a folder with result.json){nearest(folder.name, beside)}")


def _runs(folder: Path) -> list[str]:
    return sorted(path.parent.name for path in folder.glob("*/result.json"))


def _checked(result: Mapping[str, Any], folder: Path) -> Description:
    """The description in plain data, every part of it checked.

    Raises:
        ValueError, KeyError, TypeError, AttributeError, OverflowError: it is none.
    """
    # A Transformers model's config.json lies in the run's own folder.
    spec = replace(RunSpec.from_json(result["spec"]), files=NetworkFiles(folder))
    classes, rare = _names("classes", result["classes"]), _names("minority", result["minority"])
    if len(classes) < 2 or not set(rare) <= set(classes):
        raise InputError("classes must be at least two, the rare ones among them")
    channels, *size = _whole("image_shape", result["image_shape"], 3)
    manner = result["reading"]
    if _whole("size", manner["size"], 2) != size or manner["channels"] != channels or channels not in (1, 3):
        raise InputError("reading must have the size of image_shape, and 1 or 3 channels")
    decision = result.get("decision")  # which runs without a test part lack
    rule = None if decision is None else DecisionRule.from_json(decision["rule"])
    if rule and rule.classes != classes:
        raise InputError("the decision rule is for other classes")
    return Description(
        name=spec.id,
        spec=spec,
        classes=classes,
        rare=rare,
        reading=Reading(size=(size[0], size[1]), resize=manner["resize"]),
        channels=channels,
        rule=rule,
        adjustment=_adjustment(spec, result, classes),
    )


def _adjustment(spec: RunSpec, result: Mapping[str, Any], classes: tuple[str, ...]) -> Adjustment | None:
    """What the run's method does to logits; a method of somebody's own is imported for it only where there is something."""
    if not isinstance(result["adjusted"], bool):
        raise InputError("adjusted must be true or false")
    if not result["adjusted"]:
        return None
    counts = result["counts"]["train"]
    if not all(type(counts[c]) is int and counts[c] >= 0 for c in classes):
        raise InputError("counts must be whole numbers of at least 0")
    return build(spec.expression).adjustment(tuple(counts[c] for c in classes))


def _names(field: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value) or len(set(value)) != len(value):
        raise InputError(f"{field} must be a list of different names")
    return tuple(value)


def _whole(field: str, value: Any, length: int) -> list[int]:
    whole = isinstance(value, list) and all(type(v) is int and 0 < v <= LARGEST for v in value)
    if not whole or len(value) != length:
        raise InputError(f"{field} must be {length} whole numbers from 1 to {LARGEST}, not {value!r}")
    return list(value)
