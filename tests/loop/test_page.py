"""docs/your-loop.md does what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from scripts import Photos, network
from torch import Tensor, nn

import underdog as ud

PAGE = (Path(__file__).parents[2] / "docs" / "your-loop.md").read_text(encoding="utf-8")
DIFFS = re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL)
MEAN, STD = 0.4, 0.3


def normalise(x: Tensor) -> Tensor:
    return (ud.to_unit(x) - MEAN) / STD


def flip(x: Tensor) -> Tensor:
    return x.flip(-1) if torch.rand(()) < 0.5 else x


def side(diff: str, sign: str) -> str:
    """The script before (-) or after (+)."""
    return "\n".join(line[1:] for line in diff.splitlines() if line[:1] in (sign, " "))


def names() -> dict[str, object]:
    """What the page's scripts have already."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    data = Photos(transform=normalise)
    settings = {"MEAN": MEAN, "STD": STD, "normalise": normalise, "flip": flip, "epochs": 3, "workers": 0}
    return {"model": model, "optimizer": optimizer, "loss": nn.CrossEntropyLoss(), "train_set": data, **settings}


@pytest.mark.parametrize("diff", DIFFS, ids=["online", "snapshot", "augment"])
def test_each_diff_runs_before_and_after_and_is_about_three_lines(diff: str) -> None:
    weights = []
    for sign in "-+":
        scope = names()
        exec(side(diff, sign), scope)
        weights.append(torch.cat([p.detach().flatten() for p in scope["model"].parameters()]))  # type: ignore[attr-defined]
    assert sum(line.startswith("+") and "import" not in line for line in diff.splitlines()) <= 3
    if "loader" in diff:
        assert not torch.equal(*weights)


def test_the_lines_about_resuming() -> None:
    scope = names()
    exec(side(DIFFS[1], "+"), scope)
    (lines,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(lines, scope)
    assert scope["state"]["aos"]["epoch"] == 2  # type: ignore[index]


def test_every_claim_names_a_test_that_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    existing = {
        name
        for path in Path(__file__).parent.glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) > 25
    assert named - existing == set()
