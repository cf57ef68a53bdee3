"""The kind `sql`: rows of a database that the settings name, by a query that cannot change anything there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from kernel.storage.foreign_sql import ForeignSql, QueryTimeout
from pipeline.workflows.breakers import Guards
from pipeline.workflows.spec import Step, Strict
from pipeline.workflows.steps.base import Call, Done, Plain, StepFailed

Value = str | int | float | bool | None


class SqlWith(Strict):
    """What a step of kind `sql` says."""

    database: Annotated[str, Field(min_length=1, max_length=100)]
    """A name of the setting `workflow_sql`."""
    query: Annotated[str, Field(min_length=1, max_length=20_000)]
    """One SELECT; `:name` stands for a parameter. It is no template: what varies is a parameter."""
    parameters: Annotated[dict[str, Value | list[Value]], Field(max_length=100)] = Field(default_factory=dict)
    most_rows: Annotated[int, Field(ge=1, le=10_000)] = 1000
    most_bytes: Annotated[int, Field(ge=1, le=8 << 20)] = 1 << 20
    beyond: Literal["fail", "cut"] = "fail"
    """What happens where there are more rows than that."""


class SqlKind(Plain):
    """Reads."""

    name: ClassVar[str] = "sql"
    With: ClassVar[type[Strict]] = SqlWith

    def __init__(self, databases: ForeignSql, guards: Guards) -> None:
        self._databases = databases
        self._guards = guards

    def output(self, _step: Step) -> Mapping[str, Any]:
        """Rows as objects by the names of the columns, how many, and whether there were more."""
        properties = {
            "columns": {"type": "array", "items": {"type": "string"}},
            "rows": {"type": "array", "items": {"type": "object"}},
            "count": {"type": "integer"},
            "more": {"type": "boolean"},
        }
        return {"type": "object", "properties": properties, "required": sorted(properties)}

    def run(self, given: SqlWith, call: Call) -> Done:
        """Read once. Raises StepFailed where there is more than may be taken, where two columns have one name, or where
        a template wrote the query: then what it says would depend on data.
        """
        if given.query not in _written(call.step):
            raise StepFailed("a query is no template: what varies in it is a parameter", slug="template")
        with self._guards.guarded(f"sql:{given.database}") as passage:
            try:
                found = self._databases.query(
                    given.database,
                    given.query,
                    given.parameters,
                    most_rows=given.most_rows,
                    most_bytes=given.most_bytes,
                    seconds=max(0.001, call.left()),
                )
            except QueryTimeout:
                passage.reached()
                raise
        if len(set(found.columns)) < len(found.columns):
            raise StepFailed("two columns of the query have the same name: give each its own with AS", slug="columns")
        if found.more and given.beyond == "fail":
            raise StepFailed(
                f"the query gives more than {given.most_rows} rows or {given.most_bytes} bytes: ask for less, raise "
                "most_rows or most_bytes, or say `beyond: cut`",
                slug="too-many",
            )
        rows = [dict(zip(found.columns, row, strict=True)) for row in found.rows]
        return Done({"columns": list(found.columns), "rows": rows, "count": len(rows), "more": found.more})


def _written(step: Step) -> tuple[Any, ...]:
    """The queries that stand in the spec of a step."""
    return step.with_.get("query"), step.undo.with_.get("query") if step.undo else None
