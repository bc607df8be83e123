"""What is not installed with underdog itself."""

from __future__ import annotations

import importlib
import os

import pytest


def needs(*modules: str) -> None:
    """Skip what follows where a module is not installed; with UNDERDOG_EXTRAS=all that is an error."""
    for module in modules:
        if os.environ.get("UNDERDOG_EXTRAS") == "all":
            importlib.import_module(module)
        else:
            pytest.importorskip(module)
