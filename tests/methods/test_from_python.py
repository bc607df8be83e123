"""``ud.compare``, ``ud.report`` and ``ud.fit(out=)``: what Python makes, the command line reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import underdog as ud
from underdog.cli import main

QUICK: dict[str, Any] = {"rho": 20, "mu": 0.6, "epochs": 2, "width": 0.2}


def lines_of(**more: Any) -> dict[str, Any]:
    return {**QUICK, "say": lambda line: None, **more}


def half() -> ud.Method:
    """A method of one's own: random oversampling to a half."""
    return ud.Method(ud.RandomOverSampler(0.5))


def test_a_comparison_from_python_makes_the_runs_of_the_command_line(tmp_path: Path) -> None:
    digits = ud.load_images("digits")
    found = ud.compare(digits, ["ros", half, "aos(eps=16/255)+focal"], seeds=1, out=tmp_path / "a", **lines_of())
    assert main(
        f"compare digits --rho 20 --mu 0.6 --epochs 2 --width 0.2 --seeds 1 --methods ros,{__name__}:half,focal+aos --eps 16/255 "
        f"--out {tmp_path / 'b'} -o {tmp_path / 'b.html'}".split()
    ) == 0  # fmt: skip
    assert {folder.name for folder in found.folders} == {path.parent.name for path in tmp_path.glob("b/*/result.json")}
    for folder in found.folders:
        assert (folder / "predictions.csv").read_text() == (
            tmp_path / "b" / folder.name / "predictions.csv"
        ).read_text()
    page = ud.report(tmp_path / "a", tmp_path / "a.html").read_text(encoding="utf-8")
    assert "aos+focal" in page
    assert str(found).splitlines()[0].startswith("method")


def test_finished_runs_are_not_made_again(tmp_path: Path) -> None:
    said: list[str] = []
    for _ in range(2):
        ud.compare(ud.load_images("digits"), ["ros"], seeds=1, out=tmp_path, **lines_of(say=said.append))
    (path,) = tmp_path.glob("*/result.json")
    score = f"{json.loads(path.read_text())['test']['macro_f1']:.4f}"
    assert [line.split(",")[0] for line in said if line.startswith("[")] == ["[1/1] ros seed 0: macro-F1 " + score]
    assert said[-1] == "1 runs, 1 of them done; nothing to do"


@pytest.mark.parametrize(
    ("methods", "more", "says"),
    [
        (["ros"], {"epoch": 3}, "compare has no setting 'epoch'; did you mean 'epochs'"),
        ([lambda: None], {}, "methods must be texts"),
        (["ros", "ros(ratio=1.0)"], {}, "method 'ros' is there twice"),
        ([half, "smoot"], {}, "unknown method 'smoot'; did you mean 'smote'"),
        (["ros"], {"target_precision": 2}, "target precision must be a number in (0, 1], not 2"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    methods: list[Any], more: dict[str, Any], says: str, tmp_path: Path
) -> None:
    with pytest.raises(ud.InputError) as error:
        ud.compare(ud.load_images("digits"), methods, out=tmp_path / "runs", **lines_of(**more))
    assert says in str(error.value)
    assert not (tmp_path / "runs").exists()


def test_a_training_of_a_script_leaves_a_run_that_reports_read(tmp_path: Path) -> None:
    split = ud.prepare(ud.load_images("digits"), rho=20, mu=0.6).split
    hyper = ud.Hyperparameters(epochs=2)

    def network() -> torch.nn.Module:
        torch.manual_seed(0)
        return ud.PaperNet(1, 10, (16, 16), width=0.2)

    by_text = ud.fit(network(), "ros", split, hyper, out=tmp_path)
    by_value = ud.fit(network(), ud.Method(ud.RandomOverSampler()), split, hyper, out=tmp_path, name="mine")
    assert (by_text.test.logits == by_value.test.logits).all()
    specs = {json.loads(path.read_text())["method"] for path in tmp_path.glob("*/spec.json")}
    assert specs == {"ros", "fit:mine"}
    page = ud.report(tmp_path, tmp_path / "page.html").read_text(encoding="utf-8")
    assert "fit:mine" in page
    assert "trained by underdog.fit" in page
    (folder,) = tmp_path.glob("ros-*")
    with pytest.raises(ud.InputError, match="PaperNet"):
        ud.load(folder)
