"""Parameters of methods: whose they are, and what a run is called with them."""

from __future__ import annotations

import math
from typing import Any

import pytest

import underdog as ud
from underdog.names import DEFAULTS, METHODS, PARAMETERS
from underdog.resample.random import EqualUpdates
from underdog.run.compare import comparison
from underdog.run.execute import hyperparameters
from underdog.run.spec import RunSpec

GIVEN = {"lr_factor": 2.0, "power": 0.5, "ratio": 0.5, "k": 3}


def spec_of(method: str, **settings: Any) -> RunSpec:
    return RunSpec("0123abcd" * 4, method, tau=0.5 if "tau" in PARAMETERS[method] else None, epochs=3, **settings)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", DEFAULTS)
def test_a_parameter_is_its_methods_alone_and_the_usual_value_is_no_other_run(method: str, name: str) -> None:
    if name not in PARAMETERS[method]:
        with pytest.raises(ud.InputError, match=f"{name} belongs to .*, not to '{method}'"):
            spec_of(method, **{name: GIVEN[name]})
        return
    plain, other = spec_of(method), spec_of(method, **{name: GIVEN[name]})
    assert spec_of(method, **{name: DEFAULTS[name]}) == plain
    assert other.id != plain.id
    assert other.variant() == plain.variant()
    assert other.setting != plain.setting
    assert RunSpec.from_json(other.to_json()) == other


@pytest.mark.parametrize(("method", "id_"), [("ros", "ros-s0-d69d52304531"), ("aos", "aos-s0-1ce008eb13d3")])
def test_runs_without_them_have_the_ids_they_always_had(method: str, id_: str) -> None:
    assert spec_of(method).id == id_


@pytest.mark.parametrize(("name", "method"), [("k", "smote"), ("power", "class-weighted"), ("ratio", "rus")])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_values_out_of_range_are_refused(name: str, method: str, value: float) -> None:
    with pytest.raises(ud.InputError, match=f"{name} must be a"):
        spec_of(method, **{name: value})
    with pytest.raises(ud.InputError, match=f"{name} must be a"):
        ud.named_method(method, **{name: value})


def test_methods_refuse_the_parameters_of_others() -> None:
    with pytest.raises(ud.InputError, match="method 'ros' has no k or power"):
        ud.named_method("ros", k=3, power=0.5)


def test_a_comparison_gives_each_method_its_own_and_refuses_what_none_has() -> None:
    base = spec_of("aos", eps=0.1)
    specs = comparison(base, METHODS, 1, parameters={"k": 3, "ratio": 0.5, "power": 2})
    for spec in specs:
        own = {name: getattr(spec, name) for name in DEFAULTS if getattr(spec, name) is not None}
        assert own == {n: v for n, v in {"k": 3, "ratio": 0.5, "power": 2}.items() if n in PARAMETERS[spec.method]}
        assert (spec.eps, spec.tau) == ((0.1, 0.5) if "eps" in PARAMETERS[spec.method] else (None, None))
    with pytest.raises(ud.InputError, match="none of the methods aos, ros has k"):
        comparison(base, ["aos", "ros"], 1, parameters={"k": 3})


def test_a_factor_multiplies_both_learning_rates() -> None:
    hyper = hyperparameters(spec_of("baseline", lr=0.25, lr_backbone=0.5, lr_factor=4))
    assert (hyper.lr, hyper.lr_backbone) == (1, 2)
    assert hyperparameters(spec_of("baseline", lr=0.25, lr_factor=4)).lr_backbone is None


def test_under_equal_updates_a_smaller_ratio_is_filled_up() -> None:
    assert spec_of("ros", budget="updates").budget == "epochs"  # which are then the same
    assert spec_of("ros", budget="updates", ratio=0.5).budget == "updates"
    assert ud.named_method("ros", budget="updates", ratio=0.5).resampler == ud.Chain(
        ud.RandomOverSampler(0.5), EqualUpdates()
    )
