"""Runs on a Ray cluster: two nodes of which one is killed, one of our own, and addresses where no cluster is."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pytest
from extras import needs

import underdog as package
from conftest import Ran
from underdog.data.sources import Source, load_images
from underdog.errors import InputError
from underdog.run import ray_cluster, ray_engine
from underdog.run.engine import Job, Outcome, Progress
from underdog.run.execute import Watcher, execute
from underdog.run.ray_cluster import _version_teller, check_versions, joined, probe
from underdog.run.ray_engine import RayEngine
from underdog.run.spec import RunSpec

# A token for these clusters alone, and none in the home folder; Ray reads it once, when it is imported.
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
DIGITS = load_images("digits")
#: So that a dead node is noticed within seconds.
HEALTH = '{"health_check_initial_delay_ms": 0, "health_check_period_ms": 1000, "health_check_failure_threshold": 4}'
CRASH = """
import os, signal

def network(channels, classes, size):
    os.kill(os.getpid(), signal.SIGSEGV)
"""


class Node(NamedTuple):
    """A node of a cluster: the group of its processes."""

    group: int

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.group, signal.SIGKILL)


def start_node(*options: str) -> Node:
    """``ray start`` for one CPU; it ends when the node is up."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--disable-usage-stats", "--num-cpus=1"]
    command += ["--object-store-memory=100000000", *options]
    with tempfile.TemporaryFile() as said:  # a pipe would stay open as long as the node
        process = subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True)
        try:
            assert process.wait(120) == 0, said.seek(0) or said.read().decode()
        except BaseException:
            Node(process.pid).kill()
            raise
    return Node(process.pid)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a short path, as sockets need it."""
    folder = Path(tempfile.mkdtemp(prefix="ud-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(short: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Node]]:
    """The address of a cluster of two nodes on this machine, and the second of them."""
    needs("ray")
    (short / "crash.py").write_text(CRASH)
    paths = [str(short), str(Path(package.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.setenv("TMPDIR", str(short))  # where runs that are killed leave their folders
    # Ray takes 127.0.0.1 for the machine's address in its network; the others of the loopback it leaves as they are.
    address = f"127.0.0.2:{free_port()}"
    nodes = []
    try:
        port, folder = address.split(":")[1], f"--temp-dir={short / 'ray'}"
        head = ("--head", "--node-ip-address=127.0.0.2", f"--port={port}", folder, f"--system-config={HEALTH}")
        nodes.append(start_node(*head, "--include-dashboard=false"))
        nodes.append(start_node(f"--address={address}", "--node-ip-address=127.0.0.3"))
        yield address, nodes[1]
    finally:
        for node in nodes:
            node.kill()


def free_port() -> int:
    """A port that nobody listens at; the system's choice is above 32767, where Ray's workers have none."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def address_of(server: socket.socket) -> str:
    host, port = server.getsockname()
    return f"{host}:{port}"


def job(out: Path, seed: int, **settings: object) -> Job:
    plain = {"rho": 20, "mu": 0.6, "epochs": 3, "width": 0.2} | settings
    return Job(f"seed {seed}", "digits", RunSpec(DIGITS.fingerprint, "ros", seed, seed, **plain), out)


def outcomes(engine: RayEngine, jobs: list[Job], first: list[Progress | Outcome]) -> dict[Job, Outcome]:
    """What becomes of jobs; all events are appended to ``first``."""
    found: dict[Job, Outcome] = {e.job: e for e in first if isinstance(e, Outcome)}
    while len(found) < len(jobs):
        first.append(event := engine.wait())
        if isinstance(event, Outcome):
            assert event.job not in found
            found[event.job] = event
    return found


def same_as_here(jobs: list[Job], out: Path) -> None:
    """The figures are those of the same runs in this process."""
    for one in jobs:
        execute(one.spec, DIGITS, out)
        for name in ("predictions.csv", "model.safetensors"):
            assert (one.folder / name).read_bytes() == (out / one.spec.id / name).read_bytes()
        assert {p.name for p in one.folder.iterdir()} == {p.name for p in (out / one.spec.id).iterdir()}


def wait_until(condition: Callable[[], bool], failure: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, failure
        time.sleep(0.2)


def test_node_killed(cluster: tuple[str, Node], tmp_path: Path) -> None:
    address, second = cluster
    runs = [job(tmp_path / "runs", seed) for seed in range(3)]
    crash = job(tmp_path / "runs", 3, model="crash:network", width=1)
    refused = job(tmp_path / "runs", 4, minority=("11",), mu=None)
    jobs = [*runs, crash, refused]
    sources: dict[str, Source] = {"digits": DIGITS}

    notes: list[str] = []
    with RayEngine(sources, address, message=notes.append) as engine:
        assert engine.workers == 2
        for one in jobs:
            engine.submit(one)
        events: list[Progress | Outcome] = []
        while len({e.job for e in events}) < 2:  # each on a node of its own
            events.append(engine.wait())
        second.kill()
        found = outcomes(engine, jobs, events)
        engine.submit(job(tmp_path / "runs", 0, epochs=10**6))
        assert isinstance(engine.wait(), Progress)

    assert [one for one in jobs if found[one].error] == [crash, refused]
    assert "process died" in found[crash].error
    assert "11" in found[refused].error
    assert any("node was lost" in e.text for e in events if isinstance(e, Progress))
    assert any(e.done > 0 and e.total > e.done for e in events if isinstance(e, Progress))
    assert not notes
    same_as_here(runs, tmp_path / "here")
    with joined(address) as ray:  # which is not ours, and so was left; our runs have left it
        wait_until(lambda: ray.available_resources().get("CPU") == 1, "a run goes on after its engine was left")


def test_cluster_of_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state of an unfinished run travels both ways, and nothing is left of the cluster."""
    needs("ray")
    import ray  # noqa: PLC0415

    monkeypatch.setattr(ray_engine, "KEEP", 0)
    begun, endless = job(tmp_path / "runs", 0), job(tmp_path / "runs", 1, epochs=10**6)
    interrupt(begun)
    with RayEngine({"digits": DIGITS}, workers=1) as engine:
        address = ray.get_runtime_context().gcs_address
        probe(address)
        assert engine.workers == 1
        engine.submit(begun)
        first = engine.wait()
        assert isinstance(first, Progress)
        assert first.done > 0
        assert not outcomes(engine, [begun], [])[begun].error
        engine.submit(endless)
        wait_until(lambda: bool(engine.wait()) and (endless.folder / "state.safetensors").exists(), "no state came")
    same_as_here([begun], tmp_path / "here")
    assert not ray.is_initialized()
    with pytest.raises(InputError, match="no Ray cluster answers"):
        probe(address)
    assert interrupt(endless) > 0


def interrupt(one: Job) -> int:
    """Do a run here until it has saved its state; how many images it had shown before."""
    shown: list[int] = []

    def epoch(record: object) -> None:
        if (one.folder / "state.safetensors").exists():
            raise KeyboardInterrupt

    watcher = Watcher(begin=lambda total, done: shown.append(done), epoch=epoch)
    with pytest.raises(KeyboardInterrupt):
        execute(one.spec, DIGITS, one.out, watcher=watcher)
    return shown[0]


@pytest.mark.parametrize("address", ["localhost", "ray://127.0.0.1:10001", ":6379", "127.0.0.1:0", "auto"])
def test_address_of_another_form(address: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT"):
        probe(address)


def test_nobody_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no Ray cluster answers"):
        probe(f"127.0.0.1:{free_port()}")
    monkeypatch.setattr(ray_cluster, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(InputError, match="timed out"):
        probe(address_of(silent))


def test_somebody_else_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            link, _ = server.accept()
            with link:
                link.recv(100)
                link.sendall(b"HTTP/1.0 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(InputError, match="is no Ray cluster"):
            probe(address_of(server))
        thread.join()


def test_command_asks_before_it_reads(underdog: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> None:
    needs("ray")
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    ran = underdog("grid paper --engine ray --data /nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert "no Ray cluster answers at 127.0.0.1" in ran.err


def test_versions_of_the_nodes() -> None:
    """What every node answers is compared with what this process would."""
    here = _version_teller()()
    answer: dict[str, str] = dict(here)
    task = SimpleNamespace(options=lambda **options: SimpleNamespace(remote=lambda: answer))
    scheduling = SimpleNamespace(NodeAffinitySchedulingStrategy=lambda node, soft: node)
    ray = SimpleNamespace(
        nodes=lambda: [{"Alive": True, "Resources": {"CPU": 1}, "NodeID": "a", "NodeManagerAddress": "10.0.0.7"}],
        util=SimpleNamespace(scheduling_strategies=scheduling),
        remote=lambda function: task,
        get=lambda told, timeout: told,
        exceptions=SimpleNamespace(RayError=OSError),
    )
    notes: list[str] = []
    check_versions(ray, notes.append)
    assert not notes
    answer["torch"] = "1.0"
    check_versions(ray, notes.append)
    assert [n for n in notes if "10.0.0.7" in n and f"torch 1.0 (here {here['torch']})" in n] == notes != []
    answer["underdog"] = ""
    with pytest.raises(InputError, match=r"10\.0\.0\.7 cannot import underdog"):
        check_versions(ray, notes.append)


def test_versions_are_told_without_underdog() -> None:
    """The function reaches a node that lacks it."""
    needs("ray")
    from ray import cloudpickle  # noqa: PLC0415

    code = "import pickle, sys, ray.cloudpickle; sys.modules['underdog'] = None; print(pickle.load(sys.stdin.buffer)())"
    function = cloudpickle.dumps(_version_teller())
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", code], input=function, capture_output=True, check=True)
    assert b"'underdog': ''" in ran.stdout


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"pip install 'underdog\[ray\]'"), RayEngine({}):
        pass
