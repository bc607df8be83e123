"""Searches: how they go on, what they leave behind, and who may read it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import pytest

import underdog as ud
from underdog.methods.expression import parse
from underdog.methods.table import METHODS
from underdog.run.engine import Job, Outcome
from underdog.run.folders import Runs
from underdog.run.queue import Queue, steps_of, work_off
from underdog.run.search import Trials
from underdog.run.spec import RunSpec
from underdog.run.tune import TUNING_SEED, Study, all_tuned, study_of, tuned, values_of

ROS = RunSpec("some data", "ros", rho=20, mu=0.5)
SMOTE = replace(ROS, method="smote")


def spec_of(method: str) -> RunSpec:
    return replace(ROS, method=method)


class Fake:
    """An engine without any training: the score is a function of the values. It breaks at some runs."""

    workers = 1

    def __init__(self, breaks: dict[int, str] | None = None) -> None:
        self.calls: list[RunSpec] = []
        self.breaks = breaks or {}
        self.waiting: list[Job] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def submit(self, job: Job) -> None:
        self.waiting.append(job)

    def wait(self) -> Outcome:
        job = self.waiting.pop()
        self.calls.append(job.spec)
        error = self.breaks.get(len(self.calls))
        if error == "interrupted":
            raise KeyboardInterrupt
        if not error:
            job.folder.mkdir(parents=True, exist_ok=True)
            score = 1 / (1 + sum(abs(v - 0.4) for v in values_of(job.spec).values()))
            (job.folder / "result.json").write_text(
                json.dumps({"spec": job.spec.to_json(), "val": {"macro_f1": score}})
            )
        return Outcome(job, 1.0, error or "")


def search(method: str, out: Path, trials: int = 4, run: Fake | None = None, budget: str | None = None) -> Study | None:
    """The study after all of its trials; None where all of them failed."""
    trial_runs = Trials(study_of(spec_of(method), trials, budget))
    queue = Queue(steps_of("", trial_runs), Runs(out, lambda result: None, True, print))
    work_off(queue, run or Fake(), lambda event: None)
    study = trial_runs.done(queue.score)
    if study:
        study.save(out)
    return study


def done(method: str, out: Path, trials: int = 4, run: Fake | None = None, budget: str | None = None) -> Study:
    study = search(method, out, trials, run, budget)
    assert study is not None
    return study


@pytest.mark.parametrize("method", METHODS)
def test_all_methods_have_equally_many_runs_that_are_not_reported_and_see_no_test_images(
    method: str, tmp_path: Path
) -> None:
    run = Fake()
    study = done(method, tmp_path, 4, run)
    assert len({s.id for s in run.calls}) == len(study.trials) == 4
    assert {(s.seed, s.data_seed, s.tuning) for s in run.calls} == {(TUNING_SEED, TUNING_SEED, True)}
    assert {s.expression.set(dict.fromkeys(parse(method).space)) for s in run.calls} == {parse(method)}
    assert len({s.variant() for s in run.calls}) == 1
    assert replace(run.calls[0].variant(), tuning=False) == spec_of(method).variant()
    best = tuned(spec_of(method), tmp_path)
    assert best == spec_of(method).with_values(study.best.values)
    assert values_of(best) == study.best.values
    assert study.best.score == max(t.score for t in study.trials if t.score is not None)


@pytest.mark.parametrize("broken", range(1, 7))
def test_an_interrupted_search_goes_on_to_what_an_uninterrupted_one_finds(broken: int, tmp_path: Path) -> None:
    whole = done("aos", tmp_path / "whole", 6)
    first, second = Fake({broken: "interrupted"}), Fake()
    with pytest.raises(KeyboardInterrupt):
        done("aos", tmp_path / "broken", 6, first)
    assert tuned(spec_of("aos"), tmp_path / "broken") is None
    again = done("aos", tmp_path / "broken", 6, second)
    assert first.calls[-1] == second.calls[0]
    assert len(first.calls) + len(second.calls) == 7  # the interrupted run is called once more, and goes on
    assert again == whole
    assert again.path(tmp_path / "broken").read_bytes() == whole.path(tmp_path / "whole").read_bytes()


def test_a_search_that_is_done_is_read_and_extended_never_repeated(tmp_path: Path) -> None:
    run = Fake()
    four = done("ros", tmp_path, 4, run)
    assert done("ros", tmp_path, 4, run) == four
    assert len(run.calls) == 4
    six = done("ros", tmp_path, 6, run)
    assert six.trials[:4] == four.trials
    assert len(run.calls) == 6
    assert done("ros", tmp_path, 4, run) == four
    assert len(run.calls) == 6


def test_seeds_and_given_parameters_do_not_ask_for_another_search_but_data_and_settings_do(tmp_path: Path) -> None:
    done("ros", tmp_path)
    best = tuned(ROS, tmp_path)
    assert best is not None
    for same in (replace(ROS, seed=3, data_seed=8), ROS.with_values({"ratio": 0.3}), replace(ROS, devices=2)):
        assert tuned(same, tmp_path) == same.with_values({"ratio": best.expression.number("ratio")})
    for other in (
        replace(ROS, data="other"), replace(ROS, epochs=21), replace(ROS, lr=0.1), replace(ROS, mu=0.4),
        replace(ROS, method="ros+focal"), replace(ROS, method="rus"),
    ):  # fmt: skip
        assert tuned(other, tmp_path) is None


def test_each_budget_has_its_search_where_it_makes_a_difference(tmp_path: Path) -> None:
    by_updates = study_of(ROS, budget="updates")
    assert by_updates.path(tmp_path) != study_of(ROS).path(tmp_path)
    assert by_updates.run({"ratio": 0.5}).budget == "updates"
    assert by_updates.run({"ratio": 1.0}) == study_of(ROS).run({"ratio": 1.0})
    assert study_of(SMOTE, budget="updates") == study_of(SMOTE)
    done("ros", tmp_path, budget="updates")
    assert tuned(ROS, tmp_path) is None
    best = tuned(ROS, tmp_path, "updates")
    assert best is not None
    assert best.budget == ("epochs" if best.method == "ros" else "updates")


def test_a_trial_that_fails_recognised_nothing_and_a_search_of_which_all_fail_finds_nothing(tmp_path: Path) -> None:
    study = done("baseline", tmp_path, 3, Fake({2: "the loss became nan"}))
    assert [t.score is None for t in study.trials] == [False, True, False]
    assert study.best.score is not None
    assert tuned(spec_of("baseline"), tmp_path) == spec_of("baseline").with_values(study.best.values)
    assert search("ros", tmp_path, 3, Fake(dict.fromkeys((1, 2, 3), "the loss became nan"))) is None
    assert tuned(ROS, tmp_path) is None


def test_comparing_tuned_methods_needs_equal_trials_for_all(tmp_path: Path) -> None:
    specs = [replace(s, seed=seed, data_seed=seed) for seed in range(2) for s in (ROS, SMOTE)]
    with pytest.raises(
        ud.InputError, match=r"no complete search for ros, smote .* 'underdog tune SOURCE --method ros,smote"
    ):
        all_tuned(specs, tmp_path)
    done("ros", tmp_path, 3)
    done("smote", tmp_path, 4)
    with pytest.raises(ud.InputError, match=r"\(ros 3, smote 4\): .*--method ros,smote --trials 4"):
        all_tuned(specs, tmp_path)
    done("ros", tmp_path, 4)
    found = all_tuned(specs, tmp_path)
    assert [(s.expression.name, s.seed) for s in found] == [(s.method, s.seed) for s in specs]
    assert found == [tuned(s, tmp_path) for s in specs]


def test_folds_cannot_be_tuned() -> None:
    with pytest.raises(ud.InputError, match="tuning excludes folds"):
        study_of(replace(ROS, folds=3, fold=0))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["trials"][0].update(val_macro_f1=2),
        lambda data: data["trials"][0].update(values={"ratio": 0.123}),
        lambda data: data["trials"][0].update(values={"k": 5}),
        lambda data: data.update(wanted=1),
        lambda data: data.update(wanted=99),
        lambda data: data.pop("trials"),
        lambda data: data["spec"].update(method="smoot"),
        lambda data: data["spec"].update(tuning=False),
    ],
)
def test_a_stored_search_that_makes_no_sense_is_not_believed(change: Any, tmp_path: Path) -> None:
    path = done("ros", tmp_path, 2).path(tmp_path)
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    with pytest.raises(ud.InputError, match=rf"{path.name} is no whole study"):
        tuned(ROS, tmp_path)


def test_a_search_of_other_settings_under_this_name_is_not_believed(tmp_path: Path) -> None:
    path = done("ros", tmp_path, 2).path(tmp_path)
    data = json.loads(path.read_text())
    data["spec"]["epochs"] = 7
    path.write_text(json.dumps(data))
    with pytest.raises(ud.InputError, match="another search"):
        tuned(ROS, tmp_path)
    path.write_text("{")
    with pytest.raises(ud.InputError, match="is no whole study"):
        tuned(ROS, tmp_path)


def test_variants_of_a_method_have_searches_of_their_own_and_are_told_apart(tmp_path: Path) -> None:
    pgd = replace(ROS, method="aos(eps=0.1,attack=pgd)")
    with pytest.raises(
        ud.InputError, match=r"search for aos, aos\(attack=pgd\) .* --method \"aos,aos\(attack=pgd\)\"' with"
    ):
        all_tuned([spec_of("aos"), pgd], tmp_path)
    for method in ("aos", "aos(attack=pgd)"):
        done(method, tmp_path, 2)
    plain, other = all_tuned([spec_of("aos"), pgd], tmp_path)
    assert plain.expression.get("attack") == "fgsm"
    assert other.expression.get("attack") == "pgd"
    assert values_of(plain) == values_of(other) != values_of(pgd)
    with pytest.raises(ud.InputError, match=r"several methods are the same, aos\(eps=.*\), once"):
        all_tuned([spec_of("aos"), spec_of("aos(eps=0.1)")], tmp_path)
