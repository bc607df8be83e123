"""Grids as YAML: what is wrong is said with its line and key (docs/grids.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from underdog.data.reading import Reading
from underdog.errors import InputError, nearest, unknown
from underdog.methods.build import canonical
from underdog.methods.expression import parse
from underdog.methods.parameters import number_of
from underdog.methods.table import METHODS
from underdog.run.grid import (
    CHOSEN,
    CHOSEN_FOR,
    DataBlock,
    Grid,
    MethodBlock,
    Settings,
    Value,
    chosen_for,
    entries,
)
from underdog.run.space import check_trials
from underdog.run.spec import RunSpec

__all__ = ["GRIDS", "SETTINGS", "read_grid"]

#: The grids that come with underdog.
GRIDS = {path.stem: path for path in sorted((Path(__file__).parent / "grids").glob("*.yaml"))}
#: What a grid decides by other means, or what belongs to one machine.
_NO_SETTINGS = {"data", "method", "seed", "data_seed", "folds", "fold", "devices", "tuning", "revision", "files"}
_NO_SETTINGS |= {"weights", "mean", "std", "freeze_until"}
#: The settings of a run that a grid may say, with their types.
SETTINGS: Mapping[str, str] = {f.name: str(f.type) for f in fields(RunSpec) if f.name not in _NO_SETTINGS}
#: How images are read: keys of a data set.
_READING: Mapping[str, str] = {
    "size": "size", "resize": "str", "layout": "str", "labels": "str", "groups": "str", "skip_corrupt": "bool",
}  # fmt: skip
_TOP = ("about", "deviations", "datasets", "methods", "seeds", "data_seed", "trials")
#: Characters of a file, at most: grids are small, and the file may be anything.
_LONGEST = 10**6


def read_grid(name: str | Path) -> Grid:
    """The grid of that name, or in that YAML file.

    Raises:
        InputError: no such grid or file, or something in it: unknown keys, empty axes, values that contradict each other.

    >>> grid = read_grid("paper")
    >>> [data.name for data in grid.datasets], grid.seeds
    (['cifar10', 'intel', 'mit67', 'mnist'], 3)
    """
    path = GRIDS.get(str(name), Path(name))
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"{unknown('grid', str(name), GRIDS)}; one of your own is a file that ends in .yaml")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"grid {str(path)!r} cannot be read: {reason}") from error
    return parse_grid(text, path.stem, path.name if str(name) in GRIDS else str(path))


def parse_grid(text: str, name: str, file: str) -> Grid:
    """The grid in a text; ``file`` is what messages call it.

    Raises:
        InputError: as ``read_grid``.
    """
    reader = _Reader(file)
    try:
        if len(text) > _LONGEST:
            raise InputError(f"{file}: longer than {_LONGEST:,} characters")
        node = yaml.compose(text, yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{file}:{mark.line + 1}" if mark else file
        raise InputError(f"{where}: not YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError as error:
        raise InputError(f"{file}: nested too deeply") from error
    if node is None:
        raise InputError(f"{file}:1: empty; a grid has datasets and methods")
    grid = reader.grid(node, name)
    entries(grid, dict.fromkeys((data.name for data in grid.datasets), ""))  # every run can be described
    return grid


def _parameters(methods: tuple[MethodBlock, ...]) -> tuple[str, ...]:
    """The parameters that any method has: those of the table, which may only lack their method, and of the grid's own."""
    expressions = [*map(parse, METHODS), *(m.method for m in methods)]
    return tuple(dict.fromkeys(key for expression in expressions for key, _, _ in expression.declared()))


@dataclass(frozen=True)
class _Reader:
    """From the nodes of a file to a grid."""

    file: str

    def error(self, node: yaml.Node, text: str) -> InputError:
        return InputError(f"{self.file}:{node.start_mark.line + 1}: {text}")

    def grid(self, node: yaml.Node, name: str) -> Grid:
        top = self.mapping(node, "a grid", None)
        for key in ("datasets", "methods"):
            if key not in top:
                self.mapping(node, "a grid", (*_TOP, *SETTINGS, *_parameters(())))  # which knows a misspelt one
                raise self.error(node, f"a grid needs {key}")
        methods = self.methods(top["methods"])
        top = self.mapping(node, "a grid", (*_TOP, *SETTINGS, *_parameters(methods)))
        settings = self.settings({k: v for k, v in top.items() if k not in _TOP})
        found = Grid(
            name,
            self.datasets(top["datasets"], methods),
            methods,
            settings,
            about=self.text(top["about"], "about") if "about" in top else "",
            deviations=self.texts(top["deviations"], "deviations") if "deviations" in top else (),
            seeds=self.whole(top["seeds"], "seeds", 1) if "seeds" in top else 3,
            data_seed=self.wholes(top["data_seed"], "data_seed", 0) if "data_seed" in top else None,
            trials=self.whole(top["trials"], "trials", 1) if "trials" in top else None,
            file=self.file,
        )
        self.check(found, top)
        return found

    def check(self, grid: Grid, top: Mapping[str, yaml.Node]) -> None:
        """What no block can know of the others."""
        if grid.trials is not None:
            self.check_trials(grid, top["trials"])
        altering = [str(m.method) for m in grid.methods if m.method.has("eps")]
        levels = [grid.settings, *(d.settings for d in grid.datasets)]
        for level in levels:
            for name in (name for name in level if name not in SETTINGS):
                if not any(m.method.has(name) for m in grid.methods):
                    raise grid.error(level[name].line, f"none of the methods has the parameter {name}")
        for level in [*levels, *(m.settings for m in grid.methods)]:
            for eps in [e for e in level["eps"].every if isinstance(e, str)] if "eps" in level else []:
                other = eps.removeprefix(CHOSEN_FOR)
                if eps != CHOSEN and other not in altering:
                    raise grid.error(level["eps"].line, f"eps {eps!r} needs {other!r}, which is not among methods")
        for data in grid.datasets:
            self.check_mu(grid, data)
            self.check_eps(grid, data)

    def check_trials(self, grid: Grid, node: yaml.Node) -> None:
        try:
            check_trials(grid.trials or 0, [m.method for m in grid.methods])
        except InputError as error:
            raise self.error(node, str(error)) from error
        for level in (grid.settings, *(d.settings for d in grid.datasets), *(m.settings for m in grid.methods)):
            for name in sorted(set(level) - set(SETTINGS)):
                raise grid.error(level[name].line, f"{name} is chosen by trials here, and cannot be given")

    def check_mu(self, grid: Grid, data: DataBlock) -> None:
        mu = {**grid.settings, **data.settings}.get("mu")
        for level in (data.settings, *(m.settings for m in grid.methods)):
            for name, value in level.items():
                if stray := set(value.by_mu or ()) - set(mu.choices if mu else ()):
                    some = ", ".join(f"{m:g}" for m in sorted(stray))
                    raise grid.error(value.line, f"{name} has a value for mu {some}, which {data.name} does not have")

    def check_eps(self, grid: Grid, data: DataBlock) -> None:
        """What is chosen for a method is known only where that method itself has what is chosen."""
        altering = [m for m in grid.methods if m.method.has("eps") and "eps" not in m.method.values]
        levels = {str(m.method): {**grid.settings, **data.settings, **m.settings} for m in altering}
        mu = {**grid.settings, **data.settings}.get("mu", Value((None,))).choices
        eps = {(m, at): level["eps"].at(at) for m, level in levels.items() if "eps" in level for at in mu}
        for (method, at), some in eps.items():
            for one in some:
                other = chosen_for(one, method)
                if other and not any(chosen_for(theirs, other) == other for theirs in eps.get((other, at), (CHOSEN,))):
                    raise grid.error(
                        levels[method]["eps"].line,
                        f"eps {one!r} is what validation chooses for {other}, whose eps is given on {data.name}",
                    )

    def datasets(self, node: yaml.Node, methods: tuple[MethodBlock, ...]) -> tuple[DataBlock, ...]:
        blocks = self.mapping(node, "datasets", None)
        return tuple(self.dataset(name, block, _parameters(methods)) for name, block in blocks.items())

    def dataset(self, name: str, node: yaml.Node, parameters: tuple[str, ...]) -> DataBlock:
        line = node.start_mark.line + 1
        if self.empty(node):
            return DataBlock(name, line=line)
        block = self.mapping(node, f"data set {name}", ("path", *_READING, *SETTINGS, *parameters))
        path = self.text(block["path"], "path") if "path" in block else None
        read = {k: self.scalar(block[k], k, _READING[k]) for k in _READING if k in block}
        settings = self.settings({k: v for k, v in block.items() if k in SETTINGS or k in parameters})
        try:
            return DataBlock(name, settings, path, Reading(**read), line)
        except InputError as error:
            raise self.error(node, f"data set {name}: {error}") from error

    def methods(self, node: yaml.Node) -> tuple[MethodBlock, ...]:
        """A list of methods, each alone or with settings: ``- ros`` or ``- aos: {eps: chosen}``."""
        items = node.value if isinstance(node, yaml.SequenceNode) else []
        if not items:
            raise self.error(node, "methods must be a list of at least one")
        found = [self.method(item) for item in items]
        names = [str(m.method) for m in found]
        for item, name in zip(items, names, strict=True):
            if names.count(name) > 1:
                raise self.error(
                    item, f"method {name!r} is there twice; a setting may have several values: eps: [8/255, chosen]"
                )
        return tuple(found)

    def method(self, node: yaml.Node) -> MethodBlock:
        line = node.start_mark.line + 1
        if isinstance(node, yaml.ScalarNode):
            name, settings = self.text(node, "methods"), {}
        else:
            block = self.mapping(node, "a method", None)
            if len(block) != 1:
                raise self.error(node, "a method is a name, or one name with settings, such as 'aos: {eps: 8/255}'")
            name, inner = next(iter(block.items()))
            mine = self.mapping(inner, f"method {name}", None)
            if "mu" in mine or "rho" in mine:
                raise self.error(inner, "rho and mu belong to data sets: methods are compared on the same data")
            settings = dict(self.settings(mine))
        try:
            method = canonical(name)
        except InputError as error:
            raise self.error(node, str(error)) from error
        for key in settings:
            if key in method.values:
                raise InputError(f"{self.file}:{settings[key].line}: {key} is given twice: {method} has it, and a key")
            if key not in SETTINGS and not method.has(key):
                known = [own for own, _, _ in method.declared()]
                what = f"{method.name} has no parameter or setting {key!r}{nearest(key, [*known, *SETTINGS])}"
                raise InputError(f"{self.file}:{settings[key].line}: {what} (parameters: {', '.join(known) or 'none'})")
        return MethodBlock(method, settings, line)

    def settings(self, block: Mapping[str, yaml.Node]) -> Settings:
        return {name: self.setting(name, node) for name, node in block.items()}

    def setting(self, name: str, node: yaml.Node) -> Value:
        """A value, a list of values, or either for each mu."""
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            if name == "mu":
                raise self.error(node, "mu is a number or a list of numbers")
            pairs = self.mapping(node, name, None)
            by_mu = {self.number(node, f"{name}, mu", mu): self.choices(name, v) for mu, v in pairs.items()}
            return Value(by_mu=by_mu, line=line)
        return Value(self.choices(name, node), line=line)

    def choices(self, name: str, node: yaml.Node) -> tuple[Any, ...]:
        kind = SETTINGS.get(name, "parameter")
        if kind.startswith("tuple"):
            return (self.texts(node, name),)
        if not isinstance(node, yaml.SequenceNode):
            return (self.scalar(node, name, kind),)
        if not node.value:
            raise self.error(node, f"{name} is empty: an axis needs at least one value")
        found = tuple(self.scalar(item, name, kind) for item in node.value)
        if len(set(found)) < len(found):
            raise self.error(node, f"{name} has the same value twice")
        return found

    def mapping(self, node: yaml.Node, what: str, known: tuple[str, ...] | list[str] | None) -> dict[str, yaml.Node]:
        """Keys and values, each key once, and one of the known ones where these are given."""
        if not isinstance(node, yaml.MappingNode):
            raise self.error(node, f"{what} must be keys with values, 'key: value'")
        if not node.value:
            raise self.error(node, f"{what} is empty")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            name = self.text(key, what)
            if known is not None and name not in known:
                near = nearest(name, known)
                raise self.error(key, f"unknown key {name!r} in {what}{near} (known: {', '.join(known)})")
            if name in found:
                raise self.error(key, f"{name} is there twice in {what}")
            found[name] = value
        return found

    def scalar(self, node: yaml.Node, name: str, kind: str) -> Any:
        """One value of a type as ``RunSpec`` writes it."""
        if "None" in kind and self.empty(node):
            return None
        text = self.text(node, name)
        if name == "eps" and (text == CHOSEN or text.startswith(CHOSEN_FOR)):
            return text
        if kind == "parameter":  # of which the method knows the type
            return text if name != "eps" else self.number(node, name, text)
        convert: dict[str, Callable[[yaml.Node, str, str], Any]] = {
            "float": self.number, "int": self.integer, "bool": self.truth, "size": self.size,
        }  # fmt: skip
        kind = kind.split(" |", maxsplit=1)[0]
        return convert[kind](node, name, text) if kind in convert else text

    def number(self, node: yaml.Node, name: str, text: str) -> float:
        if (number := number_of(text)) is not None:
            return number
        also = f" or '{CHOSEN}'" if name == "eps" else ""
        raise self.error(node, f"{name}: {text!r} is not a number such as 0.5, 1e-4 or 8/255{also}")

    def integer(self, node: yaml.Node, name: str, text: str) -> int:
        try:
            return int(text)
        except ValueError:
            raise self.error(node, f"{name}: {text!r} is not a whole number") from None

    def truth(self, node: yaml.Node, name: str, text: str) -> bool:
        if text not in ("true", "false"):
            raise self.error(node, f"{name}: {text!r} is neither true nor false")
        return text == "true"

    def size(self, node: yaml.Node, name: str, text: str) -> tuple[int, int]:
        parts = text.lower().split("x")
        if len(parts) > 2 or not all(p.isdecimal() and int(p) > 0 for p in parts):
            raise self.error(node, f"{name}: {text!r} is not a size in pixels such as 64 or 64x48 (width x height)")
        return int(parts[-1]), int(parts[0])

    def whole(self, node: yaml.Node, name: str, least: int) -> int:
        value = self.integer(node, name, self.text(node, name))
        if value < least:
            raise self.error(node, f"{name} must be at least {least}, not {value}")
        return value

    def wholes(self, node: yaml.Node, name: str, least: int) -> tuple[int, ...]:
        """One or several."""
        if not isinstance(node, yaml.SequenceNode):
            return (self.whole(node, name, least),)
        found = tuple(self.whole(item, name, least) for item in node.value)
        if not found or len(set(found)) < len(found):
            raise self.error(node, f"{name} needs at least one number, and each once")
        return found

    def text(self, node: yaml.Node, name: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            raise self.error(node, f"{name} must be a single value here")
        return str(node.value)

    def texts(self, node: yaml.Node, name: str) -> tuple[str, ...]:
        if not isinstance(node, yaml.SequenceNode):
            raise self.error(node, f"{name} must be a list")
        return tuple(self.text(item, name) for item in node.value)

    @staticmethod
    def empty(node: yaml.Node) -> bool:
        return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"
