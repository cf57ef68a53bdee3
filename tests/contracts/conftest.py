"""Every contract runs on both databases: a SQLite file, and a schema of a private PostgreSQL server."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import psycopg
import pytest
from copies import PREPARED, Build, Built, Copies, CopyOf
from fast_parts import FastWorkspace, empty_database
from postgres import NoPostgres, private_cluster
from sqlalchemy import text

from kernel.settings import Settings
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


@pytest.fixture(scope="session")
def postgres_copies(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copies]:
    """Makes and drops databases that hold the schema already."""
    with psycopg.connect(postgres_url, autocommit=True) as server:
        copies = Copies(postgres_url, server)
        server.execute(f"CREATE DATABASE {PREPARED} TEMPLATE template0")
        made = Database(copies.url(PREPARED), tmp_path_factory.mktemp("prepared") / "ledger.key", PREPARED)
        made.migrate()
        made.close()
        yield copies


@pytest.fixture(params=["sqlite", "postgresql"])
def copies(request: pytest.FixtureRequest) -> Copies | None:
    """The kind of database: None for SQLite."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres_copies")


@pytest.fixture
def database_url(copies: Copies | None, tmp_path: Path) -> Iterator[str]:
    """Where a fresh database may be made."""
    if copies is None:
        yield f"sqlite:///{tmp_path / 'vouch.db'}"
    else:
        with copies.one() as url:
            yield url


@pytest.fixture(scope="session")
def all_built() -> dict[object, Built]:
    """What `copy_of` built so far."""
    return {}


@pytest.fixture
def copy_of(
    copies: Copies | None,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    all_built: dict[object, Built],
) -> CopyOf:
    """Opens a workspace that a function fills: it does so once, and every test has a copy of folder and database."""

    def make(build: Build, flags: dict[str, Any]) -> Built:
        name, database = f"t{secrets.token_hex(8)}", copies and copies.make()
        folder = tmp_path_factory.mktemp("built")
        url = copies.url(database) if copies and database else None
        settings = Settings.load(home=folder / "home", workspace=name, database_url=url, **flags)
        with FastWorkspace(settings) as workspace:
            build(workspace, folder)
        return Built(folder, name, database)

    @contextmanager
    def copied(build: Build, **flags: Any) -> Iterator[FastWorkspace]:
        key = (build, copies is None, *sorted(flags.items()))
        if key not in all_built:
            all_built[key] = make(build, flags)
        built = all_built[key]
        shutil.copytree(built.folder, tmp_path, dirs_exist_ok=True)
        with copies.one(str(built.database)) if copies else nullcontext() as url:
            settings = Settings.load(home=tmp_path / "home", workspace=built.name, database_url=url, **flags)
            with FastWorkspace(settings) as workspace:
                yield workspace

    return copied


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
    """A fresh database with its schema in place: a copy, which `migrate` finds nothing to do on."""
    made = connect()
    if made.is_sqlite:
        Path(str(made.url.database)).write_bytes(empty_database())
    else:
        with made.write() as connection:
            connection.execute(text(f'ALTER SCHEMA "vouch_{PREPARED}" RENAME TO "{made.schema}"'))
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
