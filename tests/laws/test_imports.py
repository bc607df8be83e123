"""No file imports itself by way of others, and a class is known by its name."""

from __future__ import annotations

import ast
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import underdog

ROOT = Path(underdog.__file__).parent


def name_of(path: Path) -> str:
    """The module in a file, "underdog.data.images" and the like."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): ast.parse(path.read_text(encoding="utf-8")) for path in ROOT.rglob("*.py")}


def imported(tree: ast.Module) -> set[str]:
    """The modules of underdog that a file imports, at its top, for type checkers alone, or within functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, "a relative import, which this does not read"
            inside = {f"{node.module}.{a.name}" for a in node.names}
            found |= inside & MODULES.keys() or {node.module}
    return found & MODULES.keys()


GRAPH = {name: imported(tree) for name, tree in MODULES.items()}


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules of which each is imported by the one before it, the last being the first; none where there is no circle."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
    return []


def test_no_file_imports_itself_by_way_of_others() -> None:
    assert circle(GRAPH) == []


def test_no_two_classes_share_a_name() -> None:
    names = Counter(node.name for tree in MODULES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
    assert [name for name, n in names.items() if n > 1] == []
