"""Every contract runs on both databases: a SQLite file, and a schema of a private PostgreSQL server."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from postgres import NoPostgres, private_cluster

from kernel.storage.answers import Answers
from kernel.storage.catalog import Catalog
from kernel.storage.corpus import Corpus
from kernel.storage.database import Database
from kernel.storage.jobs import Jobs
from kernel.storage.keys import Keys, Requests
from kernel.storage.ledger import Ledger
from kernel.storage.snapshots import Snapshots


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own. Skips where there is none, unless REQUIRE_POSTGRES=1."""
    try:
        with private_cluster() as url:
            yield url
    except NoPostgres as reason:
        if os.environ.get("REQUIRE_POSTGRES") == "1":
            pytest.fail(f"REQUIRE_POSTGRES=1, but {reason}")
        pytest.skip(str(reason))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a fresh database may be made."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'vouch.db'}"
    return str(request.getfixturevalue("postgres_url"))


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """Where the key of the workspace's ledger lies."""
    return tmp_path / "ledger.key"


@pytest.fixture
def connect(database_url: str, key_file: Path) -> Iterator[Callable[[], Database]]:
    """Makes further `Database`s of one fresh workspace, as other processes of it would."""
    name = f"t{secrets.token_hex(8)}"
    made: list[Database] = []

    def another() -> Database:
        made.append(Database(database_url, key_file, name))
        return made[-1]

    yield another
    for one in made:
        one.close()


@pytest.fixture
def database(connect: Callable[[], Database]) -> Database:
    """A fresh database with its schema in place."""
    made = connect()
    made.migrate()
    return made


@pytest.fixture
def catalog(database: Database) -> Catalog:
    return Catalog(database)


@pytest.fixture
def snapshots(database: Database) -> Snapshots:
    return Snapshots(database)


@pytest.fixture
def corpus(database: Database) -> Corpus:
    return Corpus(database)


@pytest.fixture
def answers(database: Database) -> Answers:
    return Answers(database)


@pytest.fixture
def keys(database: Database) -> Keys:
    return Keys(database)


@pytest.fixture
def requests(database: Database) -> Requests:
    return Requests(database)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)
