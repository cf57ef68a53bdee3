"""Steps of kind `sql`: what they read, on SQLite and PostgreSQL, and that they can change nothing."""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fast_parts import fast_workspace
from outside_parts import call_of
from postgres import NoPostgres, private_cluster

from kernel.errors import InvalidInput, Unavailable
from kernel.storage.breakers import BreakerRule, Breakers
from kernel.storage.foreign_sql import ForeignSql, QueryTimeout, plain
from pipeline.prompts.json_schema import schema_faults
from pipeline.workflows.breakers import Guards, NotNow
from pipeline.workflows.spec import Step
from pipeline.workflows.steps.base import StepFailed
from pipeline.workflows.steps.sql import SqlKind, SqlWith

TABLE = "CREATE TABLE sale (id INTEGER PRIMARY KEY, region TEXT, amount {}, day DATE)"
SALES = [(1, "north", 10.5, "2026-01-01"), (2, "south", 20.0, "2026-01-02"), (3, "north", 30.25, "2026-01-03")]
ATTACKS = [
    "DELETE FROM sale",
    "UPDATE sale SET amount = 0",
    "INSERT INTO sale (id) VALUES (9)",
    "DROP TABLE sale",
    "CREATE TABLE other (id INTEGER)",
    "SELECT 1; DELETE FROM sale",
    "SELECT 1; COMMIT; BEGIN; DELETE FROM sale; COMMIT; BEGIN",
    "SELECT 1 -- \n; DELETE FROM sale",
    "WITH gone AS (DELETE FROM sale RETURNING id) SELECT id FROM gone",
]
ON_SQLITE = [
    "PRAGMA query_only=OFF",
    "ATTACH DATABASE '{other}' AS other",
    "VACUUM INTO '{other}'",
    "SELECT load_extension('x')",
    "BEGIN IMMEDIATE",
    "REINDEX",
]
ON_POSTGRES = [
    "COPY sale TO PROGRAM 'touch {other}'",
    "COPY (SELECT 1) TO '{other}'",
    "DO $$ BEGIN DELETE FROM sale; END $$",
    "SET TRANSACTION READ WRITE",
    "LOCK TABLE sale",
    "SELECT nextval('counter')",
    "SELECT id FROM sale FOR UPDATE",
]


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    try:
        with private_cluster() as url:
            yield url
    except NoPostgres as reason:
        pytest.skip(str(reason))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database with a table of three sales."""
    if request.param == "sqlite":
        path = tmp_path / "sales ä.db"
        with sqlite3.connect(path) as made:
            made.execute(TABLE.format("NUMERIC"))
            made.executemany("INSERT INTO sale VALUES (?, ?, ?, ?)", SALES)
        made.close()
        return f"sqlite:///{path}"
    address = str(request.getfixturevalue("postgres_url"))
    name = f"d{secrets.token_hex(6)}"
    with psycopg.connect(address, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    address = address.replace("/postgres?", f"/{name}?")
    with psycopg.connect(address) as made_there:
        made_there.execute(TABLE.format("NUMERIC(10, 2)"))
        made_there.execute("CREATE SEQUENCE counter")
        made_there.cursor().executemany("INSERT INTO sale VALUES (%s, %s, %s, %s)", SALES)
    return address


@pytest.fixture
def kind(url: str, tmp_path: Path) -> Iterator[SqlKind]:
    with fast_workspace(tmp_path / "home") as made:
        guards = Guards(Breakers(made.database), BreakerRule(failures=2))
        yield SqlKind(ForeignSql({"sales": url, "away": f"sqlite:///{tmp_path / 'none.db'}"}), guards)


def run(kind: SqlKind, query: str, parameters: dict[str, Any] | None = None, seconds: float = 20.0, **more: Any) -> Any:
    with_ = {"database": "sales", "query": query, "parameters": parameters or {}} | more
    call = call_of("sql", with_=with_, seconds=seconds)
    output = kind.run(SqlWith.model_validate(with_), call).output
    assert schema_faults(output, kind.output(call.step)) == []
    return output


def count(url: str) -> int:
    if url.startswith("sqlite"):
        found = sqlite3.connect(url.removeprefix("sqlite:///"))
        try:
            return int(found.execute("SELECT count(*) FROM sale").fetchone()[0])
        finally:
            found.close()
    with psycopg.connect(url) as made:
        return int((made.execute("SELECT count(*) FROM sale").fetchone() or (0,))[0])


def test_rows_come_back_as_json(kind: SqlKind) -> None:
    made = run(
        kind,
        "SELECT id, amount, day FROM sale WHERE region = :region ORDER BY id DESC",
        {"region": "north' OR 1=1 --"},
    )
    assert made == {"columns": ["id", "amount", "day"], "rows": [], "count": 0, "more": False}
    made = run(kind, "SELECT id, amount, day FROM sale WHERE region = :region ORDER BY id DESC", {"region": "north"})
    assert made["rows"] == [
        {"id": 3, "amount": 30.25, "day": "2026-01-03"},
        {"id": 1, "amount": 10.5, "day": "2026-01-01"},
    ]


def test_a_list_is_bound_value_by_value(kind: SqlKind) -> None:
    made = run(kind, "SELECT id FROM sale WHERE id IN :ids ORDER BY id", {"ids": [1, 3, 99]})
    assert [row["id"] for row in made["rows"]] == [1, 3]
    assert run(kind, "SELECT id FROM sale WHERE id IN :ids", {"ids": []})["count"] == 0


@pytest.mark.parametrize("attack", ATTACKS + ON_SQLITE + ON_POSTGRES)
def test_nothing_can_be_changed(kind: SqlKind, url: str, attack: str, tmp_path: Path) -> None:
    """The database refuses, whatever the query says; what one of them does not know is an error there."""
    other = tmp_path / "other"
    with pytest.raises(InvalidInput, match="sales"):
        run(kind, attack.format(other=other))
    assert count(url) == 3
    assert not other.exists()


def test_nothing_is_ever_committed(kind: SqlKind, url: str) -> None:
    """What an older PostgreSQL lets a READ ONLY transaction do after all goes with it."""
    if url.startswith("sqlite"):
        return
    try:
        run(kind, "SELECT lo_create(0) AS made")
    except InvalidInput:
        return
    with psycopg.connect(url) as made:
        assert made.execute("SELECT count(*) FROM pg_largeobject_metadata").fetchone() == (0,)


def test_more_than_may_be_taken_fails_or_is_cut(kind: SqlKind) -> None:
    numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) SELECT i FROM n"
    assert run(kind, numbers, most_rows=5000)["count"] == 5000
    with pytest.raises(StepFailed, match="more than 4999 rows"):
        run(kind, numbers, most_rows=4999)
    made = run(kind, numbers, most_rows=150, beyond="cut")
    assert (made["count"], made["more"], made["rows"][-1]) == (150, True, {"i": 150})
    assert run(kind, numbers, most_rows=5000, most_bytes=100, beyond="cut")["count"] < 50


def test_a_query_that_takes_too_long_is_stopped(kind: SqlKind, url: str) -> None:
    forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n"
    start = time.monotonic()
    for _ in range(3):
        with pytest.raises(QueryTimeout):
            run(kind, forever, seconds=0.3)
    assert time.monotonic() - start < 10
    assert QueryTimeout.retryable


def test_a_database_that_is_away_is_left_alone_after_a_while(kind: SqlKind) -> None:
    for _ in range(2):
        with pytest.raises(Unavailable, match="cannot be read now"):
            run(kind, "SELECT 1 AS one", database="away")
    with pytest.raises(NotNow):
        run(kind, "SELECT 1 AS one", database="away")
    with pytest.raises(InvalidInput, match="names no database nowhere"):
        run(kind, "SELECT 1 AS one", database="nowhere")


@pytest.mark.parametrize(
    ("query", "parameters", "said"),
    [
        ("SELECT nothing FROM sale", {}, "does not run the query"),
        ("SELEC 1", {}, "does not run the query"),
        ("SELECT id FROM sale WHERE id = :id", {}, "has no value for :id"),
        ("SELECT id FROM sale", {"id": 1}, "does not name :id"),
        ("   ", {}, "1 to 20000 characters"),
    ],
)
def test_a_query_that_is_wrong_says_how(kind: SqlKind, query: str, parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        run(kind, query, parameters)


def test_a_number_that_a_database_cannot_hold_is_refused_in_words(kind: SqlKind, url: str) -> None:
    if url.startswith("sqlite"):
        with pytest.raises(InvalidInput, match="the query of sales"):
            run(kind, "SELECT :id AS id", {"id": 1 << 70})
    else:
        assert run(kind, "SELECT :id AS id", {"id": 1 << 70})["rows"] == [{"id": 1 << 70}]


def test_columns_have_names_of_their_own(kind: SqlKind) -> None:
    with pytest.raises(StepFailed, match="same name"):
        run(kind, "SELECT 1 AS a, 2 AS a")
    assert run(kind, "SELECT '10\\:00 :: x' AS a")["rows"] == [{"a": "10:00 :: x"}]


def test_no_template_writes_a_query(kind: SqlKind) -> None:
    """Where data could reach into the text of a query, it does not run."""
    call = call_of("sql", with_={"database": "sales", "query": "SELECT id FROM {{ input.table }}"})
    given = SqlWith.model_validate({"database": "sales", "query": "SELECT id FROM sale"})
    with pytest.raises(StepFailed, match="no template"):
        kind.run(given, call)
    undo = {"id": "step", "kind": "sql", "undo": {"kind": "sql", "with": {"database": "sales", "query": given.query}}}
    assert kind.run(given, replace(call, step=Step.model_validate(undo))).output["count"] == 3


@pytest.mark.parametrize("bad", ["mysql://x/y", "sqlite://", "sqlite:///", "not a url"])
def test_only_databases_that_can_be_kept_from_writing_are_taken(bad: str) -> None:
    with pytest.raises(InvalidInput, match="workflow_sql"):
        ForeignSql({"x": bad})


def test_values_that_json_does_not_have_become_plain() -> None:
    assert plain([float("nan"), b"\x00\xff", memoryview(b"a"), (1, None), {"a": True}]) == [
        None,
        "AP8=",
        "YQ==",
        [1, None],
        {"a": True},
    ]
