"""All rows of a workspace as lines of JSON, the same for both databases: what a backup holds, and a restore reads.

A table begins with `{"table": NAME, "columns": [...]}`; each row is a list, with bytes as `{"b": BASE64}`.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, Table, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from kernel.errors import IntegrityFailure, Unavailable
from kernel.storage.database import Database
from kernel.storage.rows import dumps
from kernel.storage.schema import metadata

STEP = 200
_END = "end"


def schema_version(database: Database) -> str:
    """The version of the schema that rows are of."""
    with database.read() as connection:
        return MigrationContext.configure(connection).get_current_revision() or "none"


def rows_of_workspace(database: Database) -> Iterator[str]:
    """Every row of every table, as they stand at one moment; writers go on meanwhile. Ends with the count of rows."""
    total = 0
    with database.read() as connection:
        for table in metadata.sorted_tables:
            columns = [column.name for column in table.columns]
            yield dumps({"table": table.name, "columns": columns})
            query = select(table).order_by(*table.primary_key)
            with connection.execution_options(yield_per=STEP).execute(query) as rows:
                for row in rows:
                    total += 1
                    yield dumps([_packed(value) for value in row])
    yield dumps({_END: total})


def load_rows(database: Database, lines: Iterator[str]) -> int:
    """Fill an empty database, of this program's schema, with the rows of a dump; how many there were.

    All or nothing. Raises IntegrityFailure where the dump ends early or does not fit the schema.
    """
    total = 0
    try:
        with database.write() as connection:
            _empty(connection)
            for table, rows in _batches(lines):
                if table is None:
                    _settle(database, connection)
                    if rows != total:
                        raise IntegrityFailure(f"the backup says that it holds {rows} rows, but {total} were found")
                    return total
                connection.execute(table.insert(), rows)
                total += len(rows)
    except SQLAlchemyError as error:
        raise IntegrityFailure(f"the backup's rows do not fit the database: {type(error).__name__}") from error
    raise IntegrityFailure("the backup ends early: its last line is missing")


def _empty(connection: Connection) -> None:
    for table in reversed(metadata.sorted_tables):
        connection.execute(table.delete())


def _batches(lines: Iterator[str]) -> Iterator[tuple[Table | None, Any]]:
    table: Table | None = None
    columns: list[str] = []
    rows: list[dict[str, Any]] = []
    for line in lines:
        value = json.loads(line)
        if isinstance(value, list) and table is not None:
            rows.append({name: _unpacked(one) for name, one in zip(columns, value, strict=True)})
        if rows and (isinstance(value, dict) or len(rows) >= STEP):
            yield table, rows
            rows = []
        if isinstance(value, dict) and _END in value:
            yield None, value[_END]
            return
        if isinstance(value, dict):
            table, columns = _known(value)
    return


def _known(value: dict[str, Any]) -> tuple[Table, list[str]]:
    table = metadata.tables.get(value.get("table", ""))
    if table is None or [column.name for column in table.columns] != value["columns"]:
        raise IntegrityFailure(f"the backup has a table {value.get('table')} that this version does not know")
    return table, value["columns"]


def _settle(database: Database, connection: Connection) -> None:
    """New rows get numbers above those that were loaded; PostgreSQL counts them apart."""
    if database.is_sqlite:
        return
    for table in metadata.sorted_tables:
        key = list(table.primary_key)
        if len(key) == 1 and key[0].autoincrement in (True, "auto") and key[0].type.python_type is int:
            name = f'"{database.schema}"."{table.name}"'
            sequence = connection.execute(
                text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": name, "column": key[0].name}
            ).scalar()
            if sequence:
                last = connection.execute(select(func.coalesce(func.max(key[0]), 0))).scalar_one()
                values = {"sequence": sequence, "last": max(last, 1), "called": last > 0}
                connection.execute(text("SELECT setval(CAST(:sequence AS regclass), :last, :called)"), values)


def _packed(value: Any) -> Any:
    if isinstance(value, bytes | memoryview):
        return {"b": base64.b64encode(bytes(value)).decode()}
    return value


def _unpacked(value: Any) -> Any:
    return base64.b64decode(value["b"]) if isinstance(value, dict) else value


def is_empty(database: Database) -> bool:
    """Whether nothing was ever stored: no table, or no row in any. Changes nothing."""
    try:
        with database.read() as connection:
            if MigrationContext.configure(connection).get_current_revision() is None:
                return True
            return not any(
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in metadata.sorted_tables
            )
    except SQLAlchemyError as error:
        raise Unavailable(f"the database cannot be read: {type(error).__name__}") from error


def drop_schema(database: Database) -> None:
    """Remove a PostgreSQL schema whole, where there is one: that of a restore which did not come to an end."""
    with database.write() as connection:
        connection.execute(text(f'DROP SCHEMA IF EXISTS "{database.schema}" CASCADE'))


def rename_schema(database: Database, name: str) -> None:
    """Give a restored PostgreSQL schema the name of its workspace, in the place of an empty one."""
    with database.write() as connection:
        connection.execute(text(f'DROP SCHEMA IF EXISTS "{name}" CASCADE'))
        connection.execute(text(f'ALTER SCHEMA "{database.schema}" RENAME TO "{name}"'))
