"""How images are to be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from underdog.errors import unknown
from underdog.names import LAYOUTS, RESIZES

__all__ = ["Progress", "Reading", "Size"]

#: (height, width) in pixels.
Size = tuple[int, int]

#: Called with a number of images more that are done.
Progress = Callable[[int], object]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How images are to be read: what comes out depends on this and on the files alone.

    Args:
        size: (height, width) to bring images to. Needed where sizes differ or exceed 256; digits are enlarged
            to 16x16 by default.
        resize: how to do so where the shape differs: "crop" fills the size and cuts the overhang off evenly, "pad"
            fits into it and adds black on both sides, "squash" changes the proportions.
        skip_corrupt: leave out files that cannot be decoded, and count them in the notes.
        layout: what top folders are: "classes", or "split" for train/, val/ and test/ with class folders in each; "auto"
            tells by their names, and asks where these leave a doubt.
        labels: "FILE.csv:IMAGE,LABEL", the table on disk or in the source whose column LABEL has each image's class,
            instead of the folder it lies in; "split" folders keep their meaning.
        groups: "FILE.csv:IMAGE,GROUP", the table on disk or in the source whose column GROUP says what images
            belong together (a patient, a lesion, a video).
        allow_group_leak: accept groups that are in several of the source's own parts, and note it.

    Raises:
        InputError: no such layout or way to resize.

    >>> Reading(size=(48, 64)).skip_corrupt
    False
    """

    size: Size | None = None
    resize: str = "crop"
    skip_corrupt: bool = False
    layout: str = "auto"
    labels: str | None = None
    groups: str | None = None
    allow_group_leak: bool = False

    def __post_init__(self) -> None:
        if self.resize not in RESIZES:
            raise unknown("resize", self.resize, RESIZES)
        if self.layout not in LAYOUTS:
            raise unknown("layout", self.layout, LAYOUTS)
