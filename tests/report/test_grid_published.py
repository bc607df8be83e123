"""The paper's figures as data: as printed, and adding up where the paper's do."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

import pytest

from underdog.reporting.published import F1, G_MEAN, GLOBAL, METHODS, published, record

PAPER = published()
DATA = Path(os.environ.get("UNDERDOG_DATA") or Path(__file__).parents[3] / "shared" / "data")
TEXT = DATA.parent / "paper.txt"
TITLES = {"CIFAR-10": "cifar10", "INTEL": "intel", "MIT": "mit67", "MNIST": "mnist"}


def lines_of(table: int) -> list[list[str]]:
    """The words of each line of a table in the paper's text."""
    if not TEXT.exists():
        pytest.skip("the paper's text is neither beside the folder UNDERDOG_DATA nor in ../shared")
    text = TEXT.read_text(encoding="utf-8")
    _, start, rest = re.split(rf"(\nTable {table}:|\n Table {table}:)", text, maxsplit=1)
    assert start
    return [line.split() for line in re.split(r"\n ?Table \d:|\n Starting", rest)[0].splitlines()]


@pytest.mark.parametrize("table", [F1, G_MEAN])
def test_scores_and_averages_are_those_of_the_text(table: int) -> None:
    scores, averages, dataset, rho = {}, {}, "", 0.0
    for line in lines_of(table):
        words = line
        if words and words[0] in TITLES:
            dataset, rho, words = TITLES[words[0]], float(words[1]), words[2:]
        figures = words[-5:]
        if words[:1] == ["Avg."] or words[:2] == ["Global", "Avg."]:
            averages[dataset if words[0] == "Avg." else GLOBAL] = dict(zip(METHODS, map(float, figures), strict=True))
        elif len(words) == 6 and words[0].startswith("0."):
            scores[dataset, rho, float(words[0])] = dict(zip(METHODS, map(float, figures), strict=True))
    assert scores == PAPER.scores[table]
    assert averages == PAPER.averages[table]


@pytest.mark.parametrize("table", [F1 + 1, G_MEAN + 1])
def test_wins_are_those_of_the_text(table: int) -> None:
    found = {}
    for words in lines_of(table):
        if len(words) == 6 and words[0].lower() in METHODS:
            pairs = zip(METHODS, words[1:], strict=True)
            found |= {(words[0].lower(), m): tuple(map(int, w.split("/"))) for m, w in pairs if w != "-"}
    assert found == PAPER.wins[table]


def test_settings_are_those_of_the_text() -> None:
    found, dataset = {}, ""
    for line in lines_of(2):
        words = line
        if words and words[0] in TITLES:
            dataset, *words = TITLES[words[0]], *words[1:]
        if len(words) == 5 and words[0].isdigit():
            rho, mu, tau, lr, epochs = words
            found[dataset, float(rho), float(mu)] = (
                float(tau),
                float(lr.replace("10\N{MINUS SIGN}", "1e-")),
                int(epochs),
            )
    assert found == {key: (s.tau, s.lr, s.epochs) for key, s in PAPER.settings.items()}


@pytest.mark.parametrize("table", [F1, G_MEAN])
def test_averages_are_means_of_the_lines_but_for_one_misprint(table: int) -> None:
    wrong = {(m.table, m.row, m.column): m for m in PAPER.misprints}
    for dataset, own in PAPER.averages[table].items():
        for method, printed in own.items():
            values = [s[method] for key, s in PAPER.scores[table].items() if dataset in (GLOBAL, key[0])]
            assert len(values) == (16 if dataset == GLOBAL else 4)
            assert PAPER.average(table, dataset, method) == pytest.approx(sum(values) / len(values), abs=0.5001e-4)
            assert ((table, dataset, method) in wrong) == (abs(printed - sum(values) / len(values)) > 0.5001e-4)


@pytest.mark.parametrize("table", [F1, G_MEAN])
def test_wins_follow_from_the_lines_but_for_the_misprints(table: int) -> None:
    wrong = {(m.row, m.column): m for m in PAPER.misprints if m.table == table + 1}
    for own, other in itertools.permutations(METHODS, 2):
        wins, ties, losses = record([(s[own], s[other]) for s in PAPER.scores[table].values()])
        assert ties == 0
        assert PAPER.record(table + 1, own, other) == (wins, losses)
        assert (PAPER.wins[table + 1][own, other] != (wins, losses)) == ((own, other) in wrong)


def test_the_misprints_are_these() -> None:
    found = {(m.table, m.row, m.column): m.correct for m in PAPER.misprints}
    assert found == {
        (3, "mit67", "aos"): "0.2952",
        (4, "ros", "aos"): "1/15",
        (4, "smote", "rus"): "15/1",
        (4, "rus", "smote"): "1/15",
        (6, "ros", "aos"): "1/15",
        (6, "ros", "smote"): "7/9",
        (6, "baseline", "smote"): "1/15",
        (6, "baseline", "aos"): "0/16",
    }


def test_images_are_those_of_the_text() -> None:
    if not TEXT.exists():
        pytest.skip("the paper's text is neither beside the folder UNDERDOG_DATA nor in ../shared")
    text = " ".join(TEXT.read_text(encoding="utf-8").split())
    classes = re.findall(r"(?:has|with) (\d+) classes", text)
    sizes = re.findall(r"images are of size (\d+)x(\d+)(?:x(\d))?", text)
    found = {
        name: ((int(c or 1), int(h), int(w)), int(k))
        for name, (h, w, c), k in zip(TITLES.values(), sizes, classes, strict=True)
    }
    assert found == {name: (own.shape, own.classes) for name, own in PAPER.images.items()}
