"""Every command in the documents is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

import underdog as ud
from underdog.cli.arguments.parser import parser

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What stands for a number or a name in a command.
STANDING_FOR = {"RHO": "20"}


def commands(page: Path) -> list[list[str]]:
    """The arguments of ``underdog`` in the console blocks of a page."""
    blocks = re.findall(r"```console\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    found = [re.match(r"\$ (?:\w+=\S+ )*underdog (.*)", line) for line in lines]
    return [[STANDING_FOR.get(a, a) for a in shlex.split(f[1], comments=True)] for f in found if f]


def test_the_pages_have_commands() -> None:
    assert sum(len(commands(page)) for page in PAGES) > 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_is_understood(page: Path) -> None:
    for arguments in commands(page):
        assert parser().parse_args(arguments).command == arguments[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_that_a_page_names_exists(page: Path) -> None:
    known = {
        option
        for folder in (ROOT / "src" / "underdog" / "cli", ROOT / "benchmarks")
        for line in folder.rglob("*.py")
        for option in re.findall(r'"(--[a-z-]+)"', line.read_text(encoding="utf-8"))
    }
    others = {"--num-cpus", "--plot", "--profile", "--standalone", "--nproc-per-node", "--nproc_per_node"}
    named = set(re.findall(r"`(--[a-z][a-z-]+)", page.read_text(encoding="utf-8")))
    assert named - known - others == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_public_name_that_a_page_uses_exists(page: Path) -> None:
    used = set(re.findall(r"\bud\.([A-Za-z_]+)", page.read_text(encoding="utf-8")))
    assert {name for name in used if not hasattr(ud, name)} == set()


def test_the_page_on_images_runs_from_python(tmp_path: Path, pictures: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name.replace("/", f"/{name[0]}"): d for name, d in pictures.tree({"a": 40, "b": 16}, (64, 70), 3).items()}
    pictures.folder(tmp_path / "photos", files)
    rows = [f"{Path(name).stem},{name[0]}{n // 2}" for n, name in enumerate(sorted(files))]
    (tmp_path / "table.csv").write_text("\n".join(["image_id,lesion_id", *rows]))
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "your-images.md").read_text(encoding="utf-8").split("## From Python")[1]
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict[str, Any] = {}
    exec(code.replace("epochs=30", "epochs=1"), names)
    split, history = names["split"], names["history"]
    assert not set(split.train.groups) & set(split.val.groups)
    assert len(history.records) == 1
    assert history.test is not None
