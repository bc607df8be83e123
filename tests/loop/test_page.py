"""docs/your-loop.md does what it says."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from extras import needs, quiet
from scripts import Photos, Pictures, network
from torch import Tensor, nn

import underdog as ud

PAGE = (Path(__file__).parents[2] / "docs" / "your-loop.md").read_text(encoding="utf-8")
DIFFS = re.findall(r"```diff\n(.*?)```", PAGE, re.DOTALL)
MEAN, STD = 0.4, 0.3


def normalise(x: Tensor) -> Tensor:
    return ((ud.to_unit(x) if x.dtype == torch.uint8 else x) - MEAN) / STD


def flip(x: Tensor) -> Tensor:
    return x.flip(-1) if torch.rand(()) < 0.5 else x


def brighten(x: Tensor) -> Tensor:
    assert 0 <= x.min() <= x.max() <= 1
    return x * torch.rand(())


def side(diff: str, sign: str) -> str:
    """The script before (-) or after (+)."""
    return "\n".join(line[1:] for line in diff.splitlines() if line[:1] in (sign, " "))


def names() -> dict[str, object]:
    """What the page's scripts have already."""
    model = network()
    optimizer = torch.optim.Adam(model.parameters())
    data = Photos(transform=normalise)
    settings = {"MEAN": MEAN, "STD": STD, "flip": flip, "epochs": 3, "workers": 0}
    settings |= {"normalise": normalise, "to_tensor": ud.to_unit, "brighten": brighten}
    return {"model": model, "optimizer": optimizer, "loss": nn.CrossEntropyLoss(), "train_set": data, **settings}


@pytest.mark.parametrize("diff", DIFFS[:4], ids=["online", "snapshot", "augment", "colours"])
def test_each_diff_runs_before_and_after_and_is_about_three_lines(diff: str) -> None:
    weights = []
    for sign in "-+":
        scope = names()
        exec(side(diff, sign), scope)
        weights.append(torch.cat([p.detach().flatten() for p in scope["model"].parameters()]))  # type: ignore[attr-defined]
    assert sum(line.startswith("+") and "import" not in line for line in diff.splitlines()) <= 3
    if "loader" in diff:
        assert not torch.equal(*weights)
    else:  # the loader is that of the diff before
        aos: Any = scope["aos"]
        (aos if aos.script else aos.bind(scope["model"])).set_epoch(0)
        assert len(next(iter(aos.loader(8)))[0]) == 8


def lightning_names() -> dict[str, object]:
    import lightning  # noqa: PLC0415

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x)

        def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters())

    module = Module()
    return names() | {"module": module, "model": module.net}


def transformers_names() -> dict[str, object]:
    from transformers import ResNetConfig, ResNetForImageClassification, TrainingArguments  # noqa: PLC0415

    sizes = {"embedding_size": 8, "hidden_sizes": [8], "depths": [1], "layer_type": "basic"}
    torch.manual_seed(0)
    model = ResNetForImageClassification(ResNetConfig(num_channels=3, num_labels=3, **sizes))
    args = TrainingArguments("out", num_train_epochs=3, report_to="none", save_strategy="no", use_cpu=True)
    return names() | {"model": model, "args": args, "train_set": Pictures(transform=normalise)}


@quiet
@pytest.mark.parametrize("extra", ["lightning", "transformers"])
def test_the_frameworks_diffs_run_before_and_after(extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs(extra)
    monkeypatch.chdir(tmp_path)  # the frameworks write where they stand
    diff = DIFFS[4 if extra == "lightning" else 5]
    weights = []
    for sign in "-+":
        scope = lightning_names() if extra == "lightning" else transformers_names()
        exec(side(diff, sign), scope)
        weights.append(torch.cat([p.detach().flatten() for p in scope["model"].parameters()]))  # type: ignore[attr-defined]
    assert sum(line.startswith("+") and "import" not in line for line in diff.splitlines()) <= 3
    assert not torch.equal(*weights)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_scikit_learns_diff_runs_before_and_after() -> None:
    rng = np.random.default_rng(0)
    for sign in "-+":
        scope: dict[str, Any] = {"X": rng.uniform(0, 16, (30, 64)), "y": rng.permutation(30) // 24, "epochs": 2}
        exec(side(DIFFS[6], sign), scope)
        assert scope["classifier"].predict_proba(scope["X"]).shape == (30, 2)


@pytest.mark.parametrize(("module", "extra"), [("lightning", "lightning"), ("trainer", "transformers")])
def test_a_missing_extra_is_named(module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, f"underdog.loop.{module}", raising=False)
    for name in (extra, "lightning.pytorch"):
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]  # as if it were not installed
    with pytest.raises(ud.InputError, match=rf"underdog\[{extra}\]"):
        importlib.import_module(f"underdog.loop.{module}")


def test_every_block_of_the_page_is_run_by_a_test() -> None:
    blocks = re.findall(r"^```(.*)$", PAGE, re.MULTILINE)
    # test_distributed.py runs that for torchrun.
    assert blocks == ["diff", ""] * 7 + ["python", ""] + ["diff torchrun", ""]


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
