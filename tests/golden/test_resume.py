"""The same figures from the same seed, also when a run is cut into pieces."""

from __future__ import annotations

import json

import pytest
import torch
from small import METHODS
from torch import nn

import underdog as ud
from underdog.run.execute import split_of
from underdog.run.network import build_model
from underdog.run.spec import RunSpec

HYPER = ud.Hyperparameters(epochs=5, batch=32)


@pytest.fixture(scope="module")
def split() -> ud.Split:
    return ud.prepare(ud.load_images("digits"), rho=20, mu=0.6).split


def network(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Dropout(0.1), ud.PaperNet(1, 10, (16, 16), width=0.25))


def sgd(parameters: object, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9)  # type: ignore[arg-type]


def figures(training: ud.Training) -> list[object]:
    return [(r.epoch, r.loss, r.val.confusion.tolist(), r.altered_images, r.zero_gradients) for r in training.records]


# 1: in the middle of two epochs that share their altered images; 4: where the last stage of several begins
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("cut", [1, 2, 4])
def test_a_training_goes_on_as_if_it_had_not_been_interrupted(split: ud.Split, name: str, cut: int) -> None:
    method = METHODS[name]
    whole = ud.Training(network(), method, split, HYPER)
    first = ud.Training(network(), method, split, HYPER)
    while not whole.finished:
        whole.advance()
        if len(first.records) < cut:
            first.advance()
    tensors, plain = first.state()
    second = ud.Training(network(seed=1), method, split, HYPER)
    second.restore({k: v.clone().contiguous() for k, v in tensors.items()}, json.loads(json.dumps(plain)))
    assert figures(second) == figures(whole)[:cut]
    while not second.finished:
        second.advance()
    assert figures(second) == figures(whole)
    assert second.best_epoch == whole.best_epoch
    for k, v in whole.learner.weights().items():
        assert torch.equal(v, second.learner.weights()[k])
    a, b = whole.finish(), second.finish()
    assert (a.test.logits == b.test.logits).all()
    assert (a.last_epoch_test.logits == b.last_epoch_test.logits).all()


@pytest.mark.parametrize("optimizer", [ud.Hyperparameters().optimizer, sgd])
def test_moments_come_back_in_the_layout_of_their_parameters(split: ud.Split, optimizer: object) -> None:
    hyper = ud.Hyperparameters(epochs=3, batch=64, optimizer=optimizer)  # type: ignore[arg-type]
    net = ud.ResNet(1, 10, n=1, width=0.5)
    training = ud.Training(net, ud.Method(), split, hyper)
    training.advance()
    tensors, plain = training.state()
    training.restore({k: v.contiguous() for k, v in tensors.items()}, plain)
    pairs = [
        (p, m)
        for p, state in training.learner.optimizer.state.items()
        for m in state.values()
        if isinstance(m, torch.Tensor) and m.ndim == 4
    ]
    assert any(p.is_contiguous(memory_format=torch.channels_last) and not p.is_contiguous() for p, _ in pairs)
    assert all(p.stride() == m.stride() for p, m in pairs)


def test_methods_with_one_seed_start_from_the_same_data_weights_and_order(split: ud.Split) -> None:
    source = ud.load_images("digits")
    specs = [RunSpec(source.fingerprint, m, seed=3, data_seed=3, rho=20, mu=0.6) for m in ("baseline", "ros")]
    parts = [split_of(s, source) for s in specs]
    assert parts[0].train.fingerprint == parts[1].train.fingerprint
    nets = [build_model(s, p.train)[0].state_dict() for s, p in zip(specs, parts, strict=True)]
    assert all(torch.equal(v, nets[1][k]) for k, v in nets[0].items())


def test_the_name_of_a_run_is_that_of_its_settings_and_stays() -> None:
    spec = RunSpec("data", "ros", rho=20, mu=0.6)
    plain = json.loads(json.dumps(spec.to_json()))
    assert RunSpec.from_json(plain) == spec
    assert spec.id == "ros-s0-11f13cdc4b67"
    assert RunSpec.from_json(plain | {"majority_size": 9}).id != spec.id
    assert RunSpec.from_json(plain | {"method": "ros(ratio=1.0)"}).id == spec.id
    assert RunSpec.from_json(plain | {"method": "ros(ratio=0.5)"}).id != spec.id


def test_the_same_seed_gives_the_same_history_and_another_seed_another(split: ud.Split) -> None:
    histories = [
        ud.fit(network(), ud.Method(ud.aos(0.1, 0.5)), split, ud.Hyperparameters(epochs=2, batch=32), seed=s)
        for s in (0, 0, 1)
    ]
    assert (histories[0].test.logits == histories[1].test.logits).all()
    assert not (histories[0].test.logits == histories[2].test.logits).all()


def test_the_best_epoch_is_the_first_with_the_highest_validation_macro_f1(split: ud.Split) -> None:
    net = network()
    history = ud.fit(net, ud.Method(ud.RandomOverSampler()), split, HYPER)
    scores = [r.val.macro_f1 for r in history.records]
    assert history.best_epoch == scores.index(max(scores))
    assert history.val.metrics.macro_f1 == max(scores)
    assert history.last_epoch_val.metrics.macro_f1 == scores[-1]
    net.eval()
    with torch.no_grad():
        logits = net(ud.to_unit(split.test.images).contiguous(memory_format=torch.channels_last))
    assert torch.allclose(logits, torch.from_numpy(history.test.logits), atol=1e-4)


def test_of_equal_epochs_the_first_is_the_best(split: ud.Split) -> None:
    still = ud.Hyperparameters(epochs=3, lr=1e-12)  # too slow to change any answer
    history = ud.fit(nn.Sequential(nn.Flatten(), nn.Linear(256, 10)), ud.Method(), split, still)
    assert len({r.val.macro_f1 for r in history.records}) == 1
    assert history.best_epoch == 0


def test_what_a_network_draws_depends_on_the_runs_seed_and_not_on_the_callers_random_state(split: ud.Split) -> None:
    logits = []
    for state in (1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(state)
            history = ud.fit(network(), ud.Method(), split, ud.Hyperparameters(epochs=2, batch=32))
        logits.append(history.last_epoch_test.logits)
    assert (logits[0] == logits[1]).all()
