"""The values that searches try."""

from __future__ import annotations

import sys

import pytest

import underdog as ud
from underdog.names import DEFAULTS, METHODS, PARAMETERS, TRIALS
from underdog.run.space import SPACE, check_trials, next_values
from underdog.run.spec import RunSpec
from underdog.run.tune import study_of, values_of

BASE = {"data": "some data", "rho": 20, "mu": 0.5}


def plain(method: str) -> RunSpec:
    return RunSpec(method=method, **BASE, tau=0.5 if "tau" in PARAMETERS[method] else None)


def tried(method: str, trials: int) -> list[tuple[dict[str, float], float]]:
    """The values of a search in which the third-least value of each parameter is the best."""
    found: list[tuple[dict[str, float], float]] = []
    for _ in range(trials):
        values = next_values(method, found)
        score = 1 - sum(abs(SPACE[n].values.index(v) - 2) / 64 for n, v in values.items())
        found.append((values, score))
    return found


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_space_of_allowed_values_that_begins_with_the_usual_ones(method: str) -> None:
    assert PARAMETERS[method]
    for name in PARAMETERS[method]:
        axis = SPACE[name]
        assert axis.values == tuple(sorted(set(axis.values)))
        assert axis.first == DEFAULTS.get(name, axis.first)
        assert axis.first in axis.values
        for value in axis.values:
            study = study_of(plain(method))
            assert getattr(study.run({name: value}), name) in (value, None)  # None is the usual value
            assert values_of(study.run({name: value}))[name] == value


@pytest.mark.parametrize("method", METHODS)
def test_a_search_never_tries_the_same_twice_even_where_it_tries_everything(method: str) -> None:
    found = tried(method, 20)
    assert len({tuple(values.items()) for values, _ in found}) == 20
    assert len({study_of(plain(method)).run(values).id for values, _ in found}) == 20
    if method == "smote":
        assert {values["k"] for values, _ in found} == set(SPACE["k"].values)


def test_what_is_tried_next_depends_on_what_was_tried_and_its_scores_alone() -> None:
    found = tried("aos", 8)
    assert tried("aos", 8) == found
    assert tried("aos", 5) == found[:5]
    assert next_values("aos", found) == next_values("aos", found)
    worse = [(values, 1 - score) for values, score in found]
    assert [next_values("aos", worse[:n]) for n in range(5, 9)] != [next_values("aos", found[:n]) for n in range(5, 9)]


def test_the_control_meets_the_same_draws() -> None:
    assert [v for v, _ in tried("noise", 5)] == [v for v, _ in tried("aos", 5)]


@pytest.mark.parametrize("trials", [0, -1, 21])
def test_a_number_of_trials_that_a_space_does_not_have_is_refused(trials: int) -> None:
    check_trials(TRIALS)
    with pytest.raises(ud.InputError, match=f"trials must be from 1 to 20, .* not {trials}"):
        check_trials(trials)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ud.InputError, match=r"pip install 'underdog\[tune\]'"):
        next_values("aos", tried("aos", 1))
