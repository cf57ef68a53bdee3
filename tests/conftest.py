"""What every test may use: the real embedding model, made once, and a fresh workspace."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from fake_model_server import FakeModelServer, Step

from api import assembly
from api.assembly import Workspace
from kernel.providers.embedder import OnnxEmbedder, ensure_model
from kernel.settings import Settings

LOOPBACK = ("127.", "::1", "localhost")
ROOMY = 4 << 30
"""How many bytes of memory must be free for temporary files, so that the tests keep theirs there."""


def pytest_configure(config: pytest.Config) -> None:
    """Before workers start, which inherit it: temporary files in memory, where nothing waits for a disk, and one thread
    to a numeric library where several workers share the cores. What is set already stays.
    """
    shared = Path("/dev/shm")
    if shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > ROOMY:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(shared))
    if config.getoption("numprocesses", None):
        for name in ("VOUCH_THREADS", "OMP_NUM_THREADS"):
            os.environ.setdefault(name, "1")


@pytest.fixture(scope="session", autouse=True)
def _only_loopback() -> None:
    """Fail any test whose process connects to anything but this machine."""

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.connect" and isinstance(arguments[1], tuple):
            host = str(arguments[1][0])
            if not host.startswith(LOOPBACK):
                raise PermissionError(f"a test tried to connect to {host}")
        if event == "socket.getaddrinfo" and arguments[0] not in (None, "", "localhost", "127.0.0.1", "::1"):
            raise PermissionError(f"a test tried to look up {arguments[0]!r}")

    sys.addaudithook(refuse)


@pytest.fixture(scope="session")
def models() -> Path:
    """The folder with the exported model, shared by all tests of this environment."""
    folder = Path(os.environ.get("VOUCH_MODELS") or Path(sys.prefix) / "share" / "vouch-models")
    ensure_model(folder / "all-MiniLM-L6-v2")
    return folder


@pytest.fixture(scope="session", autouse=True)
def _one_model() -> Iterator[None]:
    """A process loads the model once, not with every workspace; a fork loads it again: threads do not come along."""

    @cache
    def loaded(folder: Path, threads: int, process: int) -> OnnxEmbedder:
        return OnnxEmbedder(folder, threads)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "OnnxEmbedder", lambda folder, threads: loaded(folder, threads, os.getpid()))
        yield


@pytest.fixture
def settings(tmp_path: Path, models: Path) -> Settings:
    """Settings of a fresh home."""
    return Settings.load(home=tmp_path / "home", models=models)


@pytest.fixture
def workspace(settings: Settings) -> Iterator[Workspace]:
    """A fresh, empty workspace."""
    with Workspace(settings) as made:
        yield made


@pytest.fixture
def serve() -> Iterator[Callable[..., FakeModelServer]]:
    """Starts model servers on loopback, each with the script it is given; none of them may have failed at the end."""
    servers: list[FakeModelServer] = []

    def start(*script: Step) -> FakeModelServer:
        servers.append(FakeModelServer(*script))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
        assert server.faults == []
