"""How methods are named, ordered and explained, whatever they are made of."""

from __future__ import annotations

import json
import re
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_run

from underdog.methods.table import METHODS
from underdog.reporting import write_report, write_tables
from underdog.reporting.collect import collect, tuning_runs, tuning_studies
from underdog.reporting.grid.arrange import arrange
from underdog.reporting.methods import labels, place
from underdog.reporting.searches import searches
from underdog.reporting.summary import groups, variants
from underdog.reporting.text import text_table
from underdog.run.queue import described
from underdog.run.spec import RunSpec, Setting

OWN = "somebodys.halve:method"


def labels_of(*methods: str) -> list[str]:
    return list(labels(RunSpec("some data", method).setting for method in methods).values())


@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (["aos(eps=8/255,attack=pgd)", "ros"], ["ros", "aos"]),
        (["aos(eps=8/255,attack=pgd)", "aos(eps=8/255)"], ["aos attack fgsm", "aos attack pgd"]),
        (
            ["aos(eps=8/255,attack=pgd)", "aos(eps=8/255,tau=0.6)"],
            ["aos 8/255 τ0.5, attack pgd", "aos 8/255 τ0.6, attack fgsm"],
        ),
        (["aos(eps=8/255,attack=pgd,steps=5)", "aos(eps=8/255,attack=pgd)"], ["aos steps 5", "aos steps 10"]),
        (["focal", "focal(gamma=1)"], ["focal gamma 1", "focal gamma 2"]),
        (
            ["aos(eps=8/255)+focal", "aos(eps=8/255)+focal(gamma=1)", "aos(eps=8/255)"],
            ["aos", "aos+focal gamma 1", "aos+focal gamma 2"],
        ),
        (
            ["aos(eps=8/255)+logit-adjust(tau=2)", "aos(eps=8/255)+logit-adjust"],
            ["aos+logit-adjust logit-adjust.tau 1", "aos+logit-adjust logit-adjust.tau 2"],
        ),
        ([OWN, f"{OWN}(share=0.3)", f"{OWN}(share=0.1)"], [OWN, f"{OWN} share 0.1", f"{OWN} share 0.3"]),
        (["ros(ratio=0.50001)", "ros(ratio=0.50002)", "ros"],
         ["ros(ratio=0.50001), equal epochs", "ros(ratio=0.50002), equal epochs", "ros ratio 1"]),
    ],
)  # fmt: skip
def test_variants_are_named_by_what_differs(methods: list[str], expected: list[str]) -> None:
    assert labels_of(*methods) == labels_of(*methods[::-1]) == expected


def test_every_setting_has_a_label_of_its_own() -> None:
    sizes, taus = (8 / 255, 0.1, 0.10001), (0.5, 0.6, 0.60000001)
    altering = [f"aos(eps={e},tau={t})" for e, t in product(sizes, taus)]
    more = ["", "+focal", "+focal(gamma=1)", "+logit-adjust(tau=0.5)", f"+{OWN}", f"+{OWN}(share=1,tau=0.5)"]
    methods = [*map("".join, product(altering, more)), OWN, f"{OWN}(share=1)", f"{OWN}(share=1.0)", *METHODS]
    settings = {RunSpec("some data", m, budget=b).setting for m in methods for b in ("epochs", "updates")}
    found = labels(settings)
    assert set(found) == settings
    assert len(set(found.values())) == len(settings) > len(methods)


def test_budgets_are_named_where_they_differ() -> None:
    settings = [Setting("focal", "epochs"), Setting("focal", "updates"), Setting("aos(eps=8/255)", "epochs")]
    assert list(labels(settings).values()) == ["focal equal epochs", "focal equal updates", "aos"]


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("aos(eps=16/255)", "aos eps 16/255 tau 0.5"),
        ("aos", "aos tau 0.5"),
        ("noise(eps=8/255,tau=0.6)+focal(gamma=1)", "noise+focal eps 8/255 tau 0.6 gamma 1"),
        ("smote(k=3)", "smote k 3"),
        ("ros+logit-adjust", "ros+logit-adjust"),
        (f"{OWN}(share=0.3)", f"{OWN} share 0.3"),
    ],
)
def test_a_run_in_words(method: str, said: str) -> None:
    assert described("mnist", RunSpec("some data", method, rho=20, mu=0.6)) == f"mnist mu 0.6 {said} seed 0"


def test_methods_stand_as_in_the_table_then_sums_then_others(tmp_path: Path) -> None:
    sums, own = ["ros+focal", "aos+balanced-softmax", "aos+focal"], [OWN, f"ros+{OWN}"]
    expected = [*METHODS, *sums, f"ros+{OWN}", OWN]
    assert sorted([*own, *sums[::-1], *reversed(METHODS)], key=place) == expected
    methods = [OWN, "aos+focal", "ros+focal", "aos", "mixup", "ros"]
    runs = collect(write_run(tmp_path, method, rho=20, mu=0.4) for method in methods).runs
    ordered = ["ros", "aos", "mixup", "ros+focal", "aos+focal", OWN]
    assert [g.method for g in groups(runs)] == [g.label for g in groups(runs)] == ordered
    (grid,) = arrange(runs, (), {})
    assert [(c.label, c.method) for c in grid.columns] == [(m, m) for m in ordered]


def test_a_sum_is_explained_part_by_part_and_each_part_once(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, m) for m in ("aos", "aos+balanced-softmax", f"ros+{OWN}")]
    write_report(folders, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    said = re.search('<p class="small methods">(.*?)</p>', page, re.DOTALL)
    assert said is not None
    assert re.findall("<b>(.*?)</b>: (.*?)[;.]</span>", said[1].replace("&#39;", "'")) == [
        ("aos", METHODS["aos"].about),
        ("balanced-softmax", METHODS["balanced-softmax"].about),
        ("ros", METHODS["ros"].about),
        (OWN, "a method of somebody's own"),
    ]  # fmt: skip


@pytest.fixture
def somebodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs of a function that must not be imported, and of a sum with it, and searches for both."""
    (tmp_path / "somebodys").mkdir()
    (tmp_path / "somebodys" / "halve.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.chdir(tmp_path)
    for method, seed in product(("ros", OWN, f"{OWN}(share=0.3)", f"aos(eps=8/255)+{OWN}(share=1)"), range(2)):
        write_run(tmp_path / "runs", method, seed, rho=20, mu=0.4, predictions=True)
    for share, skill in ((0.1, 0.5), (0.3, 0.9)):
        write_run(
            tmp_path / "runs" / "tuning", f"{OWN}(share={share})", 99, rho=20, mu=0.4, tuning=True, skill=skill
        )  # fmt: skip
    spec = RunSpec("0123abcd" * 4, OWN, 1_000_003, 1_000_003, rho=20, mu=0.4, epochs=3, tuning=True)
    study = {
        "spec": spec.to_json(),
        "wanted": 1,
        "trials": [{"values": {"share": 0.3}, "val_macro_f1": 0.5, "run": "x"}],
    }
    (tmp_path / "runs" / "tuning" / f"study-{spec.id}.json").write_text(json.dumps(study))
    return tmp_path / "runs"


def test_functions_of_somebodys_own_are_reported_and_not_imported(somebodys: Path, tmp_path: Path) -> None:
    folders = sorted(path.parent for path in somebodys.glob("*/result.json"))
    assert "recall at" in write_report(folders, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"{OWN} share 0.3" in page
    assert "a search for a method of somebody&#39;s own, which is not imported here" in page
    said = write_tables(folders, somebodys, tmp_path / "tables")
    assert f"aos+{OWN} " in " ".join(said["equal epochs, the best epoch by validation macro-F1"])
    table = text_table([json.loads((folder / "result.json").read_text()) for folder in folders])
    assert f"aos+{OWN} " in table
    (variant,) = variants(collect(folders).runs)
    studies, asides = tuning_studies(variant.runs)
    assert (studies, len(asides)) == ((), 1)
    found = [search.sentence for search in searches(variant, tuning_runs(variant.runs).runs, studies)]
    assert found == [f"aos+{OWN}: eps = 8/255, tau = 0.5, share = 1.", f"{OWN} share 0.3: share = 0.3."]
    assert not any(name.startswith("somebodys") for name in sys.modules)


def test_what_validation_chose_of_an_own_function_is_its_column(somebodys: Path) -> None:
    runs = collect(sorted(path.parent for path in somebodys.glob("*/result.json"))).runs
    (grid,) = arrange(runs, tuning_runs(runs).runs, {})
    assert [c.label for c in grid.columns] == ["ros", f"aos+{OWN}", OWN, f"{OWN} as usual"]
    assert not any(name.startswith("somebodys") for name in sys.modules)


def attacks(home: Path, **more: Any) -> None:
    """AOS by two attacks, each with the eps of a search of its own, and its control."""
    for method, best in (("aos", 4), ("aos(eps=1,attack=pgd)", 16), ("noise", 4)):
        for n in (4, 8, 16):
            settings = {"rho": 20, "mu": 0.6, "eps": n / 255, **more}
            write_run(home / "tuning", method, 99, **settings, tuning=True, skill=0.9 if n == best else 0.5)
            if n == best:
                write_run(home, method, **settings)


def test_what_no_search_chooses_makes_columns_and_searches_of_their_own(tmp_path: Path) -> None:
    attacks(tmp_path)
    runs = collect(sorted(path.parent for path in tmp_path.glob("*/result.json"))).runs
    tuning = tuning_runs(runs).runs
    (grid,) = arrange(runs, tuning, {})
    assert [(c.label, c.method) for c in grid.columns] == [
        ("noise", "noise"), ("aos", "aos"), ("aos attack pgd", "aos"),
    ]  # fmt: skip
    (variant,) = variants(runs)
    assert [s.sentence.split(";")[0] for s in searches(variant, tuning)] == [
        "noise: eps = 4/255, tau = 0.5",
        "aos 4/255 τ0.5, attack fgsm: eps = 4/255, tau = 0.5",
        "aos 16/255 τ0.5, attack pgd: eps = 16/255, tau = 0.5, attack = pgd",
    ]
    assert all("eps is the one with the highest" in s.sentence for s in searches(variant, tuning))
    text = " ".join(write_tables([r.folder for r in runs if r.folder], tmp_path, tmp_path / "tables").popitem()[1])
    assert "aos against noise (the direction is all that differs)" in text
    assert "aos attack pgd against noise (the control with a random direction, at a setting of its own)" in text
