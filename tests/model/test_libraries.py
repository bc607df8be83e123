"""Networks of torchvision and timm, by stand-ins where they are not installed, and of Transformers, by configurations."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from extras import needs
from torch import nn

import underdog as ud
from underdog.model.libraries import Adapted
from underdog.model.origin import trained_on
from underdog.model.pretrained import TrainedOn
from underdog.run.network import network_settings


class Small(nn.Module):
    """A network for RGB that answers as some libraries do."""

    def __init__(self, num_classes: int, wrapped: bool = False) -> None:
        super().__init__()
        self.conv, self.fc, self.wrapped = nn.Conv2d(3, 8, 3), nn.Linear(8, num_classes), wrapped

    def forward(self, x: torch.Tensor) -> Any:
        logits = self.fc(self.conv(x).mean((2, 3)))
        return SimpleNamespace(logits=logits) if self.wrapped else logits


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, dict[str, Any]]]:
    """What the stand-ins of torchvision and timm were asked for."""
    monkeypatch.setenv("UNDERDOG_CACHE", str(tmp_path / "cache"))
    asked: list[tuple[str, dict[str, Any]]] = []

    def make(name: str, **options: Any) -> nn.Module:
        asked.append((name, options))
        if name == "away":
            raise OSError("no route to host")
        if name == "window_tiny" and "dynamic_img_size" in options:
            raise TypeError("an unexpected keyword argument 'dynamic_img_size'")
        return Small(options.get("num_classes", 10), wrapped=name == "googlenet")

    models, timm = ModuleType("torchvision.models"), ModuleType("timm")
    models.list_models = lambda module: ["resnet18", "vit_b_16", "googlenet", "away", "bare"]
    models.get_model = make
    about = SimpleNamespace(
        crop_size=[224],
        resize_size=[256],
        mean=[0.4, 0.5, 0.6],
        std=[0.2] * 3,
        interpolation=SimpleNamespace(value="bilinear"),
    )
    usual = SimpleNamespace(DEFAULT=SimpleNamespace(transforms=lambda: about))
    models.get_model_weights = lambda name: SimpleNamespace() if name == "bare" else usual
    timm.is_model = lambda name: name in ("resnet10t", "vit_tiny", "window_tiny", "away")
    timm.list_models = lambda: ["resnet10t", "vit_tiny", "away"]
    timm.get_pretrained_cfg = lambda name: SimpleNamespace(
        fixed_input_size=name.endswith("_tiny"), input_size=(3, 160, 176), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), crop_pct=0.95,
        interpolation="bicubic", tag="in1k",
    )  # fmt: skip
    timm.create_model = make
    package = ModuleType("torchvision")
    package.models = models
    for name, module in (("torchvision", package), ("torchvision.models", models), ("timm", timm)):
        monkeypatch.setitem(sys.modules, name, module)
    return asked


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("torchvision:resnet18", {"weights": None, "num_classes": 7}),
        ("torchvision:vit_b_16", {"weights": None, "num_classes": 7, "image_size": 16}),
        ("torchvision:googlenet", {"weights": None, "num_classes": 7, "aux_logits": False, "init_weights": True}),
        ("timm:resnet10t", {"pretrained": False, "num_classes": 7}),
        ("timm:vit_tiny", {"pretrained": False, "num_classes": 7, "img_size": (16, 16)}),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_library_is_asked_for_its_network_without_weights_and_grey_images_fit(
    name: str, asked: dict[str, Any], channels: int, calls: list[tuple[str, dict[str, Any]]]
) -> None:
    net = ud.model_factory(name)(channels, 7, (16, 16))
    assert calls == [(name.partition(":")[2], asked)]
    x = torch.rand(2, channels, 16, 16)
    assert torch.equal(net(x), net(x.expand(-1, 3, -1, -1)))
    assert net(x).shape == (2, 7)


@pytest.mark.parametrize(
    ("name", "size", "asked"),
    [
        ("vit_tiny", (160, 176), [{"img_size": (160, 176)}]),  # its own
        ("vit_tiny", (32, 32), [{"dynamic_img_size": True}]),
        ("window_tiny", (32, 32), [{"dynamic_img_size": True}, {"img_size": (32, 32)}]),  # which needs none
        ("resnet10t", (32, 32), [{}]),
    ],
)
def test_positions_of_pretrained_weights_are_kept_where_timm_can_interpolate_them(
    name: str, size: tuple[int, int], asked: list[dict[str, Any]], calls: list[tuple[str, dict[str, Any]]]
) -> None:
    ud.model_factory(f"timm:{name}", pretrained=True)(3, 7, size)
    assert calls == [(name, {"pretrained": False, "num_classes": 7} | options) for options in asked]


def test_networks_that_a_library_does_not_have_are_named(calls: list[Any]) -> None:
    with pytest.raises(ud.InputError, match="torchvision has no classifier 'resnet19'; did you mean 'resnet18'"):
        ud.model_factory("torchvision:resnet19")(3, 7, (16, 16))
    with pytest.raises(ud.InputError, match="timm has no model 'vit_tin'; did you mean 'vit_tiny'"):
        ud.model_factory("timm:vit_tin")(3, 7, (16, 16))
    with pytest.raises(ud.InputError, match="'timm:vit_tiny' takes images of 3 channels, not 4"):
        ud.model_factory("timm:vit_tiny")(4, 7, (16, 16))
    with pytest.raises(ud.InputError, match="width and depth apply to underdog's own networks"):
        ud.model_factory("timm:vit_tiny", width=2)


@pytest.mark.parametrize(
    ("name", "asked", "images"),
    [
        ("torchvision:resnet18", {"weights": None}, ([0.4, 0.5, 0.6], [0.2] * 3, (224, 224), 0.875, "bilinear")),
        ("torchvision:googlenet", {"weights": None}, ([0.5] * 3, [0.5] * 3, (224, 224), 0.875, "bilinear")),
        ("timm:resnet10t", {"pretrained": True}, ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], (160, 176), 0.95, "bicubic")),
    ],
)
def test_a_librarys_own_weights_become_a_file_with_the_images_that_they_know(
    name: str, asked: dict[str, Any], images: tuple[Any, ...], calls: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    settings = network_settings(name, Path("default"))
    file = settings["files"].weights
    assert file == ud.default_weights(name)
    assert file.parent == tmp_path / "cache" / "weights"
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert [(n, options.keys()) for n, options in calls] == [(name.partition(":")[2], asked.keys())]  # once
    assert (settings["mean"], settings["std"]) == tuple(map(tuple, images[:2]))
    assert trained_on(name) == TrainedOn(*map(tuple, images[:2]), *images[2:])
    (note,) = ud.load_pretrained(ud.model_factory(name)(3, 7, (16, 16)), file)
    assert "head (fc) starts anew" in note
    assert network_settings(name, file)["mean"] == settings["mean"]  # of a file of one's own too
    assert network_settings(name)["mean"] is None  # random weights know nothing
    assert network_settings(name, Path("default"), (0.3,), (0.3,))["mean"] == (0.3,)


def test_weights_that_a_library_cannot_have_are_named_with_what_to_do(calls: list[Any], tmp_path: Path) -> None:
    for name in ("torchvision:away", "timm:away"):
        with pytest.raises(
            ud.InputError, match=rf"weights of '{name}' cannot be had.*no route to host.*--weights FILE.safetensors"
        ):
            network_settings(name, Path("default"))
    with pytest.raises(ud.InputError, match="torchvision has no pretrained weights for 'bare'"):
        network_settings("torchvision:bare", Path("default"))
    with pytest.raises(ud.InputError, match="did you mean 'resnet10t'"):
        network_settings("timm:resnet10", Path("default"))
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("library", ["torchvision", "timm", "transformers"])
def test_a_library_that_is_missing_is_named_with_its_extra(
    library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in (library, f"{library}.models"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    model = f"hf:{tmp_path}" if library == "transformers" else f"{library}:resnet18"
    with pytest.raises(ud.InputError, match=rf"needs {library}: pip install 'underdog\[{library}\]'"):
        ud.model_factory(model)(3, 7, (16, 16))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model_type": 3}', "\x00"])
def test_a_folder_without_a_configuration_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ud.InputError, match=r"hf: needs a folder with the config.json"):
        ud.model_factory(f"hf:{tmp_path}")(3, 7, (16, 16))
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ud.InputError, match=r"config.json"):
        ud.model_factory(f"hf:{tmp_path}")(3, 7, (16, 16))


PATCHES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "patch_size": 8,
}
TINY: dict[str, dict[str, Any]] = {
    "vit": PATCHES | {"intermediate_size": 16},
    "deit": PATCHES | {"intermediate_size": 16},
    "beit": PATCHES | {"intermediate_size": 16, "use_relative_position_bias": True},
    "dinov2": PATCHES | {"mlp_ratio": 1},
    "dinov2_with_registers": PATCHES | {"mlp_ratio": 1, "num_register_tokens": 2},
    "swin": {"embed_dim": 8, "depths": [1, 2], "num_heads": [2, 2], "window_size": 4, "patch_size": 2},
    "resnet": {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"},
    "convnext": {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 2},
}
#: Kinds whose forward is told to interpolate, beside those that always do.
TOLD = ("vit", "deit", "beit", "swin")


def folder(path: Path, kind: str, **more: Any) -> Path:
    (path / "config.json").write_text(json.dumps({"model_type": kind} | TINY[kind] | more))
    return path


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_transformers_configuration_becomes_a_network_for_the_images_and_classes(
    kind: str, channels: int, tmp_path: Path
) -> None:
    needs("transformers")
    labels = {"id2label": {"0": "a", "1": "b"}, "label2id": {"a": 0, "b": 1}, "image_size": 224}
    size = (24, 24) if kind.startswith("dinov2") else (16, 24)  # whose own positions are a square
    net = ud.model_factory(f"hf:{folder(tmp_path, kind, **labels)}")(channels, 7, size)
    x = torch.rand(2, channels, *size)
    assert isinstance(net, Adapted)
    assert net.eval()(x).shape == (2, 7)
    assert torch.equal(net(x), net.network(x.expand(-1, 3, -1, -1)).logits)
    assert [name for name, p in net.named_parameters() if len(p) == 7] == [
        f"{ud.head(net)}.weight",
        f"{ud.head(net)}.bias",
    ]


def test_transformers_weights_are_read_as_transformers_does_and_other_kinds_are_refused(tmp_path: Path) -> None:
    transformers = needs("transformers")
    old = transformers.ViTForImageClassification(transformers.ViTConfig(**TINY["vit"], image_size=16, num_labels=5))
    old.save_pretrained(tmp_path)
    new = ud.model_factory(f"hf:{tmp_path}")(1, 7, (16, 16))
    (note,) = ud.load_pretrained(new, tmp_path)
    assert "classifier head (classifier) starts anew" in note
    body = {k: v for k, v in old.state_dict().items() if not k.startswith("classifier")}
    assert all(torch.equal(v, new.network.state_dict()[k]) for k, v in body.items())
    larger = ud.model_factory(f"hf:{tmp_path}")(1, 7, (32, 32))
    with pytest.raises(ud.InputError, match="position_embeddings has the shape 1x5x16, not 1x17x16"):
        ud.load_pretrained(larger, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"broken")
    with pytest.raises(ud.InputError, match=r"the weights of 'hf:.*' cannot be read"):
        ud.load_pretrained(new, tmp_path)


def test_code_that_a_configuration_refers_to_is_not_run(tmp_path: Path) -> None:
    needs("transformers")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')")
    auto = {"AutoConfig": "evil.Config", "AutoModelForImageClassification": "evil.Model"}
    ud.model_factory(f"hf:{folder(tmp_path, 'resnet', auto_map=auto)}")(3, 7, (16, 16))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": auto}))
    with pytest.raises(ud.InputError, match="cannot be built"):
        ud.model_factory(f"hf:{tmp_path}")(3, 7, (16, 16))
    assert not (tmp_path / "sprung").exists()


def pretrained_folder(path: Path, kind: str, classes: int = 5) -> nn.Module:
    """A network of random weights, and its folder as Transformers writes it."""
    transformers = needs("transformers")
    about = TINY[kind] | {"image_size": 32, "architectures": []}
    config = transformers.CONFIG_MAPPING[kind].from_dict(about, num_labels=classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = transformers.AutoModelForImageClassification.from_config(config)
        for p in network.parameters():  # zeros, such as BEiT's positions, would hide what is interpolated
            nn.init.normal_(p, std=0.2)
    network.save_pretrained(path)
    return network.eval()


@pytest.mark.parametrize("size", [(32, 32), (48, 48), (16, 40)], ids=str)
@pytest.mark.parametrize("kind", TINY)
def test_a_transformers_folder_works_at_other_sizes_as_transformers_does(
    kind: str, size: tuple[int, int], tmp_path: Path
) -> None:
    old = pretrained_folder(tmp_path, kind)
    net = ud.model_factory(f"hf:{tmp_path}", pretrained=True)(3, 5, size).eval()
    assert ud.load_pretrained(net, tmp_path) == ()
    x = torch.rand(2, 3, *size)
    told = {"interpolate_pos_encoding": True} if kind in TOLD and size != (32, 32) else {}
    assert torch.equal(net(x), old(x, **told).logits)
    assert net(x).std() > 1e-3


@pytest.mark.parametrize("kind", [*TINY, "efficientnet-lite0"])
def test_the_head_of_the_features_is_the_answer(kind: str, tmp_path: Path) -> None:
    if kind in TINY:
        pretrained_folder(tmp_path, kind)
        net = ud.model_factory(f"hf:{tmp_path}", pretrained=True)(1, 7, (16, 40))
    else:
        net = ud.model_factory(kind, width=0.25)(1, 7, (40, 36))
    learner = ud.Learner(net, 7)
    x = torch.rand(3, 1, *((16, 40) if kind in TINY else (40, 36)))
    features, head = learner.features(x), net.get_submodule(ud.head(net))
    assert features.ndim == 2
    with torch.no_grad():
        torch.testing.assert_close(head(features), learner.logits(x))


@pytest.mark.parametrize("kind", ["vit", "deit", "beit", "dinov2", "dinov2_with_registers"])
def test_a_size_that_is_no_multiple_of_the_patch_is_refused_with_one_that_is(kind: str, tmp_path: Path) -> None:
    needs("transformers")
    name = f"hf:{folder(tmp_path, kind)}"
    for build in (
        lambda: ud.model_factory(name)(3, 5, (33, 48)),
        lambda: ud.model_factory(name, pretrained=True)(3, 5, (33, 48)),
        lambda: network_settings(name, size=(33, 48)),  # before images are read
    ):
        with pytest.raises(
            ud.InputError, match=r"patches of 8x8 pixels, and 48x33 is no multiple of that \(--size 48x32 is\)"
        ):
            build()
    network_settings(name, size=(32, 48))


def test_a_teachers_head_does_not_stand_in_the_way(tmp_path: Path) -> None:
    transformers = needs("transformers")
    old = transformers.DeiTForImageClassificationWithTeacher(
        transformers.DeiTConfig(**TINY["deit"], image_size=16, num_labels=5)
    )
    old.save_pretrained(tmp_path)
    net = ud.model_factory(f"hf:{tmp_path}", pretrained=True)(3, 7, (24, 24))
    (note,) = ud.load_pretrained(net, tmp_path)
    assert "head (classifier) starts anew" in note
    assert torch.equal(net.network.deit.embeddings.position_embeddings, old.deit.embeddings.position_embeddings)
