"""Numbers and lists as readers expect them."""

from __future__ import annotations

from collections.abc import Sequence

from underdog.decision.bootstrap import Interval
from underdog.reporting.summary import Spread

__all__ = [
    "MINUS",
    "MISSING",
    "bounds",
    "decimal",
    "duration",
    "enumerated",
    "estimate",
    "interval",
    "percent",
    "plural",
    "probability",
    "signed",
    "spread",
    "thousands",
]

MINUS = "\N{MINUS SIGN}"
MISSING = "\N{EN DASH}"


def decimal(value: float, digits: int = 3) -> str:
    """A number with fixed decimal places.

    >>> decimal(-0.25), decimal(-0.0001)
    ('\N{MINUS SIGN}0.250', '0.000')
    """
    text = f"{abs(value):.{digits}f}"
    return f"{MINUS}{text}" if value < 0 and float(text) else text


def signed(value: float, digits: int = 3) -> str:
    """A difference, with its sign.

    >>> signed(0.25), signed(-0.25)
    ('+0.250', '\N{MINUS SIGN}0.250')
    """
    text = decimal(value, digits)
    return text if text.startswith(MINUS) or not float(text) else f"+{text}"


def spread(values: Spread | None, digits: int = 3, sign: bool = False) -> str:
    """Mean and standard deviation; the mean alone of a single value; a dash where there is none.

    >>> spread(Spread((0.9, 1.0))), spread(Spread((0.9,))), spread(None)
    ('0.950 ± 0.071', '0.900', '\N{EN DASH}')
    """
    if values is None:
        return MISSING
    mean = (signed if sign else decimal)(values.mean, digits)
    return mean if values.sd is None else f"{mean} ± {decimal(values.sd, digits)}"


def interval(bounds: tuple[float, float] | None) -> str:
    """A pair of bounds, or a dash."""
    return MISSING if bounds is None else f"{signed(bounds[0])} to {signed(bounds[1])}"


def estimate(found: Interval | None, sign: bool = False) -> str:
    """A result on test images, or a dash where it is not defined.

    >>> estimate(Interval(0.5, 0.4, 0.6, 2000)), bounds(Interval(0.5, 0.4, 0.6, 2000)), estimate(None)
    ('0.500', '0.400 to 0.600', '\N{EN DASH}')
    """
    if found is None or found.value is None:
        return MISSING
    return (signed if sign else decimal)(found.value)


def bounds(found: Interval | None, sign: bool = False) -> str:
    """The interval of a result, empty where there is none."""
    if found is None or found.value is None or found.low is None or found.high is None:
        return ""
    return " to ".join(map(signed if sign else decimal, (found.low, found.high)))


def percent(share: float) -> str:
    """A share as a percentage.

    >>> percent(0.8), percent(0.925)
    ('80%', '92.5%')
    """
    return f"{100 * share:.4g}%"


def probability(p: float) -> str:
    """A share in percent that is never rounded up to certainty.

    >>> probability(0.99991), probability(0.981)
    ('>99.9%', '98.1%')
    """
    return ">99.9%" if 0.9995 < p < 1 else f"{100 * p:.1f}%"


def thousands(value: float) -> str:
    """A count, its digits in groups of three.

    >>> thousands(1234567.0)
    '1,234,567'
    """
    return f"{value:,.0f}"


def plural(n: int, noun: str, nouns: str = "") -> str:
    """A count of things.

    >>> plural(1, "seed"), plural(3000, "seed"), plural(2, "class", "classes")
    ('1 seed', '3,000 seeds', '2 classes')
    """
    return f"{n:,} {noun if n == 1 else nouns or noun + 's'}"


def enumerated(items: Sequence[str]) -> str:
    """Items in a sentence.

    >>> enumerated(["a", "b", "c"])
    'a, b and c'
    """
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(44), duration(100), duration(9000)
    ('44 s', '1 min 40 s', '2 h 30 min')
    """
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    if hours:
        return f"{hours} h {m} min"
    return f"{minutes} min {s} s" if minutes else f"{s} s"
