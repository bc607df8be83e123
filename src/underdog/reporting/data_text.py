"""What is in a source, for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from underdog.inspect.inspection import WHOLE, Balance, Equal, Inspection
from underdog.reporting.terminal import aligned, printable, shortened
from underdog.reporting.words import plural, thousands

__all__ = ["data_text", "facts_of", "remark", "size_text"]

#: Equal images, corrupt files and groups that are named here, at most; and frequencies.
LISTED, FREQUENT = 20, 5
#: Columns of a class's name, at most.
NAME = 40
#: What a run does with each of its parts.
USES = {"train": "train", "val": "validate", "test": "test"}
ALL = "(page and --json have all)"


def data_text(found: Inspection) -> str:
    """Tables and lists, without any control character but line breaks."""
    facts = facts_of(found)
    blocks = [
        [f"{found.name}: {thousands(found.images)} images of {plural(len(found.classes), 'class', 'classes')}"],
        aligned(list(facts.items()), left=2),
        ["", *_classes(found)],
        _list("equal images", [f"{_set(e)}  ({remark(e)})" if remark(e) else _set(e) for e in found.equal]),
        _list("corrupt files", [f"{c.place.path}: {c.reason}" for c in found.corrupt]),
    ]
    if found.groups is not None:
        crossing = [f"{g}: {', '.join(parts)}" for g, parts in found.groups.across_parts.items()]
        blocks += [_list("groups in several parts", crossing)]
        blocks += [_list("groups of several classes", found.groups.of_several_classes)]
    remarks = [*(f"note: {n}" for n in found.notes), *(f"warning: {w}" for w in found.warnings)]
    blocks += [["", *remarks] if remarks else []]
    return "\n".join(printable(line) for block in blocks for line in block)


def facts_of(found: Inspection) -> dict[str, str]:
    """Names and values of what is true of all classes together."""
    facts = {
        "sizes": _frequent({size_text(size): n for size, n in found.sizes.items()}),
        "formats": _frequent(found.formats),
        "modes": _frequent(found.modes),
        "corrupt files": thousands(len(found.corrupt)),
        "equal images": _equal(found.equal),
        "as it comes": _imbalance(found.balance),
    }
    if found.groups is not None:
        g = found.groups
        facts["groups"] = f"{thousands(g.count)}, the largest of {plural(g.largest, 'image')}"
        facts["groups in several parts"] = thousands(len(g.across_parts))
    if found.remaining is not None:
        facts["in a run"] = _imbalance(found.remaining)
    return facts


def size_text(size: tuple[int, int]) -> str:
    """Width and height of a (height, width).

    >>> size_text((48, 64))
    '64x48'
    """
    return f"{size[1]}x{size[0]}"


def remark(equal: Equal) -> str:
    """What is wrong with equal images."""
    return ", ".join(
        text
        for text, true in (("different labels", equal.labels_differ), ("several parts", equal.across_parts))
        if true
    )


def _set(equal: Equal) -> str:
    paths = [p.path for p in equal.places]
    return " = ".join(paths[:LISTED]) + (f" = {len(paths) - LISTED} more" if len(paths) > LISTED else "")


def _equal(equal: Sequence[Equal]) -> str:
    if not equal:
        return "none"
    bad = [
        f"{thousands(n)} {what}"
        for what, n in (
            ("with different labels", sum(e.labels_differ for e in equal)),
            ("in several parts", sum(e.across_parts for e in equal)),
        )
        if n
    ]
    return ", ".join([plural(len(equal), "set"), *bad])


def _imbalance(balance: Balance) -> str:
    rare = len(balance.minority)
    return f"rho = {balance.rho:.4g}, mu = {balance.mu:.3g} ({thousands(rare)} rare: {balance.why})"


def _frequent(counted: Mapping[str, int]) -> str:
    first = [f"{name} ({thousands(n)})" for name, n in list(counted.items())[:FREQUENT]]
    more = [f"{thousands(len(counted) - FREQUENT)} others"] if len(counted) > FREQUENT else []
    return ", ".join(first + more)


def _classes(found: Inspection) -> Iterator[str]:
    """A row for each class: images as they come, as a run would use them, and groups."""
    columns = {"images" if part == WHOLE else part: own for part, own in found.balance.counts.items()}
    run = {} if found.remaining is None else {f"to {USES[part]}": own for part, own in found.remaining.counts.items()}
    groups = {} if found.groups is None else {"groups": found.groups.per_class}
    rare = (found.remaining or found.balance).minority
    rows = [
        (
            shortened(name, NAME),
            "*" if name in rare else "",
            *(thousands(own[k]) for own in (columns | run | groups).values()),
        )
        for k, name in enumerate(found.classes)
    ]
    total = ("all", "", *(thousands(sum(own)) for own in (columns | run).values()), *([""] * len(groups)))
    yield from aligned([("class", "", *columns, *run, *groups), *rows, total], left=2)
    if rare:
        yield f"(* rare{' in a run' if run else ''})"


def _list(title: str, lines: Iterable[str]) -> list[str]:
    lines = list(lines)
    if not lines:
        return []
    more = [f"  and {thousands(len(lines) - LISTED)} more {ALL}"] if len(lines) > LISTED else []
    return ["", f"{title}:", *(f"  {line}" for line in lines[:LISTED]), *more]
