"""Imports follow one direction, and importing underdog costs nothing."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import underdog

ROOT = Path(underdog.__file__).parent
#: From what depends on nothing to what depends on everything: a module imports from its own layer or earlier ones.
LAYERS = [
    ["underdog", "errors", "names", "validate", "outside", "paths", "processes", "rng"],
    ["ranks"],
    ["metrics", "data", "decision"],
    ["altered", "epoch", "loss", "optimizer", "inspect"],
    ["attack", "model", "augment"],
    ["resample"],
    ["methods", "learner", "hyper"],
    ["distributed", "captured"],
    ["evaluation"],
    ["history"],
    ["train"],
    ["loop"],
    ["run", "bench"],
    ["reporting"],
    ["experiments"],
    ["api"],
    ["cli", "__main__"],
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}


def layer(module: str) -> int:
    """The rank of "underdog.data.images" and the like."""
    parts = module.split(".")
    return RANK[parts[1] if len(parts) > 1 else parts[0]]


def imports(path: Path) -> set[str]:
    """The modules of underdog that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names if a.name.split(".")[0] == "underdog"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "underdog":
            found.add(node.module)
    return found


def test_no_module_imports_from_a_later_layer() -> None:
    upward = []
    for path in ROOT.rglob("*.py"):
        relative = path.relative_to(ROOT).with_suffix("")
        if relative.parts == ("__init__",):
            continue  # exports lazily
        name = ".".join(["underdog", *(p for p in relative.parts if p != "__init__")])
        upward += [f"{name} -> {i}" for i in imports(path) if layer(i) > layer(name)]
    assert upward == []


def exported() -> dict[str, str]:
    """The public names and their modules, as type checkers read them."""
    tree = ast.parse((ROOT / "__init__.pyi").read_text(encoding="utf-8"))
    found = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {a.name: f"underdog.{node.module}" for node in found for a in node.names}


def test_every_exported_name_exists_and_is_typed_as_it_is_found() -> None:
    homes = exported()
    assert set(underdog.__all__) == {"__version__", *homes}
    for name, home in homes.items():
        found = getattr(importlib.import_module(home), name)
        assert getattr(underdog, name) is found
        assert found.__module__.startswith("underdog")


@pytest.mark.parametrize("module", ["", ".methods.table", ".methods.parameters", ".methods.expression", ".outside"])
def test_importing_underdog_and_what_its_command_line_prints_imports_nothing_heavy(module: str) -> None:
    heavy = "('torch', 'sklearn', 'matplotlib', 'numpy')"
    code = f"import sys, underdog{module}; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_public_name_is_documented_with_an_example() -> None:
    plain = {"Attack", "Victim", "Resampler"}  # protocols have nothing to run
    errors = {"InputError", "TrainingError", "UnderdogError"}
    records = {"Imbalanced", "Source", "Prepared", "Split", "EpochRecord", "Evaluation", "History", "Training"}
    records |= {
        "Bootstrap",
        "Inspection",
        "Interval",
        "Prediction",
        "AlteredPixels",
        "AlteredSigns",
        "Mixture",
        "Axis",
        "Comparison",
    }
    undocumented = [n for n in exported() if not (getattr(underdog, n).__doc__ or "").strip()]
    assert undocumented == []
    without = {n for n in exported() if ">>>" not in getattr(underdog, n).__doc__} - plain - errors - records
    assert without == {"Epoch"}  # whose example is that of Epoch.of
