"""The figures that the paper prints, as data: Tables 2 to 6, and where their sums do not come out."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = [
    "F1",
    "GLOBAL",
    "G_MEAN",
    "METHODS",
    "Images",
    "Misprint",
    "Published",
    "Settings",
    "Variant",
    "published",
    "record",
]

#: The tables of scores by their numbers; the wins and losses that follow from each are in the table after it.
F1, G_MEAN = 3, 5
#: What stands for all data sets in a table of averages.
GLOBAL = "global"
METHODS = ("aos", "smote", "ros", "rus", "baseline")

#: A data set's name here, rho and mu.
Variant = tuple[str, float, float]


@dataclass(frozen=True)
class Settings:
    """A row of Table 2: how the networks of a data variant were trained."""

    tau: float
    lr: float
    epochs: int


@dataclass(frozen=True)
class Images:
    """What section 4.1 says of a data set: (C, H, W) of its images, and how many classes it has."""

    shape: tuple[int, int, int]
    classes: int


@dataclass(frozen=True)
class Misprint:
    """An entry that does not follow from the entries it sums up, and what follows from them."""

    table: int
    row: str
    column: str
    printed: str
    correct: str


@dataclass(frozen=True)
class Published:
    """The paper's tables as they are printed, misprints included.

    Attributes:
        settings: Table 2.
        images: of each data set.
        scores: by table (3: macro-F1, 5: G-mean) and data variant, the score of each method: means of 3 runs.
        averages: by table (3, 5) and data set or ``GLOBAL``, the average of each method.
        wins: by table (4: macro-F1, 6: G-mean), method and other method, on how many of the 16 variants it wins and loses.
        misprints: what is printed wrongly in ``averages`` and ``wins``.
    """

    settings: Mapping[Variant, Settings]
    images: Mapping[str, Images]
    scores: Mapping[int, Mapping[Variant, Mapping[str, float]]]
    averages: Mapping[int, Mapping[str, Mapping[str, float]]]
    wins: Mapping[int, Mapping[tuple[str, str], tuple[int, int]]]
    misprints: tuple[Misprint, ...]

    def average(self, table: int, dataset: str, method: str) -> float:
        """An average as printed, or as it should have been."""
        for m in self.misprints:
            if (m.table, m.row, m.column) == (table, dataset, method):
                return float(m.correct)
        return self.averages[table][dataset][method]

    def averages_of(self, table: int, dataset: str, variants: Iterable[Variant | None]) -> Mapping[str, float]:
        """The averages of a data set, or of all, by method; none unless these are the variants that they are of."""
        theirs = [key for key in self.settings if dataset in (GLOBAL, key[0])]
        alike = Counter(theirs) == Counter(variants)
        return {method: self.average(table, dataset, method) for method in METHODS} if alike else {}

    def record(self, table: int, method: str, other: str) -> tuple[int, int]:
        """Wins and losses of Table 4 or 6 as printed, or as they should have been."""
        for m in self.misprints:
            if (m.table, m.row, m.column) == (table, method, other):
                return _pair(m.correct)
        return self.wins[table][method, other]


def record(pairs: list[tuple[float, float]], digits: int = 4) -> tuple[int, int, int]:
    """Wins, ties and losses of the first of each pair; a tie is a pair that prints alike.

    >>> record([(0.5, 0.4), (0.50001, 0.5), (0.1, 0.2), (0.1, 0.3)])
    (1, 1, 2)
    """
    printed = [(round(a, digits), round(b, digits)) for a, b in pairs]
    return sum(a > b for a, b in printed), sum(a == b for a, b in printed), sum(a < b for a, b in printed)


@cache
def published() -> Published:
    """The tables of Wojciechowski and Lango, LIDTA 2022 (PMLR 183).

    Names of data sets are ``cifar10``, ``intel``, ``mit67`` and ``mnist``.

    >>> published().scores[F1]["mnist", 60, 0.8]["aos"], published().average(F1, "mit67", "aos")
    (0.955, 0.2952)
    """
    scores: dict[int, dict[Variant, dict[str, float]]] = {F1: {}, G_MEAN: {}}
    for row in _rows("scores"):
        scores[int(row["table"])][_variant(row)] = _by_method(row)
    averages: dict[int, dict[str, dict[str, float]]] = {F1: {}, G_MEAN: {}}
    for row in _rows("averages"):
        averages[int(row["table"])][row["dataset"]] = _by_method(row)
    wins: dict[int, dict[tuple[str, str], tuple[int, int]]] = {F1 + 1: {}, G_MEAN + 1: {}}
    for row in _rows("wins"):
        wins[int(row["table"])] |= {(row["method"], m): _pair(row[m]) for m in METHODS if row[m]}
    settings = {_variant(r): Settings(float(r["tau"]), float(r["lr"]), int(r["epochs"])) for r in _rows("variants")}
    misprints = tuple(
        Misprint(int(r["table"]), r["row"], r["column"], r["printed"], r["correct"]) for r in _rows("misprints")
    )
    images = {
        r["dataset"]: Images((int(r["channels"]), int(r["height"]), int(r["width"])), int(r["classes"]))
        for r in _rows("images")
    }
    return Published(settings, images, scores, averages, wins, misprints)


def _rows(name: str) -> list[dict[str, str]]:
    text = files(__name__).joinpath(f"{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _variant(row: Mapping[str, str]) -> Variant:
    return row["dataset"], float(row["rho"]), float(row["mu"])


def _by_method(row: Mapping[str, str]) -> dict[str, float]:
    return {m: float(row[m]) for m in METHODS}


def _pair(text: str) -> tuple[int, int]:
    wins, losses = text.split("/")
    return int(wins), int(losses)
