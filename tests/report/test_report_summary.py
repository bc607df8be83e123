"""Statistics against naive formulas and scipy."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_run
from scipy import stats

from underdog.metrics import Metrics
from underdog.reporting import write_report
from underdog.reporting.collect import collect
from underdog.reporting.problem import Mistakes, Problem, problem_of
from underdog.reporting.summary import SCORES, Difference, Spread, difference, groups, mean_recall, variants
from underdog.run.saved import Run
from underdog.run.spec import Replicate


def problem_of_runs(runs: Sequence[Run]) -> Problem:
    """The only problem of some runs."""
    (variant,) = variants(runs)
    return problem_of(variant)[0]


def runs_of(*folders: Path) -> tuple[Run, ...]:
    return collect(folders).runs


@pytest.mark.parametrize("n", [1, 2, 4, 5, 12])
def test_spread(n: int) -> None:
    values = tuple(np.random.default_rng(n).normal(size=n).tolist())
    spread, mean = Spread(values), sum(values) / n
    assert spread.mean == pytest.approx(mean)
    if n == 1:
        assert spread.sd is None
    else:
        assert spread.sd == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1)))
    if n < 5:
        assert spread.interval is None
    else:
        low, high = stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert spread.interval == pytest.approx((low, high))


def test_the_interval_holds_the_mean_in_95_of_100_samples() -> None:
    draws = np.random.default_rng(0).normal(0.3, 1, (2000, 6))
    intervals = [Spread(tuple(row)).interval for row in draws]
    held = np.mean([low <= 0.3 <= high for low, high in filter(None, intervals)])
    assert held == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(
    ("values", "open_"),
    [
        ((0.1,), True),  # one seed
        ((0.1, 0.12, 0.11), False),
        ((-0.1, -0.12, -0.11), False),
        ((0.1, -0.01, 0.1), True),  # the sign changes
        ((0.01, 0.2, 0.01), True),  # smaller than its standard deviation
        ((0.1, 0.0, 0.1), True),
        ((0.1, 0.11, 0.12, 0.1, 0.1), False),
        ((0.1, 0.11, -0.2, 0.1, 0.1), True),  # by the interval
        ((0.1, 0.11, -0.001, 0.1, 0.1), False),  # by the interval, though one is below 0
    ],
)
def test_within_spread(values: tuple[float, ...], open_: bool) -> None:
    keys = tuple(Replicate(i, i, -1) for i in range(len(values)))
    assert Difference("a", "b", keys, Spread(values)).within_spread is open_


def test_differences_are_paired_by_seed_and_data_seed(tmp_path: Path) -> None:
    runs = runs_of(
        *(write_run(tmp_path, "ros", seed=s, data_seed=d) for s, d in [(0, 0), (1, 1), (2, 2), (3, 0)]),
        *(write_run(tmp_path, "aos", seed=s, data_seed=d) for s, d in [(2, 2), (1, 1), (3, 9), (7, 7)]),
    )
    ros, aos = groups(runs)
    found = difference(aos, ros)
    assert found is not None
    assert found.replicates == ((1, 1, -1), (2, 2, -1))
    f1 = {(r.spec.expression.name, r.key): r.best.macro_f1 for r in runs}
    assert found.spread.values == tuple(f1["aos", k] - f1["ros", k] for k in found.replicates)
    assert difference(aos, groups(runs_of(write_run(tmp_path, "rus", seed=50)))[0]) is None


def test_labels_tell_settings_apart_only_where_needed(tmp_path: Path) -> None:
    one = runs_of(write_run(tmp_path, "aos"), write_run(tmp_path, "ros"), write_run(tmp_path, "baseline"))
    assert [g.label for g in groups(one)] == ["baseline", "ros", "aos"]
    two = runs_of(write_run(tmp_path, "aos", eps=8 / 255), write_run(tmp_path, "aos"), write_run(tmp_path, "noise"))
    assert [g.label for g in groups(two)] == ["noise", "aos 8/255 τ0.5", "aos 16/255 τ0.5"]


def test_variants_are_runs_on_the_same_problem(tmp_path: Path) -> None:
    runs = runs_of(
        write_run(tmp_path, "ros", lr=0.1),
        write_run(tmp_path, "ros"),
        write_run(tmp_path, "aos", seed=3, lr=0.1),
        write_run(tmp_path, "ros", data="other" * 6),
        write_run(tmp_path, "ros", seed=9, classes=("a", "b")),  # says the same data, and cannot be
    )
    found = variants(runs)
    assert [[(r.spec.expression.name, r.spec.seed) for r in v.runs] for v in found] == [
        [("ros", 0), ("aos", 3)],
        [("ros", 0)],
        [("ros", 0)],
        [("ros", 9)],
    ]


def test_mean_recall_leaves_out_classes_without_images() -> None:
    metrics = Metrics(np.array([[1, 3, 0], [0, 4, 0], [0, 0, 0]]))
    assert mean_recall(metrics, [0, 1, 2]) == pytest.approx((1 / 4 + 1) / 2)
    assert mean_recall(metrics, [2]) is None
    assert mean_recall(metrics, []) is None


def test_scores_of_rare_and_other_classes(tmp_path: Path) -> None:
    (run,) = runs_of(write_run(tmp_path, "ros", minority=("dog", "owl")))
    found = {score.title: score.of(run, run.best) for score in SCORES}
    recall = [run.best.confusion[k, k] / 30 for k in range(3)]
    assert found["recall, rare classes"] == pytest.approx((recall[1] + recall[2]) / 2)
    assert found["recall, other classes"] == pytest.approx(recall[0])
    assert found["macro-F1"] == run.best.macro_f1


def test_recalls_are_split_where_the_rare_classes_vary(tmp_path: Path) -> None:
    rare = [("cat",), ("cat",), ("dog",)]
    runs = runs_of(*(write_run(tmp_path, m, s, minority=rare[s]) for m in ("ros", "aos") for s in range(3)))
    found = problem_of_runs(runs)
    assert found.mixed
    assert [c.rare for c in found.recalls] == [2, 1, 0]

    def naive(method: str, k: int, seeds: list[int]) -> tuple[float, ...]:
        named = [r for r in runs if r.spec.expression.name == method and r.spec.seed in seeds]
        return tuple(r.best.confusion[k, k] / 30 for r in named)

    for method in ("ros", "aos"):
        own = found.recalls[0].methods[method]
        assert (own.rare, own.other) == (Spread(naive(method, 0, [0, 1])), Spread(naive(method, 0, [2])))
        own = found.recalls[2].methods[method]
        assert (own.rare, own.other) == (None, Spread(naive(method, 2, [0, 1, 2])))


def test_recalls_are_one_figure_where_the_rare_classes_are_the_same(tmp_path: Path) -> None:
    found = problem_of_runs(runs_of(*(write_run(tmp_path, "ros", s) for s in range(2))))
    assert not found.mixed
    assert [c.rare for c in found.recalls] == [2, 0, 0]
    assert [own.n for c in found.recalls if (own := c.methods["ros"].every)] == [2, 2, 2]


def test_confusions_are_summed_over_seeds_and_shares_of_rows(tmp_path: Path) -> None:
    matrices = [np.array([[9, 1, 0], [0, 10, 0], [999, 0, 1]]), np.array([[1, 9, 0], [0, 10, 0], [999, 0, 1]])]
    folders = [write_run(tmp_path, "ros", s, confusion=m) for s, m in enumerate(matrices)]
    found = problem_of_runs(runs_of(*folders))
    assert found.confusions == {"ros": ((10, 10, 0), (0, 20, 0), (1998, 0, 2))}
    assert found.mistakes == {}
    write_report(folders, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    matrix = page[page.index('<table class="matrix">') :]
    shares = [re.findall("<td[^>]*>(.*?)</td>", row) for row in re.findall("<tr>(.*?)</tr>", matrix)[1:4]]
    assert shares == [["50", "50", ""], ["", "100", ""], ["100", "", ""]]


def test_many_classes_show_the_rare_ones_mistakes(tmp_path: Path) -> None:
    classes = [f"c{k}" for k in range(21)]
    matrix = np.eye(21, dtype=int) * 6
    matrix[3, [5, 7]] = 3, 1
    found = problem_of_runs(runs_of(write_run(tmp_path, "ros", classes=classes, minority=["c3"], confusion=matrix)))
    assert found.confusions == {}
    assert found.mistakes == {"ros": (Mistakes("c3", 10, 6, {"c5": 3, "c7": 1}),)}


def test_class_sizes_are_of_the_first_seed(tmp_path: Path) -> None:
    rare = [("cat",), ("dog",)]
    runs = runs_of(*(write_run(tmp_path, m, s, minority=rare[s]) for m in ("baseline", "ros") for s in (1, 0)))
    sizes = problem_of_runs(runs).sizes
    assert (sizes.replicate.seed, sizes.vary, sizes.rare) == (0, True, ("cat",))
    assert (sizes.train, sizes.shown) == ((5, 50, 50), {"baseline": (5, 50, 50), "ros": (50, 50, 50)})
