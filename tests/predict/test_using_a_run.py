"""docs/using-a-run.md does what it says."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from trained import Trained

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "using-a-run.md").read_text(encoding="utf-8")
RUN = "runs/aos-s0-0123456789ab"
COMMANDS = re.findall(r"^\$ underdog (predict .*)$", PAGE, re.MULTILINE)


@pytest.fixture
def place(trained: Trained, tmp_path: Path, pictures: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with everything that the page names."""
    shutil.copytree(trained.run, tmp_path / RUN)
    image = pictures.pixels(0, (30, 20), 3)
    png, jpeg = pictures.encode(image), pictures.encode(image, "JPEG")
    pictures.folder(tmp_path, {"a.jpg": jpeg, "b.png": png, "new/c.png": png, "new/d/e.jpg": jpeg})
    pictures.zip(tmp_path / "more.zip", {"f.png": png})
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_runs(command: str, place: Path, underdog: Any) -> None:
    ran = underdog(command)
    assert (ran.code, ran.err) == (0, "")
    assert (place / "predictions.csv").exists() == ("--csv" in command)
    for name in ("new/c.png", "new/d/e.jpg"):
        assert (name in ran.out) == ("new/" in command)


def test_the_lines_in_python_run(place: Path, pictures: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (lines,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    scope: dict[str, Any] = {"images": [pictures.pixels(0), "a.jpg"]}
    exec(lines, scope)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["new/c.png", "new/d/e.jpg"]
    assert scope["classifier"].classes == ("ant", "bee", "yak")


def test_every_claim_names_a_test_that_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    files = [*Path(__file__).parent.glob("test_*.py"), ROOT / "tests" / "cli" / "test_predict.py"]
    existing = {n for f in files for n in re.findall(r"^def (test_\w+)", f.read_text(encoding="utf-8"), re.MULTILINE)}
    assert len(named) > 20
    assert named - existing == set()
    assert len(COMMANDS) == 3
