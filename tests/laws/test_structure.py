"""Imports follow one direction, and importing underdog costs nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import underdog

ROOT = Path(underdog.__file__).parent
#: From what depends on nothing to what depends on everything: a module imports from its own layer or earlier ones.
LAYERS = [
    ["underdog", "errors", "names", "validate", "rng"],
    ["ranks"],
    ["metrics", "data", "decision"],
    ["epoch", "loss", "optimizer"],
    ["attack", "model", "augment"],
    ["resample"],
    ["method", "learner", "hyper"],
    ["distributed", "captured"],
    ["train"],
    ["loop"],
    ["run", "bench"],
    ["report"],
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


def test_every_exported_name_exists_and_is_typed_as_it_is_found() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    typed = {
        a.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for a in node.names
    }
    lazy = {name: f"underdog.{home}" for name, home in underdog._HOME.items()}
    assert typed == lazy
    assert all(getattr(underdog, name).__module__.startswith("underdog") for name in lazy)


def test_importing_underdog_imports_nothing_heavy() -> None:
    code = "import sys, underdog; print([m for m in ('torch', 'sklearn', 'matplotlib', 'numpy') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


def test_every_public_name_is_documented_with_an_example() -> None:
    plain = {"Attack", "SignAttack", "Victim", "Loss", "Resampler"}  # protocols have nothing to run
    errors = {"InputError", "TrainingError", "UnderdogError"}
    records = {"Imbalanced", "Source", "Prepared", "Split", "EpochRecord", "Evaluation", "History", "Training"}
    records |= {"Bootstrap", "Inspection", "Interval", "Prediction"}
    undocumented = [n for n in underdog._HOME if not (getattr(underdog, n).__doc__ or "").strip()]
    assert undocumented == []
    without = {n for n in underdog._HOME if ">>>" not in getattr(underdog, n).__doc__} - plain - errors - records
    assert without == {"Epoch"}  # whose example is that of Epoch.of
