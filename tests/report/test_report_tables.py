"""The summary for the terminal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from fake_runs import write_run

from underdog.reporting.text import text_table


def results(*folders: Path) -> list[dict[str, object]]:
    return [json.loads((folder / "result.json").read_text()) for folder in folders]


def right(n: int) -> np.ndarray:
    return np.array([[n, 100 - n], [100 - n, n]])


def test_a_line_for_each_method_in_the_order_given(tmp_path: Path) -> None:
    scores = {"aos": (90, 92), "ros": (80, 80), "baseline": (70, 74)}
    folders = [
        write_run(tmp_path, m, s, classes=("a", "b"), confusion=right(scores[m][s])) for s in range(2) for m in scores
    ]
    lines = text_table(results(*folders)).splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["method", "aos", "ros", "baseline"]
    expected = ["aos", "2", "0.910", "+/-", "0.014", "0.910", "+/-", "0.014", "0.910", "+/-", "0.014", "40"]
    assert lines[1].split() == [*expected, "+0.110", "+/-", "0.014"]
    assert lines[2].split()[-1] == "-"
    assert lines[3].split()[-3] == "-0.080"


def test_without_ros_there_is_no_difference(tmp_path: Path) -> None:
    table = text_table(results(write_run(tmp_path, "aos"), write_run(tmp_path, "baseline")))
    assert "ros" not in table


def test_any_terminal_can_show_it(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path, "ros", classes=("日", "本")),
        *(write_run(tmp_path, "aos", eps=e) for e in (0.1, 0.2)),
    ]
    table = text_table(results(*folders))
    assert table.isascii()
    assert len({len(line) for line in table.splitlines()[:-1]}) == 1
