"""Look at a source of images before anything is trained on it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from underdog.data.archive import open_members
from underdog.data.decode import LARGEST
from underdog.data.folders import Listing
from underdog.data.images import ImageSet
from underdog.data.imbalance import imbalance_ratio, minority_by_count, minority_share
from underdog.data.prepare import Division, Prepared, prepare
from underdog.data.reading import Progress, Reading, Size
from underdog.data.sources import Source, find_files, load_images
from underdog.errors import InputError
from underdog.inspect.inspection import WHOLE, Balance, Corrupt, Equal, Groups, ImagePlace, Inspection, Sample
from underdog.inspect.survey import Look, survey, survey_pixels
from underdog.paths import existing_source

__all__ = ["inspect_images"]

#: In this order.
PARTS = (WHOLE, "train", "val", "test")
#: Sample images of each class, and of all classes together, at most.
SAMPLES, ALL_SAMPLES = 8, 800
#: The longer side of the size that is suggested for images of many sizes: small networks learn from little more.
SUGGESTED = 64

#: What a run would have, where the source can be divided, and remarks on it.
_Remaining = tuple[Balance | None, tuple[str, ...]]


@dataclass(frozen=True)
class _Survey:
    """All images of a source, in the order in which they are loaded, with what was seen of each or why nothing was."""

    name: str
    classes: tuple[str, ...]
    found: tuple[tuple[ImagePlace, Look | str], ...]
    samples: frozenset[ImagePlace]
    notes: tuple[str, ...]

    @property
    def seen(self) -> Iterator[tuple[ImagePlace, Look]]:
        """Those that can be decoded."""
        return ((place, look) for place, look in self.found if not isinstance(look, str))


def inspect_images(
    source: str | Path,
    reading: Reading | None = None,
    progress: Progress = lambda images: None,
    data_seed: int = 0,
    rho: float | None = None,
    mu: float | None = None,
    minority: Iterable[str] | None = None,
    division: Division | None = None,
    majority_size: int | None = None,
) -> Inspection:
    """Look at every image of a source: what there is, what is wrong with it, and what a run would make of it.

    Files that cannot be decoded, images of several sizes, equal images and groups in several parts are found, not
    refused. Every image is decoded once, in full size, and none is kept.

    Args:
        source: whatever ``load_images`` reads.
        reading: tables and layout; images are looked at as they are stored, whatever its size.
        progress: called with the number of images as they are decoded.
        data_seed, rho, mu, minority, division, majority_size: as for ``prepare``, to say what would remain.

    Raises:
        InputError: no such source, no images in it, a single class, a table that does not fit; rho, mu or names of
            classes that ``prepare`` refuses, before anything is decoded.

    >>> digits = inspect_images("digits", rho=20, mu=0.6)
    >>> round(digits.balance.rho, 2), round(digits.remaining.rho, 2), sorted(digits.remaining.counts["train"])[4:8]
    (1.05, 20.83, [6, 6, 125, 125])
    """
    reading = reading or Reading()
    named = None if minority is None else tuple(minority)
    drawn = None if rho is None else f"they were drawn at random, with data seed {data_seed}"
    why = drawn if named is None else "they were named"

    def remaining(outline: Source) -> _Remaining:
        return _remaining(outline, why, lambda: prepare(outline, data_seed, rho, mu, named, division, majority_size))

    if str(source) != "digits":
        path = existing_source(source)
        with open_members(path) as members:
            files = find_files(path, members, reading)
            if isinstance(files, Listing):
                return _inspection(_survey_files(files, reading, progress, remaining), reading, remaining)
    # As stored: digits have 8x8 pixels before they are enlarged.
    stored = load_images(source, replace(reading, size=(8, 8) if str(source) == "digits" else None), progress)
    return _inspection(_survey_pixels(stored), reading, remaining)


# The images


def _survey_files(
    listing: Listing, reading: Reading, progress: Progress, remaining: Callable[[Source], _Remaining]
) -> _Survey:
    places = [ImagePlace(str(f.member.path), f.part or WHOLE, f.label, f.group) for f in listing.files]
    order = sorted(range(len(places)), key=lambda n: listing.files[n].member.path)
    in_order, classes = [places[n] for n in order], listing.classes
    remaining(_outline(listing.name, in_order, classes))  # a wrong setting fails before the work
    samples = _samples(in_order)
    wanted = {n for n, place in enumerate(places) if place in samples}
    looks = survey([f.member for f in listing.files], wanted, reading, progress)
    if all(isinstance(look, str) for look in looks):
        raise InputError(f"none of the {len(looks)} images can be decoded, such as {places[0].path}: {looks[0]}")
    return _Survey(listing.name, classes, tuple((places[n], looks[n]) for n in order), samples, listing.notes)


def _survey_pixels(source: Source) -> _Survey:
    own = source.parts if len(source.parts) > 1 else {WHOLE: source.train}
    classes = source.train.classes
    places = [
        ImagePlace(str(name), part, classes[label])
        for part, images in own.items()
        for name, label in zip(images.names, images.labels.tolist(), strict=True)
    ]
    samples = _samples(places)
    looks = survey_pixels(list(own.values()), {n for n, place in enumerate(places) if place in samples})
    return _Survey(source.name, classes, tuple(zip(places, looks, strict=True)), samples, source.notes)


def _samples(places: Sequence[ImagePlace]) -> frozenset[ImagePlace]:
    """The training images to show, spread evenly over each class."""
    by_class = defaultdict(list)
    for place in places:
        if place.part in (WHOLE, "train"):
            by_class[place.label].append(place)
    each = min(SAMPLES, max(1, ALL_SAMPLES // max(1, len(by_class))))
    return frozenset(
        own[n] for own in by_class.values() for n in np.linspace(0, len(own) - 1, each).round().astype(int).tolist()
    )


# What they add up to


def _inspection(survey: _Survey, reading: Reading, remaining: Callable[[Source], _Remaining]) -> Inspection:
    places, looks = [p for p, _ in survey.seen], [look for _, look in survey.seen]
    outline = _outline(survey.name, places, survey.classes)
    left, remarks = remaining(outline)
    sizes = Counter(look.size for look in looks)
    suggested = None if reading.size else _suggested(sizes)
    corrupt = tuple(Corrupt(place, look) for place, look in survey.found if isinstance(look, str))
    equal, groups = _equal(survey), _groups(places, survey.classes)
    return Inspection(
        name=survey.name,
        classes=survey.classes,
        images=len(places),
        sizes=dict(sizes.most_common()),
        formats=dict(Counter(look.format for look in looks).most_common()),
        modes=dict(Counter(look.mode for look in looks).most_common()),
        suggested_size=suggested,
        balance=_balance(_counts(places, survey.classes), outline.train),
        remaining=left,
        equal=equal,
        corrupt=corrupt,
        groups=groups,
        samples=_shown(survey),
        notes=survey.notes,
        warnings=(*_warnings(suggested, corrupt, equal, groups, {p.part for p in places}), *remarks),
    )


def _counts(places: Sequence[ImagePlace], classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    counted = Counter((p.part, p.label) for p in places)
    parts = [part for part in PARTS if any(part == p for p, _ in counted)]
    return {part: tuple(counted[part, c] for c in classes) for part in parts}


def _outline(name: str, places: Sequence[ImagePlace], classes: tuple[str, ...]) -> Source:
    """The source with one black pixel for each image: all that is needed to divide it."""
    number = {c: k for k, c in enumerate(classes)}

    def collect(part: str) -> ImageSet | None:
        own = [p for p in places if p.part == part]
        if not own:
            return None
        labels = torch.tensor([number[p.label] for p in own])
        groups = np.array([p.group for p in own]) if own[0].group else None
        return ImageSet(torch.zeros(len(own), 1, 1, 1, dtype=torch.uint8), labels, classes, groups)

    train = collect("train") or collect(WHOLE)
    if train is None:
        raise InputError(f"source {name!r} has no image in its training part that can be decoded")
    return Source(name, train, collect("val"), collect("test"))


def _remaining(outline: Source, why: str | None, use: Callable[[], Prepared]) -> _Remaining:
    """What a run would have, and remarks on it; nothing where the source itself, without any wishes, is refused.

    Raises:
        InputError: the source could be used, but not as is wished.
    """
    try:
        prepare(outline)
    except InputError as error:
        return None, (f"no run can be made of this source: {error}",)
    split = use().split
    counts = {"train": split.train.counts, "val": split.val.counts}
    if split.test is not None:
        counts["test"] = split.test.counts
    return _balance(counts, split.train, why), split.notes


def _balance(counts: dict[str, tuple[int, ...]], train: ImageSet, why: str | None = None) -> Balance:
    labels = train.labels.numpy()
    rare = minority_by_count(train.counts) if train.minority is None else train.minority
    return Balance(
        counts=counts,
        rho=imbalance_ratio(labels),
        mu=minority_share(labels, rare),
        minority=tuple(train.classes[k] for k in sorted(rare)),
        why=why or _why(train),
    )


def _why(train: ImageSet) -> str:
    """What makes classes rare where nobody has said which are."""
    largest = int(np.argmax(train.counts))
    have = "they have" if minority_by_count(train.counts) else "no class has"
    return f"{have} at most half of the {train.counts[largest]:,} images of {train.classes[largest]}, the largest class"


def _suggested(sizes: Counter[Size]) -> Size | None:
    """A size for images that need one: the one that most of them have, or a small one of their middle shape."""
    (common, often), largest = sizes.most_common(1)[0], max(map(max, sizes))
    if len(sizes) == 1 and largest <= LARGEST:
        return None
    if 2 * often > sizes.total() and max(common) <= LARGEST:
        return common
    h, w = np.median(list(sizes.elements()), axis=0)
    if max(h, w) < 1.1 * min(h, w):
        h = w = max(h, w)
    scale = min(1, SUGGESTED / max(h, w))
    return max(1, round(h * scale)), max(1, round(w * scale))


def _equal(survey: _Survey) -> tuple[Equal, ...]:
    sets = defaultdict(list)
    for place, look in survey.seen:
        sets[look.digest].append((place, look.thumbnail))
    found = [
        Equal(tuple(p for p, _ in own), next((t for _, t in own if t is not None), None))
        for own in sets.values()
        if len(own) > 1
    ]
    return tuple(sorted(found, key=lambda e: (not e.labels_differ, not e.across_parts, e.places[0].path)))


def _groups(places: Sequence[ImagePlace], classes: Sequence[str]) -> Groups | None:
    own = defaultdict(list)
    for place in places:
        if place.group:
            own[place.group].append(place)
    if not own:
        return None
    parts = {g: tuple(sorted({p.part for p in members}, key=PARTS.index)) for g, members in own.items()}
    labels = {g: {p.label for p in members} for g, members in own.items()}
    counted = Counter(label for of in labels.values() for label in of)
    return Groups(
        count=len(own),
        largest=max(map(len, own.values())),
        per_class=tuple(counted[c] for c in classes),
        across_parts={g: parts[g] for g in sorted(own) if len(parts[g]) > 1},
        of_several_classes=tuple(g for g in sorted(own) if len(labels[g]) > 1),
    )


def _shown(survey: _Survey) -> dict[str, tuple[Sample, ...]]:
    shown: dict[str, list[Sample]] = {c: [] for c in survey.classes}
    for place, look in survey.seen:
        if place in survey.samples and look.thumbnail is not None:
            shown[place.label].append(Sample(place, look.thumbnail))
    return {c: tuple(own) for c, own in shown.items()}


def _warnings(
    suggested: Size | None, corrupt: Sequence[Corrupt], equal: Sequence[Equal], groups: Groups | None, parts: set[str]
) -> Iterator[str]:
    """What should be looked at before anything is trained."""
    if suggested is not None:
        h, w = suggested
        size = f"--size {w}" if h == w else f"--size {w}x{h}"
        yield f"images differ in size or exceed {LARGEST} pixels: say which size to bring them to, such as {size}"
    if corrupt:
        yield f"{_many(len(corrupt), 'file')} cannot be decoded: --skip-corrupt leaves such files out"
    if n := sum(e.labels_differ for e in equal):
        yield f"{_many(n, 'set')} of equal images with different labels: at least one label of each is wrong"
    if n := sum(e.across_parts for e in equal):
        yield f"{_many(n, 'set')} of equal images in several parts: scores on them flatter"
    if "val" not in parts and (n := sum(_may_part(e) for e in equal)):
        yield (
            f"{_many(n, 'set')} of equal images that may be divided between training and held-out images, whose scores "
            "then flatter: --groups keeps together what it names alike"
        )
    if groups is not None and (n := len(groups.across_parts)):
        yield f"{_many(n, 'group')} in several parts: refused without --allow-group-leak, because scores on them flatter"


def _may_part(equal: Equal) -> bool:
    """Whether several of these images are to be divided, and no group keeps them together."""
    divided = [p.group for p in equal.places if p.part in (WHOLE, "train")]
    return len(divided) > 1 and (len(set(divided)) > 1 or not divided[0])


def _many(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'s' * (n != 1)}"
