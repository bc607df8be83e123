"""Figures of a grid: the gain over oversampling by mu, the score by eps, and ranks over data sets."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from underdog.reporting.plots import INK, PAPER, WIDTH, Style, look, svg
from underdog.reporting.statistics import Ranking, posthocs_module

__all__ = ["Points", "on_scale", "points_plot", "rank_plot"]

#: A method that lies further below the others than so many times their range would flatten them.
OUTLYING = 1.0
ENOUGH_LINES = 3


@dataclass(frozen=True)
class Points:
    """A method in a plot: positions along x, and the values at each, one for every seed."""

    label: str
    style: Style
    x: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    @property
    def means(self) -> tuple[float, ...]:
        return tuple(float(np.mean(v)) for v in self.values)

    @property
    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest value."""
        return min(map(min, self.values)), max(map(max, self.values))


def on_scale(methods: Sequence[Points], keep: Container[str] = ()) -> tuple[list[Points], list[Points]]:
    """The methods that one scale can show, three of them at least, and those so far below that they would flatten these.

    Args:
        methods: in the order of the legend.
        keep: labels of methods that are shown wherever they lie.
    """
    kept, far = list(methods), []
    for lowest in sorted(methods, key=lambda m: m.extremes[0]):
        rest = [m for m in kept if m is not lowest]
        if len(rest) < ENOUGH_LINES or lowest.label in keep:
            break
        low, high = min(0.0, *(m.extremes[0] for m in rest)), max(0.0, *(m.extremes[1] for m in rest))
        if lowest.extremes[0] > low - OUTLYING * (high - low):
            break
        kept = rest
        far.append(lowest)
    return kept, far


def points_plot(
    methods: Sequence[Points],
    ticks: Mapping[float, str],
    labels: tuple[str, str],
    name: str,
    alt: str,
    level: Points | None = None,
    zero: bool = False,
) -> Markup:
    """A line through the means of each method, and a small point for every seed.

    Args:
        methods: in the order of the legend.
        ticks: position -> text along x.
        labels: of x and of y.
        name: unique on the page.
        alt: what a reader who cannot see the figure is told.
        level: a method without positions, drawn as a line at its mean and a band of one standard deviation.
        zero: whether to draw a line at 0.
    """
    with look():
        figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        axes = figure.add_subplot()
        if zero:
            axes.axhline(0, color=INK, linewidth=0.8)
        if level is not None:
            _level(axes, level)
        step = _step(list(ticks))
        for shift, method in zip(_shifts(len(methods), step), methods, strict=True):
            _method(axes, method, shift)
        axes.set_xticks(list(ticks), list(ticks.values()))
        axes.set_xlim(min(ticks) - 0.45 * step, max(ticks) + 0.45 * step)
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        return svg(figure, name, alt)


def _level(axes: Axes, level: Points) -> None:
    mean, values = level.means[0], level.values[0]
    axes.axhline(mean, color=level.style.colour, linestyle=level.style.line, linewidth=1.4)
    if len(values) > 1:
        sd = float(np.std(values, ddof=1))
        axes.axhspan(mean - sd, mean + sd, color=level.style.colour, alpha=0.15, linewidth=0)


def _step(ticks: Sequence[float]) -> float:
    """The smallest distance of two positions, but no more than a quarter of all: two lie apart enough as they are."""
    return min([*np.diff(sorted(ticks)).tolist(), (max(ticks) - min(ticks)) / 4]) if len(ticks) > 1 else 1.0


def _shifts(methods: int, step: float) -> list[float]:
    """Methods stand a little beside one another, so that points are seen."""
    return (np.linspace(-0.2, 0.2, methods) * step).tolist() if methods > 1 else [0.0]


def _method(axes: Axes, method: Points, shift: float) -> None:
    x, style = np.array(method.x) + shift, method.style
    axes.plot(x, method.means, style.marker, color=style.colour, linestyle=style.line, linewidth=1.5, markersize=5.5)
    for position, values in zip(x, method.values, strict=True):
        if len(values) > 1:
            axes.plot(
                [position] * len(values), values, style.marker, color=style.colour, markersize=3.2, alpha=0.55, mec=PAPER, mew=0.3
            )  # fmt: skip


def rank_plot(found: Ranking, styles: Mapping[str, Style], name: str) -> Markup:
    """Mean ranks on a line, with a bar over methods that Nemenyi's test does not tell apart.

    Raises:
        InputError: scikit-posthocs is not installed.
    """
    posthocs = posthocs_module()
    import pandas as pd  # noqa: PLC0415  (comes with the extra)

    labels = list(found.ranks)
    pairs = pd.DataFrame([[found.nemenyi[a, b] for b in labels] for a in labels], labels, labels)
    alt = "Mean ranks: " + "; ".join(
        f"{label} {rank:.2f}" for label, rank in sorted(found.ranks.items(), key=lambda r: r[1])
    )
    with look():
        mpl.rcParams["axes.grid"] = False
        figure = Figure(figsize=(WIDTH, 1.3 + 0.2 * len(labels)), layout="constrained")
        axes = figure.add_subplot()
        drawn = posthocs.critical_difference_diagram(
            dict(found.ranks),
            pairs,
            ax=axes,
            label_fmt_left="{label} {rank:.2f}\N{NO-BREAK SPACE}",
            label_fmt_right="\N{NO-BREAK SPACE}{rank:.2f} {label}",
            color_palette={label: styles[label].colour for label in labels},
            crossbar_props={"color": INK, "marker": ""},
            text_h_margin=0.04 * len(labels),
        )
        for text in drawn["labels"]:
            text.set_color(INK)
        first = min(found.ranks.values())
        axes.plot([first, first + found.critical_difference], [1.9, 1.9], color=INK, linewidth=1)
        axes.text(first, 2.05, f"critical difference {found.critical_difference:.2f}", va="bottom")
        return svg(figure, name, alt)
