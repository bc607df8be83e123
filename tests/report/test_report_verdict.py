"""The verdict says what the figures say, and no more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from fake_runs import write_run

from underdog.reporting.collect import collect
from underdog.reporting.facts import settings, updates_remark
from underdog.reporting.problem import Problem, problem_of
from underdog.reporting.searches import searches
from underdog.reporting.summary import Variant, variants
from underdog.reporting.verdict import Verdict, verdict

CLAIMS = ("significan", "proves", "p =", "p <", "clearly")


def right(n: int) -> np.ndarray:
    """Two classes of 100 images, n of each right: macro-F1 is n / 100."""
    return np.array([[n, 100 - n], [100 - n, n]])


def variant_of(out: Path, scores: Mapping[str, Sequence[int]]) -> Variant:
    folders = [
        write_run(out, method, seed, classes=("a", "b"), confusion=right(n))
        for method, own in scores.items()
        for seed, n in enumerate(own)
    ]
    (variant,) = variants(collect(folders).runs)
    return variant


def problem(*folders: Path) -> Problem:
    """The only problem of some runs."""
    (variant,) = variants(collect(folders).runs)
    return problem_of(variant)[0]


def verdict_of(out: Path, scores: Mapping[str, Sequence[int]]) -> Verdict:
    found = verdict(variant_of(out, scores))
    text = " ".join([found.headline, *found.details]).lower()
    assert not any(claim in text for claim in CLAIMS)
    return found


def test_aos_first(tmp_path: Path) -> None:
    found = verdict_of(tmp_path, {"baseline": [70, 72, 71], "ros": [80, 80, 80], "aos": [90, 91, 92]})
    assert found.headline == (
        "aos has the highest mean macro-F1 of 3 seeds, 0.910: 0.110 above ros and 0.200 above the baseline"
    )
    assert found.details[0] == (
        "aos against ros: mean paired difference +0.110, n = 3 seeds (+0.100, +0.110, +0.120); above 0 with every seed."
    )
    assert any("no interval is given" in s for s in found.details)


def test_aos_loses(tmp_path: Path) -> None:
    found = verdict_of(tmp_path, {"baseline": [70, 72, 71], "ros": [90, 91, 92], "aos": [80, 80, 80]})
    assert found.headline == "ros has the highest mean macro-F1 of 3 seeds, 0.910: 0.200 above the baseline"
    assert (
        "aos does not come first: it is number 2 of 3 by mean macro-F1, "
        "with mean paired differences of \N{MINUS SIGN}0.110 against ros and +0.090 against the baseline."
    ) in found.details


def test_a_lead_within_the_spread_is_called_so(tmp_path: Path) -> None:
    found = verdict_of(tmp_path, {"baseline": [70, 70], "ros": [80, 90], "aos": [90, 84]})
    assert found.headline.endswith("but its lead over ros is within the spread")
    assert "the seeds disagree on the sign" in found.details[0]


def test_one_seed(tmp_path: Path) -> None:
    found = verdict_of(tmp_path, {"baseline": [70], "aos": [90]})
    assert found.headline == "aos has the highest macro-F1 with one seed, 0.900: 0.200 above the baseline"
    assert "cannot tell a lead from chance" in found.details[0]
    assert "ros was not run." in found.details


def test_an_interval_from_five_seeds_on(tmp_path: Path) -> None:
    scores = {"baseline": [70, 70, 70, 70, 70], "ros": [80, 81, 82, 80, 81], "aos": [90, 90, 91, 88, 89]}
    found = verdict_of(tmp_path, scores)
    assert "95% interval +0.078 to +0.098, which does not include 0." in found.details[0]
    assert any("not corrected for several comparisons" in s for s in found.details)
    assert not any("no interval" in s for s in found.details)


def test_a_tie_is_a_tie(tmp_path: Path) -> None:
    found = verdict_of(tmp_path, {"ros": [80, 80], "aos": [80, 80], "baseline": [70, 70]})
    assert found.headline == "ros and aos share the highest mean macro-F1 of 2 seeds, 0.800"
    assert not any("does not come first" in s for s in found.details)


def test_one_method(tmp_path: Path) -> None:
    found = verdict_of(tmp_path, {"aos": [80, 90]})
    assert found.headline == "aos has a macro-F1 of 0.850 in the mean of 2 seeds"
    assert "nothing to compare it with" in found.details[0]


def test_methods_are_compared_on_the_seeds_they_share(tmp_path: Path) -> None:
    # Over all its seeds ros would be first.
    found = verdict_of(tmp_path, {"ros": [80, 80, 99, 99], "aos": [85, 85]})
    assert found.headline.startswith("aos has the highest mean macro-F1 of 2 seeds, 0.850: 0.050 above ros")
    assert any("on the 2 seeds that all have" in s for s in found.details)


def test_the_last_epoch_is_mentioned_where_it_differs(tmp_path: Path) -> None:
    variant = variant_of(tmp_path, {"ros": [80], "aos": [85]})
    folder = next(r.folder for r in variant.runs if r.spec.expression.name == "ros")
    assert folder is not None
    result = json.loads((folder / "result.json").read_text())
    result["last_epoch_test"]["confusion"] = right(95).tolist()
    (folder / "result.json").write_text(json.dumps(result))
    (changed,) = variants(collect([r.folder for r in variant.runs if r.folder]).runs)
    assert any("At the last epoch" in s and "ros has the highest" in s for s in verdict(changed).details)


def test_several_settings_of_a_method_are_a_caveat(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, "aos", eps=e / 255, skill=s) for e, s in ((8, 0.9), (16, 0.5))]
    (variant,) = variants(collect(folders).runs)
    assert any("flatters" in s for s in verdict(variant).details)


def test_validation_scores_are_called_so(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, m, tuning=True) for m in ("ros", "aos")]
    (variant,) = variants(collect(folders).runs)
    assert any("validation images" in s for s in verdict(variant).details)


def test_unequal_updates_are_said(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, m, updates=n) for m, n in (("rus", 20), ("ros", 400), ("aos", 400))]
    assert "from 20 updates (rus) to 400 (ros and aos)" in updates_remark(problem(*folders))
    assert updates_remark(problem(*folders[1:])) == "Every method was trained for 3 epochs, which took 400 updates."


@pytest.mark.parametrize(("eps", "said"), [(8, "eps is the one with the highest"), (16, "would have chosen 8/255")])
def test_how_eps_came_about(tmp_path: Path, eps: int, said: str) -> None:
    run = write_run(tmp_path, "aos", eps=eps / 255)
    tuning = [
        write_run(
            tmp_path / "tuning", "aos", seed=1_000_003, eps=e / 255, tuning=True, confusion=np.eye(3, dtype=int) * n + 1
        )
        for e, n in ((4, 5), (8, 9), (16, 7))
    ]
    (variant,) = variants(collect([run]).runs)
    (found,) = searches(variant, collect(tuning).runs)
    assert said in found.sentence
    assert [t.values for t in found.tried] == [{"eps": n / 255} for n in (4, 8, 16)]
    (given,) = searches(variant, ())
    assert "eps was given" in given.sentence


def test_titles_tell_problems_apart(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path, "ros", lr=0.1),
        write_run(tmp_path, "ros"),
        write_run(tmp_path, "ros", data="f" * 32),
    ]
    found = variants(collect(folders).runs)
    titles = [problem_of(v, found)[0].title for v in found]
    assert len(set(titles)) == 3
    assert titles[0] == "toy: 1 of 3 classes rare, natural counts, lr 0.1, data 0123abcd"


def test_settings_name_every_value_that_occurs(tmp_path: Path) -> None:
    folders = [write_run(tmp_path, "ros", s, source=f"copy {s}") for s in range(2)]
    found = settings(problem(*folders))
    assert found["source"] == "copy 0 or copy 1"
    assert found["torch"] == "2"
    assert found["rare classes"] == "cat"
