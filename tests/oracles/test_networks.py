"""The networks' sizes, against the papers that describe them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import underdog as ud


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


@pytest.mark.parametrize(
    ("name", "channels", "size", "expected"),
    [
        ("paper", 3, (32, 32), 89_002),  # Table 1 of the paper, CIFAR-10
        ("paper", 1, (28, 28), 81_386),  # the same, MNIST
        ("resnet20", 3, (32, 32), 269_722),  # He et al. 2016, Table 6: 0.27 M
        ("resnet32", 3, (32, 32), 464_154),  # the same: 0.46 M
        ("efficientnet-lite0", 3, (32, 32), 3_383_818),  # Google's 4.65 M for 1,000 classes, less 990 * 1281
    ],
)
def test_parameters_are_as_published(name: str, channels: int, size: tuple[int, int], expected: int) -> None:
    assert parameters(ud.model_factory(name)(channels, 10, size)) == expected


def test_the_papers_network_is_table_1_layer_by_layer() -> None:
    expected = [
        nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d,
        nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d,
        nn.Flatten, nn.Linear,
    ]  # fmt: skip
    net = ud.PaperNet(3, 10, (32, 32))
    assert [type(m) for m in net] == expected
    assert [m.out_channels for m in net if isinstance(m, nn.Conv2d)] == [32, 32, 64, 64]
    x, sides = torch.zeros(1, 3, 32, 32), []
    for m in net:
        x = m(x)
        sides += [x.shape[-1]] if isinstance(m, nn.Conv2d | nn.MaxPool2d) else []
    assert sides == [32, 30, 15, 15, 13, 6]


@pytest.mark.parametrize("size", [(16, 16), (17, 23), (33, 18)])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("paper", {}),
        ("paper", {"width": 0.1}),
        ("paper", {"width": 1.5, "depth": 1}),
        ("resnet20", {"width": 0.5}),
    ],
)
def test_any_size_channels_and_classes_give_logits(name: str, options: dict[str, float], size: tuple[int, int]) -> None:
    for channels, classes in ((1, 2), (3, 7)):
        net = ud.model_factory(name, **options)(channels, classes, size)
        assert net(torch.rand(2, channels, *size)).shape == (2, classes)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_depth_is_blocks_and_width_multiplies_channels(depth: int) -> None:
    net = ud.PaperNet(1, 2, (40, 40), width=0.5, depth=depth)
    convolutions = [m.out_channels for m in net if isinstance(m, nn.Conv2d)]
    assert convolutions == [16 * 2**b for b in range(depth) for _ in range(2)]


@pytest.mark.parametrize(("depth", "smallest"), [(1, 8), (2, 16), (3, 32)])
def test_the_papers_network_refuses_images_that_are_too_small(depth: int, smallest: int) -> None:
    ud.PaperNet(1, 2, (smallest, smallest + 1), depth=depth)
    for size in ((smallest - 1, 99), (99, smallest - 1)):
        with pytest.raises(ud.InputError, match=f"{size[1]}x{size[0]} pixels .* at least {smallest}x{smallest}"):
            ud.PaperNet(1, 2, size, depth=depth)


@pytest.mark.parametrize("size", [(7, 20), (20, 7)])
def test_residual_networks_refuse_images_below_8_pixels(size: tuple[int, int]) -> None:
    ud.model_factory("resnet20")(1, 2, (8, 8))
    with pytest.raises(ud.InputError, match="too small"):
        ud.model_factory("resnet20")(1, 2, size)


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("papper", {}, "unknown model 'papper'.*did you mean 'paper'"),
        ("resnet20", {"depth": 3}, "depth applies to the model 'paper' only"),
        ("torch.nn:Linear", {"width": 2}, "width and depth apply to underdog's own networks"),
        ("no_such_module:factory", {}, "'no_such_module:factory' cannot be imported"),
        ("torch.nn:NoSuchThing", {}, "cannot be imported"),
        ("math:pi", {}, "must be a function"),
    ],
)
def test_models_that_are_not_there_are_named(name: str, options: dict[str, float], words: str) -> None:
    with pytest.raises(ud.InputError, match=words):
        ud.model_factory(name, **options)


@pytest.mark.parametrize("options", [{"width": 0}, {"width": -1}, {"depth": 0}])
def test_width_and_depth_must_be_above_0(options: dict[str, int]) -> None:
    with pytest.raises(ud.InputError, match=f"{next(iter(options))} must be"):
        ud.PaperNet(1, 2, (16, 16), **options)
