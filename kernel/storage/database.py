"""A workspace's database: SQLite file or PostgreSQL schema behind the same two methods, `read` and `write`."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pysqlite3
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import QueuePool

from kernel.errors import InvalidInput, Unavailable
from kernel.merkle import Frontier
from kernel.notes import Signer

BUSY_SECONDS = 60
END_OF_NOTE = "\n\n\n"
"""What parts signed checkpoints in a file of several: two blank lines, which no checkpoint holds."""
LONGEST_HEAD = 65_536
WRITER_LOCK = 0x766F756368
"""Advisory lock that makes one writer at a time on PostgreSQL too, as SQLite's BEGIN IMMEDIATE does."""


class Database:
    """Connections to one workspace. `url` is `sqlite:///FILE` or `postgresql://…`; `workspace` is its schema there.
    `key_file` holds the key that signs the workspace's ledger; it is made with the ledger.

    Raises InvalidInput for another kind of URL, and Unavailable where the database cannot be reached.
    """

    def __init__(self, url: str, key_file: Path, workspace: str = "default") -> None:
        self.url = make_url(url)
        self.schema = f"vouch_{workspace}"
        self.signer = Signer(key_file, f"vouch-{workspace}")
        self.ledger_edge: tuple[str, Frontier] | None = None
        if self.url.get_backend_name() == "sqlite":
            self.engine = _sqlite_engine(self.url)
        elif self.url.get_backend_name() == "postgresql":
            self.engine = create_engine(
                self.url.set(drivername="postgresql+psycopg"),
                connect_args={
                    "options": f"-csearch_path={self.schema} -cdefault_transaction_isolation=repeatable\\ read"
                },
                pool_pre_ping=True,
                hide_parameters=True,
            )
        else:
            raise InvalidInput(
                f"database_url must begin with sqlite:/// or postgresql://, not {self.url.drivername}://"
            )
        self.is_sqlite = self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one consistent state and waits for nobody."""
        try:
            with self.engine.connect() as connection:
                yield connection
        except OperationalError as error:
            raise Unavailable(f"the database cannot be reached: {_words(error)}") from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """The one writing transaction at a time: committed, durably, when the block ends; undone if it raises."""
        try:
            with self.engine.connect() as connection:
                connection.info.pop("after", None)
                if self.is_sqlite:
                    connection.info["write"] = True
                else:
                    connection.execution_options(isolation_level="READ COMMITTED")
                with connection.begin():
                    if not self.is_sqlite:
                        connection.execute(
                            text("SELECT pg_advisory_xact_lock(:lock, hashtext(:schema))"),
                            {"lock": WRITER_LOCK % 2**31, "schema": self.schema},
                        )
                    yield connection
                for call in connection.info.pop("after", {}).values():
                    call()
        except OperationalError as error:
            raise Unavailable(f"the database cannot be written: {_words(error)}") from error

    @staticmethod
    def after_commit(connection: Connection, name: str, call: Callable[[], None]) -> None:
        """Have `call` made once the writing transaction of `connection` is durable; the last one of a name counts."""
        connection.info.setdefault("after", {})[name] = call

    @property
    def head_file(self) -> Path:
        """Where the newest signed checkpoint is kept beside the database, so that a truncated ledger shows."""
        return self.signer.path.with_name("ledger.checkpoint")

    def keep_head(self, note: str) -> None:
        """Append a signed checkpoint to the head file. Where that has grown long, or was left unfinished when the
        machine went down, it begins again with this one.
        """
        with self.head_file.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - len(END_OF_NOTE)))
            whole = size == 0 or file.read() == END_OF_NOTE.encode()
            if whole and size < LONGEST_HEAD:
                file.write(f"{note.rstrip()}{END_OF_NOTE}".encode())
                return
        draft = self.head_file.with_name(f".{self.head_file.name}.{secrets.token_hex(4)}")
        draft.write_text(f"{note.rstrip()}{END_OF_NOTE}", encoding="utf-8")
        draft.replace(self.head_file)

    def heads(self) -> list[str] | None:
        """What the head file holds, oldest first: signed checkpoints, if it is whole. None where there is no file."""
        if not self.head_file.is_file():
            return None
        text = self.head_file.read_text(encoding="utf-8", errors="replace")
        *notes, rest = text.split(END_OF_NOTE)
        return [*(f"{note}\n" for note in notes), *([rest] if rest else [])]

    def migrate(self) -> None:
        """Bring the schema up to this program's version; does nothing where it is there already."""
        if not self.is_sqlite:
            with self.write() as connection:
                connection.execute(text(f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"'))
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        head = ScriptDirectory.from_config(config).get_current_head()
        with self.read() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
        if current == head:
            return
        with self.write() as connection:
            config.attributes["connection"] = connection
            config.attributes["database"] = self
            command.upgrade(config, "head")

    def about(self) -> dict[str, str]:
        """The kind and version of the database, and the version of the schema in it."""
        with self.read() as connection:
            version = connection.execute(text("SELECT sqlite_version()" if self.is_sqlite else "SHOW server_version"))
            schema = MigrationContext.configure(connection).get_current_revision()
            kind = "SQLite" if self.is_sqlite else "PostgreSQL"
            return {"kind": kind, "version": str(version.scalar_one()), "schema": schema or "none"}

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()


def _sqlite_engine(url: URL) -> Any:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url,
        module=pysqlite3.dbapi2,
        poolclass=QueuePool,
        hide_parameters=True,
        pool_size=8,
        max_overflow=56,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS, "isolation_level": None},
    )
    event.listen(engine, "connect", _sqlite_pragmas)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        "cache_size=-4096",
        "mmap_size=0",
        "secure_delete=ON",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.info.pop("write", False) else "BEGIN")


def _words(error: OperationalError) -> str:
    return str(error.orig).strip().splitlines()[0]
