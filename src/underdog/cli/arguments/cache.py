"""The options that say where decoded images are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["cache_arguments"]


def cache_arguments(group: Any) -> None:
    """The options by which a command that reads images says where to keep them."""
    group.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="keep decoded images here for the next time; images that need more than a third of the memory available, or half "
        "of a GPU's, are read from here while training (default: the variable UNDERDOG_CACHE, or underdog's folder among "
        "the user's caches)",
    )  # fmt: skip
    group.add_argument(
        "--no-cache", action="store_true", help="decode images, and keep none; they then have to fit into memory"
    )
