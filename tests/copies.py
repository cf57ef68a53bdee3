"""Databases and workspaces that are made once and copied for every test that wants one of its own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from fast_parts import FastWorkspace
from sqlalchemy import make_url

PREPARED = "prepared"
"""The PostgreSQL database, and the workspace in it, that is copied for each test: a tenth of the cost of migrating."""


class Copies:
    """Copies of the prepared database on one server."""

    def __init__(self, address: str, server: psycopg.Connection) -> None:
        self._address, self._server = make_url(address), server

    def url(self, name: str) -> str:
        return self._address.set(database=name).render_as_string(hide_password=False)

    def make(self, template: str = PREPARED) -> str:
        """The name of a fresh copy, of a database that nobody is connected to."""
        name = f"d{secrets.token_hex(8)}"
        self._server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    @contextmanager
    def one(self, template: str = PREPARED) -> Iterator[str]:
        """The URL of a fresh copy, gone after the block."""
        name = self.make(template)
        try:
            yield self.url(name)
        finally:
            self._server.execute(f"DROP DATABASE {name} WITH (FORCE)")


Build = Callable[[FastWorkspace, Path], None]
"""Fills a workspace; what it needs of files it puts into the folder beside it."""

CopyOf = Callable[..., AbstractContextManager[FastWorkspace]]
"""Opens a copy of what a `Build` fills, with these settings."""


@dataclass(frozen=True)
class Built:
    """A workspace that was filled and closed, to be copied."""

    folder: Path
    name: str
    database: str | None
