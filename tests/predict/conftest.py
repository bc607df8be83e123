"""A run that the tests here share."""

from __future__ import annotations

from typing import Any

import pytest
from trained import Trained, mixed_files, train

import underdog as ud


@pytest.fixture(scope="session")
def trained(tmp_path_factory: Any, pictures: Any) -> Trained:
    root = tmp_path_factory.mktemp("trained")
    source = pictures.folder(root / "photos", mixed_files(pictures))
    return train(source, root / "runs", ud.Reading(size=(16, 20)))
