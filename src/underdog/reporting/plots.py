"""Figures as inline SVG."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullFormatter

from underdog.reporting.decision import RECALLS
from underdog.reporting.summary import Spread

__all__ = ["Style", "curve_plot", "dot_plot", "look", "recall_plot", "styles", "svg"]

#: Stand-ins that become the page's own colours, so that figures follow its light or dark scheme.
INK, RULE, PAPER = "#0b0c0d", "#e1e2e3", "#fafbfc"
PAGE_COLOURS = {INK: "var(--ink)", RULE: "var(--rule)", PAPER: "var(--paper)"}
WIDTH = 4.7  # inches: text stays readable when a telephone shrinks the figure
SMALL = (3.1, 2.55)
INSIDE = (0.18, 0.18, 0.75, 0.79)  # left, bottom, width and height of small axes: numbers from 0 to 1 always fit
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "underdog",  # ids that are the same every time
    "svg.fonttype": "none",
    "font.size": 9.5,
    "text.parse_math": False,
    "text.color": INK,
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
}

#: A colour, a marker and a dash for each method. The colours are Okabe and Ito's, which colour-blind readers can tell apart;
#: yellow, too pale on white, is a brown here.
LOOKS: dict[str, tuple[str, str, tuple[float, ...]]] = {
    "baseline": ("#7d8288", "o", (1, 1.4)),
    "class-weighted": ("#3a9bd9", "v", (5, 1.5, 1, 1.5)),
    "balanced-softmax": ("#8a6d1f", "P", (7, 2)),
    "rus": ("#c4689a", "^", (2, 2)),
    "ros": ("#0072b2", "s", ()),
    "smote": ("#009e73", "D", (4, 1.5)),
    "noise": ("#e08e00", "X", (3, 1, 1, 1)),
    "aos": ("#d55e00", "o", ()),
}
#: What other methods take in turn, in the order in which they come. The numbers have no common factor, so that a figure needs
#: 60 such methods before two look alike.
COLOURS = ("#7b61c9", "#22a39f", "#8f8f1f", "#a8345f", "#5a8f3c")
MARKERS = ("<", "p", ">", "*")
DASHES = ((9, 2, 2, 2), (3, 3), (6, 1.5, 1, 1.5, 1, 1.5))
#: How far towards black the second, third, ... setting of one method goes.
SHADES = (0.0, 0.35, 0.6, 0.2, 0.5)


@dataclass(frozen=True)
class Style:
    """How a method looks in every figure; an empty dash is a solid line."""

    colour: str
    marker: str
    dash: tuple[float, ...]

    @property
    def line(self) -> str | tuple[float, tuple[float, ...]]:
        return (0, self.dash) if self.dash else "-"


def styles(methods: Sequence[tuple[str, str]]) -> dict[str, Style]:
    """A style for every (label, method); later settings of the same method are darker."""
    others = [method for method in dict.fromkeys(method for _, method in methods) if method not in LOOKS]
    looks = LOOKS | {m: (COLOURS[i % 5], MARKERS[i % 4], DASHES[i % 3]) for i, m in enumerate(others)}
    seen = Counter[str]()
    found = {}
    for label, method in methods:
        colour, marker, dash = looks[method]
        found[label] = Style(_darker(colour, SHADES[seen[method] % len(SHADES)]), marker, dash)
        seen[method] += 1
    return found


def _darker(colour: str, shade: float) -> str:
    return "#" + "".join(f"{round(int(colour[i : i + 2], 16) * (1 - shade)):02x}" for i in (1, 3, 5))


def dot_plot(
    rows: Mapping[str, Spread], looks: Mapping[str, Style], xlabel: str, name: str, alt: str, differences: bool = False
) -> Markup:
    """A row for each method: a point for every seed, and a bar at their mean.

    Args:
        rows: the values of each method, from top to bottom.
        looks: of the methods.
        xlabel: name of the values.
        name: unique on the page.
        alt: what a reader who cannot see the figure is told.
        differences: whether to draw a line at 0, and one for each interval that there is.
    """
    with look():
        figure = Figure(figsize=(WIDTH, 0.75 + 0.34 * len(rows)), layout="constrained")
        axes = figure.add_subplot()
        if differences:
            axes.axvline(0, color=INK, linewidth=0.8)
        for y, (label, values) in enumerate(rows.items()):
            _row(axes, y, values, looks[label], values.interval if differences else None)
        axes.set_yticks(range(len(rows)), list(rows))
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.grid(axis="x")
        axes.set_axisbelow(True)
        axes.set_xlabel(xlabel)
        return svg(figure, name, alt)


@contextmanager
def look() -> Iterator[None]:
    """The page's settings, and for the rest matplotlib's own, whatever the user's are."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(SETTINGS)
        yield


def _row(axes: Axes, y: int, spread: Spread, style: Style, interval: tuple[float, float] | None) -> None:
    # Seeds lie a little above one another, so that equal values are seen.
    heights = y + np.linspace(-0.2, 0.2, spread.n) if spread.n > 1 else np.array([float(y)])
    if interval is not None:
        axes.plot(interval, [y, y], color=style.colour, linewidth=1.4)
    axes.plot([spread.mean, spread.mean], [y - 0.32, y + 0.32], color=style.colour, linewidth=2.2)
    axes.plot(spread.values, heights, style.marker, color=style.colour, markersize=4.8, alpha=0.7, mec=PAPER, mew=0.4)


def curve_plot(
    methods: Mapping[str, Sequence[Sequence[float]]],
    looks: Mapping[str, Style],
    ylabel: str,
    name: str,
    alt: str,
    log: bool = False,
) -> Markup:
    """(n, T) values of each method by seed and epoch: a thin line for every seed and a thick one for their mean.

    Arguments as ``dot_plot``; ``log`` asks for a logarithmic scale, which values of 0 do without.
    """
    with look():
        figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        axes = figure.add_subplot()
        for label, own in methods.items():
            values, style = np.array(own), looks[label]
            epochs = np.arange(1, values.shape[1] + 1)
            marker = "o" if len(epochs) == 1 else ""
            for seed in values if len(values) > 1 else ():
                axes.plot(epochs, seed, marker=marker, color=style.colour, linewidth=0.6, alpha=0.3)
            mean = values.mean(0)
            axes.plot(epochs, mean, marker=marker, color=style.colour, linestyle=style.line, linewidth=1.6)
        everything = np.concatenate([np.ravel(own) for own in methods.values()])
        if log and everything.min() > 0:
            _log_scale(axes, everything.max() / everything.min())
            ylabel += ", log scale"
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid()
        axes.set_axisbelow(True)
        axes.set_xlabel("epoch")
        axes.set_ylabel(ylabel)
        return svg(figure, name, alt)


def _log_scale(axes: Axes, ratio: float) -> None:
    """Plain numbers on a logarithmic y axis; also 2 and 5 where it spans less than two decades."""
    plain = FuncFormatter(lambda y, _: f"{y:g}")
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(plain)
    axes.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    axes.yaxis.set_minor_formatter(plain if ratio < 100 else NullFormatter())


def recall_plot(
    methods: Mapping[str, Sequence[float]],
    looks: Mapping[str, Style],
    share: float,
    target: float,
    name: str,
    alt: str,
) -> Markup:
    """Precision against recall of one class, a line for each method.

    Args:
        methods: the precision of each at ``RECALLS``.
        looks: of the methods.
        share: of the class among the images, which is the precision of guessing.
        target: a precision, drawn as a dashed line.
        name: unique on the page.
        alt: what a reader who cannot see the figure is told.
    """
    with look():
        figure = Figure(figsize=SMALL)
        axes = figure.add_axes(INSIDE)
        axes.axhline(target, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.axhline(share, color=INK, linewidth=0.6)
        for label, precision in methods.items():
            style = looks[label]
            axes.plot(RECALLS, precision, color=style.colour, linestyle=style.line, linewidth=1.5, clip_on=False)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MultipleLocator(0.2))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.grid()
        axes.set_axisbelow(True)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        return svg(figure, name, alt)


def svg(figure: Figure, name: str, alt: str) -> Markup:
    """The figure as an element of a page: no prologue, no metadata, no address, ids of its own, the page's colours."""
    buffer = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(buffer, format="svg", facecolor="none", metadata=metadata)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>{name}-", text)
    for colour, variable in PAGE_COLOURS.items():
        text = text.replace(colour, variable)
    # The text comes from matplotlib, which escapes what it is given.
    return Markup(text.replace("<svg ", Markup('<svg role="img" aria-label="{}" ').format(escape(alt)), 1))
