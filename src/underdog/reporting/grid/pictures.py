"""Figures of a grid: the gain over oversampling by mu, the score by eps, and ranks over data sets."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from underdog.reporting.grid.arrange import F1, REFERENCE, Arrangement
from underdog.reporting.plots import INK, PAPER, WIDTH, Style, look, styles, svg
from underdog.reporting.statistics import OverSets, Ranking, posthocs_module
from underdog.reporting.summary import Score, Spread
from underdog.reporting.words import decimal, plural, signed, spread

__all__ = ["Picture", "on_scale", "pictures"]

#: A method that lies further below the others than so many times their range would flatten them.
OUTLYING = 1.0
ENOUGH_LINES = 3


class Picture(NamedTuple):
    """A figure, what it shows, and the methods in it."""

    title: str
    drawing: Markup
    caption: str
    looks: Mapping[str, Style]


def pictures(grid: Arrangement, tested: Mapping[Score, OverSets]) -> Iterator[Picture]:
    """The gain by mu of every data set, the score by eps where that was swept, and ranks where they are tested."""
    looks = styles([(c.label, c.method) for c in grid.columns])
    for i, family in enumerate(grid.families):
        yield from _gain(grid, family, looks, f"{grid.names[0]}-gain{i}")
    for i, (row, swept) in enumerate(grid.swept.groupby("row")):
        yield _by_eps(grid, row, swept, f"{grid.names[0]}-eps{i}")
    for score, own in tested.items():
        if own.ranking is not None:
            drawing = _rank_plot(own.ranking, looks, f"{grid.names[0]}-{score.name}-ranks")
            sets = plural(len(grid.datasets), "data set")
            caption = f"Mean rank by {score.title} over {sets}, 1 the best. {own.said}"
            yield Picture(f"Critical difference: {score.title}", drawing, caption, {})


def _gain(grid: Arrangement, family: Sequence[int], looks: Mapping[str, Style], name: str) -> Iterator[Picture]:
    """The gain over oversampling by mu; none without a mu or without oversampling."""
    mus = {i: mu for i in family if (mu := grid.rows[i].spec.mu) is not None}
    reference, others = grid.column(REFERENCE), [c for c in grid.columns if c.label != REFERENCE]
    if reference is None or not mus or not others:
        return
    gains = pd.DataFrame(
        {c: {i: p.difference for i, p in grid.pairs(F1, c, reference).items()} for c in others}
    ).reindex(list(mus))
    gains = gains.set_axis(list(mus.values())).dropna(axis=1, how="all")
    shown, far = on_scale(gains, keep=[c for c in others if c.method == "aos"])
    if shown.empty:
        return
    gain, title = f"acro-F1 minus that of {REFERENCE}", grid.rows[family[0]].name
    alt, hidden = (_said(own, signed, "mu {:g}".format) for own in (shown, far))
    ticks, labels = {mu: f"{mu:g}" for mu in mus.values()}, ("mu, share of rare classes", f"m{gain}, {_n(shown, far)}")
    drawing = _points_plot(shown, looks, ticks, labels, name, f"M{gain} on {title}: {alt}", zero=True)
    left = f" Not drawn, so that the others can be told apart: {hidden}." if hidden else ""
    caption = f"Large: mean over seeds; small: each seed; the line at 0 is {REFERENCE}.{left}"
    yield Picture(f"Gain over {REFERENCE}: {title}", drawing, caption, {c.label: looks[c.label] for c in shown})


def _said(methods: pd.DataFrame, number: Callable[[float, int], str], place: Callable[[float], str]) -> str:
    said = ([f"{number(s.mean, 4)} at {place(x)}" for x, s in own.dropna().items()] for _, own in methods.items())
    return "; ".join(f"{column.label} {', '.join(own)}" for column, own in zip(methods, said, strict=True))


def _n(*values: pd.DataFrame | Spread | None) -> str:
    spreads = [s for own in values for s in (own.to_numpy().flat if isinstance(own, pd.DataFrame) else [own])]
    sizes = {s.n for s in spreads if isinstance(s, Spread)}
    return f"n = {min(sizes)}" if len(sizes) == 1 else f"n = {min(sizes)} to {max(sizes)}"


def _by_eps(grid: Arrangement, row: int, swept: pd.DataFrame, name: str) -> Picture:
    """Macro-F1 by eps, along a logarithmic scale, and oversampling's as a line."""
    columns = list(dict.fromkeys(swept["column"]))
    values = swept.pivot(index="eps", columns="column", values="spread")[columns]
    ticks = {float(i): f"{eps * 255:.3g}" for i, eps in enumerate(values.index)}
    values = values.set_axis([replace(c, label=c.stem) for c in columns], axis=1).set_axis(list(ticks))
    variant = grid.rows[row]
    ros = next((s for c, s in grid.spreads(F1, row).items() if c.label == REFERENCE), None)
    looks = styles([(REFERENCE, REFERENCE), *((c.stem, c.method) for c in columns)])
    title = variant.name + ("" if variant.spec.mu is None else f", mu {variant.spec.mu:g}")
    alt = _said(values, decimal, lambda x: f"{ticks[x]}/255")
    labels = "eps, in 1/255", f"macro-F1, test images, {_n(values, ros)}"
    drawing = _points_plot(values, looks, ticks, labels, name, f"Macro-F1 by eps on {title}: {alt}", ros)
    band = f" Level line: {REFERENCE} {spread(ros, 4)}, with a band of one standard deviation." if ros else ""
    caption = f"Large: mean over seeds; small: each seed.{band} These are test scores, so the best eps here is chosen in hindsight."
    shown = [*(c.stem for c in columns), *([REFERENCE] if ros else [])]
    return Picture(f"Macro-F1 by eps: {title}", drawing, caption, {label: looks[label] for label in shown})


def on_scale(methods: pd.DataFrame, keep: Container[object] = ()) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Columns that one scale can show, three and those to keep at least, and those so far below that they would flatten these."""
    lows = methods.map(lambda s: min(s.values), na_action="ignore").min()
    highs = methods.map(lambda s: max(s.values), na_action="ignore").max()
    kept, far = list(methods), []
    for lowest in lows.sort_values(kind="stable").index:
        rest = [m for m in kept if m != lowest]
        if len(rest) < ENOUGH_LINES or lowest in keep:
            break
        low, high = min(0.0, lows[rest].min()), max(0.0, highs[rest].max())
        if lows[lowest] > low - OUTLYING * (high - low):
            break
        kept = rest
        far.append(lowest)
    return methods[kept], methods[far]


def _points_plot(
    methods: pd.DataFrame, looks: Mapping[str, Style], ticks: Mapping[float, str], labels: tuple[str, str], name: str, alt: str,
    level: Spread | None = None, zero: bool = False,
) -> Markup:  # fmt: skip
    """A line through the means of each method by x, and a small point for every seed; oversampling may be a level line."""
    with look():
        figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        axes = figure.add_subplot()
        if zero:
            axes.axhline(0, color=INK, linewidth=0.8)
        if level is not None:
            axes.axhline(level.mean, c=looks[REFERENCE].colour, ls=looks[REFERENCE].line, lw=1.4)
        if level is not None and level.sd is not None:
            axes.axhspan(level.mean - level.sd, level.mean + level.sd, color=looks[REFERENCE].colour, alpha=0.15, lw=0)
        x = sorted(ticks)
        # Two positions lie apart enough as they are, so that no step is more than a quarter of all.
        step = min([*np.diff(x).tolist(), (x[-1] - x[0]) / 4]) if len(x) > 1 else 1.0
        shifts = np.linspace(-0.2, 0.2, methods.shape[1]) * step if methods.shape[1] > 1 else [0.0]
        # Methods stand a little beside one another, so that points are seen.
        for shift, (column, own) in zip(shifts, methods.items(), strict=True):
            known, style = own.dropna(), looks[column.label]
            at = known.index.to_numpy() + shift
            axes.plot(at, [s.mean for s in known], style.marker, c=style.colour, ls=style.line, lw=1.5, ms=5.5)
            for position, values in ((position, s.values) for position, s in zip(at, known, strict=True) if s.n > 1):
                where = [position] * len(values)
                axes.plot(where, values, style.marker, c=style.colour, ms=3.2, alpha=0.55, mec=PAPER, mew=0.3)
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.set_xlim(x[0] - 0.45 * step, x[-1] + 0.45 * step)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        return svg(figure, name, alt)


def _rank_plot(found: Ranking, styles: Mapping[str, Style], name: str) -> Markup:
    """Mean ranks on a line, with a bar over methods that Nemenyi's test does not tell apart."""
    ranks, bound = dict(found.ranks), found.critical_difference
    pairs = pd.DataFrame([[found.nemenyi[a, b] for b in ranks] for a in ranks], list(ranks), list(ranks))
    said = (f"{label} {rank:.2f}" for label, rank in sorted(ranks.items(), key=lambda item: item[1]))
    with look():
        mpl.rcParams["axes.grid"] = False
        figure = Figure(figsize=(WIDTH, 1.3 + 0.2 * len(ranks)), layout="constrained")
        axes = figure.add_subplot()
        colours = {label: styles[label].colour for label in ranks}
        drawn = posthocs_module().critical_difference_diagram(
            ranks, pairs, ax=axes, color_palette=colours, crossbar_props={"color": INK, "marker": ""},
            text_h_margin=0.04 * len(ranks),
            label_fmt_left="{label} {rank:.2f}\N{NO-BREAK SPACE}", label_fmt_right="\N{NO-BREAK SPACE}{rank:.2f} {label}",
        )  # fmt: skip
        for text in drawn["labels"]:
            text.set_color(INK)
        for bar in (line for lines in drawn["crossbars"] for line in lines):
            bar.set_xdata(sorted(bar.get_xdata()))  # scikit-posthocs takes them in the order of a set
        first = min(ranks.values())
        axes.plot([first, first + bound], [1.9, 1.9], color=INK, linewidth=1)
        axes.text(first, 2.05, f"critical difference {bound:.2f}", va="bottom")
        return svg(figure, name, f"Mean ranks: {'; '.join(said)}")
