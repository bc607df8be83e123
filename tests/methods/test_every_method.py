"""Every method of the table, found by itself, through every command: what a new line there has to be able to do."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from extras import needs

import underdog as ud
from underdog.data.prepare import prepare
from underdog.data.sources import Source, load_images
from underdog.methods.expression import parse
from underdog.methods.table import METHODS
from underdog.run.estimate import EVALUATION, Estimate
from underdog.run.execute import execute
from underdog.run.spec import RunSpec
from underdog.run.tune import values_of

QUICK = "--rho 20 --mu 0.6 --epochs 2 --width 0.2 --batch 64 --lr 0.01"
#: Sums of which each has parts of several kinds.
SUMS = (
    "aos+balanced-softmax", "aos(attack=pgd,steps=2,select=loss)+drs", "noise+focal+crt", "smote+mixup+logit-adjust",
    "ros+drw+mixup", "class-weighted+crt", "baseline(lr_factor=2)+rus+aos",
)  # fmt: skip


@pytest.fixture(scope="module")
def digits() -> Source:
    return load_images("digits")


def whole(method: str) -> str:
    """The method with a length of alterations, where it needs one."""
    found = parse(method)
    return str(found.set({"eps": 16 / 255})) if "eps" in found.missing else str(found)


def results(out: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Folder and result of every run by its method."""
    found = [(path.parent, json.loads(path.read_text(encoding="utf-8"))) for path in out.glob("*/result.json")]
    return {result["spec"]["method"]: (folder, result) for folder, result in found}


@pytest.mark.parametrize("method", METHODS)
def test_every_command_knows_every_method(
    method: str, tmp_path: Path, underdog: Any, pictures: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = whole(method)
    ran = underdog(f"train digits {QUICK} --method {text}")
    assert (ran.code, ran.err) == (0, "")
    ran = underdog(f"compare digits {QUICK} --methods {'baseline' if method == 'ros' else 'ros'},{text} --seeds 1")
    assert (ran.code, ran.err) == (0, "")
    assert "2 runs (2 methods, 1 seed), 1 of them done" in ran.out
    made = results(tmp_path / "runs")
    assert len(made) == 2
    folder, result = made[text]
    assert folder.name.startswith(f"{method}-s0-")
    assert np.isfinite(result["prior"]).all()
    assert min(result["prior"]) > 0

    ran = underdog(f"tune digits {QUICK} --method {method} --trials 2")
    assert (ran.code, ran.err) == (0, "")
    ran = underdog(f"compare digits {QUICK} --methods {method} --tuned --seeds 1")
    assert (ran.code, ran.err) == (0, "")
    (study,) = Path("runs/tuning").glob("study-*.json")
    best = json.loads(study.read_text(encoding="utf-8"))["best"]
    assert best in [values_of(RunSpec.from_json(result["spec"])) for _, result in results(tmp_path / "runs").values()]

    Path("mine.yaml").write_text(
        "datasets: {digits: {rho: 20, mu: 0.6}}\nepochs: 2\nwidth: 0.2\nbatch: 64\nlr: 0.01\nseeds: 1\n"
        f"methods: ['{text}']\n"
    )
    ran = underdog("grid mine.yaml --out runs --workers 1")
    assert ran.code == 0, ran.err
    assert "1 runs, 1 of them done; nothing to do" in ran.out  # the very run of the command line

    ran = underdog("report runs -o page.html --tables tables")
    assert (ran.code, ran.err) == (0, "")
    assert method in Path("page.html").read_text(encoding="utf-8")

    Path("new.png").write_bytes(pictures.encode(pictures.pixels(0)))
    ran = underdog("predict", folder, "new.png")
    assert (ran.code, ran.err) == (0, "")
    assert "new.png" in ran.out


@pytest.mark.parametrize("method", METHODS)
def test_a_file_of_every_method_answers_as_its_run_did(
    method: str, digits: Source, tmp_path: Path, underdog: Any
) -> None:
    onnxruntime = needs("onnx", "onnxscript", "onnxruntime")
    spec = RunSpec(digits.fingerprint, whole(method), rho=20, mu=0.6, epochs=2, width=0.2, batch=64, lr=0.01)
    execute(spec, digits, tmp_path)
    ran = underdog("export", tmp_path / spec.id, tmp_path / "model.onnx")
    assert (ran.code, ran.err) == (0, "")
    test = prepare(digits, 0, 20, 0.6).split.test
    assert test is not None
    with (tmp_path / spec.id / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if (row["part"], row["epoch"]) == ("test", "best")]
    said = np.array([[row[f"logit:{c}"] for c in test.classes] for row in rows], dtype=np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (answers,) = session.run(["logits"], {"images": test.images.numpy().astype(np.float32) / 255})
    np.testing.assert_allclose(answers, said, rtol=0, atol=1e-3)
    pixels = test.images.permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(ud.load(tmp_path / spec.id).logits(pixels), said, rtol=0, atol=1e-4)


@pytest.mark.parametrize("budget", ["epochs", "updates"])
@pytest.mark.parametrize("method", [*METHODS, *SUMS])
def test_what_a_run_shows_is_known_beforehand(method: str, budget: str, digits: Source, tmp_path: Path) -> None:
    spec = RunSpec(digits.fingerprint, whole(method), rho=20, mu=0.6, epochs=4, width=0.1, batch=64, budget=budget)
    estimate, split = Estimate({digits.fingerprint: digits}, "cpu"), prepare(digits, 0, 20, 0.6).split
    assert split.test is not None
    expected = estimate.images(spec) - EVALUATION * (4 * len(split.val) + 2 * len(split.test))
    result = execute(spec, digits, tmp_path)
    assert result["images_seen"] == pytest.approx(expected)
    if budget == "updates":
        assert result["images_seen"] == 4 * 10 * max(split.train.counts)
    assert result["adjusted"] == ("logit-adjust" in method)
    twice = [note for note in result["notes"] if "is corrected for more than once" in note]
    assert not twice or method not in METHODS
    assert twice or method != "smote+mixup+logit-adjust"


@pytest.mark.parametrize("method", [*METHODS, *SUMS])
def test_the_same_run_has_the_same_figures(method: str, digits: Source, tmp_path: Path) -> None:
    spec = RunSpec(digits.fingerprint, whole(method), rho=20, mu=0.6, epochs=2, width=0.1, batch=64)
    folders = [tmp_path / name / spec.id for name in ("one", "other")]
    for folder in folders:
        execute(spec, digits, folder.parent)
    for name in ("model.safetensors", "predictions.csv"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
