"""``underdog probe``: features of a frozen network, methods on them, and what is done with such a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import nn

import underdog as ud
from underdog.data.frozen import FrozenNetwork
from underdog.model import model_factory
from underdog.run.codes import Codes, feature_source
from underdog.run.features import Headless, extractor

#: A network with weights of its own, which stands for a pretrained one.
FROZEN = "--model resnet20 --weights {} --mean 0.5 --std 0.25 --size 16"
QUICK = "--seeds 2 --epochs 3 --methods baseline,logit-adjust,smote,aos"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: Any) -> Path:
    torch.manual_seed(0)
    path = Path(tmp_path_factory.mktemp("weights")) / "net.safetensors"
    save_file({k: v.contiguous() for k, v in model_factory("resnet20")(3, 7, (16, 16)).state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: Any, pictures: Any) -> Path:
    return pictures.folder(tmp_path_factory.mktemp("photos"), pictures.tree({"ant": 60, "bee": 50, "yak": 20}, bands=3))


def results(out: Path) -> list[tuple[Path, dict[str, Any]]]:
    return [(path.parent, json.loads(path.read_text(encoding="utf-8"))) for path in sorted(out.glob("*/result.json"))]


def test_every_method_is_made_of_features_that_are_computed_once(
    photos: Path, weights: Path, tmp_path: Path, underdog: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, out = tmp_path / "cache", tmp_path / "runs"
    command = f"probe {photos} {FROZEN.format(weights)} {QUICK} --cache {cache} --out {out} -o {tmp_path / 'page.html'}"
    ran = underdog(command)
    assert ran.code == 0, ran.err
    assert "features of 130 images by resnet20: 64 of each" in ran.out
    assert "8 runs (4 methods, 2 seeds) and 32 that choose parameters, 0 of them done" in ran.out
    assert (
        ran.out.count("has the highest validation macro-F1 of 8 trials") + ran.out.count("8 trials scored alike") == 4
    )
    made = results(out)
    assert len(made) == 8
    for folder, result in made:
        assert result["spec"]["model"] == "linear"
        assert result["image_shape"] == [3, 16, 16]
        assert result["frozen"]["model"] == "resnet20"
        assert not (folder / "errors.safetensors").exists()
        assert not (folder / "gallery.safetensors").exists()
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("baseline", "logit-adjust", "smote", "aos"))

    def never(*_: object) -> None:
        raise AssertionError("features were computed again")

    with monkeypatch.context() as patch:
        patch.setattr(Headless, "forward", never)
        patch.setattr("underdog.run.features.frozen_network", lambda frozen: Headless(nn.Sequential(nn.Linear(1, 1))))
        again = underdog(command)
    assert again.code == 0, again.err
    assert "40 of them done; nothing to do" in again.out


def test_a_run_on_features_judges_images_as_it_was_scored(
    photos: Path, weights: Path, tmp_path: Path, underdog: Any
) -> None:
    out = tmp_path / "runs"
    command = f"probe {photos} {FROZEN.format(weights)} --seeds 1 --epochs 3 --methods logit-adjust --out {out}"
    assert underdog(f"{command} --no-cache -o {tmp_path / 'page.html'}").code == 0
    ((folder, result),) = results(out)
    rows = (folder / "predictions.csv").read_text(encoding="utf-8").splitlines()
    said = {r.split(",")[2]: [float(v) for v in r.split(",")[5:]] for r in rows if r.startswith("test,best,")}
    classifier = ud.load(folder)
    logits = classifier.logits([photos / item for item in said])
    np.testing.assert_allclose(logits, list(said.values()), rtol=0, atol=1e-5)
    assert classifier.shape == (3, 16, 16)
    assert len(classifier.predict([Image.new("RGB", (40, 30))])) == 1
    ran = underdog("predict", folder, photos / "yak")
    assert (ran.code, ran.err.count("Traceback")) == (0, 0)
    assert result["reading"]["size"] == [16, 16]
    weights.rename(weights.with_suffix(".moved"))
    try:
        assert underdog("predict", folder, photos / "yak").code == 2
    finally:
        weights.with_suffix(".moved").rename(weights)


def test_features_that_were_broken_off_resume(photos: Path, weights: Path, tmp_path: Path) -> None:
    images = ud.load_images(photos, ud.Reading(size=(16, 16))).train
    whole = extractor("resnet20", images.shape, "cpu", weights, (0.5,), (0.25,))
    wanted = whole.features(images, lambda n: None)
    calls: list[int] = []

    def stops(n: int) -> None:
        calls.append(n)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        whole.features(images, stops, tmp_path)
    done: list[int] = []
    found = whole.features(images, done.append, tmp_path)
    assert np.array_equal(found, wanted)
    assert done[0] == sum(calls[1:2])  # what was there before
    assert sum(done) == len(images)
    assert sorted(path.suffix for path in tmp_path.rglob("*.*")) == [".lock", ".npy"]


@pytest.mark.parametrize("damage", ["cut", "count", "stale"])
def test_damaged_files_of_features_are_made_again(damage: str, photos: Path, weights: Path, tmp_path: Path) -> None:
    images = ud.load_images(photos, ud.Reading(size=(16, 16))).train
    whole = extractor("resnet20", images.shape, "cpu", weights, (0.5,), (0.25,))
    wanted = np.array(whole.features(images, lambda n: None, tmp_path))  # no longer mapped
    (file,) = tmp_path.rglob("*.npy")
    if damage == "cut":
        file.write_bytes(file.read_bytes()[:5000])
    else:
        part = file.with_suffix(".part.npy")
        file.rename(part) if damage == "count" else file.unlink()
        file.with_suffix(".count").write_text("" if damage == "count" else str(len(images)))
    assert np.array_equal(whole.features(images, lambda n: None, tmp_path), wanted)


def test_grey_images_are_probed_on_the_default_device(tmp_path: Path, underdog: Any) -> None:
    grey = tmp_path / "grey.safetensors"
    save_file({k: v.contiguous() for k, v in model_factory("resnet20")(1, 7, (16, 16)).state_dict().items()}, grey)
    ran = underdog(
        f"probe digits --rho 20 --mu 0.6 {FROZEN.format(grey)} --seeds 1 --epochs 1 --methods baseline --no-cache "
        f"--out {tmp_path / 'runs'} -o {tmp_path / 'page.html'}"
    )
    assert ran.code == 0, ran.err
    ((folder, result),) = results(tmp_path / "runs")
    assert result["image_shape"] == [1, 16, 16]
    assert ud.load(folder).shape == (1, 16, 16)


def test_codes_are_what_the_formula_says() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, (50, 4)).astype(np.float32)
    images = ud.ImageSet(torch.zeros(50, 1, 2, 2, dtype=torch.uint8), torch.arange(50) % 2, ("a", "b"))
    network = FrozenNetwork("net", "hash", None, (0.5,), (0.5,), 1, (2, 2))
    source = feature_source(ud.Source("some", images), {"train": values}, network)
    mean, std = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
    expected = np.clip(np.round(127.5 + 255 * (values - mean) / (16 * std)), 0, 255)
    found = source.train.images[:, :, 0, 0].numpy()
    assert np.abs(found - expected).max() <= 1
    assert (found == expected).mean() > 0.99
    assert source.frozen is not None
    codes = Codes(torch.tensor(source.frozen.centre), torch.tensor(source.frozen.deviation))
    assert torch.equal((codes(torch.from_numpy(values)) * 255).round().to(torch.uint8), source.train.images)
    assert FrozenNetwork.from_json(json.loads(json.dumps(source.frozen.to_json()))) == source.frozen


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--model resnet20", "has no pretrained weights"),
        ("--model resnet20 --weights {}", "give --mean and --std"),
        ("--model resnet32 --weights {} --mean 0.5 --std 0.5", "has the weights of another network"),
        ("--model resnet20 --weights {} --mean 0.5 --std 0.5 --seeds 0", "seeds must be a whole number above 0"),
        ("--model resnet20 --weights nowhere.safetensors --mean 0.5 --std 0.5", "nowhere.safetensors"),
    ],
)
def test_bad_input_is_explained_and_leaves_nothing_behind(
    options: str, said: str, photos: Path, weights: Path, tmp_path: Path, underdog: Any
) -> None:
    out = tmp_path / "runs"
    ran = underdog(f"probe {photos} --size 16 {options.format(weights)} --out {out} -o {tmp_path / 'page.html'}")
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert not out.exists()


def test_features_that_are_all_equal_are_an_error() -> None:
    images = ud.ImageSet(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.arange(4) % 2, ("a", "b"))
    network = FrozenNetwork("net", "hash", None, (0.5,), (0.5,), 1, (2, 2))
    for values, said in ((np.ones((4, 3)), "the same features"), (np.full((4, 3), np.nan), "not finite")):
        with pytest.raises(ud.InputError, match=said):
            feature_source(ud.Source("some", images), {"train": values.astype(np.float32)}, network)
