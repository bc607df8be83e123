"""How images are to be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "Reading", "Size"]

#: (height, width) in pixels.
Size = tuple[int, int]

#: Called with a number of images more that are done.
Progress = Callable[[int], object]


@dataclass(frozen=True)
class Reading:
    """How images are to be read: what comes out depends on this and on the files alone.

    Args:
        size: (height, width) to bring images to: resized to fill it, the overhang cut off evenly. Needed
            where sizes differ or exceed 256; digits are enlarged to 16x16 without.
        skip_corrupt: leave out files that cannot be decoded, and count them in the notes.
        groups: "FILE.csv:IMAGE,GROUP", the table on disk or in the source whose column GROUP says what images
            belong together (a patient, a lesion, a video).
        allow_group_leak: accept groups that are in several of the source's own parts, and note it.

    >>> Reading(size=(48, 64)).skip_corrupt
    False
    """

    size: Size | None = None
    skip_corrupt: bool = False
    groups: str | None = None
    allow_group_leak: bool = False
