"""Help comes at once, with examples, and tells what is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import underdog as ud
from underdog import learner, names
from underdog.methods.expression import function_of, parse
from underdog.methods.table import METHODS
from underdog.model import MODELS

COMMANDS = (
    "demo",
    "train",
    "compare",
    "probe",
    "methods",
    "grid",
    "tune",
    "report",
    "data",
    "predict",
    "export",
    "bench",
)
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
    assert all(f"{name} {entry.about}" in out for name, entry in METHODS.items())
    assert "package.module:function" in out
    assert all(name in out for name in (*names.MODELS, *names.PRECISIONS, *names.DEVICES))
    assert all(f"{n}/255" in out for n in names.EPS_GRID)


def test_version(underdog: Any) -> None:
    assert underdog("--version").out == f"underdog {ud.__version__}\n"


@pytest.mark.parametrize("name", METHODS)
def test_every_method_in_the_table_exists_and_needs_eps_if_and_only_if_it_alters(name: str) -> None:
    assert callable(function_of(name))
    if METHODS[name].role == "alteration":
        assert ud.method(f"{name}(eps=0.1)") != ud.method(f"{name}(eps=0.2)")
        with pytest.raises(ud.InputError, match=f"^{name} needs eps$"):
            ud.method(name)
    else:
        assert "eps" not in parse(name).parts[0].parameters
        assert isinstance(ud.method(name), ud.Method)


def test_the_tables_of_names_are_those_of_what_is_there() -> None:
    assert set(names.MODELS) == set(MODELS)
    assert set(names.PRECISIONS) == set(learner.PRECISIONS)


def test_methods_are_listed_with_what_they_do_and_their_parameters(underdog: Any) -> None:
    ran = underdog("methods")
    assert (ran.code, ran.err) == (0, "")
    lines = {line.split()[0]: line for line in ran.out.splitlines() if line}
    assert list(lines)[: len(METHODS)] == list(METHODS)
    for name, entry in METHODS.items():
        assert entry.about in lines[name]
        assert len(lines[name]) <= 120
        for own, one in parse(name).parts[0].parameters.items():
            assert (f"{own}={one.write(one.default)}" if one.default is not None else own) in lines[name]
    assert "package.module:function" in ran.out


def test_a_formula_keeps_its_stars(underdog: Any) -> None:
    assert "clip(x + eps * sign(grad_x J(NN, x, y)), 0, 1)" in underdog("methods aos").out


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_explained_with_its_source_and_parameters(name: str, underdog: Any) -> None:
    ran = underdog(f"methods {name}")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"{name}: {METHODS[name].about}\n\n")
    assert "\nSource: " in ran.out
    assert not {">>>", "``", "*Source*"} & set(ran.out.split())
    for own, one in parse(name).parts[0].parameters.items():
        (line,) = (line for line in ran.out.splitlines() if line.startswith(f"  {own} "))
        assert one.about.help in line
        assert ("needed" in line) == one.required
        assert one.default is None or f"default {one.write(one.default)}" in line
        assert all(choice in line for choice in one.choices)
    assert f"\nuse: underdog train photos/ --method '{name}'\n" in ran.out


MINE = '''
from typing import Annotated
import underdog as ud

def halve(share: Annotated[float, ud.Parameter("of the images", ud.Axis((0.25, 0.5), 0.5))] = 0.5, quick: bool = True):
    """Show some of the images.

    *Source*: nobody's.
    """
    return ud.Method()

def silent(share: float): return ud.Method()
'''


def test_a_method_of_one_s_own_is_explained_too(tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "explained.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    ran = underdog("methods explained:halve")
    assert ran.code == 0
    for said in (
        "explained:halve: a method of your own\n\nShow some of the images.\n\nSource: nobody's.\n",
        "of the images; default 0.5\n",
        "'underdog tune' tries 0.25 to 0.5\n",
        "quick      default true\n",
        "--method 'explained:halve'\n",
    ):
        assert said in ran.out
    assert "  share      needed\n" in underdog("methods explained:silent").out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("smoot", "argument NAME: unknown method 'smoot'; did you mean 'smote'? (known: baseline"),
        ("ros+focal", "'ros+focal' is a sum: ask for its parts one by one"),
        ("ros(k=3)", "ros has no parameter 'k'"),
        ("nowhere:method", "method 'nowhere:method' cannot be imported: No module named 'nowhere'"),
    ],
)
def test_a_method_that_is_not_there_cannot_be_explained(name: str, said: str, underdog: Any) -> None:
    ran = underdog(f"methods {name}")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith(f"underdog: error: {said}")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["trian", "digits"], ["train"], ["train", "digits", "--metod", "ros"]])
def test_a_command_line_that_makes_no_sense_is_explained(arguments: list[str], underdog: Any) -> None:
    ran = underdog("", *arguments)
    assert ran.code == 2
    assert ran.err.startswith("underdog: error: ")
    assert ran.err.endswith(" --help' explains)\n")
    assert ran.err.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("trian digits", "did you mean 'train'?"),
        ("data inf", "did you mean 'info'?"),
        ("train digits --method smoot", "unknown method 'smoot'; did you mean 'smote'?"),
        ("compare digits --methods ros,smoot", "unknown method 'smoot'; did you mean 'smote'?"),
        ("train digits --model papper", "unknown model 'papper'; did you mean 'paper'?"),
        ("train digits --epoch 3", "unrecognized arguments: --epoch 3; did you mean '--epochs'"),
        ("compare digitz", "source 'digitz': no such folder or file; did you mean 'digits'?"),
        ("grid smal", "unknown grid 'smal'; did you mean 'small'"),
        ("grid nowhere.yaml", "'nowhere.yaml': no such file or folder"),
        ("report nowhere", "nowhere has no finished run"),
        ("predict nowhere photo.jpg", "'nowhere' is no finished run"),
        ("methods smoot", "unknown method 'smoot'; did you mean 'smote'?"),
        ("", "Train image classifiers when some classes are rare"),
    ],
)
def test_what_is_mistyped_is_answered_before_anything_heavy_is_imported(
    command: str, said: str, tmp_path: Path
) -> None:
    code = (
        "import sys\nfrom underdog.cli import main\n"
        f"try: sys.exit(main({command.split()}))\nfinally: print('\\nmodules:', *sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    complaint, _, modules = done.stderr.partition("\nmodules:")
    assert said in done.stdout + complaint
    assert done.returncode == (2 if command else 0)
    assert not HEAVY & set(modules.split())
