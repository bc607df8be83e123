"""Pretrained weights: what fits is copied, what does not is named, and no pickle is read."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import underdog as ud
from underdog.model.pretrained import recorded, weights_fingerprint


def network(classes: int = 3, n: int = 1, width: float = 0.5, seed: int = 0) -> ud.ResNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ud.ResNet(3, classes, n, width)


def saved(path: Path, net: nn.Module, prefix: str = "", **more: torch.Tensor) -> Path:
    save_file({f"{prefix}{k}": v.contiguous() for k, v in net.state_dict().items()} | more, path)
    return path


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "module.model."])
def test_every_tensor_is_copied_also_under_a_prefix(prefix: str, tmp_path: Path) -> None:
    old, new = network(seed=1), network(seed=2)
    assert ud.load_pretrained(new, saved(tmp_path / "old.safetensors", old, prefix)) == ()
    assert all(torch.equal(v, new.state_dict()[k]) for k, v in old.state_dict().items())


def test_a_head_for_other_classes_starts_anew_and_that_is_said(tmp_path: Path) -> None:
    old, new = network(10, seed=1), network(3, seed=2)
    first = {k: v.clone() for k, v in new.state_dict().items()}
    (note,) = ud.load_pretrained(new, saved(tmp_path / "old.safetensors", old))
    assert note == "the classifier head (fc) starts anew: old.safetensors has 10 classes there, the network 3"
    for k, v in new.state_dict().items():
        assert torch.equal(v, first[k] if k.startswith("fc.") else old.state_dict()[k])


@pytest.mark.parametrize("other", [{}, {"pooler.weight": torch.zeros(4, 4)}])
def test_a_file_without_this_head_is_taken_also_with_another_in_its_place(
    other: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    old, new = network(seed=1), network(seed=2)
    old.fc = nn.Identity()
    (note,) = ud.load_pretrained(new, saved(tmp_path / "old.safetensors", old, **other))
    assert "starts anew: old.safetensors has no such layer" in note
    assert torch.equal(new.conv.weight, old.conv.weight)


@pytest.mark.parametrize(
    ("old", "words"),
    [
        (network(width=0.25), ["conv.weight has the shape 4x3x3x3, not 8x3x3x3; bn.weight has the shape 4, not 8; blocks.0.conv1"]),
        (network(n=2), ["blocks.1.conv1.weight has the shape 8x8x3x3, not 16x8x3x3", "more layers"]),
        (nn.Sequential(nn.Linear(2, 3)), ["conv.weight is missing; bn.weight is missing; blocks.0.conv1.weight is missing; and"]),
        (ud.PaperNet(3, 3, (16, 16)), ["conv.weight is missing"]),
    ],
    ids=["narrower", "deeper", "a layer", "the paper's"],
)  # fmt: skip
def test_weights_of_another_architecture_are_refused_by_the_first_layers_that_differ(
    old: nn.Module, words: list[str], tmp_path: Path
) -> None:
    new = network()
    before = {k: v.clone() for k, v in new.state_dict().items()}
    with pytest.raises(ud.InputError, match="has the weights of another network") as error:
        ud.load_pretrained(new, saved(tmp_path / "old.safetensors", old))
    assert all(word in str(error.value) for word in words), error.value
    assert len(str(error.value)) < 400
    assert all(torch.equal(v, before[k]) for k, v in new.state_dict().items())


def test_a_part_that_the_network_does_not_have_is_named_where_the_head_fits(tmp_path: Path) -> None:
    old = network()
    old.more = nn.Linear(2, 2)
    with pytest.raises(ud.InputError, match=r"another network: more.bias is no layer of the network$"):
        ud.load_pretrained(network(), saved(tmp_path / "old.safetensors", old))


def test_a_head_that_takes_other_features_is_another_architecture(tmp_path: Path) -> None:
    old = network(7)
    old.fc = nn.Linear(64, 7)
    with pytest.raises(ud.InputError, match=r"fc.weight has the shape 7x64, not 3x32"):
        ud.load_pretrained(network(3), saved(tmp_path / "old.safetensors", old))


def test_a_head_that_is_not_the_last_layer_is_said_not_to_be_found(tmp_path: Path) -> None:
    def early(classes: int) -> nn.Module:
        return nn.ModuleDict({"head": nn.Linear(8, classes), "stem": nn.Conv2d(3, 8, 3)})

    path = saved(tmp_path / "old.safetensors", early(10))
    with pytest.raises(
        ud.InputError, match=r"number of classes in head, and that is not where .* with parameters, stem: give"
    ):
        ud.load_pretrained(early(3), path)
    assert ud.load_pretrained(early(10), path) == ()
    two = [nn.ModuleDict({"a": nn.Linear(8, n), "b": nn.Linear(8, n)}) for n in (10, 3)]
    with pytest.raises(ud.InputError, match="number of classes in a, and that is not where"):
        ud.load_pretrained(two[1], saved(tmp_path / "two.safetensors", two[0]))


@pytest.mark.parametrize("name", ["old.pt", "old.PTH", "pytorch_model.bin", "old.ckpt"])
def test_a_pickle_is_refused_unread_with_the_way_to_convert_it(name: str, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    (tmp_path / name).write_bytes(pickle.dumps(Trap()))
    for read in (lambda p: ud.load_pretrained(network(), p), weights_fingerprint):
        with pytest.raises(ud.InputError, match=r"may be a pickle.*save_file\(torch.load\(.*weights_only=True"):
            read(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ud.InputError, match=r"nothing.safetensors is no file of weights"):
        ud.load_pretrained(network(), tmp_path / "nothing.safetensors")
    (tmp_path / "text.safetensors").write_bytes(b"hello, this is no header of any kind")
    with pytest.raises(ud.InputError, match=r"text.safetensors is no safetensors file"):
        ud.load_pretrained(network(), tmp_path / "text.safetensors")
    broken = network()
    with torch.no_grad():
        broken.bn.weight[0] = torch.nan
    with pytest.raises(ud.InputError, match=r"not finite numbers \(bn.weight\)"):
        ud.load_pretrained(network(), saved(tmp_path / "nan.safetensors", broken))


def test_a_runs_own_model_goes_into_a_network_and_brings_its_normalisation(tmp_path: Path) -> None:
    images = torch.randint(256, (4, 3, 16, 16), dtype=torch.uint8)
    old, new = ud.normalized(network(seed=1), images), network(seed=2)
    path = saved(tmp_path / "model.safetensors", old)
    assert ud.load_pretrained(new, path) == ()
    assert torch.equal(new.conv.weight, old[1].conv.weight)
    mean, std, *_ = recorded(path)
    assert torch.equal(torch.tensor(mean), old[0].mean.flatten())
    assert torch.equal(torch.tensor(std), old[0].std.flatten())
    assert recorded(saved(tmp_path / "plain.safetensors", new)) is None


def test_a_fingerprint_is_of_the_content_not_of_the_name(tmp_path: Path) -> None:
    a, b = saved(tmp_path / "a.safetensors", network()), saved(tmp_path / "b.safetensors", network())
    assert weights_fingerprint(a) == weights_fingerprint(b)
    assert weights_fingerprint(a) != weights_fingerprint(saved(tmp_path / "c.safetensors", network(seed=1)))


def test_freezing_covers_what_is_defined_before_a_layer_and_nothing_else() -> None:
    net = network(n=2)
    ud.freeze_until(net, "blocks.3")
    trained = {name.split(".")[0] + "." + name.split(".")[1] for name, p in net.named_parameters() if p.requires_grad}
    assert trained == {"blocks.3", "blocks.4", "blocks.5", "fc.weight", "fc.bias"}
    assert not any(
        m.training for name in ("conv", "bn", "blocks.0", "blocks.2") for m in net.get_submodule(name).modules()
    )
    assert all(net.get_submodule(name).training for name in ("", "blocks", "blocks.3", "blocks.3.bn1", "fc"))
    learner = ud.Learner(net, 3)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    learner.step(torch.rand(8, 3, 16, 16), torch.zeros(8, dtype=torch.int64))
    learner.logits(torch.rand(2, 3, 16, 16))
    moved = {k.rpartition(".")[0] for k, v in net.state_dict().items() if not torch.equal(v, before[k])}
    assert {name for name in moved if not name.startswith(("blocks.3", "blocks.4", "blocks.5", "fc"))} == set()
    assert {"blocks.3.bn1", "blocks.5.conv2", "fc"} <= moved


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ("block.3", "no layer 'block.3'; did you mean 'blocks.3'"),
        ("", "no layer ''"),
        ("nowhere", r"begins with: conv, bn, blocks, fc"),
    ],
)
def test_a_layer_that_is_not_there_is_named_with_those_that_are(layer: str, words: str) -> None:
    with pytest.raises(ud.InputError, match=words):
        ud.freeze_until(network(n=2), layer)


def test_freezing_everything_is_refused() -> None:
    with pytest.raises(ud.InputError, match="nothing is left to train from layer '1' on"):
        ud.freeze_until(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "1")
