"""Help comes at once, with examples, and tells what is there."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

import underdog as ud
from underdog import learner, method, names
from underdog.cli.commands import COMMANDS
from underdog.model import MODELS

HEAVY = {"torch", "numpy", "sklearn", "scipy", "matplotlib", "PIL", "tqdm", "jinja2", "safetensors"}


@pytest.mark.parametrize("command", [[], *([c] for c in COMMANDS)], ids=" ".join)
def test_help_has_an_example_and_imports_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys\nfrom underdog.cli import main\n"
        f"try: main({[*command, '--help']})\nfinally: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert not HEAVY & set(done.stderr.split())
    examples = done.stdout.split("example")[-1]
    assert f"\n  underdog {' '.join(command)}" in examples


def test_every_command_is_in_the_help(underdog: Any) -> None:
    ran = underdog("--help")
    assert ran.code == 0
    assert all(f"\n    {c}" in ran.out for c in COMMANDS)


@pytest.mark.parametrize("command", ["train", "compare"])
def test_help_names_every_method_model_and_device(command: str, underdog: Any) -> None:
    out = " ".join(underdog(f"{command} --help").out.split())
    assert all(f"{name} {text}" in out for name, text in names.METHODS.items())
    assert all(name in out for name in (*names.MODELS, *names.PRECISIONS, *names.DEVICES))
    assert all(f"{n}/255" in out for n in names.EPS_GRID)


def test_version(underdog: Any) -> None:
    assert underdog("--version").out == f"underdog {ud.__version__}\n"


@pytest.mark.parametrize("name", names.METHODS)
def test_every_method_in_the_table_exists_and_takes_eps_if_and_only_if_it_alters(name: str) -> None:
    if name in names.ALTERING:
        assert ud.named_method(name, 0.1, 0.5) != ud.named_method(name, 0.2, 0.5)
        with pytest.raises(ud.InputError, match="needs eps and tau"):
            ud.named_method(name)
    else:
        assert isinstance(ud.named_method(name), ud.Method)


def test_the_tables_of_names_are_those_of_what_is_there() -> None:
    assert set(names.METHODS) == set(method._METHODS) == set(names.PARAMETERS)
    assert set(names.ALTERING) == {m for m, own in names.PARAMETERS.items() if "eps" in own}
    assert set(names.MODELS) == set(MODELS)
    assert set(names.PRECISIONS) == set(learner.PRECISIONS)


@pytest.mark.parametrize("arguments", [[], ["trian", "digits"], ["train"], ["train", "digits", "--metod", "ros"]])
def test_a_command_line_that_makes_no_sense_is_explained(arguments: list[str], underdog: Any) -> None:
    ran = underdog("", *arguments)
    assert ran.code == 2
    assert ran.err.startswith("underdog: error: ")
    assert ran.err.endswith(" --help' explains)\n")
    assert ran.err.count("\n") == 1
