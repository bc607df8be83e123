"""What a report says of the parameters of methods, and of the searches for them."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_run

from underdog.names import EPS_GRID
from underdog.reporting.collect import collect, tuning_studies
from underdog.reporting.facts import searched as parameters
from underdog.reporting.facts import values_text
from underdog.reporting.html import write_report
from underdog.reporting.searches import searches
from underdog.reporting.summary import variants
from underdog.run.spec import RunSpec
from underdog.run.tune import Study, study_of


def test_labels_tell_parameters_apart_only_where_needed(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, "smote", k=k) for k in (3, 5)]
    folders += [write_run(tmp_path, "ros", ratio=0.5), write_run(tmp_path, "baseline", lr_factor=2)]
    folders += [write_run(tmp_path, "rus", ratio=r, budget=b) for r in (0.5, 1) for b in ("epochs", "updates")]
    (variant,) = variants(collect(folders).runs)
    assert [g.label for g in variant.groups] == [
        "baseline", "rus ratio 0.5, equal epochs", "rus ratio 0.5, equal updates", "rus ratio 1, equal epochs",
        "rus ratio 1, equal updates", "ros", "smote k 3", "smote k 5",
    ]  # fmt: skip


def searched(spec: RunSpec, out: Path, scores: dict[float, float]) -> Study:
    """A search of two trials, stored."""
    study = study_of(spec, len(scores))
    for k, score in scores.items():
        study = study.after(study.run({"k": k}), score)
    study.save(out)
    return study


@pytest.mark.parametrize(
    ("k", "said"),
    [
        (3, "k = 3; of 2 trials the one with the highest"),
        (5, "k = 5; given .* a search of 2 trials would have chosen k 3"),
    ],
)
def test_a_report_says_how_parameters_came_about(k: int, said: str, tmp_path: Path) -> None:
    runs = collect([write_run(tmp_path, "smote", k=k), write_run(tmp_path, "ros", ratio=0.3)]).runs
    searched(runs[0].spec, tmp_path, {5: 0.6, 3: 0.7})
    (tmp_path / "tuning" / "study-broken.json").write_text("{}")
    (variant,) = variants(runs)
    studies, asides = tuning_studies(runs)
    given, found = searches(variant, (), studies)
    assert given.sentence == "ros: ratio = 0.3; given when the runs were started."
    assert re.search(said, found.sentence)
    assert "without test images" in found.sentence
    assert parameters(found) == "k"
    assert [(t.values, t.score) for t in found.tried] == [({"k": 5}, 0.6), ({"k": 3}, 0.7)]
    assert [a.name for a in asides] == ["tuning/study-broken.json"]


def test_the_search_of_another_problem_is_not_this_ones(tmp_path: Path) -> None:
    runs = collect([write_run(tmp_path, "smote")]).runs
    searched(replace(runs[0].spec, lr=0.5), tmp_path, {5: 0.6, 3: 0.7})
    (variant,) = variants(runs)
    assert searches(variant, (), tuning_studies(runs)[0]) == ()


def test_the_page_lists_the_trials(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "smote", k=3)
    searched(collect([folder]).runs[0].spec, tmp_path, {5: 0.123, 3: 0.456})
    write_report([folder], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Validation macro-F1 by k" in page
    assert "0.123" in page
    assert "0.456" in page


def test_a_search_over_the_grid_is_told_from_one_by_trials_beside_it(tmp_path: Path) -> None:
    run = write_run(tmp_path, "aos", eps=8 / 255, tau=0.6)
    for n in EPS_GRID:
        right = np.eye(3, dtype=int) * (9 if n == 8 else 5) + 1
        settings = {"seed": 1_000_003, "tuning": True, "eps": n / 255, "tau": 0.6}
        write_run(tmp_path / "tuning", "aos", **settings, confusion=right)
    runs = collect([run]).runs
    (variant,) = variants(runs)
    tuning = collect(sorted((tmp_path / "tuning").iterdir())).runs
    study = study_of(runs[0].spec, 2)
    study = study.after(study.run({"eps": 16 / 255, "tau": 0.6}), 0.5).after(
        study.run({"eps": 3 / 255, "tau": 0.2}), 0.7
    )
    (by_grid,) = searches(variant, tuning, [study])
    assert "eps is the one with the highest" in by_grid.sentence
    assert [values_text(t.values) for t in by_grid.tried] == [f"{n}/255" for n in EPS_GRID]
    (by_trials,) = searches(variant, tuning[:1], [study])
    assert "would have chosen eps 3/255, tau 0.2" in by_trials.sentence
    assert [values_text(t.values) for t in by_trials.tried] == ["16/255, 0.6", "3/255, 0.2"]
