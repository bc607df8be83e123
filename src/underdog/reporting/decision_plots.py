"""Precision-recall curves as small multiples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from underdog.decision.curves import PrecisionRecall
from underdog.reporting.plots import INK, Style, look, svg

__all__ = ["GRID", "Trace", "mean_precision", "recall_plot"]

#: Recalls at which curves of several seeds are averaged.
GRID = np.linspace(0, 1, 101)[1:]
SIZE = (3.1, 2.55)  # inches
INSIDE = (0.18, 0.18, 0.75, 0.79)  # left, bottom, width and height of the axes: numbers from 0 to 1 always fit


@dataclass(frozen=True, eq=False)
class Trace:
    """A method in a plot of precision against recall: its precision at each recall of ``GRID``."""

    style: Style
    precision: npt.NDArray[np.float64]


def mean_precision(curves: Sequence[PrecisionRecall]) -> npt.NDArray[np.float64]:
    """(100,) precisions at the first threshold that reaches each recall of ``GRID``, in the mean of some curves."""
    return np.asarray(np.mean([c.precision[np.searchsorted(c.recall, GRID - 1e-9)] for c in curves], axis=0))


def recall_plot(traces: Sequence[Trace], share: float, target: float, name: str, alt: str) -> Markup:
    """Precision against recall of one class, a line for each method.

    Args:
        traces: the methods.
        share: of the class among the images, which is the precision of guessing.
        target: a precision, drawn as a dashed line.
        name: unique on the page.
        alt: what a reader who cannot see the figure is told.
    """
    with look():
        figure = Figure(figsize=SIZE)
        axes = figure.add_axes(INSIDE)
        axes.axhline(target, color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
        axes.axhline(share, color=INK, linewidth=0.6)
        for trace in traces:
            axes.plot(
                GRID,
                trace.precision,
                color=trace.style.colour,
                linestyle=trace.style.line,
                linewidth=1.5,
                clip_on=False,
            )
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MultipleLocator(0.2))
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.grid()
        axes.set_axisbelow(True)
        axes.set_xlabel("recall")
        axes.set_ylabel("precision")
        return svg(figure, name, alt)
