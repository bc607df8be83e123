"""Differences of a grid are paired, and what is said of them is true of them."""

from __future__ import annotations

import csv
import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_run
from scipy import stats

from underdog.metrics import Metrics
from underdog.reporting import write_tables


def write(home: Path) -> tuple[Path, dict[str, tuple[str, ...]]]:
    output = home.parent / "tables"
    return output, write_tables(sorted(p.parent for p in home.glob("*/result.json")), home, output)


def table(output: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((output / "csv" / f"{name}.csv").read_text().splitlines()))


def score(folder: Path) -> float:
    return Metrics(np.array(json.loads((folder / "result.json").read_text())["test"]["confusion"])).macro_f1


@pytest.mark.parametrize("seeds", [2, 4, 5, 6])
def test_differences_are_taken_seed_by_seed_with_an_interval_from_five_on(seeds: int, tmp_path: Path) -> None:
    home = tmp_path / "runs"
    scores = {m: [score(write_run(home, m, s, rho=20, mu=0.4)) for s in range(seeds)] for m in ("ros", "aos")}
    write_run(home, "aos", 99, rho=20, mu=0.4)  # without a partner
    expected = np.subtract(scores["aos"], scores["ros"])
    output, _ = write(home)
    (row,) = table(output, "paired-f1-minus-ros-epochs-best")
    assert json.loads(row["values"]) == pytest.approx(expected.tolist())
    assert (int(row["n"]), float(row["mean"])) == (seeds, pytest.approx(expected.mean()))
    remark = (output / "tables.md").read_text()
    if seeds < 5:
        assert (row["low_95"], row["high_95"]) == ("", "")
        assert "a bootstrap of three covers the true mean in 75% of cases" in remark
    else:
        found = stats.ttest_rel(scores["aos"], scores["ros"]).confidence_interval(0.95)
        assert (float(row["low_95"]), float(row["high_95"])) == pytest.approx((found.low, found.high))
        assert "Student's 95% interval" in remark


def test_methods_without_a_common_seed_are_not_compared(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    write_run(home, "ros", 0, rho=20, mu=0.4)
    write_run(home, "aos", 1, rho=20, mu=0.4)
    output, _ = write(home)
    assert table(output, "paired-f1-minus-ros-epochs-best") == []
    assert {r["variants"] for r in table(output, "wins-f1-epochs-best")} == {"0"}


@pytest.mark.parametrize(
    ("aos", "said"), [(0.95, "above in 2 of 2 variants, equal in 0 and below in 0"), (0.4, "below in 2;")]
)
def test_the_verdict_says_where_aos_stands(aos: float, said: str, tmp_path: Path) -> None:
    home = tmp_path / "runs"
    for mu, seed in product((0.2, 0.4), range(3)):
        write_run(home, "ros", seed, rho=20, mu=mu, skill=0.7)
        write_run(home, "aos", seed, rho=20, mu=mu, skill=aos)
    _, verdicts = write(home)
    text = " ".join(verdicts["equal epochs, the best epoch by validation macro-F1"])
    assert said in text
    assert f"every seed is above 0 in {2 if aos > 0.7 else 0} and below in {0 if aos > 0.7 else 2}" in text
    assert (
        "with 1 data set the smallest two-sided p that a signed-rank test can give is 1; 2 variants of 1 data set are not"
        in text
    )
    assert "by chance alone it happens in 25% of cases" in text


@pytest.mark.parametrize("sets", [5, 6])
def test_data_sets_are_tested_from_six_on_by_the_means_of_their_variants(sets: int, tmp_path: Path) -> None:
    home, gains = tmp_path / "runs", []
    for i in range(sets):
        found = {
            (m, mu): score(write_run(home, m, i, rho=20, mu=mu, data=f"{i}" * 32, source=f"set{i}"))
            for m, mu in product(("ros", "aos"), (0.2, 0.4))
        }
        gains.append(np.mean([found["aos", mu] - found["ros", mu] for mu in (0.2, 0.4)]))
    output, _ = write(home)
    rows = table(output, "sets-f1-epochs-best")
    assert [float(r["value"]) for r in rows if r["line"] == "data set"] == pytest.approx(gains)
    tested = [float(r["value"]) for r in rows if r["line"] == "p"]
    assert tested == ([] if sets < 6 else [stats.wilcoxon(gains).pvalue])
    assert ("No test over data sets is made" in (output / "tables.md").read_text()) == (sets < 6)
