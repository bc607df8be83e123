"""Figures are well-formed, harmless and the same every time."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import matplotlib as mpl
import pytest
from fake_runs import HOSTILE

from underdog.methods.table import METHODS
from underdog.reporting.plots import Style, curve_plot, dot_plot, styles
from underdog.reporting.summary import Spread

STYLE = Style("#d55e00", "o", (2, 1))


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(f'<root xmlns:xlink="x">{svg}</root>')


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in parsed(svg).iter("text")]


def test_any_label_is_drawn_as_it_is() -> None:
    names = [name for name in HOSTILE if name.isascii() and len(name) < 50]
    svg = dot_plot({n: Spread((0.1, 0.2)) for n in names}, dict.fromkeys(names, STYLE), "$x_1$ <b>", "f", 'a "b" <c>')
    assert set(names) <= set(texts(svg))
    assert "$x_1$ <b>" in texts(svg)
    assert parsed(svg)[0].get("aria-label") == 'a "b" <c>'


def test_a_point_for_every_seed() -> None:
    svg = dot_plot({"a": Spread((0.1, 0.2, 0.4, 0.3, 0.2))}, {"a": STYLE}, "x", "f", "alt", differences=True)
    assert len(list(parsed(svg).iter("use"))) >= 5
    assert "var(--ink)" in svg
    assert "http" not in svg


def test_figures_do_not_depend_on_the_users_settings() -> None:
    lines = {"a": [(1.0, 0.1), (0.5, 0.05)]}
    plain = curve_plot(lines, {"a": STYLE}, "loss", "f", "alt", log=True)
    with mpl.rc_context({"font.size": 30, "axes.grid": True, "axes.facecolor": "red", "svg.fonttype": "path"}):
        assert curve_plot(lines, {"a": STYLE}, "loss", "f", "alt", log=True) == plain
    assert "0.1" in texts(plain)


@pytest.mark.parametrize("values", [((0.0, 0.0),), ((1.0,), (2.0,)), ((0.5, 0.5, 0.5),)])
def test_odd_curves(values: tuple[tuple[float, ...], ...]) -> None:
    figure = curve_plot({"a": values}, {"a": STYLE}, "loss", "f", "alt", log=True)
    assert "epoch" in texts(figure)
    assert "nan" not in figure.lower()


def test_every_method_has_its_own_look() -> None:
    looks = styles([(m, m) for m in METHODS] + [("aos again", "aos")])
    assert len({(s.colour, s.dash) for s in looks.values()}) == len(METHODS) + 1
    assert styles([("aos", "aos")])["aos"] == looks["aos"]


def test_any_other_method_takes_the_next_look() -> None:
    sums = [f"aos+sum{n}" for n in range(60)]
    looks = styles([("ros", "ros"), *((m, m) for m in sums), ("again", sums[0])])
    assert len({(s.colour, s.marker, s.dash) for s in looks.values()}) == 62
    assert looks["ros"] == styles([("ros", "ros")])["ros"]
    assert (looks["again"].marker, looks["again"].dash) == (looks[sums[0]].marker, looks[sums[0]].dash)
    assert looks["again"].colour != looks[sums[0]].colour
    assert styles([("mine.halve:method", "mine.halve:method"), ("ros", "ros")])["mine.halve:method"] == looks[sums[0]]
    assert styles([(m, m) for m in [*sums, *(f"m{n}" for n in range(60))]])  # more than there are looks
