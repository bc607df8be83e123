"""Every example runs, and so does the README's."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest
from extras import needs, quiet

ROOT = Path(__file__).parents[2]


@quiet
@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=lambda p: p.stem)
def test_example(path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 40
    needs(*re.findall(r"^(?:import|from) (lightning|transformers)\b", text, re.MULTILINE))
    monkeypatch.setattr(sys, "argv", [str(path), "1"])
    runpy.run_path(str(path), run_name="__main__")
    assert "macro-F1" in capsys.readouterr().out


def test_the_readmes_program(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert "epochs=20" in program
    exec(program.replace("epochs=20", "epochs=1"), {})
    assert re.match(r"0\.\d+ \[", capsys.readouterr().out)


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", "docs/results.md", "docs/design.md", "docs/your-loop.md"]
)
def test_pages_link_to_files_that_exist_and_have_no_gaps(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert ((ROOT / page).parent / target).exists(), target
    assert not re.findall(r"^[A-Z0-9_]{4,}$", text, re.MULTILINE)
