"""docs/grids.md says what is so."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from underdog.run.grid_file import _READING, GRIDS, SETTINGS

PAGE = (Path(__file__).parents[2] / "docs" / "grids.md").read_text(encoding="utf-8")


def test_the_page_s_grid_runs(tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    Path("mine.yaml").write_text(text.replace("width: 0.2", "width: 0.1").replace("epochs: 2", "epochs: 1"))
    ran = underdog("grid mine.yaml --dry-run")
    assert ran.code == 0
    assert "20 runs, 0 of them done" in ran.out
    ran = underdog("grid mine.yaml --out mine --only mu=0.6,seed=0")
    assert ran.code == 0, ran.err
    assert len([*Path("mine").glob("*/result.json")]) == 5
    assert {path.name for path in Path("mine").iterdir()} >= {"grid.json"}
    misspelt = text.replace("epochs:", "epoch:", 1)
    Path("mine.yaml").write_text(misspelt)
    line = 1 + misspelt.splitlines().index("epoch: 2")
    said = (
        f"underdog: error: mine.yaml:{line}: unknown key 'epoch' in a grid; did you mean 'epochs' or 'depth' or 'eps'?"
    )
    assert underdog("grid mine.yaml").err.startswith(said)
    assert said in PAGE


def test_the_page_names_every_grid_and_every_setting() -> None:
    assert [name for name in [*GRIDS, *SETTINGS, *_READING] if f"`{name}`" not in PAGE] == []
