"""underdog bench: what it counts, what it prints, what it names as missing, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from underdog import PaperNet
from underdog.bench import memory, peers, setting
from underdog.bench.floors import Share, flop, peak
from underdog.bench.peers import Missing
from underdog.bench.report import BenchReport, measurements
from underdog.bench.setting import BenchSetting, BenchSizes
from underdog.bench.timing import TimePairs, compare, interval, measured

CPU = torch.device("cpu")
TINY = BenchSizes(batches=1, rare=1, balanced=6, matrices=(32,))


@pytest.fixture
def tiny() -> BenchSetting:
    return BenchSetting(CPU, 1, 1, TINY)


@pytest.mark.parametrize(
    ("shape", "forward", "training", "attack"),
    [((3, 32, 32), 39.16, 115.7, 78.3), ((1, 28, 28), 28.1, 83.8, 56.2)],
    ids=["CIFAR-10", "MNIST"],
)
def test_the_networks_operations_are_those_counted_by_hand(
    shape: tuple[int, int, int], forward: float, training: float, attack: float
) -> None:
    model = PaperNet(shape[0], 10, shape[1:])
    found = flop(model, shape)
    by_hand = 0  # twice the products of every convolution and of the linear layer
    rows = columns = 0
    for layer in model:
        if isinstance(layer, torch.nn.Conv2d):
            (pad, _), (inp, out) = layer.padding, (layer.in_channels, layer.out_channels)
            rows, columns = (rows or shape[1]) - 2 + 2 * int(pad), (columns or shape[2]) - 2 + 2 * int(pad)
            by_hand += 2 * 9 * inp * out * rows * columns
            if layer is model[0]:
                first = by_hand
        elif isinstance(layer, torch.nn.MaxPool2d):
            rows, columns = rows // 2, columns // 2
        elif isinstance(layer, torch.nn.Linear):
            by_hand += 2 * layer.in_features * layer.out_features
    assert found.forward == by_hand
    assert found.training == 3 * by_hand - first
    assert found.attack == 2 * by_hand
    assert [round(n / 1e6, 1) for n in (found.forward, found.training, found.attack)] == [
        round(n, 1) for n in (forward, training, attack)
    ]
    assert all(p.device == CPU for p in model.parameters())


def test_pairs_alternate_and_their_ratios_are_the_comparison() -> None:
    now, order = 0.0, ""

    def work(name: str, seconds: float) -> None:
        nonlocal now, order
        now, order = now + seconds, order + name

    found = compare("a", lambda: work("a", 3), lambda: work("b", 2), 1.0, per=0.5, unit="x", pairs=3, clock=lambda: now)
    assert order == "ab" + "ab" + "ba" + "ab"
    assert found == TimePairs("a", "x", 6.0, 4.0, 1.5, 1.5, 1.5, 1.0, 3)
    spread = measured("b", [(1, 1), (4, 2), (9, 3)], None, "s")
    assert (spread.underdog, spread.other, spread.ratio, spread.low, spread.high) == (4, 2, 2, 1, 3)
    assert interval(range(6)) == (0, 5)
    assert interval(range(11)) == (1, 9)


def test_a_product_of_matrices_has_a_rate_and_leaves_the_precision_alone(tiny: BenchSetting) -> None:
    before = torch.get_float32_matmul_precision()
    assert peak(replace(tiny, threads=2), "float32") > 0
    assert torch.get_float32_matmul_precision() == before
    assert Share.of("a", 100, 1000.0, 5.0) == Share("a", 100, 1000.0, 5.0, 10.0, 0.5)


def test_every_kind_of_measurement_in_this_process_gives_its_figures(tiny: BenchSetting) -> None:
    work = dict(measurements(tiny))
    left_out = {"memory", *(name for name in work if "shape, float32" in name)}  # the latter only take longer
    figures = {name: list(measure()) for name, measure in work.items() if name not in left_out}
    assert all(len(found) == (2 if "shape" in name else 1) for name, found in figures.items())
    flat = [figure for found in figures.values() for figure in found]
    for figure in flat:
        if isinstance(figure, TimePairs):
            assert 0 < figure.low <= figure.ratio <= figure.high
            assert figure.pairs >= 1
        elif isinstance(figure, Share):
            assert figure.share == pytest.approx(figure.images / figure.bound)
    assert {type(figure) for figure in flat} >= {TimePairs, Share}


def test_memory_is_that_of_a_process_of_its_own_and_no_less_than_its_images() -> None:
    rare = 20
    images = 108 * rare * 3 * 32 * 32
    ours, theirs = memory.alone("ROS", rare), memory.alone("ROS, imbalanced-learn", rare)
    assert images < ours < 2 * images
    assert theirs > 3 * ours


def test_memory_is_compared_with_peers_bytes_and_a_bare_loop(
    tiny: BenchSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = {case: 10**6 * (n + 1) for n, case in enumerate(memory.CASES)}
    monkeypatch.setattr(memory, "alone", lambda case, rare, device="cpu": taken[case])
    monkeypatch.setattr(memory, "missing", lambda module: None)
    found = list(memory.memory(tiny))
    assert all(isinstance(row, TimePairs) and row.unit == "MB" for row in found)
    assert [row.underdog for row in found if isinstance(row, TimePairs)] == [1, 2, 1, 2, 3, 6]
    assert [row.other for row in found if isinstance(row, TimePairs)][:2] == [4, 5]
    image, set_of = 3 * 32 * 32 / 1e6, 108 * 6
    floors = [row.other for row in found if isinstance(row, TimePairs)][2:5]
    assert floors == pytest.approx([set_of * image, 10 * 300 * image, (set_of + 12) * image])


def test_a_peer_that_is_not_there_is_named_with_what_to_install(
    tiny: BenchSetting, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = peers.importlib.import_module

    def without(name: str) -> Any:
        if name.partition(".")[0] in peers.PEERS:
            raise ImportError(f"No module named {name!r}")
        return real(name)

    monkeypatch.setattr(peers.importlib, "import_module", without)
    monkeypatch.setattr(memory, "alone", lambda case, rare, device="cpu": 10**6)
    work = dict(measurements(tiny))
    names = [
        "FGSM of foolbox",
        "FGSM of torchattacks",
        "PGD of foolbox",
        "PGD of torchattacks",
        "balancing by ROS",
        "balancing by SMOTE",
        "memory",
    ]
    lost = [figure for name in names for figure in work[name]() if isinstance(figure, Missing)]
    assert len(lost) == 8  # memory's two among them
    assert all("cannot be imported (No module named" in m.why and "pip install" in m.why for m in lost)
    text = BenchReport.of(tiny, lost).markdown()
    assert text.count("- not measured: ") == 8
    assert "torchattacks cannot be imported" in text


def test_what_is_known_of_the_machine_names_nobody(tmp_path: Path) -> None:
    about = setting.environment()
    assert {"cpu", "cores", "load", "threads", "python", "torch", "underdog", "commit"} <= set(about)
    assert setting.installed("torch").startswith(torch.__version__.split("+")[0])


def test_the_command_prints_tables_and_writes_the_same_as_json(
    underdog: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def some(own: BenchSetting) -> list[Any]:
        keep = ("training, MNIST's shape, bfloat16", "FGSM of torchattacks")
        return [(name, measure) for name, measure in measurements(own) if name in keep]

    monkeypatch.setattr("underdog.cli.bench.measurements", some)
    monkeypatch.setattr(setting, "CPU", TINY)
    before = torch.get_num_threads()
    ran = underdog("bench --pairs 2 --device cpu --json", tmp_path / "bench.json")
    torch.set_num_threads(before)
    assert (ran.code, ran.err) == (0, "")
    told = json.loads((tmp_path / "bench.json").read_text())
    assert set(told) == {"environment", "comparisons", "shares", "missing"}
    assert {"imbalanced-learn", "foolbox", "torchattacks", "commit", "cpu"} <= set(told["environment"])
    (row,), (share,) = told["comparisons"][:1], told["shares"]
    assert set(row) == {f.name for f in fields(TimePairs)}
    assert set(share) == {f.name for f in fields(Share)}
    assert row["pairs"] == 2
    assert row["name"] == "training, MNIST's shape, bfloat16, against a bare loop"
    assert share["flop"] == 83832576
    assert f"| {row['name']} | {row['underdog']:.4g} | {row['other']:.4g} | us/image |" in ran.out
    assert f"| {share['share']:.1%} |" in ran.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--pairs 0", "pairs must be a whole number above 0, not 0"),
        ("--threads -1", "threads must be a whole number above 0, not -1"),
        ("--pairs two", "'two' is not a whole number"),
        ("--device gpu", "unknown device 'gpu'"),
        ("--json no/such/folder/bench.json", "cannot be written"),
    ],
)
def test_bad_arguments_are_named_before_anything_is_measured(arguments: str, said: str, underdog: Any) -> None:
    ran = underdog(f"bench {arguments}")
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.count("\n") == 1
    assert not ran.out
