"""What the figures say, in plain words that claim no more than they do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from underdog.reporting.summary import ENOUGH_SEEDS, Difference, Group, Spread, Variant, difference
from underdog.reporting.words import decimal, enumerated, interval, plural, signed

__all__ = ["CONTROL", "REFERENCES", "Verdict", "verdict"]

#: The methods that every other is held against.
REFERENCES: tuple[str, ...] = ("ros", "baseline")
#: What AOS is held against besides: the same alteration in no particular direction.
CONTROL = "noise"


@dataclass(frozen=True)
class Verdict:
    """A headline, and sentences that support and limit it."""

    headline: str
    details: tuple[str, ...]


def verdict(variant: Variant) -> Verdict:
    """Which method has the highest mean macro-F1, by how much, and how far that can be trusted.

    Methods are compared on the seeds that all of them have, where there are such.
    """
    compared, remark = _on_common_seeds(variant)
    ranked = sorted(compared.groups, key=lambda g: -g.macro_f1.mean)
    if len(ranked) == 1:
        return _alone(ranked[0])
    details = [
        *_against_references(ranked[0], compared),
        *_next(ranked),
        *_aos(ranked, compared),
        *_direction(ranked, compared),
        *_last(ranked),
        *remark,
    ]
    return Verdict(_headline(ranked, compared), (*details, *_limits(compared)))


def _on_common_seeds(variant: Variant) -> tuple[Variant, list[str]]:
    common = set(variant.keys).intersection(*({run.key for run in g.runs} for g in variant.groups))
    if len(common) == len(variant.keys):
        return variant, []
    if not common:
        return variant, ["No seed was run with every method, so the means compared here are of different seeds."]
    kept = [replace(g, runs=tuple(r for r in g.runs if r.key in common)) for g in variant.groups]
    remark = (
        f"Not every method was run with every seed; this verdict is on the {plural(len(common), 'seed')} that all have."
    )
    return replace(variant, groups=tuple(kept)), [remark]


def _alone(group: Group) -> Verdict:
    f1 = group.macro_f1
    return Verdict(
        f"{group.label} has a macro-F1 of {decimal(f1.mean)}{' with one seed' if f1.n == 1 else f' in the mean of {f1.n} seeds'}",
        ("No other method was run on this problem, so there is nothing to compare it with.",),
    )


def _of(n: int) -> str:
    return "macro-F1 with one seed" if n == 1 else f"mean macro-F1 of {n} seeds"


def _the(label: str) -> str:
    return f"the {label}" if label == "baseline" else label


def _headline(ranked: Sequence[Group], variant: Variant) -> str:
    best, second = ranked[:2]
    top = f"{_of(best.macro_f1.n)}, {decimal(best.macro_f1.mean)}"
    if best.macro_f1.mean == second.macro_f1.mean:
        tied = enumerated([g.label for g in ranked if g.macro_f1.mean == best.macro_f1.mean])
        return f"{tied} share the highest {top}"
    others = [g for name in REFERENCES if (g := variant.group(name)) is not None and g is not best] or [second]
    leads = [f"{decimal(best.macro_f1.mean - g.macro_f1.mean)} above {_the(g.label)}" for g in others]
    text = f"{best.label} has the highest {top}: {enumerated(leads)}"
    lead = difference(best, second)
    if lead is None or lead.spread.n == 1:
        return text
    return f"{text}, but its lead over {_the(second.label)} is within the spread" if lead.within_spread else text


def _against_references(best: Group, variant: Variant) -> list[str]:
    references = [g for name in REFERENCES if (g := variant.group(name)) is not None and g is not best]
    missing = [name for name in REFERENCES if variant.group(name) is None]
    found = [d for g in references if (d := difference(best, g)) is not None]
    return [*map(_sentence, found), *(f"{name} was not run." for name in missing)]


def _next(ranked: Sequence[Group]) -> list[str]:
    best, second = ranked[:2]
    if second.method in REFERENCES or best.macro_f1.mean == second.macro_f1.mean:
        return []
    found = difference(best, second)
    remark = ", the next" + (" and the control with a random direction" if second.method == CONTROL else "")
    return [_sentence(found, remark)] if found else [f"The next is {second.label}."]


def _aos(ranked: Sequence[Group], variant: Variant) -> list[str]:
    """Where AOS is not alone in first place, say so, and by how much."""
    ours = next((g for g in ranked if g.method == "aos"), None)
    if ours is None or ours is ranked[0]:
        return []
    tied = ours.macro_f1.mean == ranked[0].macro_f1.mean
    others = {g.label: g for g in (ranked[0], *filter(None, map(variant.group, REFERENCES)))}.values()
    found = [d for g in others if (d := difference(ours, g)) is not None]
    parts = [f"{signed(d.spread.mean)} against {_the(d.reference)}" for d in found]
    place = f"does not come first: it is number {ranked.index(ours) + 1} of {len(ranked)} by mean macro-F1"
    return [
        f"{ours.label} {'shares the first place' if tied else place}"
        f"{', with mean paired differences of ' + enumerated(parts) if parts else ''}."
    ]


def _direction(ranked: Sequence[Group], variant: Variant) -> list[str]:
    """Whether the gradient's direction matters, where that is not said already."""
    ours, control = variant.group("aos"), variant.group(CONTROL)
    if ours is None or control is None or [ours, control] == list(ranked[:2]):
        return []
    found = difference(ours, control)
    return [_sentence(found, ", the control with a random direction")] if found else []


def _last(ranked: Sequence[Group]) -> list[str]:
    """Where the choice of the epoch changes who is first, say so."""
    means = {g.label: Spread(tuple(run.last.macro_f1 for run in g.runs)).mean for g in ranked}
    first = max(means, key=lambda label: means[label])
    if means[first] == means[ranked[0].label]:
        return []
    return [
        f"At the last epoch, instead of the best by validation, {first} has the highest mean macro-F1 "
        f"({decimal(means[first])}; {ranked[0].label} {decimal(means[ranked[0].label])})."
    ]


def _sentence(difference: Difference, remark: str = "") -> str:
    start = f"{difference.label} against {_the(difference.reference)}{remark}: "
    values = difference.spread.values
    if len(values) == 1:
        return f"{start}{signed(values[0])}, with one seed, which cannot tell a lead from chance."
    points = f" ({', '.join(signed(v) for v in values)})" if len(values) <= 10 else ""
    text = f"{start}mean paired difference {signed(difference.spread.mean)}, n = {len(values)} seeds{points}"
    if bounds := difference.spread.interval:
        inside = "includes" if difference.within_spread else "does not include"
        return f"{text}; 95% interval {interval(bounds)}, which {inside} 0."
    return f"{text}; {_agreement(difference)}."


def _agreement(difference: Difference) -> str:
    values, sd = difference.spread.values, difference.spread.sd or 0.0
    if min(values) <= 0 <= max(values):
        return "the seeds disagree on the sign" if min(values) < 0 < max(values) else "not every seed differs"
    side = "above" if difference.spread.mean > 0 else "below"
    if difference.within_spread:
        return f"{side} 0 with every seed, yet no larger than its standard deviation of {decimal(sd)}"
    return f"{side} 0 with every seed"


def _limits(variant: Variant) -> list[str]:
    n, tested = len(variant.keys), variant.runs[0].part == "test"
    few = f"With fewer than {ENOUGH_SEEDS} seeds no interval is given: it would suggest more certainty than there is."
    enough = "The intervals are Student's, of the paired differences, and not corrected for several comparisons."
    return [
        *(
            []
            if tested
            else ["These are scores on the validation images by which the epoch was chosen, so they are too high."]
        ),
        *_hindsight(variant),
        few if n < ENOUGH_SEEDS else enough,
        *([_varied(variant, tested)] if n > 1 else []),
    ]


def _hindsight(variant: Variant) -> list[str]:
    """A method that appears with several eps or tau has more chances to be first."""
    times = Counter(group.method for group in variant.groups)
    several = [method for method in times if times[method] > 1]
    verb = "is" if len(several) == 1 else "are"
    text = f"{enumerated(several)} {verb} here with several settings; to pick the best of them by these images flatters it."
    return [text] if several else []


def _varied(variant: Variant, tested: bool) -> str:
    """What differs from seed to seed, and so is in the spread."""
    drawn = len({key.data_seed for key in variant.keys}) > 1
    what = (
        "the first weights, the order of images and whatever is drawn of the data vary"
        if drawn
        else "the first weights and the order of images vary, the data does not"
    )
    folded = len({key.fold for key in variant.keys}) > 1
    held = "; the test images are the same, so the spread leaves out what other test images would do" if tested else ""
    if folded:
        held = "; every fold tests on other images, and folds share most of their training images, so intervals are too narrow"
    return f"From seed to seed {what}{held}."
