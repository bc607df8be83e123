"""What is not installed with underdog itself."""

from __future__ import annotations

import importlib
import os
from typing import Any

import pytest


def needs(*modules: str) -> Any:
    """The last of these modules, if any; where one is not installed, what follows is skipped, or fails with UNDERDOG_EXTRAS=all."""
    required = os.environ.get("UNDERDOG_EXTRAS") == "all"
    found = [importlib.import_module(name) if required else pytest.importorskip(name) for name in modules]
    return found[-1] if found else None


#: What Lightning advises on small data, and what it has not yet followed of torch.
quiet = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:.*smaller than the logging interval",
    "ignore:You defined a `validation_step` but have no `val_dataloader`",
    "ignore:.*tensorboardX",
    "ignore:.*LeafSpec:FutureWarning",
    "ignore:This DataLoader will create:UserWarning",
)
