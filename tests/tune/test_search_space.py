"""The values that searches try."""

from __future__ import annotations

import sys

import pytest

import underdog as ud
from underdog.methods.expression import parse
from underdog.methods.table import METHODS
from underdog.names import TRIALS
from underdog.run.execute import method_of
from underdog.run.space import check_trials, next_values
from underdog.run.spec import RunSpec
from underdog.run.tune import study_of, values_of

BASE = {"data": "some data", "rho": 20, "mu": 0.5}
#: Methods, and sums of which several parts have parameters, also of one name, or none has.
SEARCHED = [*METHODS, "aos+balanced-softmax", "aos(attack=pgd)+logit-adjust", "smote+drw", "ros(ratio=0.5)+focal"]


def plain(method: str) -> RunSpec:
    return RunSpec(method=method, **BASE)


def tried(method: str, trials: int) -> list[tuple[dict[str, float], float]]:
    """The values of a search in which the third-least value of each parameter is the best."""
    found: list[tuple[dict[str, float], float]] = []
    space = parse(method).space
    for _ in range(trials):
        values = next_values(parse(method), found)
        score = 1 - sum(abs(space[n].values.index(v) - 2) / 64 for n, v in values.items())
        found.append((values, score))
    return found


@pytest.mark.parametrize("method", SEARCHED)
def test_every_method_has_a_space_of_allowed_values_that_begins_with_the_usual_ones(method: str) -> None:
    space, study = parse(method).space, study_of(plain(method))
    usual = {key: one.default for key, _, one in parse(method).declared()}
    assert space
    for name, axis in space.items():
        assert axis.values == tuple(sorted(set(axis.values)))
        assert axis.first in axis.values
        # The paper gives AOS no usual tau: it is another for every data set.
        assert axis.first == (0.6 if usual.get(name) == 0.5 else usual.get(name) or axis.first)
        for value in axis.values:
            run = study.run({name: value})
            assert values_of(run)[name] == value
            assert isinstance(method_of(run), ud.Method)


@pytest.mark.parametrize("method", SEARCHED)
def test_a_search_never_tries_the_same_twice_even_where_it_tries_everything(method: str) -> None:
    trials = min(20, *(len(axis.values) for axis in parse(method).space.values()))
    found = tried(method, trials)
    assert len({tuple(values.items()) for values, _ in found}) == trials
    assert len({study_of(plain(method)).run(values).id for values, _ in found}) == trials
    if method in ("smote", "focal"):
        (axis,) = parse(method).space.items()
        assert {values[axis[0]] for values, _ in found} == set(axis[1].values)


def test_what_is_tried_next_depends_on_what_was_tried_and_its_scores_alone() -> None:
    aos = parse("aos")
    found = tried("aos", 8)
    assert tried("aos", 8) == found
    assert tried("aos", 5) == found[:5]
    assert next_values(aos, found) == next_values(aos, found)
    worse = [(values, 1 - score) for values, score in found]
    assert [next_values(aos, worse[:n]) for n in range(5, 9)] != [next_values(aos, found[:n]) for n in range(5, 9)]


def test_the_control_meets_the_same_draws() -> None:
    assert [v for v, _ in tried("noise", 5)] == [v for v, _ in tried("aos", 5)]


@pytest.mark.parametrize("trials", [0, -1, 13])
def test_a_number_of_trials_that_a_space_does_not_have_is_refused(trials: int) -> None:
    every = [parse(method) for method in METHODS]
    check_trials(TRIALS, every)
    check_trials(20, [parse("ros")])
    check_trials(64 * 5, [parse("aos")])
    with pytest.raises(ud.InputError, match=f"trials must be from 1 to 12, .* not {trials}"):
        check_trials(trials, every)


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ud.InputError, match=r"pip install 'underdog\[tune\]'"):
        next_values(parse("aos"), tried("aos", 1))
