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


#: What Lightning advises on small data, and what it has not yet followed of torch.
quiet = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers",
    "ignore:.*smaller than the logging interval",
    "ignore:You defined a `validation_step` but have no `val_dataloader`",
    "ignore:.*tensorboardX",
    "ignore:.*LeafSpec:FutureWarning",
    "ignore:This DataLoader will create:UserWarning",
)
