"""Grids as YAML: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from underdog.cli.arguments.runs import GRIDS as told_in_help  # noqa: N811
from underdog.errors import InputError
from underdog.run.grid import Grid, entries, only
from underdog.run.grid_file import GRIDS, parse_grid, read_grid
from underdog.run.search import eps_search
from underdog.run.space import TUNING_SEED
from underdog.run.spec import RunSpec

MINE = """\
datasets:
  digits: {rho: 20, mu: [0.2, 0.6]}
lr: 1e-3
tau: {0.2: 0.4, 0.6: 0.8}
methods:
  - ros
  - aos: {eps: [8/255, chosen]}
seeds: 2
"""


def names(grid: Grid) -> dict[str, str]:
    return {data.name: data.name for data in grid.datasets}


def test_axes_are_multiplied_and_the_most_particular_value_counts() -> None:
    grid = parse_grid(MINE + "epochs: 5\n", "mine", "mine.yaml")
    found = entries(grid, {"digits": "data"})
    assert len(found) == 2 * 2 * (1 + 2)
    assert [(e.spec.mu, e.spec.seed, e.spec.data_seed, e.spec.method) for e in found[:3]] == [
        (0.2, 0, 0, "ros"), (0.2, 0, 0, "aos(eps=8/255,tau=0.4)"), (0.2, 0, 0, "aos(tau=0.4)"),
    ]  # fmt: skip
    aos = [e for e in found if e.spec.expression.name == "aos"]
    assert {(e.spec.mu, e.spec.expression.get("tau")) for e in aos} == {(0.2, 0.4), (0.6, 0.8)}
    assert {e.spec.expression.get("eps") for e in aos if e.search is None} == {8 / 255}
    assert all(e.search.spec.method == e.spec.method and e.spec.expression.missing for e in aos if e.search is not None)
    nearer = parse_grid(MINE.replace("mu: [0.2, 0.6]", "mu: [0.2, 0.6], epochs: 7") + "epochs: 5\n", "mine", "f")
    assert {e.spec.epochs for e in entries(nearer, {"digits": ""})} == {7}
    nearest = parse_grid(MINE.replace("- ros", "- ros: {epochs: 9}") + "epochs: 5\n", "mine", "f")
    epochs = {(e.spec.expression.name, e.spec.epochs) for e in entries(nearest, {"digits": ""})}
    assert epochs == {("ros", 9), ("aos", 5)}


def test_the_paper_s_grid_is_table_2() -> None:
    grid = read_grid("paper")
    found = entries(grid, names(grid))
    assert len(found) == 240
    table = {
        "cifar10": (50, 1e-4, 20, (0.4, 0.4, 0.4, 0.4), (32, 32)),
        "intel": (20, 1e-3, 35, (0.6, 0.8, 0.8, 0.8), (150, 150)),
        "mit67": (2, 1e-3, 60, (0.6, 0.8, 0.6, 0.6), (240, 240)),
        "mnist": (60, 1e-4, 20, (0.4, 0.4, 0.8, 0.6), None),
    }
    for data in grid.datasets:
        rho, lr, epochs, taus, size = table[data.name]
        mine = [e.spec for e in found if e.dataset == data.name]
        assert data.reading.size == size
        assert {(s.rho, s.lr, s.epochs, s.batch, s.precision) for s in mine} == {(rho, lr, epochs, 128, "float32")}
        tau = {s.mu: s.expression.get("tau") for s in mine if s.expression.name == "aos"}
        assert tau == dict(zip((0.2, 0.4, 0.6, 0.8), taus, strict=True))
    methods = Counter(e.spec.expression.name for e in found)
    assert methods == dict.fromkeys(("baseline", "rus", "ros", "smote", "aos"), 48)
    assert {(e.spec.seed, e.spec.data_seed) for e in found} == {(0, 0), (1, 0), (2, 0)}
    assert all((e.search is not None) == (e.spec.expression.name == "aos") for e in found)
    assert len({e.search.spec.variant() for e in found if e.search}) == 16


def small(data: str, mu: float, **settings: object) -> RunSpec:
    """A run of the grid ``small`` in other words."""
    tau = {"mnist": {0.2: 0.4, 0.8: 0.6}, "cifar10": {0.2: 0.4, 0.8: 0.4}}[data][mu]
    spec = RunSpec(data, "ros", rho=20, mu=mu, majority_size=1000, val_fraction=0.04, epochs=20, lr=1e-4)
    spec = replace(spec, **settings)  # type: ignore[arg-type]
    return spec.with_values({"tau": tau}) if spec.expression.has("tau") else spec


def test_the_small_grid_s_runs_are_known_by_these_settings() -> None:
    expected = set()
    for data in ("mnist", "cifar10"):
        for mu in (0.2, 0.8):
            for seed in range(3):
                seeds = {"seed": seed, "data_seed": seed}
                expected |= {small(data, mu, method=m, **seeds).id for m in ("baseline", "rus", "ros", "smote")}
                expected |= {small(data, mu, method=m, budget="updates", **seeds).id for m in ("baseline", "rus")}
                expected |= {small(data, mu, method=f"{m}(eps=0.1)", **seeds).id for m in ("aos", "noise")}
            expected |= {s.id for m in ("aos", "noise") for s in eps_search(small(data, mu, method=m)).runs}
    grid = read_grid("small")
    found = entries(grid, names(grid))
    resolved = {(e.spec.with_values({"eps": 0.1}) if e.search else e.spec).id for e in found}
    assert resolved | {s.id for e in found if e.search for s in e.search.runs} == expected
    assert len(found) == 2 * 2 * 3 * 9
    noise = [e.search.spec.expression.name for e in found if e.search and e.spec.expression.name == "noise"]
    assert Counter(noise) == {"noise": 12, "aos": 12}
    against = read_grid("small-eps")
    some = {small(d, 0.8, method=f"{m}(eps={n}/255)", seed=1, data_seed=1).id
            for d in ("mnist", "cifar10") for m in ("aos", "noise") for n in (2, 4, 8, 16, 32, 64)}  # fmt: skip
    assert {e.spec.id for e in entries(against, names(against)) if e.spec.seed == 1} == some


def test_parameters_are_keys_at_every_level_for_the_methods_that_have_them() -> None:
    text = """\
datasets:
  digits: {rho: 20, mu: [0.2, 0.6], gamma: {0.2: 1, 0.6: 3}}
power: [0.5, 1]
tau: 0.4
methods:
  - ros
  - focal
  - focal(gamma=5)
  - class-weighted
  - smote: {k: [3, 5]}
  - aos: {eps: 8/255, attack: [fgsm, pgd]}
  - aos(tau=0.2)+balanced-softmax: {eps: 16/255, power: 2}
  - aos+logit-adjust(tau=2): {eps: 1/255, aos.tau: 1}
seeds: 1
"""
    found = entries(parse_grid(text.replace("tau: 0.4\n", ""), "mine", "f"), {"digits": "data"})
    assert [e.spec.method for e in found if e.spec.mu == 0.2] == [
        "ros", "focal(gamma=1)", "focal(gamma=5)", "class-weighted(power=0.5)", "class-weighted", "smote(k=3)", "smote",
        "aos(eps=8/255)", "aos(eps=8/255,attack=pgd)", "aos(eps=16/255,tau=0.2)+balanced-softmax(power=2)",
        "aos(eps=1/255,tau=1)+logit-adjust(tau=2)",
    ]  # fmt: skip
    assert [e.spec.method for e in found if e.spec.mu == 0.6][1] == "focal(gamma=3)"
    narrower = parse_grid(text.replace("  - aos+logit-adjust(tau=2): {eps: 1/255, aos.tau: 1}\n", ""), "mine", "f")
    aos = {e.spec.method for e in entries(narrower, {"digits": ""}) if e.spec.expression.has("eps")}
    assert aos == {
        "aos(eps=8/255,tau=0.4)", "aos(eps=8/255,tau=0.4,attack=pgd)",
        "aos(eps=16/255,tau=0.2)+balanced-softmax(power=2)",
    }  # fmt: skip


def test_variants_of_a_method_are_methods_of_their_own_also_where_eps_is_chosen() -> None:
    text = """\
datasets: {digits: {rho: 20, mu: 0.6}}
methods:
  - aos: {eps: chosen}
  - aos(attack=pgd): {eps: [chosen, chosen-for-aos]}
  - aos+focal: {eps: 8/255}
  - noise: {eps: chosen-for-aos(attack=pgd)}
seeds: 1
"""
    found = entries(parse_grid(text, "mine", "f"), {"digits": "data"})
    assert [(e.spec.method, e.search and e.search.spec.method) for e in found] == [
        ("aos", "aos"), ("aos(attack=pgd)", "aos(attack=pgd)"), ("aos(attack=pgd)", "aos"), ("aos(eps=8/255)+focal", None),
        ("noise", "aos(attack=pgd)"),
    ]  # fmt: skip
    for wrong in ("chosen-for-aos+focal", "chosen-for-aos(attack=fgsm)", "chosen-for-ros"):
        with pytest.raises(InputError, match=r"^f:6: eps 'chosen-for-.*"):
            parse_grid(text.replace("chosen-for-aos(attack=pgd)", wrong), "mine", "f")


OWN = """
from typing import Annotated
import underdog as ud

def method(share: float, times: Annotated[float, ud.Parameter("", ud.Axis((0.5, 1.0, 2.0), 1.0))] = 1.0):
    return ud.Method(lr_factor=share * times)
"""


def test_a_method_of_one_s_own_has_its_parameters_as_keys_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "grid_method.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    text = "datasets: {digits: {times: [1, 2]}}\nmethods:\n  - grid_method:method: {share: 1/4}\n  - ros\nseeds: 1\n"
    found = entries(parse_grid(text, "mine", "f"), {"digits": "data"})
    assert [e.spec.method for e in found] == [
        "grid_method:method(share=0.25)", "grid_method:method(share=0.25,times=2.0)", "ros",
    ]  # fmt: skip
    for wrong, said in (
        ("{share: 0}", "f:3: digits, grid_method:method: grid_method:method: lr_factor must be a number above 0"),
        ("{share: x}", "f:3: digits, grid_method:method: grid_method:method: share must be a number such as"),
        ("{shar: 1}", "f:3: grid_method:method has no parameter or setting 'shar'; did you mean 'share'"),
        ("{times: 2}", "f:3: grid_method:method on digits needs share: a number"),
    ):
        with pytest.raises(InputError, match=f"^{re.escape(said)}"):
            parse_grid(text.replace("{share: 1/4}", wrong), "mine", "f")


def test_several_data_seeds_are_an_axis() -> None:
    found = entries(parse_grid(MINE + "data_seed: [0, 3]\n", "mine", "f"), {"digits": ""})
    assert len(found) == 2 * (2 * 2) * (1 + 2)
    assert {e.spec.replicate[:2] for e in found} == {(0, 0), (0, 3), (1, 0), (1, 3)}
    assert {(s.seed, s.data_seed) for s in (e.search.spec for e in found if e.search)} == {(TUNING_SEED, TUNING_SEED)}


def test_every_grid_that_comes_with_underdog_can_be_read_and_is_in_the_help(underdog: object) -> None:
    assert set(told_in_help) == set(GRIDS)
    counts = {name: len(entries(grid, names(grid))) for name in GRIDS if (grid := read_grid(name))}
    assert counts == {
        "paper": 240,
        "full": 16 * 3 * 9,
        "digits": 4 * 10 * 9,
        "digits-tuned": 80,
        "small": 108,
        "small-eps": 72,
        "scene15": 4 * 6 * 3,
    }


BAD = {
    "datasets:\n  digits: {rho: 20, mu: 0.2}\nmethods: [ros]\nepoch: 5\n": ("4", "unknown key 'epoch'", "'epochs'"),
    "datasets:\n  digits: {rho: 20, mu: []}\nmethods: [ros]\n": ("2", "mu is empty"),
    "datasets: {}\nmethods: [ros]\n": ("1", "datasets is empty"),
    "datasets:\n  digits: {rho: 2, mu: 0.2}\nmethods: []\n": ("3", "methods must be a list of at least one"),
    "methods: [ros]\n": ("1", "a grid needs datasets"),
    "datasets:\n  digits:\nmethods:\n  - ros\n  - rus: {eps: 8/255}\n": (
        "5", "rus has no parameter or setting 'eps'", "'epochs'", "parameters: ratio"),
    "datasets:\n  digits:\nmethods: [ros]\ntau: 0.5\n": ("4", "none of the methods has the parameter tau"),
    "datasets:\n  digits:\nmethods: [aos]\ntau: 0.5\n": ("3", "aos on digits needs eps", "'chosen'"),
    "datasets:\n  digits:\nmethods: [aos+focal]\ntau: 0.5\n": ("3", "aos+focal on digits needs eps", "'chosen'"),
    "datasets:\n  digits:\nmethods: [aos]\neps: 8\n": ("4", "digits, aos: aos: eps must be a number in [0, 1]", "not 8"),
    "datasets:\n  digits:\nmethods: [aos]\neps: chosen\ntau: 7\n": ("5", "tau must be a probability in [0, 1], not 7"),
    "datasets:\n  digits:\nmethods: [aos]\neps: much\n": ("4", "eps: 'much' is not a number", "8/255 or 'chosen'"),
    "datasets:\n  digits:\nmethods:\n  - smote:\n      k: 2.5\n": ("5", "digits, smote: smote: k must be a whole number, not 2.5"),
    "datasets:\n  digits: {gamma: low}\nmethods: [focal]\n": ("2", "focal: gamma must be a number such as", "'low'"),
    "datasets:\n  digits:\nmethods:\n  - smote\n  - smote: {kk: 3}\n": ("5", "smote has no parameter or setting 'kk'", "'k'"),
    "datasets:\n  digits:\nmethods: ['ros(k=3)']\n": ("3", "ros has no parameter 'k'"),
    "datasets:\n  digits:\nmethods:\n  - aos(eps=0.1\n": ("4", "'aos(eps=0.1' has a bracket that is not closed"),
    "datasets:\n  digits:\nmethods:\n  - nowhere:method\n": ("4", "method 'nowhere:method' cannot be imported"),
    "datasets:\n  digits:\nmethods: [aos+logit-adjust]\neps: 0.1\ntau: 0.4\n": (
        "5", "aos+logit-adjust has 'tau' twice: say aos.tau or logit-adjust.tau"),
    "datasets:\n  digits:\nmethods: ['ros(ratio=0.5)': {ratio: 0.4}]\n": ("3", "ratio is given twice"),
    "dataset:\n  digits:\nmethods: [ros]\n": ("1", "unknown key 'dataset' in a grid", "'datasets'"),
    "datasets:\n  digits:\nmethod: [ros]\n": ("3", "unknown key 'method' in a grid", "'methods'"),
    MINE.replace(", 0.6: 0.8", ""): ("4", "tau says nothing for mu 0.6 of digits (it does for mu 0.2)"),
    "datasets:\n  digits:\n    rho: 20\n    mu: 0.2\n    tau: {0.4: 0.5}\nmethods: [{aos: {eps: 0.1}}]\n": (
        "5", "tau has a value for mu 0.4, which digits does not have"),
    "datasets:\n  digits:\n    mu: 0.2\nmethods: [ros]\n": ("3", "mu needs rho"),
    "datasets:\n  digits:\nmethods: [ros]\nlr: -1\n": ("4", "lr must be a number above 0"),
    "datasets:\n  digits:\nmethods: [ros]\nlr: fast\n": ("4", "lr: 'fast' is not a number", "1e-4"),
    "datasets:\n  digits:\nmethods: [ros]\nepochs: 1.5\n": ("4", "epochs: '1.5' is not a whole number"),
    "datasets:\n  digits:\nmethods: [ros]\nlr: [0.1, 1e-1]\n": ("4", "lr has the same value twice"),
    "datasets:\n  digits:\nmethods: [ros]\nlr: 0.1\nlr: 0.2\n": ("5", "lr is there twice"),
    "datasets:\n  digits:\nmethods: [smoot]\n": ("3", "unknown method 'smoot'", "'smote'"),
    "datasets:\n  digits:\nmethods: [ros, ros]\n": ("3", "method 'ros' is there twice"),
    "datasets:\n  digits:\nmethods: [ros, ros(ratio=1)]\n": ("3", "method 'ros' is there twice"),
    "datasets:\n  digits:\nmethods: [{noise: {eps: chosen-for-aos, tau: 0.5}}]\n": ("3", "needs 'aos', which is not"),
    "datasets:\n  digits: {rho: 20, mu: [0.2, 0.6]}\nmethods:\n  - noise: {tau: 0.5, eps: {0.2: chosen-for-aos, 0.6: 0.1}}\n": (
        "4", "eps 'chosen-for-aos' needs 'aos', which is not among methods"),
    "datasets:\n  digits:\ntau: 0.5\nmethods:\n  - aos: {eps: 0.1}\n  - noise: {eps: chosen-for-aos}\n": (
        "6", "eps 'chosen-for-aos' is what validation chooses for aos, whose eps is given on digits"),
    "datasets:\n  digits:\nmethods: [ros]\ndata_seed: []\n": ("4", "data_seed needs at least one number"),
    "datasets:\n  digits:\nmethods: [ros]\ndata_seed: [1, -1]\n": ("4", "data_seed must be at least 0, not -1"),
    "datasets:\n  digits:\nmethods: [{ros: {mu: 0.2}}]\n": ("3", "rho and mu belong to data sets"),
    "datasets:\n  digits: {size: big}\nmethods: [ros]\n": ("2", "size: 'big' is not a size"),
    "datasets:\n  digits: {resize: stretch}\nmethods: [ros]\n": ("2", "unknown resize 'stretch'"),
    "datasets:\n  digits:\nmethods: [ros]\nseeds: 0\n": ("4", "seeds must be at least 1"),
    "datasets:\n  digits:\nmethods: [ros]\nbudget: free\n": ("4", "unknown budget 'free'"),
    "datasets:\n  digits:\n methods: [ros]\n": ("3", "not YAML"),
    "datasets: *a\n": ("1", "not YAML"),
    "- a\n": ("1", "a grid must be keys with values"),
    "": ("1", "empty"),
    "datasets:\n  digits:\nmethods: !!python/object/apply:os.system [ls]\n": ("3", "unknown method 'ls'"),
}  # fmt: skip


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_a_bad_grid_is_refused_with_line_and_key(text: str) -> None:
    line, *parts = BAD[text]
    with pytest.raises(InputError) as caught:
        parse_grid(text, "bad", "bad.yaml")
    said = str(caught.value)
    assert said.startswith(f"bad.yaml:{line}: ")
    assert [p for p in parts if p not in said] == [], said


def test_hostile_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nested too deeply|not YAML"):
        parse_grid("[" * 50_000, "deep", "deep.yaml")
    with pytest.raises(InputError, match="longer than"):
        parse_grid("#" * 2_000_000, "long", "long.yaml")
    laughs = "a: &a [x, x]\n" + "".join(
        f"{c}: &{c} [*{b}, *{b}]\n" for b, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(InputError, match="unknown key 'a'"):
        parse_grid(laughs, "laughs", "laughs.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    for name, rule in (("bytes.yaml", "not UTF-8"), ("none.yaml", "No such file"), ("papr", "did you mean 'paper'")):
        with pytest.raises(InputError, match=rule):
            read_grid(tmp_path / name if name.endswith("yaml") else name)


def test_only_chooses_runs_and_says_what_there_is() -> None:
    found = entries(parse_grid(MINE, "mine", "mine.yaml"), {"digits": ""})
    some = only(found, {"mu": ["0.60"], "method": ["ros", "aos"], "seed": ["1"]})
    assert [(e.spec.mu, e.spec.seed) for e in some] == [(0.6, 1)] * 3
    with pytest.raises(InputError, match=r"no run has mu '0.5' \(there are: 0.2, 0.6\)"):
        only(found, {"mu": ["0.5"]})
    with pytest.raises(InputError, match="unknown key of --only 'metod'; did you mean 'method'"):
        only(found, {"metod": ["ros"]})


@pytest.mark.parametrize("method", ["aos: {eps: 8/255}", "ros: {ratio: 0.5}", "aos: {tau: 0.5}"])
def test_what_trials_choose_cannot_be_given(method: str) -> None:
    text = f"trials: 4\ndatasets: {{digits: {{rho: 20, mu: 0.6}}}}\nmethods:\n  - {method}\n"
    with pytest.raises(InputError, match=r"^f:4: (eps|ratio|tau) is chosen by trials here"):
        parse_grid(text, "some", "f")


def test_every_method_has_as_many_trials() -> None:
    text = "trials: {}\ndatasets: {{digits: {{rho: 20, mu: 0.6}}}}\nmethods: [ros, aos, baseline]\n"
    found = entries(parse_grid(text.format(5), "some", "f"), {"digits": ""})
    searched = {(e.spec.expression.name, len(e.search or ())) for e in found}
    assert searched == {("ros", 5), ("aos", 5), ("baseline", 5)}
    with pytest.raises(InputError, match=r"^f:1: trials must be from 1 to 20"):
        parse_grid(text.format(99), "some", "f")
