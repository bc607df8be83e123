"""A run's network as an ONNX file, for programs that know neither underdog nor torch."""

from __future__ import annotations

import copy
import importlib
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from underdog.errors import InputError
from underdog.rng import RandomStreams
from underdog.run.classifier import Classifier
from underdog.run.files import write_atomic

__all__ = ["TOLERANCE", "export_onnx"]

#: How far the answers of onnxruntime may be from torch's.
TOLERANCE = 1e-4
#: Batches of these sizes are compared.
TRIED = (1, 2, 5)


def export_onnx(classifier: Classifier, path: str | Path) -> None:
    """Write a classifier's network, its normalisation included, as an ONNX file that any batch size fits.

    Its input "images" is float32 (B, C, H, W) in [0, 1], its output "logits" float32 (B, K). The metadata have the class
    names, how images are prepared, and the run's decision rule. The file is checked, and onnxruntime's answers to random
    images are compared with torch's, before it gets its name.

    Args:
        classifier: what ``load`` returned. The file computes in float32, also where the run did not.
        path: of the file.

    Raises:
        InputError: onnx, onnxscript or onnxruntime is missing, or the network cannot be exported.

    >>> import underdog as ud
    >>> ud.export_onnx(ud.load("runs/aos-s0-0123456789ab"), "model.onnx")  # doctest: +SKIP
    """
    onnx, _, runtime = (extra(name) for name in ("onnx", "onnxscript", "onnxruntime"))
    network = _on_cpu(classifier)
    model = _converted(classifier, network)
    onnx.helper.set_model_props(model, metadata(classifier))
    onnx.checker.check_model(model, full_check=True)
    content = model.SerializeToString()
    _compare(runtime.InferenceSession(content, providers=["CPUExecutionProvider"]), classifier, network)
    write_atomic(Path(path), lambda temporary: temporary.write_bytes(content))


def extra(name: str) -> ModuleType:
    """A module that not every installation has.

    Raises:
        InputError: it is missing; names what to install.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(f"an export needs {name}: pip install 'underdog[onnx]'") from error


def metadata(classifier: Classifier) -> dict[str, str]:
    """What a program needs to use the file: all values are JSON, but for the sentence."""
    channels, height, width = classifier.shape
    colour = "grey" if channels == 1 else "RGB"
    reading = {"size": [height, width], "resize": classifier.reading.resize, "channels": channels}
    rule = classifier.rule
    return {
        "run": json.dumps(classifier.name),
        "classes": json.dumps(classifier.classes),
        "minority": json.dumps(classifier.rare),
        "reading": json.dumps(reading),
        "decision": json.dumps(None if rule is None else rule.to_json(), allow_nan=False),
        "input": f"images: float32 (batch, {channels}, {height}, {width}), {colour} upright, values 0..255 divided by 255; "
        "normalisation is inside",
    }


def _on_cpu(classifier: Classifier) -> nn.Module:
    """The network where and as the file computes: a copy, so that the classifier stays where it is."""
    return copy.deepcopy(classifier.model).cpu().float().eval()


def _converted(classifier: Classifier, network: nn.Module) -> Any:
    """The ONNX model of the network.

    Raises:
        InputError: torch cannot export it.
    """
    example = torch.zeros(2, *classifier.shape)
    try:
        with _quiet():
            program = torch.onnx.export(
                network,
                (example,),
                dynamo=True,
                input_names=["images"],
                output_names=["logits"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    except Exception as error:  # it may be anybody's network, and exporting fails in any way
        raise InputError(f"the network of {classifier.name} cannot be exported: {_first_cause(error)}") from error
    assert program is not None
    model = program.model_proto
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]  # the exporter notes stack traces there, and with them paths of this machine
    return model


def _first_cause(error: BaseException) -> str:
    """What went wrong to begin with, in a line: the exporter wraps it in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on itself: deprecated names that it uses, and packages that it would also support."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (FutureWarning, DeprecationWarning, UserWarning):
                warnings.simplefilter("ignore", category)
            yield
    finally:
        logger.setLevel(level)


def _compare(session: Any, classifier: Classifier, network: nn.Module) -> None:
    """Refuse a file whose answers are not the network's, such as those of a network that draws at random."""
    for n in TRIED:
        x = torch.from_numpy(RandomStreams(0)("export", n).random((n, *classifier.shape), dtype=np.float32))
        with torch.no_grad():
            own = network(x).numpy()
        (answers,) = session.run(["logits"], {"images": x.numpy()})
        if answers.shape != own.shape or not np.allclose(answers, own, rtol=TOLERANCE, atol=TOLERANCE):
            raise InputError(
                f"the network of {classifier.name} cannot be exported: of {n} images, onnxruntime's answers differ from torch's"
            )
