"""Where the workflow engine keeps its queues: a SQLite file beside the workspace's, or a schema beside its schema.

Nothing here is a record. What happened in a run is in the journal; what is here says who does the next turn of which
run, and can be made again from the journal. So a commit need not outlive a power cut (it does outlive the process),
and signs of life are kept here too, where no long ingest holds the one writer's lock.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pysqlite3
from sqlalchemy import Column, Connection, MetaData, String, Table, create_engine, delete, event, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool

from kernel.errors import Unavailable

BUSY_SECONDS = 60
GLANCE_SECONDS, IDLE_SECONDS = 0.02, 0.06
"""How often a file is looked at for what other processes wrote, some ten microseconds a glance: while things happen,
and while nothing does."""
_LOCK = 0x766F7565
"""Advisory lock under which what there is one of is changed."""
_IDLE = "10s"
"""When PostgreSQL ends a session that left a transaction open: so long may one that stands still hold up others."""


class Watch(Protocol):
    """Hears of what others write. For one thread."""

    def wait(self, seconds: float) -> bool:
        """Whether something may have been written since the last call; waits at most `seconds` for it."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...


class EngineDatabase:
    """The engine's own database. `url` is that of the workspace: for a SQLite one the engine has `file`, for
    PostgreSQL the schema `vouch_engine_{workspace}`, made when first needed.
    """

    def __init__(self, url: str, file: Path, workspace: str = "default") -> None:
        parsed = make_url(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.schema = None if self.is_sqlite else f"vouch_engine_{workspace}"
        self.engine: Engine = _file_engine(file) if self.is_sqlite else _server_engine(parsed)
        tables = MetaData(schema=self.schema)
        self._worker = Table(
            "vouch_worker",
            tables,
            Column("id", String(80), primary_key=True),
            Column("host", String(255), nullable=False),
            Column("pid", String(20), nullable=False),
            Column("beat_at", String(32), nullable=False),
        )
        self._timetable = Table(
            "vouch_timetable",
            tables,
            Column("name", String(80), primary_key=True),
            Column("cron", String(200), nullable=False),
            Column("timezone", String(80), nullable=False),
            Column("looked_at", String(32), nullable=False),
        )

    def prepare(self) -> None:
        """Make the schema and the tables of workers and timetables, where they are not there yet."""
        with self._alone() as connection:
            if self.schema is not None:
                connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"'))
            self._worker.metadata.create_all(connection)

    @contextmanager
    def _alone(self) -> Iterator[Connection]:
        """A transaction beside which no other of the kind runs."""
        with self.engine.begin() as connection:
            if self.schema is not None:
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            yield connection

    def beat(self, worker: str, host: str, pid: int, moment: str) -> None:
        """Write that a worker lives."""
        values = {"id": worker, "host": host, "pid": str(pid), "beat_at": moment}
        insert = sqlite.insert if self.is_sqlite else postgresql.insert
        with self.engine.begin() as connection:
            statement = insert(self._worker).values(values)
            connection.execute(
                statement.on_conflict_do_update(index_elements=["id"], set_={"beat_at": statement.excluded.beat_at})
            )

    def beats(self) -> dict[str, str]:
        """The last sign of life of each worker, by its own clock: to be compared with itself, not with another's."""
        with self.engine.begin() as connection:
            return {row.id: row.beat_at for row in connection.execute(select(self._worker))}

    def bury(self, workers: set[str]) -> None:
        """Forget the signs of life of these workers."""
        with self.engine.begin() as connection:
            connection.execute(delete(self._worker).where(self._worker.c.id.in_(workers)))

    def keep_timetables(self, wanted: Sequence[tuple[str, str, str]], moment: str) -> None:
        """Have exactly these (name, cron, time zone) kept; a new or changed one is looked at from `moment` on."""
        table = self._timetable
        with self._alone() as connection:
            kept = {(row.name, row.cron, row.timezone) for row in connection.execute(select(table))}
            connection.execute(delete(table).where(table.c.name.in_([name for name, *_ in kept - set(wanted)])))
            for name, cron, timezone in dict.fromkeys(wanted):
                if (name, cron, timezone) not in kept:
                    values = {"name": name, "cron": cron, "timezone": timezone, "looked_at": moment}
                    connection.execute(table.insert().values(values))

    def timetables(self) -> list[tuple[str, str, str, str]]:
        """Each timetable: name, cron, time zone, and until when it was looked at (ISO 8601, UTC)."""
        with self.engine.begin() as connection:
            rows = connection.execute(select(self._timetable).order_by(self._timetable.c.name))
            return [(row.name, row.cron, row.timezone, row.looked_at) for row in rows]

    def looked(self, name: str, until: str) -> None:
        """What was due of a timetable until then is fired."""
        table = self._timetable
        with self.engine.begin() as connection:
            connection.execute(
                update(table).where(table.c.name == name, table.c.looked_at < until).values(looked_at=until)
            )

    def ring(self) -> None:
        """Tell those who watch in other processes that there is something new. A file tells by itself."""
        if self.schema is not None:
            with self.engine.begin() as connection:
                connection.execute(text("SELECT pg_notify(:channel, '')"), {"channel": self.schema})

    @contextmanager
    def reached(self) -> Iterator[None]:
        """A block that fails in words where the database is away. Raises Unavailable."""
        try:
            yield
        except OperationalError as error:
            words = (str(error.orig).strip() or "it does not answer").splitlines()[0]
            raise Unavailable(f"the workflow engine's database cannot be reached: {words}") from error

    def watch(self) -> Watch:
        """Begin to hear of what others write."""
        return _FileWatch(self.engine) if self.schema is None else _ServerWatch(self.engine, self.schema)

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()


class _FileWatch:
    """SQLite counts, for each connection, the commits of all others."""

    def __init__(self, engine: Engine) -> None:
        self._held = engine.raw_connection()
        self._connection = self._held.driver_connection
        self._held.detach()
        self._last, self._changed = self._version(), time.monotonic()

    def _version(self) -> int:
        found: int = self._connection.execute("PRAGMA data_version").fetchone()[0]  # type: ignore[union-attr]
        return found

    def wait(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (now := self._version()) == self._last:
            moment = time.monotonic()
            if moment >= until:
                return False
            time.sleep(GLANCE_SECONDS if moment - self._changed < 1.0 else IDLE_SECONDS)
        self._last, self._changed = now, time.monotonic()
        return True

    def close(self) -> None:
        self._held.close()


class _ServerWatch:
    """PostgreSQL notifies."""

    def __init__(self, engine: Engine, channel: str) -> None:
        self._held = engine.raw_connection()
        self._connection: psycopg.Connection[Any] = self._held.driver_connection  # type: ignore[assignment]
        self._held.detach()
        self._connection.autocommit = True
        self._connection.execute(f'LISTEN "{channel}"')

    def wait(self, seconds: float) -> bool:
        return any(True for _ in self._connection.notifies(timeout=seconds, stop_after=1))

    def close(self) -> None:
        self._held.close()


def _server_engine(url: Any) -> Engine:
    options = f"-cidle_in_transaction_session_timeout={_IDLE}"
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={"options": options, "application_name": "vouch-engine"},
        pool_pre_ping=True,
        pool_size=8,
        max_overflow=56,
        hide_parameters=True,
    )


def _file_engine(file: Path) -> Engine:
    """Every transaction takes the writer's lock when it begins: what the engine reads in one to decide on what it
    writes then holds (how many turns are under way, say), whatever other processes do.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        f"sqlite:///{file}",
        module=pysqlite3.dbapi2,
        poolclass=QueuePool,
        hide_parameters=True,
        pool_size=8,
        max_overflow=56,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS, "isolation_level": None},
    )
    event.listen(engine, "connect", _pragmas)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "before_cursor_execute", _begun_already, retval=True)
    return engine


def _pragmas(connection: Any, _record: Any) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "mmap_size=0", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    driver: Any = connection.connection.driver_connection
    driver.execute("BEGIN IMMEDIATE").close()


def _begun_already(*arguments: Any) -> tuple[str, Any]:
    """The engine's migrations begin a transaction by hand, in one that has begun so: leave that out."""
    statement, parameters = arguments[2], arguments[3]
    return ("SELECT 1" if statement == "BEGIN IMMEDIATE" else statement), parameters
