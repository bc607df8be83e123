"""A network's answers to labelled images, as runs leave them in ``predictions.csv``."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from underdog.decision.rule import checked
from underdog.errors import InputError

__all__ = ["Answers", "read_predictions"]

#: Columns before those of the logits, which are called "logit:" and the class.
COLUMNS = ("part", "epoch", "item", "group", "label")
LOGIT = "logit:"


@dataclass(frozen=True, eq=False)
class Answers:
    """Logits for labelled images.

    Attributes:
        classes: (K,) names.
        labels: (N,) class numbers.
        logits: (N, K) finite.
        items: (N,) names of the images.
        groups: (N,) what belongs together (a patient, a lesion); an empty name is an image by itself.

    Raises:
        InputError: shapes that do not fit, no image, or values outside their ranges.

    >>> answers = Answers(("a", "b"), [0, 1, 1], [[1.0, 0], [0, 1], [0, 2]], groups=["p1", "p1", ""])
    >>> answers.units.tolist()
    [0, 0, 1]
    """

    classes: tuple[str, ...]
    labels: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float64]
    items: Sequence[str] = ()
    groups: Sequence[str] = ()

    def __post_init__(self) -> None:
        logits, labels = checked(self.logits, self.labels, len(self.classes))
        object.__setattr__(self, "logits", logits)
        object.__setattr__(self, "labels", labels)
        for name, default in (("items", map(str, range(len(labels)))), ("groups", [""] * len(labels))):
            values = tuple(str(v) for v in getattr(self, name)) or tuple(default)
            if len(values) != len(labels):
                raise InputError(f"{name} must be a name for each of {len(labels)} images, not {len(values)}")
            object.__setattr__(self, name, values)

    @cached_property
    def units(self) -> npt.NDArray[np.int64]:
        """(N,) numbers of the groups in the order of their first image; an image without a group is one by itself."""
        numbers: dict[object, int] = {}
        found = [numbers.setdefault(group or i, len(numbers)) for i, group in enumerate(self.groups)]
        return np.array(found, dtype=np.int64)

    def same_images(self, other: Answers) -> bool:
        """Whether the images, their order, classes, labels and groups are those of other answers."""
        own, others = ((a.classes, a.items, a.groups) for a in (self, other))
        return own == others and np.array_equal(self.labels, other.labels)


def read_predictions(path: str | Path, epoch: str = "best") -> dict[str, Answers]:
    """The answers in a run's ``predictions.csv`` by part ("val", and "test" where there is one).

    Args:
        path: the file.
        epoch: "best" or "last".

    Raises:
        InputError: the file is missing, is no such table, or has a line that is none of its; the message names the line.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "predictions.csv")
    ...     size = path.write_text("part,epoch,item,group,label,logit:a,logit:b\\nval,best,x.png,,b,0.5,1.5\\n")
    ...     read_predictions(path)["val"].logits.tolist()
    [[0.5, 1.5]]
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            classes = tuple(c.removeprefix(LOGIT) for c in header[len(COLUMNS) :])
            if tuple(header) != (*COLUMNS, *(LOGIT + c for c in classes)) or len(set(classes)) != len(classes):
                raise InputError(
                    f"{path.name}: not a table of predictions: its columns are {', '.join(header)[:200]!r}"
                )
            parts = _parts(path.name, rows, classes, epoch)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path.name}: {getattr(error, 'strerror', None) or error}") from error
    if "val" not in parts:
        raise InputError(f"{path.name}: no line of the validation part at the {epoch} epoch")
    return parts


def _parts(name: str, rows: Iterator[list[str]], classes: tuple[str, ...], epoch: str) -> dict[str, Answers]:
    number = {c: k for k, c in enumerate(classes)}
    found: dict[str, list[tuple[str, str, int, list[float]]]] = {}
    for line, row in enumerate(rows, start=2):
        try:
            part, when, item, group, label, *logits = row
            if when == epoch:
                found.setdefault(part, []).append((item, group, number[label], list(map(float, logits))))
                if len(logits) != len(classes):
                    raise ValueError(f"{len(logits)} logits for {len(classes)} classes")
        except KeyError as error:
            raise InputError(f"{name}, line {line}: {error} is no class") from error
        except ValueError as error:
            raise InputError(f"{name}, line {line}: {error}") from error
    parts = {}
    for part, lines in found.items():
        items, groups, labels, values = zip(*lines, strict=True)
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            z = np.array(values).astype(np.float32)  # which they were when they were written
        parts[part] = Answers(classes, np.array(labels), z.astype(np.float64), items, groups)
    return parts
