"""``underdog export``: a run's network for programs that know neither underdog nor torch."""

from __future__ import annotations

from underdog.cli.common import Options, say, writable
from underdog.reporting.terminal import printable
from underdog.run.classifier import load
from underdog.run.export import export_onnx

__all__ = ["run"]


def run(options: Options) -> None:
    """Carry out the command."""
    writable(options.output)
    classifier = load(options.run)
    export_onnx(classifier, options.output)
    say(f"model: {printable(str(options.output))}")
    if classifier.precision != "float32":
        say(f"note: the run computed in {classifier.precision}, the file computes in float32: answers differ slightly")
