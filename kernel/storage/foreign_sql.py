"""Reading databases that are not ours: one query at a time, which the database itself keeps from changing anything.

SQLite opens the file read-only and lets a statement do nothing but read tables and call plain functions; PostgreSQL
runs it as the query of a cursor in a READ ONLY transaction, alone in its message. Values are bound, never put into the
text.
"""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pysqlite3
from sqlalchemy import Connection, bindparam, create_engine, event, text
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError, StatementError
from sqlalchemy.pool import NullPool

from kernel.errors import InvalidInput, Unavailable

STEPS = 2000
"""Instructions of SQLite's machine between two looks at the clock."""
BATCH = 100
CONNECT_SECONDS = 10
BUSY_SECONDS = 5.0
LONGEST_QUERY = 20_000
_AWAY = ("08", "53", "57P", "40")
"""Classes of PostgreSQL's error codes that another try may not meet: connection, resources, shutdown, rollback."""
_CANCELLED = "57014"
_DENIED = ("load_extension", "fts3_tokenizer", "edit", "readfile", "writefile")


class QueryTimeout(Unavailable):
    """The query took longer than it may."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What a query gave: names of columns, rows of JSON values, and whether there were more than were taken."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    more: bool


class ForeignSql:
    """Databases by name, each as `sqlite:///FILE` or `postgresql://…`. Raises InvalidInput for another URL."""

    def __init__(self, databases: Mapping[str, str]) -> None:
        self._urls = {name: _usable(name, url) for name, url in databases.items()}
        self._engines: dict[str, Engine] = {}

    def query(
        self,
        name: str,
        sql: str,
        parameters: Mapping[str, Any],
        *,
        most_rows: int,
        most_bytes: int,
        seconds: float,
    ) -> Rows:
        """The rows of one query with its `:name` parameters bound; a list is bound as the values of an IN.

        Raises InvalidInput for an unknown database, or for what it will not run; QueryTimeout after `seconds`;
        Unavailable where it is away. Rows above `most_rows`, or `most_bytes` of JSON, are not taken.
        """
        url = self._urls.get(name)
        if url is None:
            raise InvalidInput(f"workflow_sql names no database {name}")
        if not sql.strip() or len(sql) > LONGEST_QUERY:
            raise InvalidInput(f"a query has 1 to {LONGEST_QUERY} characters")
        end, batches = time.monotonic() + seconds, _sqlite_batches if _is_sqlite(url) else _postgres_batches
        try:
            with self._engine(name, url).connect() as connection:
                found = batches(connection, _bound(sql, parameters), dict(parameters), end)
                return _taken(_until(end, seconds, found), most_rows, most_bytes)
        except DBAPIError as error:
            raise _error(name, error, seconds, late=time.monotonic() >= end) from error
        except (StatementError, ArgumentError) as error:
            raise InvalidInput(f"the query of {name} cannot be run: {_words(error)}") from error
        except (SQLAlchemyError, pysqlite3.dbapi2.Warning, OverflowError, ValueError) as error:
            raise InvalidInput(f"the query of {name} gives no rows: {_words(error)}") from error

    def _engine(self, name: str, url: URL) -> Engine:
        """What makes connections to a database; none is kept open between two queries."""
        if name not in self._engines:
            self._engines[name] = _sqlite_engine(url) if _is_sqlite(url) else _postgres_engine(url)
        return self._engines[name]


Batches = Iterator[tuple[tuple[str, ...], Sequence[Sequence[Any]]]]
"""Names of the columns, and some rows, until there are no more."""


def _sqlite_engine(url: URL) -> Engine:
    path = f"file:{quote(str(Path(str(url.database)).absolute()))}?mode=ro"

    def connect() -> Any:
        connection = pysqlite3.dbapi2.connect(path, uri=True, timeout=BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA query_only=ON").close()
        connection.execute("PRAGMA trusted_schema=OFF").close()
        return connection

    engine = create_engine(
        "sqlite://", module=pysqlite3.dbapi2, creator=connect, poolclass=NullPool, hide_parameters=True
    )
    event.listen(engine, "begin", _lock)
    return engine


def _sqlite_batches(connection: Connection, query: _Query, parameters: dict[str, Any], end: float) -> Batches:
    opened: Any = connection.connection.dbapi_connection
    opened.set_progress_handler(lambda: time.monotonic() >= end, STEPS)
    with connection.execute(text(query.text).bindparams(*query.lists), parameters) as result:
        names = tuple(result.keys())
        while rows := result.fetchmany(BATCH):
            yield names, rows
        yield names, ()


def _lock(connection: Connection) -> None:
    """From here on SQLite asks before everything that a statement would do."""
    opened: Any = connection.connection.dbapi_connection
    opened.set_authorizer(_reads_only)


def _reads_only(action: int, _one: str | None, two: str | None, *_: Any) -> int:
    """Whether a statement may do this; `two` is a function's name."""
    allowed = {pysqlite3.dbapi2.SQLITE_SELECT, pysqlite3.dbapi2.SQLITE_READ, pysqlite3.dbapi2.SQLITE_RECURSIVE}
    fine = action in allowed or (action == pysqlite3.dbapi2.SQLITE_FUNCTION and str(two).lower() not in _DENIED)
    return int(pysqlite3.dbapi2.SQLITE_OK if fine else pysqlite3.dbapi2.SQLITE_DENY)


def _postgres_engine(url: URL) -> Engine:
    """With a prepare threshold of 0 each message is one statement, so that nothing can be put behind a query."""
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={
            "options": "-cdefault_transaction_read_only=on",
            "connect_timeout": CONNECT_SECONDS,
            "prepare_threshold": 0,
        },
        poolclass=NullPool,
        hide_parameters=True,
    )
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("SET TRANSACTION READ ONLY"))
    return engine


def _postgres_batches(connection: Connection, query: _Query, parameters: dict[str, Any], end: float) -> Batches:
    """`DECLARE` takes nothing but a query."""
    left = max(1, round((end - time.monotonic()) * 1000))
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {left}")
    declared = f"DECLARE vouch_rows NO SCROLL CURSOR FOR {query.text}"
    connection.execute(text(declared).bindparams(*query.lists), parameters)
    while True:
        with connection.exec_driver_sql(f"FETCH FORWARD {BATCH} FROM vouch_rows") as result:
            names, rows = tuple(result.keys()), result.fetchall()
        yield names, rows
        if len(rows) < BATCH:
            return


def _is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


@dataclass(frozen=True, slots=True)
class _Query:
    """A query, and those of its parameters that are lists."""

    text: str
    lists: Sequence[Any]


def _bound(sql: str, parameters: Mapping[str, Any]) -> _Query:
    """Raises InvalidInput where the parameters that it names are not those that there are."""
    named = set(text(sql).compile().params)
    if named != set(parameters):
        missing, strange = sorted(named - set(parameters)), sorted(set(parameters) - named)
        what = f"has no value for :{missing[0]}" if missing else f"does not name :{strange[0]}"
        raise InvalidInput(f"the query {what}; a colon that begins no parameter is written \\:")
    return _Query(sql, [bindparam(name, expanding=True) for name, one in parameters.items() if isinstance(one, list)])


def _until(end: float, seconds: float, batches: Batches) -> Batches:
    for batch in batches:
        if time.monotonic() >= end:
            raise QueryTimeout(f"the query took longer than {seconds:.1f} s")
        yield batch


def _taken(batches: Batches, most_rows: int, most_bytes: int) -> Rows:
    names: tuple[str, ...] = ()
    rows: list[tuple[Any, ...]] = []
    size = 0
    for names, batch in batches:
        for row in batch:
            values = tuple(map(plain, row))
            size += len(json.dumps(values))
            if len(rows) >= most_rows or size > most_bytes:
                return Rows(names, tuple(rows), more=True)
            rows.append(values)
    return Rows(names, tuple(rows), more=False)


def plain(value: Any) -> Any:
    """A value of a database as JSON holds it: moments in ISO 8601, exact decimals as numbers, bytes in base 64."""
    if isinstance(value, Decimal):
        whole = value.is_finite() and value == value.to_integral_value()
        value = int(value) if whole else float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, date | time_of_day):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | memoryview):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list | tuple) else str(value)


def _usable(name: str, url: str) -> URL:
    try:
        made = make_url(url)
    except ArgumentError as error:
        raise InvalidInput(f"workflow_sql: the URL of {name} cannot be read") from error
    sort = made.get_backend_name()
    if sort not in ("sqlite", "postgresql") or (sort == "sqlite" and not made.database):
        raise InvalidInput(f"workflow_sql: the URL of {name} must be sqlite:///FILE or postgresql://…")
    return made


def _error(name: str, error: DBAPIError, seconds: float, *, late: bool) -> Exception:
    code = str(getattr(error.orig, "sqlstate", None) or "")
    said = _words(error)
    if code == _CANCELLED or (late and "interrupted" in said):
        return QueryTimeout(f"the query of {name} took longer than {seconds:.1f} s")
    away = error.connection_invalidated or code.startswith(_AWAY)
    if away or any(word in said for word in ("unable to open", "is locked", "connection failed", "could not connect")):
        return Unavailable(f"the database {name} cannot be read now: {said}")
    if "not authorized" in said or "prohibited" in said or "readonly" in said:
        return InvalidInput(f"the database {name} does not run this: a query reads tables, and does nothing else")
    return InvalidInput(f"the database {name} does not run the query: {said}")


def _words(error: Exception) -> str:
    """What a database said, in one line, without what was bound."""
    said = str(getattr(error, "orig", None) or error).strip().splitlines() or ["no reason given"]
    return said[0][:300]
