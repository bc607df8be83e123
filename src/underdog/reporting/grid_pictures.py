"""Which figures a grid gets, and what is said of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from underdog.reporting.grid_differences import REFERENCE, OverSets, difference
from underdog.reporting.grid_plots import Points, on_scale, points_plot, rank_plot
from underdog.reporting.grid_runs import Column, Row, Sweep
from underdog.reporting.grid_sheets import F1, Setup, family_name
from underdog.reporting.methods import eps_of
from underdog.reporting.plots import Style, styles
from underdog.reporting.summary import Spread
from underdog.reporting.words import decimal, plural, signed

__all__ = ["Picture", "pictures"]


@dataclass(frozen=True)
class Picture:
    """A figure, what it shows, and the methods in it."""

    title: str
    drawing: Markup
    caption: str
    looks: dict[str, Style]


def pictures(setup: Setup, tested: Sequence[OverSets]) -> Iterable[Picture]:
    """The gain by mu of every data set, the score by eps where that was swept, and ranks where they are tested."""
    looks = styles([(c.label, c.method) for c in setup.grid.columns])
    for i, family in enumerate(setup.grid.families):
        if (picture := _gain(setup, family, looks, f"{setup.name}-gain{i}")) is not None:
            yield picture
    for i, sweep in enumerate(setup.grid.sweeps):
        yield _by_eps(setup, sweep, f"{setup.name}-eps{i}")
    for own in tested:
        if own.ranking is not None:
            drawing = rank_plot(own.ranking, looks, f"{setup.name}-{own.measure.name}-ranks")
            caption = (
                f"Mean rank by {own.measure.title} over {plural(len(own.datasets), 'data set')}, 1 the best. {own.said}"
            )
            yield Picture(f"Critical difference: {own.measure.title}", drawing, caption, {})


def _gain(setup: Setup, family: Sequence[Row], looks: dict[str, Style], name: str) -> Picture | None:
    """The gain over oversampling by mu; None without a mu or without oversampling."""
    reference = setup.grid.column(REFERENCE)
    rows = [row for row in family if row.spec.mu is not None]
    if reference is None or not rows:
        return None
    found = [_gains(setup, rows, c, reference, looks[c.label]) for c in setup.grid.columns if c != reference]
    ours = {c.label for c in setup.grid.columns if c.method == "aos"}
    shown, far = on_scale([points for points in found if points.x], keep=ours)
    if not shown:
        return None
    sizes = {len(v) for points in (*shown, *far) for v in points.values}
    alt = f"Macro-F1 minus that of {REFERENCE} on {family_name(family[0])}: " + "; ".join(map(_means, shown))
    drawing = points_plot(
        shown,
        {row.spec.mu or 0.0: f"{row.spec.mu:g}" for row in rows},
        ("mu, share of rare classes", f"macro-F1 minus that of {REFERENCE}, {_n(sizes)}"),
        name,
        alt,
        zero=True,
    )
    left = f" Not drawn, so that the others can be told apart: {'; '.join(map(_means, far))}." if far else ""
    caption = f"Large: mean over seeds; small: each seed; the line at 0 is {REFERENCE}.{left}"
    return Picture(
        f"Gain over {REFERENCE}: {family_name(family[0])}", drawing, caption, {p.label: p.style for p in shown}
    )


def _gains(setup: Setup, rows: Sequence[Row], own: Column, other: Column, style: Style) -> Points:
    found = {row.spec.mu or 0.0: difference(row, own, other, F1, setup.selection) for row in rows}
    known = {mu: spread.values for mu, spread in found.items() if spread is not None}
    return Points(own.label, style, tuple(known), tuple(known.values()))


def _means(points: Points) -> str:
    return f"{points.label} " + ", ".join(
        f"{signed(m, 4)} at mu {x:g}" for x, m in zip(points.x, points.means, strict=True)
    )


def _n(sizes: Iterable[int]) -> str:
    low, *_, high = (*sorted(sizes), max(sizes))
    return f"n = {low}" if low == high else f"n = {low} to {high}"


def _by_eps(setup: Setup, sweep: Sweep, name: str) -> Picture:
    """Macro-F1 by eps, along a logarithmic scale, and oversampling's as a line."""
    looks = styles([("ros", "ros"), *((stem, own[0].method) for stem, own in sweep.groups.items())])
    sizes = sorted({eps_of(g.runs[0].spec) for own in sweep.groups.values() for g in own})
    place = {eps: float(i) for i, eps in enumerate(sizes)}
    lines = [
        Points(
            stem,
            looks[stem],
            tuple(place[eps_of(g.runs[0].spec)] for g in own),
            tuple(tuple(F1(run, setup.selection) for run in g.runs) for g in own),
        )
        for stem, own in sweep.groups.items()
    ]
    ros = tuple(F1(run, setup.selection) for run in sweep.ros)
    level = Points(REFERENCE, looks[REFERENCE], (0.0,), (ros,)) if ros else None
    n = {len(v) for points in lines for v in points.values} | ({len(ros)} if ros else set())
    title = (
        f"{family_name(sweep.row)}, mu {sweep.row.spec.mu:g}"
        if sweep.row.spec.mu is not None
        else family_name(sweep.row)
    )
    alt = f"Macro-F1 by eps on {title}: " + "; ".join(
        f"{p.label} "
        + ", ".join(f"{decimal(m, 4)} at {eps * 255:.3g}/255" for eps, m in zip(place, p.means, strict=False))
        for p in lines
    )
    drawing = points_plot(
        lines,
        {x: f"{eps * 255:.3g}" for eps, x in place.items()},
        ("eps, in 1/255", f"macro-F1, test images, {_n(n)}"),
        name,
        alt,
        level,
    )
    band = f" Level line: {REFERENCE} {_spread(ros)}, with a band of one standard deviation." if ros else ""
    caption = f"Large: mean over seeds; small: each seed.{band} These are test scores, so the best eps here is chosen in hindsight."
    shown = {p.label: p.style for p in lines} | ({REFERENCE: looks[REFERENCE]} if ros else {})
    return Picture(f"Macro-F1 by eps: {title}", drawing, caption, shown)


def _spread(values: Sequence[float]) -> str:
    found = Spread(tuple(values))
    return decimal(found.mean, 4) + ("" if found.sd is None else f" ± {decimal(found.sd, 4)}")
