"""perturb_batch on networks of many kinds leaves no trace, draws as it says, and refuses what cannot be right."""

from __future__ import annotations

import copy
import warnings
from pathlib import Path

import pytest
import torch
from scripts import (
    CLASSES,
    SHAPE,
    AlwaysDropping,
    Checkpointed,
    FixedBackbone,
    Wrapped,
    batch,
    expected,
    network,
    perturbed,
)
from small import Awkward
from test_no_trace import same
from torch import nn
from torch.nn import functional as F

import underdog as ud

MEAN = [0.485, 0.456, 0.406]


def test_the_training_graph_of_a_compiled_network_is_not_compiled_again() -> None:
    (x, y), net = batch(), network()
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: object) -> object:
        graphs.append(graph)
        return graph.forward

    model = torch.compile(net, backend=backend)
    for _ in range(3):
        v = perturbed(x, y, model)
        F.cross_entropy(model(v), y).backward()
    assert len(graphs) == 1
    assert torch.equal(perturbed(x, y, model), expected(net, x, y))


AWKWARD: dict[str, object] = {
    "frozen, dropout, in place, mixed flags, changing buffers": lambda: Awkward(CLASSES),
    "SyncBatchNorm": lambda: nn.SyncBatchNorm.convert_sync_batchnorm(network()),
    "checkpointing": lambda: Checkpointed(network(), reentrant=False),
    "a backbone fixed by its flags": lambda: FixedBackbone("flags"),
    "compiled": lambda: torch.compile(network(), backend="eager"),
    "in evaluation mode": lambda: network().eval(),
}


def traces(net: nn.Module, optimizer: torch.optim.Optimizer) -> list[object]:
    """Everything that must stay bit-identical."""
    return [
        [(k, v.clone()) for k, v in net.state_dict().items()],
        [(k, id(v)) for k, v in net.named_buffers()],
        [m.training for m in net.modules()],
        [(p.requires_grad, None if p.grad is None else p.grad.clone(), id(p.grad)) for p in net.parameters()],
        [v.clone() for s in optimizer.state.values() for v in s.values() if isinstance(v, torch.Tensor)],
        torch.get_rng_state(),
        torch.is_grad_enabled(),
    ]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", AWKWARD)
def test_no_trace(name: str, fails: bool) -> None:
    net = AWKWARD[name]()  # type: ignore[operator]
    x, y = batch()
    x = x[:, :1].contiguous() if isinstance(net, Awkward) else x
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad])
    F.cross_entropy(net(x), y).backward()
    optimizer.step()
    perturbed(x, y, net)
    before, shown = traces(net, optimizer), x.clone()

    def break_(z: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("the loss broke")

    if fails:
        with pytest.raises(RuntimeError, match="broke"):
            perturbed(x, y, net, loss=break_)
    else:
        assert not torch.equal(perturbed(x, y, net), x)
    after = traces(net, optimizer)
    assert [n for n, (a, b) in enumerate(zip(before, after, strict=True)) if not same(a, b)] == []
    assert torch.equal(x, shown)


def test_a_loss_with_buffers_of_its_own_keeps_them() -> None:
    class Moving(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.zeros(()))

        def forward(self, z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            self.mean += 1
            return F.cross_entropy(z, y, reduction="none")

    (x, y), loss = batch(), Moving()
    perturbed(x, y, network(), loss=loss)
    assert loss.mean == 0
    assert loss.training


def test_what_a_network_does_when_it_changes_its_mode_is_left_alone() -> None:
    class Merging(nn.Sequential):
        """As adapters of low rank do, which are merged into the weights for evaluation."""

        def train(self, mode: bool = True) -> nn.Module:
            with torch.no_grad():
                self[0].weight.mul_(2 if not mode else 1)
            return super().train(mode)

    (x, y), net = batch(), Merging(*network())
    before = net[0].weight.clone()
    assert torch.equal(perturbed(x, y, net), perturbed(x, y, nn.Sequential(*net)))
    assert torch.equal(net[0].weight, before)
    assert net.training


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_scripted_network_is_looked_at_in_evaluation_mode_too() -> None:
    (x, y), net = batch(), network()
    scripted = torch.jit.script(net)
    assert torch.equal(perturbed(x, y, scripted), expected(net, x, y))
    assert all(m.training for m in scripted.modules())


def test_under_no_grad_and_inference_mode_it_is_the_same() -> None:
    (x, y), net = batch(), network()
    with torch.no_grad():
        one = perturbed(x, y, net)
    with torch.inference_mode():
        two = perturbed(x.clone(), y, net)
    assert torch.equal(one, expected(net, x, y))
    assert torch.equal(one, two)


def test_a_network_in_distributed_data_parallel(tmp_path: Path) -> None:
    (x, y), net = batch(), network()
    expected_x = expected(net, x, y)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        model = nn.parallel.DistributedDataParallel(net)
        for _ in range(2):  # a reducer that waits for gradients would fail in the second round
            assert torch.equal(perturbed(x, y, model), expected_x)
            F.cross_entropy(model(x), y).backward()
            net[1].reset_running_stats()
        # Before its group: the last to hold a group waits for the group's threads, and of one that goes with a local variable
        # they wait in turn for Python's lock, about once in 600 times.
        del model
    finally:
        torch.distributed.destroy_process_group()


def test_gradients_that_accumulate_are_left_alone() -> None:
    (x, y), net = batch(), network()
    plain = copy.deepcopy(net)
    for part in range(2):
        F.cross_entropy(net(x), y).backward()
        perturbed(x, y, net)
        F.cross_entropy(plain(x), y).backward()
        assert all(torch.equal(a.grad, b.grad) for a, b in zip(net.parameters(), plain.parameters(), strict=True)), part


def test_dropout_that_never_ends_is_warned_about_once() -> None:
    (x, y), net = batch(), AlwaysDropping(network())
    with pytest.warns(UserWarning, match="functional dropout"):
        perturbed(x, y, net)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        perturbed(x, y, net)


@pytest.mark.parametrize("how", ["no_grad", "detach", "inference"])
def test_a_backbone_that_autograd_cannot_see_through_is_named(how: str) -> None:
    x, y = batch()
    with pytest.raises(ud.InputError, match=r"requires_grad_\(False\)"):
        perturbed(x, y, FixedBackbone(how), tau=0)


def test_reentrant_checkpointing_is_named() -> None:
    x, y = batch()
    with pytest.raises(ud.InputError, match="use_reentrant=False"):
        perturbed(x, y, Checkpointed(network(), reentrant=True), tau=0)


# Draws


def test_tau_is_the_probability_and_the_generator_decides() -> None:
    x, y = batch(3000)
    net = nn.Sequential(nn.Flatten(), nn.Linear(432, CLASSES))
    one, two = (perturbed(x, y, net, tau=0.4, generator=torch.Generator().manual_seed(1)) for _ in range(2))
    altered = (one != x).flatten(1).any(1)
    assert torch.equal(one, two)
    assert abs(int(altered.sum()) - 400) < 4 * (1000 * 0.4 * 0.6) ** 0.5
    assert set(y[altered].tolist()) == {2}


def test_without_a_generator_the_scripts_seed_decides_and_stays_where_it_is() -> None:
    x, y = batch()
    nets = [network(), network(), network()]
    got = []
    for seed, net in zip((7, 7, 8), nets, strict=True):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        got.append(torch.stack([perturbed(x, y, net, tau=0.5) for _ in range(3)]))
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(got[0], got[1])
    assert not torch.equal(got[0], got[2])
    assert not torch.equal(got[0][0], got[0][1])


def test_a_network_that_is_wrapped_in_every_call_is_one_network() -> None:
    (x, y), net, forwards = batch(), network(), []
    net.register_forward_hook(lambda *parts: forwards.append(1))
    found = {
        tuple((perturbed(x, y, nn.Sequential(nn.Identity(), net), tau=0.5) != x).flatten(1).any(1).tolist())
        for _ in range(5)
    }
    assert len(found) > 1  # other images of every batch
    assert len(forwards) <= 2 + 5  # looked at once


def trained(options: dict[str, object] | None) -> list[torch.Tensor]:
    """The weights of a script with Dropout after five steps on balanced batches."""
    torch.manual_seed(3)
    data = torch.rand(40, *SHAPE)
    labels = torch.arange(40) % 10 // 4  # 16, 16 and 8
    net = nn.Sequential(network(), nn.Dropout(0.3))
    optimizer = torch.optim.Adam(net.parameters(), fused=True)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(data, labels), 8, sampler=(sampler := ud.BalancedSampler(labels))
    )
    for x, y in loader:
        v = x if options is None else perturbed(x, y, net, minority=sampler.minority, **options)
        optimizer.zero_grad()
        F.cross_entropy(net(v), y).backward()
        optimizer.step()
    return [p.detach() for p in net.parameters()]


def test_with_tau_0_or_eps_0_a_scripts_figures_are_those_without_it() -> None:
    plain = trained(None)
    for options in ({"tau": 0.0}, {"eps": 0.0}):
        assert all(torch.equal(a, b) for a, b in zip(plain, trained(options), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(plain, trained({}), strict=True))


# Bad input: at the first call, also when the batch has no image to alter


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"eps": 8}, "eps must be"),
        ({"tau": 1.5}, "tau must be"),
        ({"minority": []}, "minority must name"),
        ({"mean": MEAN}, "mean and std belong together"),
        ({"mean": MEAN, "std": [1.0]}, "one number for each channel"),
        ({"mean": [0.0] * 4, "std": [1.0] * 4}, "does not fit images"),
        ({"mean": MEAN, "std": [0.2, 0.0, 0.2]}, "std must be above 0"),
        ({"low": 1.0}, "low must be less"),
        ({"x": lambda x: x * 255}, "high=255"),
        ({"x": lambda x: (x - 0.5) / 0.2}, "mean= and std="),
        ({"x": lambda x: (x * 255).byte()}, "floating point"),
        ({"x": lambda x: x.clone().fill_(torch.nan)}, "must lie in"),
        ({"x": lambda x: x[:5]}, "one length"),
        ({"y": lambda y: y.float()}, "class numbers"),
        ({"y": lambda y: y + 1}, "column for each class"),
        ({"model": lambda: Wrapped(network(), lambda z: z.mean())}, "objective="),
        ({"model": lambda: Wrapped(network(), lambda z: z[:3])}, "must return logits"),
        ({"model": lambda: Wrapped(network(), lambda z: {"out": z})}, "without 'logits'"),
        ({"model": lambda: Wrapped(network(), lambda z: None)}, "must return logits"),
        ({"loss": lambda z, y: 0.5}, "must return a tensor"),
        ({"loss": lambda z, y: z[:2].sum(1)}, "one value for each"),
        ({"minority": 2}, "minority must be class numbers from 0, such as .* not 2"),
        ({"minority": ["cat"]}, r"minority must be class numbers .* not \['cat'\]"),
        ({"minority": [77]}, r"returns \(8, 3\) where labels or minority name the classes \[0, 1, 2, 77\]"),
        ({"minority": [77], "loss": nn.CrossEntropyLoss()}, "column for each class"),
        ({"y": lambda y: y - 1}, "column for each class"),
        ({"x": lambda x: x.numpy()}, "x must be a tensor, not a ndarray"),
        ({"y": lambda y: y.tolist()}, "y must be a tensor, not a list"),
        ({"eps": "a"}, "eps must be a number in .* not 'a'"),
        ({"eps": None}, "eps must be a number, not None"),
        ({"tau": None}, "tau must be a number, not None"),
        ({"loss": "ce"}, "loss must be a function of logits and labels, not 'ce'"),
        ({"objective": 3}, "objective must be a function"),
        ({"generator": 3}, "generator must be a torch.Generator, not 3"),
        ({"tally": 3}, "tally must be a Tally, not 3"),
        ({"model": lambda: None}, "model must be a torch.nn.Module"),
    ],
)
def test_bad_input_is_refused_at_the_first_call(change: dict[str, object], said: str) -> None:
    x, y = batch()
    change = dict(change)
    x, y = change.pop("x", lambda x: x)(x), change.pop("y", lambda y: y)(y)  # type: ignore[operator]
    model = change.pop("model", network)()  # type: ignore[operator]
    with pytest.raises(ud.InputError, match=said):
        perturbed(x, y, model, **{"minority": [1000], **change})
