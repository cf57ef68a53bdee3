"""What every test may use: the real embedding model, made once, and a fresh workspace."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fake_model_server import FakeModelServer, Step

from api.assembly import Workspace
from kernel.providers.embedder import ensure_model
from kernel.settings import Settings

LOOPBACK = ("127.", "::1", "localhost")


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
