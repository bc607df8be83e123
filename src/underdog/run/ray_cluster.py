"""Joining a Ray cluster: the one at an address, or one of our own on this machine."""

from __future__ import annotations

import os
import socket
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from underdog.errors import InputError

__all__ = ["check_versions", "first_line", "import_ray", "joined", "own_cluster", "probe"]

#: Seconds for which an address may stay silent.
PATIENCE = 5
#: How a client of HTTP/2, which Ray speaks, begins, with an empty frame of settings; a server begins with such a frame too.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
#: Nothing is told to Ray's makers.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}
#: Addresses of this machine alone; Ray reads it when it is imported, and has no other name for it.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
#: Bytes of shared memory that a cluster of our own has beside the data: Ray asks for 75 MB at least.
ROOM = 100 * 2**20
#: Seconds for a node to tell its versions: it may have to start a process first.
START = 120

#: Ray's module, which is imported only where it is used.
Ray = Any


@contextmanager
def joined(address: str) -> Iterator[Ray]:
    """Ray, connected to the cluster at an address; leaving the block ends the tasks of this connection, and nothing else.

    Raises:
        InputError: Ray is not installed, nobody or no cluster answers there, or one that does not take us.
    """
    ray = import_ray()
    probe(address)
    with _environment(QUIET):
        try:
            ray.init(address=address, log_to_driver=False, logging_level="CRITICAL")
        except Exception as error:  # of many kinds: another version of Ray or Python, a token, no node on this machine
            ray.shutdown()
            raise InputError(
                f"the Ray cluster at {address} cannot be joined ({first_line(error)}): this machine has to be one of its "
                f"nodes (ray start --address={address}), and where the cluster asks for a token, it is needed here too"
            ) from error
    with _silent(ray):
        yield ray


@contextmanager
def own_cluster(cpus: int, gpus: int | None, data: int) -> Iterator[Ray]:
    """A cluster of this machine alone, which ends with the block.

    Args:
        cpus: tasks of one thread at a time.
        gpus: of this machine; None for all.
        data: bytes that its processes are to share.

    Raises:
        InputError: Ray is not installed, or does not start.
    """
    short = "/tmp" if os.path.isdir("/tmp") else None  # Ray's sockets lie below, and their paths must be short
    with (
        tempfile.TemporaryDirectory(prefix="underdog-", dir=short, ignore_cleanup_errors=True) as folder,
        _environment(QUIET | LOOPBACK | {"TMPDIR": folder}),  # so that what a killed run leaves is removed as well
    ):
        ray = import_ray()
        with _silent(ray):
            ray.init(
                address="local",
                num_cpus=cpus,
                num_gpus=gpus,
                object_store_memory=ROOM + 2 * data,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="CRITICAL",
                _temp_dir=folder,
            )
            yield ray


def import_ray() -> Ray:
    """Ray's module.

    Raises:
        InputError: it is not installed.
    """
    try:
        with warnings.catch_warnings():  # some of its versions use what Python or a library of theirs will drop
            warnings.simplefilter("ignore")
            import ray  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise InputError(f"--engine ray needs Ray ({error}): pip install 'underdog[ray]'") from error
    return ray


def probe(address: str) -> None:
    """Return where a server answers as Ray's does; Ray itself would wait for minutes where none does.

    Args:
        address: HOST:PORT of the cluster's head.

    Raises:
        InputError: not such an address, nobody answers within seconds, or something else does.

    >>> probe("localhost")
    Traceback (most recent call last):
    underdog.errors.InputError: RAY_ADDRESS must be HOST:PORT of the cluster's head, such as 10.0.0.1:6379, not 'localhost'
    """
    host, _, port = address.rpartition(":")
    if "/" in host or not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        also = " (ray:// is Ray's client, which is not used here)" if address.startswith("ray://") else ""
        raise InputError(
            f"RAY_ADDRESS must be HOST:PORT of the cluster's head, such as 10.0.0.1:6379, not {address!r}{also}"
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), PATIENCE) as link:
            if os.environ.get("RAY_USE_TLS", "0") not in ("", "0"):
                return  # it will not talk to us in plain bytes
            link.settimeout(PATIENCE)
            link.sendall(HELLO)
            answer = link.recv(9)
    except OSError as error:
        raise InputError(
            f"no Ray cluster answers at {address} ({first_line(error)}): is it running (ray start --head), and is this its "
            "address? Without RAY_ADDRESS, runs are done on this machine"
        ) from error
    if answer[3:4] != HELLO[-6:-5]:
        raise InputError(
            f"what answers at {address} is no Ray cluster: RAY_ADDRESS needs HOST:PORT of the cluster's head"
        )


def check_versions(ray: Ray, message: Callable[[str], object]) -> None:
    """See that every node has this underdog, and say where torch or numpy are others.

    Raises:
        InputError: a node lacks underdog, or has another version of it, of which runs would be other runs.
    """
    here = _version_teller()()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    tell = ray.remote(_version_teller())
    told = [
        tell.options(num_cpus=0, scheduling_strategy=strategy(node["NodeID"], soft=False)).remote() for node in nodes
    ]
    for node, answer in zip(nodes, told, strict=True):
        name = node["NodeManagerAddress"]
        try:
            there = ray.get(answer, timeout=START)
        except ray.exceptions.RayError as error:
            message(f"Ray's node {name} does not answer: {first_line(error)}")
            continue
        if there["underdog"] != here["underdog"]:
            found = f"has underdog {there['underdog']}" if there["underdog"] else "cannot import underdog"
            raise InputError(f"Ray's node {name} {found}: every node needs underdog {here['underdog']}")
        if others := [f"{k} {there[k] or 'missing'} (here {here[k]})" for k in here if there[k] != here[k]]:
            message(f"Ray's node {name} has {', '.join(others)}: results may differ in their last digits")


def _version_teller() -> Callable[[], dict[str, str]]:
    """A function that knows nothing of underdog, and so reaches nodes that do not have it."""

    def versions() -> dict[str, str]:
        import importlib.metadata  # noqa: PLC0415
        import platform  # noqa: PLC0415

        def installed(name: str) -> str:
            try:
                return importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                return ""

        try:
            import underdog  # noqa: PLC0415

            found = underdog.__version__
        except ImportError:
            found = ""
        return {"underdog": found, "python": platform.python_version(), **{n: installed(n) for n in ("torch", "numpy")}}

    return versions


@contextmanager
def _silent(ray: Ray) -> Iterator[None]:
    """Ray prints on standard output what befalls its nodes, and has no public switch for it; at the end it is left."""
    worker = ray._private.worker
    before, worker._worker_logs_enabled = getattr(worker, "_worker_logs_enabled", True), False
    try:
        yield
    finally:
        ray.shutdown()
        worker._worker_logs_enabled = before


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Environment variables that Ray reads when it starts processes, and hands down to them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
