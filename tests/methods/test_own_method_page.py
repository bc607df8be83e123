"""The page "A method of your own": its code is put into a module, and its commands are carried out."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import underdog as ud
from underdog.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "your-own-method.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHORT = ["--epochs", "2", "--width", "0.2"]


def commands() -> list[list[str]]:
    (block,) = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    return [shlex.split(line.removeprefix("$ underdog "), comments=True) for line in block.splitlines()]


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A folder with ``mine.py``, all of the page's functions in it, and nothing of them left afterwards."""
    own = [code for code in CODE if not code.startswith("found =")]
    (tmp_path / "mine.py").write_text("\n".join(own), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    sys.modules.pop("mine", None)
    import mine  # type: ignore[import-not-found]  # noqa: PLC0415

    yield mine
    sys.modules.pop("mine", None)


def test_the_commands_of_the_page_compare_a_resampler_and_a_loss_of_ones_own(
    mine: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    listing, compare, tables, _ = commands()
    assert main(listing) == 0
    assert "share      default 0.5" in capsys.readouterr().out
    assert main([*compare, *SHORT, "--seeds", "1"]) == 0
    said = capsys.readouterr().out
    for label in ("mine:halve", "mine:halve share 0.2", "mine:brier", "mine:brier+mine:halve"):
        assert re.search(rf"^{re.escape(label)} +1 ", said, re.MULTILINE), label
    assert main(tables) == 0
    assert "mine:halve share 0.2" in (tmp_path / "tables" / "csv" / "f1-epochs-best.csv").read_text(encoding="utf-8")
    assert list((tmp_path / "tables" / "latex").glob("f1-*.tex"))


def test_the_python_of_the_page_gives_a_table_and_a_report(mine: Any, tmp_path: Path) -> None:
    (code,) = (code for code in CODE if code.startswith("found ="))
    names = {"ud": ud, "halve": mine.halve, "brier": mine.brier}
    exec(code.replace("seeds=5", "seeds=1, epochs=2, width=0.2, say=lambda line: None"), names)
    found: Any = names["found"]
    assert "mine:halve share 0.2" in str(found)
    assert len(found.folders) == 4
    assert "<html" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_the_other_methods_of_the_page_are_what_it_says(mine: Any) -> None:
    split = ud.prepare(ud.load_images("digits"), rho=20, mu=0.6).split
    hyper = ud.Hyperparameters(epochs=5)
    shown = [
        record.images for record in ud.iter_epochs(ud.PaperNet(1, 10, (16, 16), width=0.2), mine.late(), split, hyper)
    ]
    assert shown == [len(split.train)] * 4 + [max(split.train.counts) * 10]
    altered = [
        record.altered_images
        for record in ud.iter_epochs(ud.PaperNet(1, 10, (16, 16), width=0.2), mine.ramped(16 / 255), split, hyper)
    ]
    assert np.all(altered)
    assert ud.method("mine:tuned_halve(share=0.2)") == mine.tuned_halve(0.2)
