"""Whatever is changed in any table or file that records something is found, and the record is named."""

from __future__ import annotations

import itertools
import random
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from fast_parts import FastWorkspace
from sqlalchemy import Column, Table, UniqueConstraint
from tamper_site import NOT_RECORDS, NOT_SAID, Saboteur, fill, named, records, said_columns, some

from kernel.settings import Settings
from kernel.storage import schema

SWEEP = 1000


pytestmark = pytest.mark.slow
"""Each column of each table; the quick suite has the contract and the attacks on the record."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastWorkspace]:
    """A workspace with records of every kind, shared by all tests here: each puts right what it changed."""
    folder = tmp_path_factory.mktemp("tamper")
    url = None if request.param == "sqlite" else str(request.getfixturevalue("postgres_url"))
    name = f"t{secrets.token_hex(8)}"
    settings = Settings.load(home=folder / "home", workspace=name, database_url=url, chunk_tokens=48)
    with FastWorkspace(settings) as workspace:
        fill(workspace, folder, answers=8)
        yield workspace


@pytest.fixture(scope="module")
def saboteur(made: FastWorkspace) -> Iterator[Saboteur]:
    one = Saboteur(made)
    yield one
    one.close()


def faults(made: FastWorkspace) -> list[str]:
    return [f"{fault.where}: {fault.what}" for fault in made.verifier.faults()]


def name_of(thing: object) -> str:
    return str(thing) if isinstance(thing, Column) else getattr(thing, "name", str(thing))


def test_what_nobody_touched_has_no_faults(made: FastWorkspace) -> None:
    assert faults(made) == []


def test_every_table_that_records_something_is_swept(made: FastWorkspace, saboteur: Saboteur) -> None:
    tables = {table.name for table in schema.metadata.sorted_tables}
    empty = {table.name for table in records() if not saboteur.rows(table)}
    assert set(NOT_RECORDS) <= tables
    assert {name for name, _ in NOT_SAID} <= tables
    assert empty == set()


@pytest.mark.parametrize("column", said_columns(), ids=name_of)
def test_any_changed_column_is_found(made: FastWorkspace, saboteur: Saboteur, column: Column[object]) -> None:
    table = column.table
    assert isinstance(table, Table)
    rows = saboteur.rows(table)
    for seed in range(2):
        row = some(rows, column, seed)
        expected = named(made, table, row)
        with saboteur.flipped(table, row, column):
            found = faults(made)
        assert any(name in fault for name in expected for fault in found), (row, found, expected)


@pytest.mark.parametrize("table", records(), ids=name_of)
def test_any_deleted_row_is_found(made: FastWorkspace, saboteur: Saboteur, table: Table) -> None:
    rows = saboteur.rows(table)
    for row in (rows[0], rows[-1], rows[len(rows) // 2]):
        expected = named(made, table, row)
        with saboteur.without(table, row):
            found = faults(made)
        assert any(name in fault for name in expected for fault in found), (row, found, expected)


@pytest.mark.slow
@pytest.mark.parametrize("table", records(), ids=name_of)
def test_two_exchanged_rows_are_found(made: FastWorkspace, saboteur: Saboteur, table: Table) -> None:
    rows = saboteur.rows(table)
    fixed = {column.name for column in table.columns if column.primary_key or column.unique}
    fixed |= {
        column.name for rule in table.constraints if isinstance(rule, UniqueConstraint) for column in rule.columns
    }
    fixed |= {column.name for index in table.indexes if index.unique for column in index.columns}
    plain = [column.name for column in table.columns if column.name not in fixed]
    pairs = [
        (one, other)
        for one, other in itertools.pairwise(rows)
        if any(one._mapping[name] != other._mapping[name] for name in plain)
    ]
    if not pairs or all((table.name, column.name) in NOT_SAID for column in table.primary_key):
        pytest.skip("no two rows here can be exchanged")
    with saboteur.swapped(table, *pairs[-1], plain):
        assert faults(made)


def test_all_is_as_it_was(made: FastWorkspace) -> None:
    assert faults(made) == []


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_thousand_changes_at_random_are_found(made: FastWorkspace, saboteur: Saboteur) -> None:
    """Any row of any table: a value changed, or the row gone."""
    chance = random.Random(20261120)
    held = {table: rows for table in records() if (rows := saboteur.rows(table))}
    columns = [column for column in said_columns() if column.table in held]
    missed = []
    for _ in range(SWEEP):
        column = chance.choice(columns)
        table = column.table
        row = chance.choice(held[table])
        gone = chance.random() < 0.25
        with saboteur.without(table, row) if gone else saboteur.flipped(table, row, column):
            if not faults(made):
                missed.append((table.name, column.name, gone, dict(row._mapping)))
    assert missed == []
    assert faults(made) == []


@pytest.mark.slow
def test_any_changed_file_is_found(made: FastWorkspace, tmp_path: Path) -> None:
    folder = made.settings.workspace_folder
    made.database.close()
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("vouch.db")]
    files = [path for path in files if path.stat().st_size and path.suffix != ".lock"]
    assert len(files) > 5
    for path in files:
        data = path.read_bytes()
        changed = bytearray(data)
        changed[len(data) // 2] ^= 1
        # without the file that names the current index there is none: the next reader makes one from the store; and
        # with a database that several hosts use, a host that wrote nothing yet has no head file
        missed = path.name == "current" or (path.name == "ledger.checkpoint" and not made.database.is_sqlite)
        gone = [] if missed else [None]
        for content in (bytes(changed), data[: len(data) // 2], *gone):
            path.unlink() if content is None else path.write_bytes(content)
            try:
                found = _reopened(made)
            finally:
                path.write_bytes(data)
            assert found, (path.relative_to(folder), content and len(content))
    assert _reopened(made) == []


def _reopened(made: FastWorkspace) -> list[str]:
    """The faults that a new process sees."""
    with FastWorkspace(made.settings) as again:
        return faults(again)
