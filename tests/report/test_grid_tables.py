"""A grid's tables say what its runs say, and the paper's figures stand where they belong."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_runs import SKILL, write_run

from underdog.errors import InputError
from underdog.methods.expression import parse
from underdog.metrics import Metrics
from underdog.reporting import write_tables
from underdog.reporting.collect import collect, tuning_runs
from underdog.reporting.grid.arrange import AT_AOS, Arrangement, arrange
from underdog.reporting.methods import eps_of
from underdog.reporting.published import F1, published
from underdog.run.saved import run_of

PAPER = ("baseline", "rus", "ros", "smote", "aos")
MUS = (0.2, 0.4, 0.6, 0.8)


def folders_of(home: Path) -> list[Path]:
    return sorted(path.parent for path in home.glob("*/result.json"))


def grid_of(home: Path, names: dict[str, str] | None = None) -> Arrangement:
    """The only budget's grid."""
    runs = [run for run in collect(folders_of(home)).runs if run.part == "test"]
    (grid,) = arrange(runs, tuning_runs(runs).runs, names or {})
    return grid


def table(output: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((output / "csv" / f"{name}.csv").read_text(encoding="utf-8").splitlines()))


def write(home: Path) -> tuple[Path, dict[str, tuple[str, ...]]]:
    """The tables of a folder of runs."""
    output = home.parent / "tables"
    return output, write_tables(folders_of(home), home, output)


def fill(
    home: Path, methods: Iterable[str] = ("ros", "aos"), seeds: int = 2, mus: Iterable[float | None] = MUS, **more: Any
) -> None:
    for method, seed, mu in product(methods, range(seeds), mus):
        write_run(home, method, seed, **{"rho": 60, "mu": mu, "source": "mnist", **more})


@pytest.fixture(scope="module")
def mnist(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[tuple[str, float], list[float]]]:
    """Tables of the paper's MNIST variants, and all scores by method and mu, read anew."""
    home = tmp_path_factory.mktemp("mnist") / "runs"
    fill(home, PAPER, seeds=3)
    output, _ = write(home)
    found: dict[tuple[str, float], list[float]] = {}
    for folder in folders_of(home):
        result = json.loads((folder / "result.json").read_text())
        score = Metrics(np.array(result["test"]["confusion"])).macro_f1
        found.setdefault((parse(result["spec"]["method"]).name, result["spec"]["mu"]), []).append(score)
    return output, found


def test_means_deviations_and_differences_to_the_paper(
    mnist: tuple[Path, dict[tuple[str, float], list[float]]],
) -> None:
    output, scores = mnist
    rows = [r for r in table(output, "f1-epochs-best") if r["line"] == "variant"]
    assert len(rows) == len(PAPER) * len(MUS)
    for row in rows:
        own = scores[row["method"], float(row["mu"])]
        printed = published().scores[F1]["mnist", 60, float(row["mu"])][row["method"]]
        assert float(row["mean"]) == pytest.approx(np.mean(own))
        assert float(row["sd"]) == pytest.approx(np.std(own, ddof=1))
        assert int(row["n"]) == 3
        assert float(row["published"]) == printed
        assert float(row["difference"]) == pytest.approx(np.mean(own) - printed)


def test_averages_are_means_over_mu(mnist: tuple[Path, dict[tuple[str, float], list[float]]]) -> None:
    output, scores = mnist
    for row in (r for r in table(output, "f1-epochs-best") if r["line"] == "average"):
        assert float(row["mean"]) == pytest.approx(np.mean([np.mean(scores[row["method"], mu]) for mu in MUS]))
        assert float(row["published"]) == published().averages[F1]["mnist"][row["method"]]


def test_wins_are_counted_over_variants(mnist: tuple[Path, dict[tuple[str, float], list[float]]]) -> None:
    output, scores = mnist
    rows = table(output, "wins-f1-epochs-best")
    assert len(rows) == len(PAPER) * (len(PAPER) - 1)
    for row in rows:
        gaps = [
            round(np.mean(scores[row["method"], mu]), 4) - round(np.mean(scores[row["other"], mu]), 4) for mu in MUS
        ]
        assert (int(row["wins"]), int(row["losses"])) == (sum(g > 0 for g in gaps), sum(g < 0 for g in gaps))
        printed = [published().scores[F1]["mnist", 60, mu] for mu in MUS]
        assert int(row["published_wins"]) == sum(p[row["method"]] > p[row["other"]] for p in printed)


def test_means_that_print_alike_are_a_tie(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    same = np.diag([30, 30, 30])
    for method in ("ros", "aos"):
        write_run(home, method, confusion=same, rho=20, mu=0.2)
    output, _ = write(home)
    assert [(r["wins"], r["ties"], r["losses"]) for r in table(output, "wins-f1-epochs-best")] == [("0", "1", "0")] * 2


@pytest.mark.parametrize(
    "other",
    [{"source": "digits"}, {"rho": 20}, {"mus": (0.5,)}, {"majority_size": 1000}, {"rho": None, "mus": (None,)}],
)
def test_what_the_paper_has_not_run_has_no_published_figure(other: dict[str, Any], tmp_path: Path) -> None:
    home = tmp_path / "runs"
    fill(home, **{"mus": (0.6,), **other})
    output, _ = write(home)
    assert {r["published"] for r in table(output, "f1-epochs-best")} == {""}
    assert "The paper has no figures for " in (output / "tables.html").read_text()


def test_what_is_not_as_the_paper_is_said_beside_its_figures(tmp_path: Path) -> None:
    home, other = tmp_path / "runs", {"lr": 0.1, "width": 0.1, "batch": 64, "mu": 0.6, "rho": 60, "source": "mnist"}
    for method, more in (("ros", {}), ("smote", {"k": 3}), ("aos", {"tau": 0.5})):
        write_run(home, method, **other, **more)
    output, _ = write(home)
    assert {r["published"] != "" for r in table(output, "f1-epochs-best") if r["line"] == "variant"} == {True}
    said = (output / "tables.md").read_text()
    remark = (
        ": mnist mu 0.6: epochs 3 instead of 20, lr 0.1 instead of 0.0001, batch 64 instead of 128, width 0.1 instead of 1, "
        "images of 1 x 8 x 8 instead of 1 x 28 x 28, 3 classes instead of 10, smote k 3 instead of as usual and aos tau 0.5 "
        "instead of tau 0.8."
    )
    assert said.count(remark) == 4  # scores and wins, by each measure


def test_runs_as_the_paper_s_have_no_such_remark(tmp_path: Path) -> None:
    home, classes = tmp_path / "runs", [str(n) for n in range(10)]
    for method, more in (("ros", {}), ("aos", {"tau": 0.8})):
        write_run(
            home, method, classes=classes, shape=(1, 28, 28), rho=60, mu=0.6, epochs=20, lr=1e-4, source="mnist", **more
        )
    output, _ = write(home)
    assert "Not as the paper" not in (output / "tables.md").read_text()


def test_the_last_epoch_and_equal_updates_have_no_published_figures(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    fill(home, ("ros", "baseline"), mus=(0.6,))
    fill(home, ("baseline",), mus=(0.6,), budget="updates", skill=0.9)
    output, said = write(home)
    assert [s.split(",")[0] for s in said] == ["equal epochs", "equal epochs", "equal updates", "equal updates"]
    assert {r["published"] != "" for r in table(output, "f1-epochs-best") if r["line"] == "variant"} == {True}
    assert {r["published"] for name in ("epochs-last", "updates-best") for r in table(output, f"f1-{name}")} == {""}


def test_oversampling_counts_for_both_budgets_and_others_for_their_own(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    fill(home, ("ros", "baseline"), mus=(0.6,))
    fill(home, ("baseline",), mus=(0.6,), budget="updates", updates=777)
    output, _ = write(home)
    by_budget = {
        budget: {r["method"]: float(r["mean"]) for r in table(output, f"updates-{budget}")}
        for budget in ("epochs", "updates")
    }
    assert by_budget == {"epochs": {"ros": 40, "baseline": 40}, "updates": {"ros": 40, "baseline": 777}}


def test_best_and_last_epoch_are_scored_apart(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    folder = write_run(home, "ros", rho=20, mu=0.4)
    run = run_of(json.loads((folder / "result.json").read_text()))
    output, _ = write(home)
    best, last = (table(output, f"f1-epochs-{selection}")[0] for selection in ("best", "last"))
    assert (float(best["mean"]), float(last["mean"])) == (run.best.macro_f1, run.last.macro_f1)
    assert run.best.macro_f1 != run.last.macro_f1


def tune(home: Path, method: str, best: int, mu: float = 0.8) -> None:
    """Runs that choose an eps."""
    for n in (4, 8, 16):
        skill = 0.9 if n == best else 0.5
        write_run(home / "tuning", method, 99, rho=20, mu=mu, eps=n / 255, tuning=True, skill=skill, source="mnist")


def sweep(home: Path, method: str, seeds: int = 2) -> None:
    for n, seed in product((4, 8, 16), range(seeds)):
        write_run(home, method, seed, rho=20, mu=0.8, eps=n / 255, source="mnist")


def test_the_tuned_eps_stands_in_the_tables_and_the_others_in_a_figure(tmp_path: Path) -> None:
    tune(tmp_path, "aos", best=16)
    tune(tmp_path, "noise", best=4)
    sweep(tmp_path, "aos")
    sweep(tmp_path, "noise")
    write_run(tmp_path, "ros", rho=20, mu=0.8, source="mnist")
    grid = grid_of(tmp_path)
    assert [c.label for c in grid.columns] == ["ros", "noise", AT_AOS, "aos"]
    eps = {
        c.label: {round(eps_of(run.spec) * 255) for run in runs}
        for c, runs in grid.rows[0].cells.items()
        if c.label != "ros"
    }
    assert eps == {"noise": {4}, AT_AOS: {16}, "aos": {16}}
    swept = {c.stem: [round(eps * 255) for eps in own["eps"].unique()] for c, own in grid.swept.groupby("column")}
    assert set(grid.swept["row"]) == {0}
    assert swept == {"noise": [4, 8, 16], "aos": [4, 8, 16]}


def test_a_control_at_aos_s_eps_only_is_one_column(tmp_path: Path) -> None:
    for method in ("ros", "noise", "aos"):
        write_run(tmp_path, method, rho=20, mu=0.8)
    assert [c.label for c in grid_of(tmp_path).columns] == ["ros", "noise", "aos"]


def test_a_control_that_still_lacks_its_own_eps_is_not_taken_for_it(tmp_path: Path) -> None:
    tune(tmp_path, "aos", best=16)
    tune(tmp_path, "noise", best=4)
    for method in ("noise", "aos"):
        write_run(tmp_path, method, rho=20, mu=0.8, eps=16 / 255, source="mnist")
    assert [c.label for c in grid_of(tmp_path).columns] == [AT_AOS, "aos"]


def test_a_search_of_eps_and_tau_goes_before_one_of_eps(tmp_path: Path) -> None:
    tune(tmp_path, "aos", best=16)
    for tau, skill in ((0.7, 0.8), (0.9, 0.6)):
        write_run(
            tmp_path / "tuning", "aos", 99, rho=20, mu=0.8, eps=0.1, tau=tau, tuning=True, skill=skill, source="mnist"
        )
    write_run(tmp_path, "aos", rho=20, mu=0.8, eps=0.1, tau=0.7, source="mnist")
    sweep(tmp_path, "aos")
    assert [c.label for c in grid_of(tmp_path).columns] == ["aos", "aos 16/255 tau 0.5"]


def test_settings_that_nothing_chose_are_columns_each(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    for n, seed in product((8, 16), range(2)):
        write_run(home, "aos", seed, rho=20, mu=0.8, eps=n / 255)
    assert [c.label for c in grid_of(home).columns] == ["aos 8/255", "aos 16/255"]
    output, _ = write(home)
    assert all("/" not in path.stem for path in (output / "csv").iterdir())


def test_what_follows_mu_or_the_data_set_is_no_column_of_its_own(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    for mu, tau in ((0.2, 0.4), (0.6, 0.8)):
        for n, seed in product((8, 16), range(2)):
            for method in ("aos", "noise"):
                write_run(home, method, seed, rho=20, mu=mu, tau=tau, eps=n / 255)
            write_run(home, "smote", seed, rho=20, mu=mu, k=3 if mu == 0.2 else None)
            write_run(home, "ros", seed, rho=20, mu=mu)
    write_run(home, "aos", rho=20, mu=0.4, tau=0.5, eps=8 / 255)  # whose other eps is still to come
    labels = ["ros", "smote", "noise 8/255", "noise 16/255", "aos 8/255", "aos 16/255"]
    assert [c.label for c in grid_of(home).columns] == labels
    output, said = write(home)
    text = " ".join(said["equal epochs, the best epoch by validation macro-F1"])
    assert "aos 8/255 against noise 8/255 (the direction is all that differs)" in text
    assert "against noise 16/255" not in text.split("aos 16/255 against")[0]
    paired = {(r["method"], r["minus"]) for r in table(output, "paired-f1-aos-8-255-minus-each-epochs-best")}
    assert ("aos 8/255", "noise 16/255") not in paired
    assert {r["mean"] != "" for r in table(output, "f1-epochs-best")} == {True}
    assert "aos 8/255: 8/255 tau 0.4" in (output / "csv" / "variants-epochs.csv").read_text()


def test_an_eps_that_was_only_swept_is_a_table_by_eps_and_no_column(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    for method in ("aos", "noise"):
        sweep(home, method)
    assert grid_of(home).columns == ()
    output, said = write(home)
    (sentences,) = {s for s in said.values() if "validation chose none" in " ".join(s)} or {()}
    assert sentences[0].startswith("ros was not run")
    assert not any("aos was not run" in s for s in sentences)
    rows = table(output, "f1-by-eps-epochs-best")
    assert [(r["method"], round(float(r["eps"]) * 255), r["n"]) for r in rows] == [
        (method, n, "2") for method in ("noise", "aos") for n in (4, 8, 16)
    ]
    runs = [run_of(json.loads((f / "result.json").read_text())) for f in folders_of(home)]
    for row in rows:
        setting = row["method"], float(row["eps"]), float(row["tau"])
        own = [
            r.best.macro_f1
            for r in runs
            if (r.spec.expression.name, *map(r.spec.expression.get, ("eps", "tau"))) == setting
        ]
        assert float(row["mean"]) == pytest.approx(np.mean(own))
    assert {p.stem for p in (output / "csv").iterdir()} == {
        "variants-epochs", "f1-by-eps-epochs-best", "f1-by-eps-epochs-last",
    }  # fmt: skip
    assert "Macro-F1 by eps" in (output / "tables.html").read_text()


def test_a_sweep_beside_other_methods_leaves_their_tables_as_they_are(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    sweep(home, "aos")
    for method, seed in product(("ros", "rus"), range(2)):
        write_run(home, method, seed, rho=20, mu=0.8, source="mnist")
    output, said = write(home)
    assert {r["method"] for r in table(output, "f1-epochs-best")} == {"rus", "ros"}
    assert "aos: run at several eps" in " ".join(next(iter(said.values())))


def test_a_variant_of_a_sweep_alone_is_a_line_of_dashes(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    sweep(home, "aos")
    for method, seed in product(("ros", "rus"), range(2)):
        write_run(home, method, seed, rho=20, mu=0.2, source="mnist")
    output, said = write(home)
    assert {(r["line"], r["mu"]) for r in table(output, "f1-epochs-best")} == {("variant", "0.2")}
    assert "| mnist | 20 | 0.8 | \N{EN DASH} | \N{EN DASH} |" in (output / "tables.md").read_text(encoding="utf-8")
    assert "no averages are compared" in " ".join(next(iter(said.values())))


def test_a_figure_says_each_score_at_its_own_eps(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    sweep(home, "aos")
    for n, skill in ((8, 0.6), (16, 0.7), (32, 0.8)):
        write_run(home, "noise", rho=20, mu=0.8, eps=n / 255, skill=skill, source="mnist")
    output, _ = write(home)
    rows = [r for r in table(output, "f1-by-eps-epochs-best") if r["method"] == "noise"]
    expected = ", ".join(f"{float(r['mean']):.4f} at {float(r['eps']) * 255:g}/255" for r in rows)
    assert len(rows) == 3
    assert f"noise {expected};" in (output / "tables.html").read_text(encoding="utf-8")


def test_what_the_other_budget_s_search_chose_is_no_column(tmp_path: Path) -> None:
    for ratio, budget, skill in ((0.5, "epochs", 0.9), (0.5, "updates", 0.5), (None, "epochs", 0.7)):
        more = {"ratio": ratio, "budget": budget, "rho": 20, "mu": 0.6}
        write_run(tmp_path / "tuning", "ros", 99, tuning=True, skill=skill, **more)
        if (ratio, budget) != (0.5, "updates"):
            write_run(tmp_path, "ros", **more)
    write_run(tmp_path, "baseline", rho=20, mu=0.6)
    write_run(tmp_path, "baseline", rho=20, mu=0.6, budget="updates")
    runs = collect(folders_of(tmp_path)).runs
    epochs, updates = arrange(runs, tuning_runs(runs).runs, {})
    assert [c.label for c in epochs.columns] == ["baseline", "ros"]
    assert [c.label for c in updates.columns] == ["baseline", "ros"]
    ratios = [
        next(runs for c, runs in g.rows[0].cells.items() if c.label == "ros")[0].spec.expression.values
        for g in (epochs, updates)
    ]
    assert ratios == [{"ratio": 0.5}, {}]


def test_runs_that_chose_a_setting_are_not_reported(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    write_run(home, "ros", rho=20, mu=0.8)
    write_run(home, "aos", 99, rho=20, mu=0.8, tuning=True)
    output, _ = write(home)
    assert {r["method"] for r in table(output, "f1-epochs-best")} == {"ros"}
    assert "a run that chose a setting is not reported" in (output / "tables.md").read_text()


def test_a_missing_cell_is_a_dash_and_makes_no_average(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    fill(home, ("ros", "aos"), mus=(0.2, 0.4))
    fill(home, ("smote",), mus=(0.2,))
    output, _ = write(home)
    rows = table(output, "f1-epochs-best")
    assert {r["method"] for r in rows if r["line"] == "average"} == {"ros", "aos"}
    assert "An average is given only where" in (output / "tables.md").read_text()


def test_data_sets_have_the_names_of_the_grid(tmp_path: Path) -> None:
    home, data = tmp_path / "runs", "0123abcd" * 4
    write_run(home, "ros", rho=60, mu=0.8, source="mnist.tar")
    assert list(grid_of(home).datasets) == ["mnist.tar"]
    assert list(grid_of(home, {data: "mnist"}).datasets) == ["mnist"]
    (home / "grid.json").write_text(json.dumps({"datasets": {"mnist": {"fingerprint": data}}}))
    row, *_ = table(write(home)[0], "f1-epochs-best")
    assert (row["dataset"], float(row["published"])) == ("mnist", published().scores[F1]["mnist", 60, 0.8]["ros"])


@pytest.mark.parametrize("text", ['{"datasets": {"mnist"', "[]", '{"datasets": {"mnist": 3}}', '{"name": "small"}'])
def test_an_unreadable_grid_file_is_said_and_sources_name_the_data(text: str, tmp_path: Path) -> None:
    home = tmp_path / "runs"
    write_run(home, "ros", rho=60, mu=0.8, source="mnist.tar")
    (home / "grid.json").write_text(text)
    output, _ = write(home)
    assert {r["dataset"] for r in table(output, "updates-epochs")} == {"mnist.tar"}
    assert "data sets are named after their sources" in (output / "tables.html").read_text()


def test_data_that_the_grid_does_not_know_is_said(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    write_run(home, "ros", rho=60, mu=0.8, source="mnist.tar")
    (home / "grid.json").write_text(
        json.dumps({"datasets": {"mnist": {"fingerprint": "f" * 32, "source": "mnist.tar"}}})
    )
    output, _ = write(home)
    assert {r["dataset"] for r in table(output, "updates-epochs")} == {"mnist.tar"}
    assert "grid.json does not know their data" in (output / "tables.html").read_text()


def test_runs_of_data_as_they_were_are_set_aside(tmp_path: Path) -> None:
    home, known = tmp_path / "runs", {}
    for n in range(3):
        now, before = f"{n + 10:032x}", f"{n + 50:032x}"
        known[f"set{n}"] = {"fingerprint": now, "source": f"s{n}", "before": [before]}
        for method, seed, data in product(("ros", "aos", "rus"), range(2), (now, before)):
            write_run(home, method, seed, data=data, rho=10, mu=0.6, source=f"s{n}", minority=["cat"])
    home.joinpath("grid.json").write_text(json.dumps({"datasets": known}))
    output, said = write(home)
    text = " ".join(said["equal epochs, the best epoch by validation macro-F1"])
    assert "On 3 data variants of 3 data sets" in text
    assert "No test over data sets is made" in text
    assert {r["dataset"] for r in table(output, "updates-epochs")} == set(known)
    assert {r["n"] for r in table(output, "f1-epochs-best") if r["line"] == "variant"} == {"2"}
    page = (output / "tables.md").read_text()
    assert "6 runs: of the images that set0 had before they changed" in page
    assert "grid.json does not know" not in page
    for folder in folders_of(home):
        if json.loads((folder / "result.json").read_text())["spec"]["data"] in {
            o["fingerprint"] for o in known.values()
        }:
            (folder / "result.json").unlink()
    with pytest.raises(InputError, match="no run of these data to make tables of: 6 runs of the images that set0 had"):
        write(home)


def test_replicates_of_seeds_and_data_seeds_are_paired_each(tmp_path: Path) -> None:
    home, gains = tmp_path / "runs", []
    for seed, data_seed in product(range(2), range(3)):
        skills = (0.6, 0.7 + 0.05 * seed + 0.02 * data_seed)
        scores = [
            run_of(
                json.loads(
                    (write_run(home, m, seed, data_seed=data_seed, rho=20, mu=0.6, skill=s) / "result.json").read_text()
                )
            )
            for m, s in zip(("ros", "aos"), skills, strict=True)
        ]
        gains.append(scores[1].best.macro_f1 - scores[0].best.macro_f1)
    output, _ = write(home)
    (row,) = table(output, "paired-f1-minus-ros-epochs-best")
    assert (row["n"], json.loads(row["values"])) == ("6", pytest.approx(gains))
    assert "share a choice of data" in (output / "tables.md").read_text()


def test_the_same_data_under_other_settings_is_told_apart(tmp_path: Path) -> None:
    for lr, mu in product((0.1, 0.01), (0.2, 0.4)):
        write_run(tmp_path, "ros", rho=60, mu=mu, lr=lr)
    grid = grid_of(tmp_path)
    assert [r.remark for r in grid.rows] == ["lr 0.01", "lr 0.01", "lr 0.1", "lr 0.1"]
    assert [len(family) for family in grid.families] == [2, 2]


def test_variants_are_in_the_order_of_mu(tmp_path: Path) -> None:
    for mu in (0.8, 0.2, 0.6):
        write_run(tmp_path, "ros", rho=60, mu=mu)
    assert [r.spec.mu for r in grid_of(tmp_path).rows] == [0.2, 0.6, 0.8]


def test_every_method_of_the_table_has_a_place(tmp_path: Path) -> None:
    for method in SKILL:
        write_run(tmp_path, method, rho=60, mu=0.2)
    assert [c.label for c in grid_of(tmp_path).columns] == ["baseline", "rus", "ros", "smote", "noise", "aos"]
