"""Methods as a report names them: in which order they stand, and what tells several settings of one apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache

from underdog.methods.expression import Expression, Part
from underdog.methods.parameters import Value, number_of
from underdog.methods.table import METHODS
from underdog.run.spec import RunSpec, Setting

__all__ = [
    "about", "but_eps", "details", "differ_in_eps", "eps_of", "eps_text", "is_own", "labels", "parameters_text", "place", "stem",
    "value_text", "varied",
]  # fmt: skip

#: What parameters are called where their names do not say it.
TITLES = {"lr_factor": "learning rate x", "weight_decay": "weight decay"}


def about(method: str) -> dict[str, str]:
    """What each part of a method does, by name."""
    return {
        part: METHODS[part].about if part in METHODS else "a method of somebody's own" for part in method.split("+")
    }


def place(method: str) -> tuple[int, int, str]:
    """Where a method stands among others, by the names of its parts: as in the table, then sums, then those of somebody's own.

    >>> sorted(["mine.halve:method", "ros+focal", "aos", "ros"], key=place)
    ['ros', 'aos', 'ros+focal', 'mine.halve:method']
    """
    parts = method.split("+")
    if not METHODS.keys() >= set(parts):
        return 2, 0, method
    return int(len(parts) > 1), list(METHODS).index(parts[0]), method


def is_own(expression: Expression) -> bool:
    """Whether a part is a function of somebody's own, which a report does not import."""
    return any(part.role == "own" for part in expression.parts)


def but_eps(expression: Expression) -> Expression:
    """The expression without its eps: what several sizes of one alteration have in common."""
    parts = expression.parts
    return Expression(
        tuple(p if p.role == "own" else Part(p.name, tuple(v for v in p.values if v[0] != "eps")) for p in parts)
    )


def differ_in_eps(one: Expression, other: Expression) -> bool:
    """Whether two settings of a method that has an eps are alike but for that, or the same.

    >>> from underdog.methods.expression import parse
    >>> differ_in_eps(parse("aos(eps=8/255)"), parse("aos(eps=4/255)")), differ_in_eps(parse("ros"), parse("ros"))
    (True, False)
    """
    return one.number("eps") is not None and but_eps(one) == but_eps(other)


def eps_of(spec: RunSpec) -> float:
    """The eps of a run of a method that has one."""
    return spec.expression.number("eps") or 0.0


def eps_text(eps: float) -> str:
    """A perturbation's size in the unit of stored images.

    >>> eps_text(16 / 255), eps_text(0.1)
    ('16/255', '25.5/255')
    """
    return f"{eps * 255:.4g}/255"


def parameters_text(values: Mapping[str, Value]) -> str:
    """The values of a method's parameters.

    >>> parameters_text({"eps": 16 / 255, "tau": 0.6}), parameters_text({"lr_factor": 2.0})
    ('eps 16/255, tau 0.6', 'learning rate x 2')
    """
    return ", ".join(f"{TITLES.get(name, name)} {value_text(name, value)}" for name, value in values.items())


def value_text(name: str, value: Value, form: str = ".3g") -> str:
    """The value of a parameter."""
    if isinstance(value, str):
        return value
    if name.rpartition(".")[2] == "eps":
        return eps_text(value)
    return f"{value:{form}}" if isinstance(value, float) else str(value).lower()


def details(expression: Expression, keys: Collection[str] | None = None) -> str:
    """What was set of a method, or some of it, in words; nothing where nothing was.

    >>> from underdog.methods.expression import parse
    >>> details(parse("aos(eps=8/255)")), details(parse("smote(k=3)")), details(parse("smote"))
    ('8/255 tau 0.5', 'k 3', '')
    """
    values = {
        key: value_text(key, value, "g") for key, value in expression.stated.items() if keys is None or key in keys
    }
    return " ".join(text if key == "eps" else f"{key} {text}" for key, text in values.items())


@lru_cache(maxsize=4096)
def stem(expression: Expression) -> str:
    """A method with what no search chooses of it, in words: what is one method where its other parameters were chosen.

    >>> from underdog.methods.expression import parse
    >>> stem(parse("aos(eps=8/255)")), stem(parse("aos(eps=8/255,attack=pgd)"))
    ('aos', 'aos attack pgd')
    """
    known = [(part, one) for part in expression.parts if part.role != "own" for one in part.parameters.values()]
    fixed = {expression.key(part, one.name) for part, one in known if one.about.search is None}
    return f"{expression.name} {details(expression, fixed)}".rstrip()


def varied(expressions: Iterable[Expression]) -> list[str]:
    """The parameters, by key, that differ between some settings of one method.

    >>> from underdog.methods.expression import parse
    >>> varied(map(parse, ["aos(eps=8/255)", "aos(eps=8/255,tau=0.5,attack=pgd)"]))
    ['attack']
    """
    found = list(expressions)
    keys = dict.fromkeys(key for one in found for key in one.stated)
    return [key for key in keys if len({_value(one, key) for one in found}) > 1]


def _value(expression: Expression, key: str) -> Value | None:
    """As ``Expression.lookup``, without importing what is somebody's own, whose defaults are not known here."""
    owner, _, name = key.rpartition(".")
    return next((part.get(name) for part in expression.parts if part.name == owner), expression.get(name))


def labels(settings: Iterable[Setting]) -> dict[Setting, str]:
    """A short name for every method as it was set, in order; what was set only where it varies."""
    by_name: dict[str, list[Setting]] = {}
    for setting in sorted(set(settings)):
        by_name.setdefault(setting.expression.name, []).append(setting)
    found = {s: label for name in sorted(by_name, key=place) for s, label in _labels(name, by_name[name]).items()}
    times = Counter(found.values())
    # Values that are rounded to the same text are told apart by everything that was set.
    return {s: label if times[label] == 1 else f"{s.method}, equal {s.budget}" for s, label in found.items()}


def _labels(name: str, same: Sequence[Setting]) -> dict[Setting, str]:
    keys = varied(s.expression for s in same)
    ordered = sorted(same, key=lambda s: ([_rank(_value(s.expression, key)) for key in keys], s.budget))
    budgets = len({s.budget for s in same}) > 1
    decays = len({s.weight_decay for s in same}) > 1
    texts = {
        s: [
            *_details(s.expression, keys),
            *([f"equal {s.budget}"] if budgets else []),
            *([f"weight decay {s.weight_decay:g}"] if decays else []),
        ]
        for s in ordered
    }
    return {s: f"{name} {', '.join(text)}".rstrip() for s, text in texts.items()}


def _rank(value: Value | None) -> tuple[bool, float, str]:
    """Numbers are ordered as such, whatever their type."""
    number = number_of(value) if isinstance(value, str) else value
    return number is not None, number or 0, str(value)


def _details(expression: Expression, keys: Sequence[str]) -> list[str]:
    """The values of some parameters; eps and tau go together."""
    found = []
    altering = next((part for part in expression.parts if part.role == "alteration"), None)
    pair = [] if altering is None else [expression.key(altering, name) for name in ("eps", "tau")]
    if set(pair) & set(keys):
        eps, tau = expression.number("eps") or 0.0, expression.number("tau") or 0.0
        found.append(f"{eps_text(eps)} \N{GREEK SMALL LETTER TAU}{tau:g}")
    rest = {key: value for key in keys if key not in pair and (value := _value(expression, key)) is not None}
    return [*found, parameters_text(rest)] if rest else found
