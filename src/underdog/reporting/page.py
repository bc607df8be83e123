"""What all pages have in common."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from underdog.run.files import write_atomic

__all__ = ["environment", "write_page"]


def environment() -> Environment:
    """Templates that escape whatever they are given, and refuse names that they are not given."""
    return Environment(
        loader=PackageLoader("underdog", "reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def write_page(page: str, output: Path) -> None:
    """Write a page, whole or not at all."""
    # A lone surrogate in a name, which UTF-8 cannot say, must not cost the page.
    write_atomic(output, lambda path: path.write_text(page, encoding="utf-8", errors="replace"))
