"""All measurements of ``underdog bench``, as a table and as plain data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from underdog.bench.floors import Share
from underdog.bench.memory import memory
from underdog.bench.peers import PEERS, Missing, attacked, balancing
from underdog.bench.setting import SHAPES, BenchSetting, environment, installed
from underdog.bench.timing import TimePairs
from underdog.bench.training import against_bare, against_loader, aos_against_ros, refresh
from underdog.names import PRECISIONS

__all__ = ["BenchReport", "comparison_table", "environment_line", "measurements"]

Figure = TimePairs | Share | Missing


@dataclass(frozen=True)
class BenchReport:
    """What was measured, on which machine.

    Attributes:
        environment: hardware, versions, load, commit.
        comparisons, shares, missing: the figures, and those that are not there.
    """

    environment: Mapping[str, str | int | float]
    comparisons: tuple[TimePairs, ...]
    shares: tuple[Share, ...]
    missing: tuple[Missing, ...]

    @classmethod
    def of(cls, setting: BenchSetting, figures: Sequence[Figure]) -> BenchReport:
        """The figures of a setting, sorted by kind."""
        peers = {distribution: installed(distribution) for distribution, _ in PEERS.values()}
        return cls(
            environment(str(setting.device)) | peers,
            tuple(f for f in figures if isinstance(f, TimePairs)),
            tuple(f for f in figures if isinstance(f, Share)),
            tuple(f for f in figures if isinstance(f, Missing)),
        )

    def to_json(self) -> dict[str, Any]:
        """Plain data: the environment as an object, and each kind of figure as a list of objects."""
        return asdict(self)

    def markdown(self) -> str:
        """The environment in a line, and the figures in tables."""
        parts = [environment_line(self.environment), comparison_table(self.comparisons), share_table(self.shares)]
        parts += ["\n".join(f"- not measured: {m.name}: {m.why}" for m in self.missing)] if self.missing else []
        return "\n\n".join(parts)


def measurements(setting: BenchSetting) -> list[tuple[str, Callable[[], Iterator[Figure]]]]:
    """What there is to measure, by name, in the order of the table."""
    trainings: list[tuple[str, Callable[[], Iterator[Figure]]]] = [
        (f"training, {data}'s shape, {precision}", partial(against_bare, setting, data, precision))
        for precision in PRECISIONS
        for data in SHAPES
    ]
    return [
        *trainings,
        ("a sampler and a loader", partial(against_loader, setting)),
        ("AOS against ROS", partial(aos_against_ros, setting)),
        ("a refresh", partial(refresh, setting)),
        *(
            (f"{attack} of {library}", partial(attacked, setting, attack, library))
            for attack in ("FGSM", "PGD")
            for library in ("foolbox", "torchattacks")
        ),
        *((f"balancing by {method}", partial(balancing, setting, method)) for method in ("ROS", "SMOTE")),
        ("memory", partial(memory, setting)),
    ]


def environment_line(environment: Mapping[str, str | int | float]) -> str:
    """The machine in a line.

    >>> environment_line({"cores": 2, "torch": "2.13.0"})
    'cores 2, torch 2.13.0'
    """
    return ", ".join(f"{k} {v}" for k, v in environment.items())


def comparison_table(rows: Sequence[TimePairs]) -> str:
    """Comparisons in Markdown, both sides with four digits."""
    lines = [
        "| | underdog | other | unit | ratio | 95% interval | target | pairs |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        target = "-" if r.target is None else f"{r.target:g}"
        sides = f"{r.underdog:.4g} | {r.other:.4g} | {r.unit} | {r.ratio:.3f} | {r.low:.3f} to {r.high:.3f}"
        lines.append(f"| {r.name} | {sides} | {target} | {r.pairs} |")
    return "\n".join(lines)


def share_table(rows: Sequence[Share]) -> str:
    """Shares of the arithmetic's bound in Markdown."""
    lines = [
        "| | images/s | MFLOP/image | best matrix product, GFLOP/s | images/s at that rate | share |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        rates = f"{r.images:.0f} | {r.flop / 1e6:.1f} | {r.peak / 1e9:.0f} | {r.bound:.0f}"
        lines.append(f"| {r.name} | {rates} | {r.share:.1%} |")
    return "\n".join(lines)
