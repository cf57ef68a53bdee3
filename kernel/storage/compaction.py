"""Making sure that deleted rows are gone from the database's own files, not only from its tables."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from kernel.errors import Unavailable
from kernel.storage.database import Database
from kernel.storage.schema import metadata

TRIES = 5
WAIT_SECONDS = 0.5
LOCK_SECONDS = 2.0
"""So long a table of PostgreSQL is waited for, each time."""
LOCKED = "55P03"
"""PostgreSQL's code where that was not long enough."""


def compact(database: Database) -> dict[str, Any]:
    """Rewrite the database without what was deleted; what was done, for a certificate.

    SQLite: VACUUM, and the write-ahead log emptied. PostgreSQL: VACUUM FULL of every table, with new statistics.
    Questions and writes go on before and after; they wait while a table is rewritten. Raises Unavailable where a
    reader holds the write-ahead log for minutes (each try waits as long as a write does): try again later.
    """
    return _compact_sqlite(database) if database.is_sqlite else _compact_postgres(database)


def _compact_sqlite(database: Database) -> dict[str, Any]:
    connection = database.engine.raw_connection()
    try:
        _patiently(lambda: connection.execute("VACUUM").close())
        for attempt in range(TRIES):
            busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            if not busy:
                return {"done": ["VACUUM", "wal_checkpoint(TRUNCATE)"], "tries": attempt + 1}
            time.sleep(WAIT_SECONDS)
    finally:
        connection.close()
    raise Unavailable(
        "a reader holds the database's write-ahead log, so that it cannot be emptied: end long reads, then "
        "`vouch erasures resume`"
    )


def _patiently(act: Any) -> None:
    """Try again while another process writes."""
    for attempt in range(TRIES):
        try:
            act()
            return
        except Exception as error:
            if ("locked" not in str(error) and "busy" not in str(error)) or attempt == TRIES - 1:
                raise Unavailable(f"the database cannot be rewritten: {error}; `vouch erasures resume`") from error
            time.sleep(WAIT_SECONDS)


def _compact_postgres(database: Database) -> dict[str, Any]:
    """Waits for each table only so long: new readers queue behind what waits, and one of them may be the second
    read of somebody whose first read is what it waits for.
    """
    names = sorted(metadata.tables)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"SET lock_timeout = {round(LOCK_SECONDS * 1000)}"))
        try:
            for name in names:
                _rewrite(connection, f'"{database.schema}"."{name}"')
        finally:
            connection.execute(text("RESET lock_timeout"))
    return {"done": [f"VACUUM FULL of {len(names)} tables"]}


def _rewrite(connection: Connection, table: str) -> None:
    for attempt in range(TRIES):
        try:
            connection.execute(text(f"VACUUM (FULL, ANALYZE) {table}"))
            return
        except OperationalError as error:
            if attempt == TRIES - 1 or getattr(error.orig, "sqlstate", None) != LOCKED:
                raise Unavailable(f"the database cannot be rewritten: {error.orig}; `vouch erasures resume`") from error
        time.sleep(WAIT_SECONDS)
