"""Every command in the documents is one that the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import underdog as ud
from underdog.cli.parser import parser

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
        for line in (ROOT / "src" / "underdog" / "cli").glob("*.py")
        for option in re.findall(r'"(--[a-z-]+)"', line.read_text(encoding="utf-8"))
    }
    others = {"--full", "--pairs", "--json", "--standalone", "--nproc-per-node", "--nproc_per_node"}
    named = set(re.findall(r"`(--[a-z][a-z-]+)", page.read_text(encoding="utf-8")))
    assert named - known - others == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_public_name_that_a_page_uses_exists(page: Path) -> None:
    used = set(re.findall(r"\bud\.([A-Za-z_]+)", page.read_text(encoding="utf-8")))
    assert {name for name in used if not hasattr(ud, name)} == set()
