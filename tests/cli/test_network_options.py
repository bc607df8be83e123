"""Pretrained and other libraries' networks, and the options of training, on the command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from extras import needs
from safetensors.torch import load_file, save_file

import underdog as ud
from underdog.model.pretrained import weights_fingerprint
from underdog.run.network import build_model, untrained
from underdog.run.spec import NetworkFiles, RunSpec

QUICK = "--method ros --epochs 2 --batch 16 --size 16"
RESNET = f"{QUICK} --model resnet20 --width 0.25"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: Any, pictures: Any) -> Path:
    return pictures.folder(tmp_path_factory.mktemp("photos"), pictures.tree({"ant": 40, "bee": 36, "yak": 20}, bands=3))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: Any) -> Path:
    """A ResNet-20 for ten classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = ud.ResNet(3, 10, 3, 0.25)
    path = tmp_path_factory.mktemp("weights") / "ten.safetensors"
    save_file(net.state_dict(), path)
    return path


def results(out: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(out.glob("*/result.json"))]


def test_pretrained_weights_are_known_by_their_content_and_not_by_their_place(
    photos: Path, weights: Path, tmp_path: Path, underdog: Any
) -> None:
    run = f"train {photos} {RESNET} --mean 0.5,0.4,0.3 --std 0.2 --out {tmp_path / 'runs'}".replace(
        "0.2 ", "0.2,0.2,0.25 "
    )
    moved = tmp_path / "elsewhere.safetensors"
    moved.write_bytes(weights.read_bytes())
    first = underdog(run, "--weights", weights, "--freeze-until", "blocks.6")
    assert first.code == 0, first.err
    again = underdog(run, "--weights", moved, "--freeze-until", "blocks.6")
    assert "finished before" in again.out
    (result,) = results(tmp_path / "runs")
    assert any("classifier head (fc) starts anew: ten.safetensors has 10 classes" in note for note in result["notes"])
    assert str(tmp_path) not in json.dumps(result["spec"])
    (folder,) = (tmp_path / "runs").iterdir()
    saved, given = load_file(folder / "model.safetensors"), load_file(weights)
    assert saved["0.mean"].flatten().tolist() == pytest.approx([0.5, 0.4, 0.3])
    assert torch.equal(saved["1.blocks.5.bn2.running_mean"], given["blocks.5.bn2.running_mean"])
    assert not torch.equal(saved["1.blocks.6.conv1.weight"], given["blocks.6.conv1.weight"])
    spec = RunSpec.from_json(result["spec"])
    untrained(spec, 3, 3, (16, 16)).load_state_dict(saved)


def test_every_option_is_part_of_the_run_and_of_the_result(photos: Path, tmp_path: Path, underdog: Any) -> None:
    options = (
        "--optimizer sgd --weight-decay 0.001 --lr 1e-20 --lr-backbone 1e-20 --scheduler cosine --warmup 1 --early-stopping 1 "
        "--augment crop,flip,rotate90 --epochs 6 --model paper --width 0.1"
    )
    ran = underdog(f"train {photos} {QUICK} {options} --out {tmp_path}")
    assert ran.code == 0, ran.err
    (result,) = results(tmp_path)
    spec = result["spec"]
    assert (spec["optimizer"], spec["weight_decay"], spec["scheduler"], spec["warmup"]) == ("sgd", 0.001, "cosine", 1)
    assert (spec["lr_backbone"], spec["early_stopping"], spec["augment"]) == (1e-20, 1, ["flip", "rotate90", "crop"])
    assert RunSpec.from_json(spec).to_json() == spec
    assert result["stopped_early"]
    assert result["epochs"] < 6
    assert any(f"stopped after {result['epochs']} of 6 epochs" in note for note in result["notes"])


def test_one_setting_has_one_identity() -> None:
    a = RunSpec("data", "ros", optimizer="adamw", augment=("crop", "flip"), mean=(0.5,), std=(1,))
    b = RunSpec("data", "ros", optimizer="adamw", weight_decay=0.01, augment=("flip", "crop"), mean=(0.5,), std=(1.0,))
    elsewhere = RunSpec("data", "ros", optimizer="adamw", augment=("flip", "crop"), mean=(0.5,), std=(1,),
                        files=NetworkFiles(weights=Path("here")))  # fmt: skip
    assert a.id == b.id == elsewhere.id
    assert a == b == elsewhere
    assert a.id != RunSpec("data", "ros", optimizer="adamw").id


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--optimizer adm", ["unknown optimizer 'adm'", "'adam'"]),
        ("--scheduler cosinus", ["unknown scheduler 'cosinus'", "'cosine'"]),
        ("--augment flip,mixup", ["unknown augmentation 'mixup'", "known: flip, vflip"]),
        ("--weight-decay -1", ["weight_decay must be", "-1"]),
        ("--warmup 2", ["warmup must be", "fewer than all 2", "2"]),
        ("--warmup -1", ["warmup must be", "-1"]),
        ("--early-stopping 0", ["early_stopping must be a whole number above 0"]),
        ("--lr-backbone 0", ["lr_backbone must be a number above 0"]),
        ("--mean 0.5,0.5,0.5", ["mean and std go together"]),
        ("--mean 0.5,0.5,0.5 --std 0.5,0.5", ["mean and std go together"]),
        ("--mean 124,116,104 --std 58,57,57", ["units of pixels from 0 to 1", "255"]),
        ("--mean 0.5,0.5,0.5 --std 0,1,1", ["std above 0"]),
        ("--mean half --std 1", ["--mean", "'half'"]),
        ("--mean 0.5,0.5 --std 1,1", ["one value for each of 3 channels, not 2"]),
        ("--freeze-until block.1", ["no layer 'block.1'", "'blocks.1'"]),
        ("--freeze-until fc --lr-backbone 0.1", ["lr_backbone needs parameters to train"]),
        ("--augment rotate90 --size 16x24", ["rotate90 needs square images", "16x24"]),
        ("--model hf:nowhere", ["hf: needs a folder with the config.json", "nowhere"]),
        ("--weights nowhere.safetensors", ["nowhere.safetensors is no file of weights"]),
        ("--weights old.pth", ["may be a pickle", "weights_only=True"]),
        ("--weights {weights} --width 0.5", ["ten.safetensors has the weights of another network", "conv.weight has the shape"]),
    ],
)  # fmt: skip
def test_options_that_cannot_be_are_refused_before_anything_is_written(
    options: str, words: list[str], photos: Path, weights: Path, tmp_path: Path, underdog: Any
) -> None:
    ran = underdog(f"train {photos} {RESNET} --out {tmp_path / 'runs'} {options.format(weights=weights)}")
    assert ran.code == 2, ran
    assert all(word in ran.err for word in words), ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_pretrained_weights_needs_the_same_file_again(photos: Path, weights: Path, tmp_path: Path) -> None:
    images = ud.prepare(ud.load_images(photos)).split.train
    spec = RunSpec(images.fingerprint, "ros", model="resnet20", width=0.25, weights=weights_fingerprint(weights))
    other = tmp_path / "other.safetensors"
    save_file({"a": torch.zeros(1)}, other)
    for files in (NetworkFiles(), NetworkFiles(weights=other)):
        with pytest.raises(ud.InputError, match=r"give the same file again \(--weights\)"):
            build_model(replace(spec, files=files), images)
    model, _ = build_model(replace(spec, files=NetworkFiles(weights=weights)), images)
    assert torch.equal(model[1].conv.weight, load_file(weights)["conv.weight"])


def test_a_transformers_folder_brings_weights_and_normalisation_and_its_configuration_stays_with_the_run(
    tmp_path: Path, pictures: Any, underdog: Any
) -> None:
    transformers = needs("transformers")
    photos = pictures.folder(tmp_path / "grey", pictures.tree({"ant": 40, "bee": 36, "yak": 20}))
    options = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    old = transformers.ResNetForImageClassification(transformers.ResNetConfig(**options))
    home, out = tmp_path / "tiny", tmp_path / "runs"
    old.save_pretrained(home)
    (home / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2] * 3}))
    ran = underdog(f"train {photos} {QUICK} --model hf:{home} --freeze-until resnet.encoder.stages.1 --out {out}")
    assert ran.code == 0, ran.err
    (result,), (folder,) = results(out), list(out.iterdir())
    assert result["spec"]["model"].startswith("hf:resnet-")
    assert str(tmp_path) not in json.dumps(result["spec"])
    assert (result["spec"]["mean"], result["spec"]["std"]) == ([0.5, 0.4, 0.3], [0.2] * 3)
    saved = load_file(folder / "model.safetensors")
    name = "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight"
    assert torch.equal(saved[f"1.network.{name}"], old.state_dict()[name])
    with pytest.raises(ud.InputError, match=r"needs the folder with its config.json"):
        untrained(RunSpec.from_json(result["spec"]), 1, 3, (16, 16))
    assert ud.load(folder).logits([np.zeros((16, 16), np.uint8)]).shape == (1, 3)  # from the run's folder alone
