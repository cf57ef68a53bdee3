"""What the two kinds of transaction promise, and that the migrations make the schema, on both databases."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, func, select
from stored_samples import RECIPE, revision

from kernel.errors import InvalidInput, Unavailable
from kernel.records import LOCAL_OWNER
from kernel.storage.catalog import Catalog
from kernel.storage.database import Database
from kernel.storage.schema import metadata, setting, source, visibility
from kernel.storage.snapshots import Snapshots


def count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(setting)).scalar_one()


def put(connection: Connection, name: str) -> None:
    connection.execute(setting.insert(), {"name": name, "value": "1"})


def test_the_migrations_make_the_schema(database: Database) -> None:
    with database.read() as connection:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_migrating_again_changes_nothing(database: Database) -> None:
    Catalog(database).source_id("handbook", "/")
    database.migrate()
    assert [item.name for item in Catalog(database).sources(0)] == ["handbook"]


def test_a_fresh_workspace_may_be_opened_by_several_at_once(connect: Callable[[], Database]) -> None:
    made = [connect() for _ in range(4)]
    with ThreadPoolExecutor(len(made)) as pool:
        list(pool.map(Database.migrate, made))
    assert Snapshots(made[0]).live().snapshot == 0


def test_workspaces_share_nothing(
    connect: Callable[[], Database], database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    one = connect()
    one.migrate()
    Catalog(one).source_id("handbook", "/")
    if database_url.startswith("sqlite"):
        database_url = f"sqlite:///{tmp_path_factory.mktemp('other') / 'vouch.db'}"
    other = Database(database_url, one.signer.path, f"{one.schema.removeprefix('vouch_')}_b")
    other.migrate()
    assert Catalog(other).sources(0) == []
    other.close()


def test_a_writer_that_fails_leaves_nothing(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as connection:  # noqa: PT012 - the block is the point
        put(connection, "one")
        put(connection, "two")
        raise ZeroDivisionError
    with database.read() as connection:
        assert count(connection) == 0
    with database.write() as connection:
        put(connection, "one")
    with database.read() as connection:
        assert count(connection) == 1


def test_a_reader_sees_one_state_while_writers_commit(connect: Callable[[], Database], database: Database) -> None:
    with database.write() as connection:
        put(connection, "before")
    other = connect()
    with database.read() as reading:
        assert count(reading) == 1
        with other.write() as writing:
            put(writing, "during")
            assert count(reading) == 1
        assert count(reading) == 1
    with database.read() as reading:
        assert count(reading) == 2


def test_what_one_publishes_another_sees_whole(connect: Callable[[], Database], database: Database) -> None:
    """Readers count births of the live snapshot while a writer moves all documents at each step."""
    catalog, snapshots = Catalog(database), Snapshots(database)
    owner = catalog.source_id("handbook", "/")
    versions = [catalog.stage(owner, RECIPE, [revision(f"{n}", f"Version {v}.") for n in range(6)]) for v in range(8)]
    snapshots.publish("first", versions[0], [])
    stop = threading.Event()

    def read(reader: Database) -> set[int]:
        seen = set()
        while not stop.is_set():
            with reader.read() as connection:
                open_rows = select(func.count()).select_from(visibility).where(visibility.c.died.is_(None))
                seen.add(connection.execute(open_rows).scalar_one())
            live = Snapshots(reader).live().snapshot
            seen.add(len(Snapshots(reader).visible_revisions(live, LOCAL_OWNER)))
        return seen

    with ThreadPoolExecutor(2) as pool:
        readers = [pool.submit(read, connect()) for _ in range(2)]
        for old, new in itertools.pairwise(versions):
            snapshots.publish("next", new, old)
        stop.set()
        assert [reader.result() for reader in readers] == [{6}, {6}]


def test_writers_take_turns(connect: Callable[[], Database], database: Database) -> None:
    writers = [connect() for _ in range(6)]
    with database.write() as connection:
        connection.execute(setting.insert(), {"name": "count", "value": "0"})

    def add(writer: Database) -> None:
        for _ in range(10):
            with writer.write() as connection:
                value = int(connection.execute(select(setting.c.value)).scalar_one())
                connection.execute(setting.update().values(value=str(value + 1)))

    with ThreadPoolExecutor(len(writers)) as pool:
        list(pool.map(add, writers))
    with database.read() as connection:
        assert connection.execute(select(setting.c.value)).scalar_one() == "60"


def test_a_reference_to_nothing_is_refused(database: Database) -> None:
    with pytest.raises(Exception, match=r"(?i)foreign key"), database.write() as connection:
        connection.execute(visibility.insert(), {"revision_id": 77, "born": 1, "died": None})


def test_a_database_that_is_away_is_unavailable() -> None:
    away = Database("postgresql://nobody@/none?host=/nowhere", Path("key"))
    with pytest.raises(Unavailable, match="cannot be reached") as caught, away.read() as connection:
        connection.execute(select(source))
    assert caught.value.retryable
    away.close()


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(InvalidInput, match="mysql"):
        Database("mysql://localhost/x", Path("key"))
