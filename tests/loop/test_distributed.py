"""Two processes show, alter and train what one does."""

from __future__ import annotations

import copy
import os
import re
import socket
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from scripts import EPS, Darken, Photos, batch, network
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from two import in_two

import underdog as ud
import underdog.evaluation
from underdog.distributed import DistributedLearner
from underdog.epoch import Batch
from underdog.optimizer import named_scheduler
from underdog.ranks import Ranks
from underdog.run.execute import execute
from underdog.run.spec import RunSpec

SEED, BATCH = 5, 32
#: 453 examples, no even number, of up to 145 distinct rare images: three chunks of gradients.
COUNTS = (151, 75, 70)
#: A single chunk, which leaves one rank without any.
FEW = (21, 9, 4)
AOS = ud.aos(EPS, 0.9)
RESAMPLERS = {
    "aos": (COUNTS, AOS),
    "one chunk": (FEW, AOS),
    "pixels": (COUNTS, ud.Chain(ud.RandomOverSampler(), ud.Perturb(Darken(), EPS, 0.9))),
    "steps": (COUNTS, ud.Chain(ud.RandomOverSampler(), ud.Perturb(ud.PGD(2), EPS, 0.9))),
    "draws": (COUNTS, ud.Chain(ud.RandomOverSampler(), ud.Perturb(ud.RandomSign(), EPS, 0.9))),
    "by row": (COUNTS, ud.Chain(ud.RandomOverSampler(), ud.Perturb(ud.FGSM(), ud.Uniform(0, EPS), 0.5, ud.ByLoss()))),
    "twice": (FEW, ud.Chain(AOS, ud.Perturb(ud.PGD(2, random_start=False), EPS, 0.9, minority=[0]))),
}
FLIP = ud.Augment(["flip"])
PAGE = (Path(__file__).parents[2] / "docs" / "your-loop.md").read_text(encoding="utf-8")


def snapshot(counts: tuple[int, ...] = COUNTS, resampler: Any = AOS, **ranks: int) -> ud.Snapshot:
    return ud.Snapshot(Photos(counts, ud.to_unit), resampler, seed=SEED, **ranks)


def drift(net: nn.Module, how: int) -> nn.Module:
    """As if BatchNorm had seen other batches."""
    net[1].running_mean.add_(0.3 * how)  # type: ignore[index]
    return net


def shown(aos: ud.Snapshot, size: int, epochs: int) -> list[np.ndarray]:
    """The images of each epoch, (N, C, H, W), in the order shown."""
    loader = aos.loader(size)
    epochs_shown = []
    for t in range(epochs):
        aos.set_epoch(t)
        epochs_shown.append(torch.cat([x for x, _ in loader]).numpy())
    return epochs_shown


# What a rank does; each answers with plain data.


def show(rank: int) -> dict[str, Any]:
    """Every resampler's epochs, with buffers that have drifted apart on rank 1."""
    answer: dict[str, Any] = {}
    for name, (counts, resampler) in RESAMPLERS.items():
        net = drift(network(), rank)
        aos = snapshot(counts, resampler, rank=rank, world=2).bind(
            DistributedDataParallel(net, broadcast_buffers=False)
        )
        net[1].running_mean.copy_(drift(network(), rank)[1].running_mean)  # which DDP had made equal
        before = net[1].running_mean.clone()
        answer[name] = shown(aos, BATCH // 2, 3)
        assert torch.equal(net[1].running_mean, before), "a refresh left a trace"
    return answer


def train_and_resume(rank: int) -> dict[str, Any]:
    """A plain loop under DistributedDataParallel, interrupted within epoch 2; buffers drift by themselves."""
    data = Photos(COUNTS, ud.to_unit)
    y = torch.tensor(data.targets)
    model = DistributedDataParallel(network(), broadcast_buffers=False)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    aos = snapshot(rank=rank, world=2).bind(model)
    loader, answer = aos.loader(BATCH // 2), {"rest": [], "resumed": []}
    for t in range(3):
        alone = snapshot()
        alone.ranks = ByItself()
        alone.bind(copy.deepcopy(model.module))  # one process that has come to this very point
        if t == 2:
            alone.load_state_dict(aos.state_dict())
            alone.set_epoch(2)
            assert alone._begin() == 2
        aos.set_epoch(t)
        for n, (x, labels) in enumerate(loader):
            if t == 2 and n == 3:
                state = aos.state_dict(seen=n * BATCH // 2)
            if t == 2 and n >= 3:
                answer["rest"].append(x.numpy())
            optimizer.zero_grad()
            F.cross_entropy(model(x), labels).backward()
            optimizer.step()
    answer["buffers"] = model.module[1].running_mean.numpy()
    answer["altered"], answer["alone"] = (a.current.altered[0].packed.numpy() for a in (aos, alone))
    again = snapshot(rank=rank, world=2).bind(model)
    again.load_state_dict(state)
    again.set_epoch(2)
    answer["resumed"] = [x.numpy() for x, _ in again.loader(BATCH // 2)]
    assert len(y) == sum(COUNTS)
    return answer


class ByItself(Ranks):
    """One process although there is a group of two."""

    def check(self, model: nn.Module | None = None) -> None:
        pass


class FailsOn(nn.Module):
    """A network that breaks on one rank while it is looked at, once it is told to."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.net, self.rank, self.broken = network(), rank, False

    def forward(self, x: Tensor) -> Tensor:
        if self.broken and self.rank == 1:
            raise OSError("the disk of rank 1 is gone")
        return self.net(x)


def fail(rank: int) -> dict[str, Any]:
    """Errors on rank 1 in a refresh, at the first look, and of the arguments; then all go on together."""
    answer: dict[str, Any] = {}
    model, new = FailsOn(rank), FailsOn(rank)
    aos = snapshot(rank=rank, world=2).bind(model)
    list(aos.loader().sampler)  # a look, so that the network is no new one
    new.broken = model.broken = True
    for name, net in (("refresh", model), ("first look", new)):
        aos.bind(net).set_epoch(0)
        with pytest.raises((OSError, ud.TrainingError)) as caught:
            list(aos.loader().sampler)
        answer[name] = type(caught.value).__name__, str(caught.value)
        net.broken = False
    aos.set_epoch(0)
    answer["afterwards"] = len(list(aos.loader().sampler))
    parallel = DistributedDataParallel(network())
    wrongs = {"alone": snapshot(), "undivided": snapshot(), "three": snapshot(rank=rank, world=3)}
    for name, wrong in wrongs.items():
        with pytest.raises(ud.InputError) as said:
            wrong.bind(parallel if name == "alone" else network())
        answer[name] = str(said.value)
    return answer


def online(rank: int) -> dict[str, Any]:
    """perturb_batch with a distributed network, on rank 1 alone: whatever it sent would wait for rank 0 for ever."""
    x, y = batch()
    net = drift(network(), 0)
    parallel = DistributedDataParallel(net)
    for _ in range(2):  # after the first backward, the next forward with gradients rebuilds buckets together
        F.cross_entropy(parallel(x), y).backward()
    inner = nn.Sequential(nn.Identity(), parallel)
    found = []
    settings: dict[str, Any] = {"eps": EPS, "tau": 1, "minority": [2]}
    if rank == 1:
        for model in (parallel, inner):
            found.append(ud.perturb_batch(x, y, model, **settings))
            own = lambda v, w, model=model: F.cross_entropy(model(v), w, reduction="none")  # noqa: E731
            found.append(ud.perturb_batch(x, y, model, objective=own, **settings))
        found.append(ud.perturb_batch(x, y, copy.deepcopy(net), **settings))
    F.cross_entropy(parallel(x), y).backward()  # the ranks still understand each other
    torch.manual_seed(0)
    draws = ud.perturb_batch(x, torch.full_like(y, 2), net, eps=EPS, minority=[2])
    sampler = ud.BalancedSampler(Photos(COUNTS), 3, rank, 2)
    return {
        "equal": all(torch.equal(one, found[-1]) and not torch.equal(one, x) for one in found),
        "altered": (draws != x).flatten(1).any(1).tolist(),
        "sampler": list(sampler),
        "divided": divided(rank),
        "page": follow_the_page(rank),
    }


def divided(rank: int) -> list[str]:
    """What is said of networks that FSDP divides, old and new, to a batch without a rare image too."""
    said, (x, y) = [], batch()
    mesh = init_device_mesh("cpu", (2,))
    for net in (FullyShardedDataParallel(network(), device_id=torch.device("cpu")), fully_shard(network(), mesh=mesh)):
        for model in (net, nn.Sequential(nn.Identity(), net)):
            with pytest.raises(ud.InputError) as error:
                ud.perturb_batch(x, y if rank else y * 0, model, eps=EPS, tau=1, minority=[2])
            said.append(str(error.value))
        aos = snapshot(rank=rank, world=2).bind(net)
        aos.set_epoch(0)
        with pytest.raises(ud.InputError) as error:
            next(iter(aos.loader(8)))
        said.append(str(error.value))
    return said


def like_torchrun(rank: int) -> None:
    """Leave the process group, as torchrun would start a script that makes its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = Ranks(rank, 2).broadcast(free.getsockname()[1])
    distributed.barrier()
    distributed.destroy_process_group()
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))


def follow_the_page(rank: int) -> list[list[int]]:
    """How many images the script of the documentation shows in each batch, before and after."""
    (diff,) = re.findall(r"```diff torchrun\n(.*?)```", PAGE, re.DOTALL)
    shown: list[list[int]] = []
    for sign in "-+":
        data, net = Photos((20, 20, 5), ud.to_unit), network()
        numbers: list[int] = []
        net.register_forward_pre_hook(
            lambda m, args, numbers=numbers: numbers.append(len(args[0])) if m.training else None
        )
        script = "\n".join(line[1:] for line in diff.splitlines() if line[:1] in (sign, " "))
        names = {"train_set": data, "network": net, "MEAN": 0.0, "STD": 1.0, "epochs": 2, "workers": 0}
        like_torchrun(rank)
        exec(script, names | {"loss": nn.CrossEntropyLoss(), "make_optimizer": torch.optim.SGD})
        shown.append(numbers)
    return shown


def learn(rank: int) -> dict[str, Any]:
    """A distributed learner on uneven and empty shares, and a training on all of it."""
    torch.manual_seed(rank)  # a factory that does not obey the seed
    plain = nn.Sequential(nn.Flatten(), nn.Linear(432, 8), nn.Tanh(), nn.Linear(8, 3))
    learner = DistributedLearner(plain, 3, 0.1, torch.optim.SGD, ranks=Ranks(rank, 2))
    start = {k: v.numpy() for k, v in learner.weights().items()}
    x, y = batch(40)
    for whole in torch.split(torch.arange(40), [7, 1, 2, 30]):
        mine = whole[rank::2]
        learner.step(x[mine], y[mine])
    answer: dict[str, Any] = {"start": start, "weights": {k: v.numpy() for k, v in learner.weights().items()}}
    return answer | {"flushed": learner.flush(), "training": train(rank)}


def training(ranks: Ranks, augment: ud.Augment = FLIP) -> ud.Training:
    data = Photos(COUNTS)
    images = ud.ImageSet(data.pixels, torch.tensor(data.targets), ("a", "b", "c"))
    net = nn.Sequential(*network(), nn.Dropout(0.1))
    hyper = ud.Hyperparameters(epochs=4, batch=BATCH, augment=augment, scheduler=named_scheduler("cosine"))
    return ud.Training(net, ud.Method(AOS), ud.Split(images, images), hyper, SEED, ranks=ranks)


def train(rank: int) -> dict[str, Any]:
    """Four epochs, of which the last two are also trained from a saved state, and refreshed by one process."""
    underdog.evaluation.EVALUATION_BATCH = 100  # three parts, to be shared
    whole, resumed, alone = (training(r) for r in (Ranks(rank, 2), Ranks(rank, 2), Ranks()))
    for t in range(4):
        if t == 2:
            resumed.restore(*copy.deepcopy(whole.state()))  # a file would hold copies too
            alone.restore(*whole.state())
            refreshed = alone._refreshed(2)
        whole.advance()
        if t >= 2:
            resumed.advance()
    records = [(r.loss, r.updates, r.images, r.val.confusion.tolist()) for r in whole.records]
    weights = np.concatenate([v.numpy().ravel() for v in whole.learner.weights().values()])
    history = whole.finish()
    return {
        "records": records,
        "weights": weights,
        "last": np.concatenate([v.numpy().ravel() for v in resumed.learner.weights().values()]),
        "again": [(r.loss, r.updates, r.images, r.val.confusion.tolist()) for r in resumed.records],
        "refreshed": torch.equal(refreshed.altered[0].packed, whole.epoch.altered[0].packed),
        "logits": history.last_epoch_val.logits,
        "one process": ud.evaluate(resumed_alone(resumed), whole.split.val).logits,
    }


def resumed_alone(other: ud.Training) -> ud.Learner:
    """A learner of one process with the weights of another training."""
    alone = training(Ranks()).learner
    alone.load_weights(other.learner.weights())
    return alone


def run(rank: int, out: Path) -> dict[str, Any]:
    """A run of the command line, which is then found finished."""
    digits, ranks = ud.load_images("digits"), Ranks(rank, 2)
    spec = RunSpec(digits.fingerprint, "ros", rho=20, mu=0.6, epochs=1, width=0.1, devices=2)
    first = execute(spec, digits, out, ranks=ranks)
    times = {p.name: p.stat().st_mtime_ns for p in (out / spec.id).iterdir()}
    return {"results": [first, execute(spec, digits, out, ranks=ranks)], "times": times}


# What they have to do.


def everything(rank: int, out: Path) -> list[dict[str, Any]]:
    """All of it, since starting two processes takes longer than what they do."""
    return [do(rank) for do in (show, train_and_resume, fail, online, learn)] + [run(rank, out)]


class Both(NamedTuple):
    """What the two ranks answered."""

    show: list[dict[str, Any]]
    train_and_resume: list[dict[str, Any]]
    fail: list[dict[str, Any]]
    online: list[dict[str, Any]]
    learn: list[dict[str, Any]]
    run: list[dict[str, Any]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Both:
    zero, one = in_two(everything, tmp_path_factory.mktemp("ranks"), tmp_path_factory.mktemp("runs"))
    return Both(*map(list, zip(zero, one, strict=True)))


def together(parts: list[list[np.ndarray]]) -> list[np.ndarray]:
    """The ranks' epochs as one: first an example of rank 0, then one of rank 1, ..."""
    return [np.stack(pair, axis=1).reshape(-1, *pair[0].shape[1:]) for pair in zip(*parts, strict=True)]


def test_ranks_show_the_examples_of_one_process_in_its_order_and_alter_them_alike(both: Both) -> None:
    for name, (counts, resampler) in RESAMPLERS.items():
        alone = shown(snapshot(counts, resampler).bind(network()), BATCH, 3)
        found = together([rank[name] for rank in both.show])
        for one, two in zip(alone, found, strict=True):
            n = len(one)
            assert len(two) == n + n % 2
            # Batch by batch, since a rank's i-th batch is half of the i-th one.
            assert np.array_equal(two[:n], one), name
            assert np.array_equal(two[n:], one[: n % 2])  # what is repeated is the beginning
    drifted = shown(snapshot().bind(drift(network(), 1)), BATCH, 1)[0]
    own = shown(snapshot().bind(network()), BATCH, 1)[0]
    assert 0.001 < (drifted != own).mean() < 0.5  # what rank 1 would have made of its own buffers


def test_a_training_on_two_ranks_refreshes_as_one_process_would_and_resumes_within_an_epoch(both: Both) -> None:
    zero, one = both.train_and_resume
    assert not np.array_equal(zero["buffers"], one["buffers"])
    assert np.array_equal(zero["altered"], zero["alone"])  # rank 0's buffers
    assert np.array_equal(one["altered"], zero["altered"])
    assert not np.array_equal(one["alone"], zero["alone"])  # rank 1's own
    for rank in (zero, one):
        assert len(rank["rest"]) == len(rank["resumed"]) > 10
        assert all(np.array_equal(x, v) for x, v in zip(rank["rest"], rank["resumed"], strict=True))


def test_an_error_on_one_rank_is_one_on_all_and_nobody_waits(both: Both) -> None:
    zero, one = both.fail
    for name in ("refresh", "first look"):
        assert one[name] == ("OSError", "the disk of rank 1 is gone")
        assert zero[name] == ("TrainingError", "rank 1 failed: OSError: the disk of rank 1 is gone")
    assert zero["afterwards"] == one["afterwards"] == 227
    assert "distributed over 2 processes" in zero["alone"]
    assert "process group, 0 of 2, not 0 of 1" in zero["undivided"]
    assert "process group, 0 of 2, not 0 of 3" in zero["three"]


def test_perturb_batch_and_the_sampler_in_two_processes(both: Both) -> None:
    zero, one = both.online
    assert one["equal"]
    assert 0 < sum(a != b for a, b in zip(zero["altered"], one["altered"], strict=True)) < 24
    whole = list(ud.BalancedSampler(Photos(COUNTS), 3))
    assert [i for pair in zip(zero["sampler"], one["sampler"], strict=True) for i in pair] == [*whole, whole[0]]
    for rank in (zero, one):
        before, after = rank["page"]
        assert sum(before) == 2 * 23  # half of 45, and one
        assert sum(after) == 2 * 30  # half of 3 x 20


def test_a_network_that_is_divided_among_processes_is_refused(both: Both) -> None:
    for rank in both.online:
        assert len(rank["divided"]) == 6
        assert all("must not be divided" in said and "DistributedDataParallel" in said for said in rank["divided"])


def test_shares_weigh_as_many_images_as_they_have_and_an_empty_one_joins(both: Both) -> None:
    zero, one = both.learn
    assert all(np.array_equal(v, one["start"][k]) for k, v in zero["start"].items())
    assert all(np.array_equal(v, one["weights"][k]) for k, v in zero["weights"].items())
    plain = nn.Sequential(nn.Flatten(), nn.Linear(432, 8), nn.Tanh(), nn.Linear(8, 3))
    learner = ud.Learner(plain, 3, 0.1, torch.optim.SGD)
    learner.load_weights({k: torch.from_numpy(v) for k, v in zero["start"].items()})
    x, y = batch(40)
    for whole in torch.split(torch.arange(40), [7, 1, 2, 30]):
        learner.step(x[whole], y[whole])
    for k, v in learner.weights().items():
        np.testing.assert_allclose(zero["weights"][k], v.numpy(), rtol=0, atol=1e-6)
        assert np.abs(zero["start"][k] - v.numpy()).max() > 1e-3
    expected = learner.flush()
    assert zero["flushed"] == one["flushed"]
    assert zero["flushed"][1:] == expected[1:] == (40, 4)
    assert zero["flushed"][0] == pytest.approx(expected[0], rel=1e-6)
    check_training(zero["training"], one["training"])


def check_training(zero: dict[str, Any], one: dict[str, Any]) -> None:
    assert zero["records"] == one["records"]
    assert [r[1:3] for r in zero["records"]] == [(15, 453)] * 4
    assert np.array_equal(zero["weights"], zero["last"])
    assert np.array_equal(zero["weights"], one["weights"])
    assert zero["again"] == zero["records"]
    assert zero["refreshed"]
    assert one["refreshed"]
    assert np.array_equal(zero["logits"], one["logits"])
    assert np.array_equal(zero["logits"], zero["one process"])


def test_a_run_that_is_finished_is_not_done_again(both: Both) -> None:
    zero, one = both.run
    (result, again), times = zero["results"], zero["times"]
    assert result == again == one["results"][0] == one["results"][1]
    assert result["spec"]["devices"] == 2
    assert times == one["times"]
    assert {"result.json", "predictions.csv", "model.safetensors"} <= set(times)
    assert "state.safetensors" not in times


def batches(training: ud.Training) -> list[Batch]:
    """What a rank trains on in epoch 0."""
    order, drawn = training._parts(0)
    shown = zip(training.epoch.read(order), drawn, strict=True)
    return [Batch(training.hyper.augment(x, u), y) for (x, y, _), u in shown]


@pytest.mark.parametrize("world", [1, 2, 3, 40])
def test_shares_of_every_batch_are_those_of_one_process_also_augmented(world: int) -> None:
    """40 ranks leave shares empty: there are 32 images in a batch."""
    one = training(Ranks(), ud.Augment(["flip", "crop", "color"]))
    whole, parts = batches(one), []
    for rank in range(world):
        one.ranks = Ranks(rank, world)
        parts.append(batches(one))
    for n, (x, y, _) in enumerate(whole):
        own = [part[n] for part in parts]
        assert sum(len(b.y) for b in own) == len(y)
        for position in range(len(y)):
            mine = own[position % world]
            assert torch.equal(mine.x[position // world], x[position])
            assert mine.y[position // world] == y[position]


def test_a_rank_without_a_process_group_is_told_so() -> None:
    with pytest.raises(ud.InputError, match="init_process_group"):
        snapshot(rank=1, world=2).bind(network())
    with pytest.raises(ud.InputError, match="rank must lie"):
        snapshot(rank=2, world=2)
