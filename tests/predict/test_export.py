"""An exported network answers as the run's does, and says what it needs."""

from __future__ import annotations

import importlib
import json
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from extras import needs
from torch import nn
from trained import CLASSES, Trained, train

import underdog as ud
from underdog.cli import main

onnx, onnxruntime, _ = needs("onnx"), needs("onnxruntime"), needs("onnxscript")


@pytest.fixture(scope="module")
def exported(trained: Trained, tmp_path_factory: Any) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model.onnx"
    assert main(["export", str(trained.run), str(path)]) == 0
    return path


def answers(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(["logits"], {"images": images})[0]


@pytest.mark.parametrize("n", [1, 2, 3, 64, 130])
def test_onnxruntime_answers_as_torch_does_whatever_the_batch(n: int, exported: Path, trained: Trained) -> None:
    pixels = np.random.default_rng(n).integers(0, 256, (n, 16, 20, 3), dtype=np.uint8)
    expected = ud.load(trained.run).logits(pixels)
    images = np.moveaxis(pixels, 3, 1).astype(np.float32) / 255
    found = answers(exported, images)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    assert np.abs(expected).max() > 0.1


def test_what_a_method_does_to_logits_is_in_the_file(trained: Trained, tmp_path: Path) -> None:
    own = train(trained.source, tmp_path, ud.Reading(size=(16, 20)), method="logit-adjust", epochs=1)
    assert main(["export", str(own.run), str(tmp_path / "model.onnx")]) == 0
    pixels = np.random.default_rng(0).integers(0, 256, (5, 16, 20, 3), dtype=np.uint8)
    found = answers(tmp_path / "model.onnx", np.moveaxis(pixels, 3, 1).astype(np.float32) / 255)
    np.testing.assert_allclose(found, ud.load(own.run).logits(pixels), rtol=0, atol=1e-4)


def test_the_files_metadata_suffice_to_use_it(exported: Path, trained: Trained) -> None:
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (images,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape[1:]) == ("images", "tensor(float)", [3, 16, 20])
    assert (logits.name, logits.type, logits.shape[1:]) == ("logits", "tensor(float)", [3])
    about = session.get_modelmeta().custom_metadata_map
    plain = {name: json.loads(text) for name, text in about.items() if name != "input"}
    rule = ud.load(trained.run).rule
    assert rule is not None
    assert plain == {
        "run": trained.run.name,
        "classes": list(CLASSES),
        "minority": ["yak"],
        "reading": {"size": [16, 20], "resize": "crop", "channels": 3},
        "decision": rule.to_json(),
    }
    assert ud.DecisionRule.from_json(plain["decision"]) == rule
    assert about["input"].startswith("images: float32 (batch, 3, 16, 20), RGB")


def test_the_file_is_whole_and_names_nothing_of_this_machine(exported: Path) -> None:
    onnx.checker.check_model(onnx.load(exported), full_check=True)
    data = exported.read_bytes()
    for path in (os.path.dirname(torch.__file__), os.path.dirname(ud.__file__)):
        assert path.encode() not in data
    assert [p.name for p in exported.parent.iterdir()] == ["model.onnx"]


class Drawing(nn.Module):
    """A network that draws at random also in evaluation."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x.flatten(1)[:, :2], 0.5, training=True)


class Branching(nn.Module):
    """A network whose way depends on its numbers."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :2] if x.sum() > 0 else x.flatten(1)[:, 2:4]


@pytest.mark.parametrize(("network", "reason"), [(Drawing(), "answers differ"), (Branching(), "cannot be exported: ")])
def test_a_network_that_cannot_be_exported_is_refused(network: nn.Module, reason: str, tmp_path: Path) -> None:
    classifier = ud.Classifier("x", ("a", "b"), ("b",), ud.Reading(size=(4, 4)), 1, network.eval())
    (tmp_path / "model.onnx").write_bytes(b"old")
    with pytest.raises(ud.InputError, match=reason) as caught:
        ud.export_onnx(classifier, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"model.onnx": b"old"}


@pytest.mark.parametrize("missing", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_extra_is_named(
    missing: str, trained: Trained, tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.import_module

    def absent(module: str) -> ModuleType:
        if module == missing:
            raise ImportError(module)
        return found(module)

    monkeypatch.setattr("underdog.run.export.importlib.import_module", absent)
    ran = underdog("export", trained.run, tmp_path / "m.onnx")
    assert ran.code == 2
    assert f"an export needs {missing}: pip install 'underdog[onnx]'" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_an_error_at_once(trained: Trained, tmp_path: Path, underdog: Any) -> None:
    ran = underdog("export", trained.run, tmp_path / "absent" / "m.onnx")
    assert (ran.code, "no writable folder" in ran.err) == (2, True)
