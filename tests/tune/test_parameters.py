"""Parameters of methods: whose they are, and what a run is called with them."""

from __future__ import annotations

import math
from typing import Any

import pytest

import underdog as ud
from underdog.experiments.comparison import comparison
from underdog.methods.expression import parse
from underdog.methods.table import METHODS
from underdog.resample.random import EqualUpdates
from underdog.run.execute import hyperparameters, method_of
from underdog.run.spec import RunSpec

GIVEN: dict[str, Any] = {
    "lr_factor": 2.0, "power": 0.5, "gamma": 1.0, "ratio": 0.5, "k": 3, "tau": 0.4, "balance": "none", "attack": "pgd",
    "steps": 3, "select": "loss", "alpha": 0.4, "start": 0.6, "beta": 0.99,
}  # fmt: skip
OWN = {method: parse(method).parts[0].parameters for method in METHODS}


def spec_of(method: str, **settings: Any) -> RunSpec:
    return RunSpec("0123abcd" * 4, method, epochs=3, **settings)


def test_the_parameters_are_these() -> None:
    assert {name for own in OWN.values() for name in own} == {*GIVEN, "eps"}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", GIVEN)
def test_a_parameter_is_its_methods_alone_and_the_usual_value_is_no_other_run(method: str, name: str) -> None:
    if name == "lr_factor" and method != "baseline":  # which is the baseline's, and can be added to any method
        assert spec_of(method).with_values({name: 2.0}).method == f"baseline(lr_factor=2)+{method}"
        return
    if name not in OWN[method]:
        with pytest.raises(ud.InputError, match=f"^{method} has no parameter '{name}'.* \\(it has .*\\)$"):
            spec_of(method).with_values({name: GIVEN[name]})
        with pytest.raises(ud.InputError, match=f"^{method} has no parameter '{name}'.* \\(it has .*\\)$"):
            spec_of(f"{method}({name}={GIVEN[name]})")
        return
    plain, other = spec_of(method), spec_of(method).with_values({name: GIVEN[name]})
    assert spec_of(f"{method}({name}={GIVEN[name]})") == other
    assert plain.with_values({name: OWN[method][name].default}) == other.with_values({name: None}) == plain
    assert other.id != plain.id
    assert other.variant() == plain.variant()
    assert other.setting != plain.setting
    assert RunSpec.from_json(other.to_json()) == other


@pytest.mark.parametrize(
    ("method", "id_"),
    [("ros", "ros-s0-1107aac3c2e2"), ("aos(eps=16/255)+focal", "aos+focal-s0-5d389ed44ffe")],
)
def test_a_run_of_this_revision_keeps_its_id(method: str, id_: str) -> None:
    assert spec_of(method).id == id_


@pytest.mark.parametrize(
    ("name", "method"),
    [("k", "smote"), ("power", "class-weighted"), ("ratio", "rus"), ("alpha", "mixup"), ("lr_factor", "baseline")],
)
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_values_out_of_range_are_refused(name: str, method: str, value: float) -> None:
    with pytest.raises(ud.InputError, match=f"{method}: {name} must be a .*, not (0|-1|'nan')"):
        method_of(spec_of(method).with_values({name: value}))
    with pytest.raises(ud.InputError, match=f"{method}: {name} must be a .*, not (0|-1|'nan')"):
        ud.method(f"{method}({name}={value})")


def test_methods_refuse_the_parameters_of_others() -> None:
    with pytest.raises(ud.InputError, match=r"^ros has no parameter 'k' \(it has ratio\)$"):
        ud.method("ros(k=3,power=0.5)")


def test_a_comparison_has_each_method_as_it_was_written_and_none_twice() -> None:
    base = spec_of("baseline", budget="updates")
    texts = ["smote(k=3)", "smote", "rus(ratio=0.5)", "aos(eps=0.1)", "aos(eps=0.1,tau=0.4)"]
    specs = comparison(base, texts, 2, data_seed=7)
    assert [(s.method, s.seed, s.data_seed) for s in specs] == [(m, seed, 7) for seed in range(2) for m in texts]
    assert len({s.id for s in specs}) == len({(s.setting, s.seed) for s in specs}) == 10
    assert len({s.variant() for s in specs}) == 1
    assert {s.method: s.budget for s in specs}["rus(ratio=0.5)"] == "updates"
    assert {s.method: s.budget for s in specs}["smote"] == "epochs"  # which are then the same
    with pytest.raises(ud.InputError, match=r"^method 'smote' is there twice$"):
        comparison(base, ["smote", "ros", "smote(k=5)"], 1)


def test_a_factor_multiplies_both_learning_rates() -> None:
    spec = spec_of("baseline(lr_factor=4)", lr=0.25, lr_backbone=0.5)
    hyper = hyperparameters(spec)
    split = ud.prepare(ud.load_images("digits")).split
    learner = ud.Training(ud.PaperNet(1, 10, (16, 16), width=0.1), method_of(spec), split, hyper).learner
    assert {group["lr"] for group in learner.optimizer.param_groups} == {1, 2}
    plain = hyperparameters(spec_of("baseline(lr_factor=4)", lr=0.25))
    assert plain.lr_backbone is None
    learner = ud.Training(ud.PaperNet(1, 10, (16, 16), width=0.1), method_of(spec), split, plain).learner
    assert [group["lr"] for group in learner.optimizer.param_groups] == [1]
    assert method_of(spec_of("baseline(lr_factor=4)+ros")).lr_factor == 4


def test_under_equal_updates_a_smaller_ratio_is_filled_up() -> None:
    assert spec_of("ros", budget="updates").budget == "epochs"  # which are then the same
    spec = spec_of("ros(ratio=0.5)", budget="updates")
    assert spec.budget == "updates"
    assert method_of(spec).stages[0].resampler == ud.Chain(ud.RandomOverSampler(0.5), EqualUpdates())
