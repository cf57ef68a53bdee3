"""Uses of prompts that answer from no documents: written whole before anybody sees the reply, and never changed.

A run is a leaf of the ledger. What was put in, asked and replied is the leaf's payload; the row holds facts to find it
by.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select

from kernel.errors import NotFound
from kernel.records import PolicyVersion, Principal, PromptVersion
from kernel.storage.database import Database
from kernel.storage.erasure_rows import refuse_erased_person
from kernel.storage.ledger import append
from kernel.storage.policies import keep_policy
from kernel.storage.prompts import keep_prompt
from kernel.storage.rows import dumps, parts
from kernel.storage.schema import answer, ledger_leaf, ledger_payload, prompt_run

RUN = "prompt.run"
"""The kind of a run's leaf."""
ERASED = "erased"
_FACTS = ("status", "prompt_sha256", "model", "experiment", "arm")


@dataclass(frozen=True, slots=True)
class PromptRun:
    """A stored run: `body` as its caller saw it, `run` all else that it stood on, both JSON objects.

    Where the payload was erased, `erased` is true, and `body` holds only facts that name nobody.
    """

    id: str
    number: int
    principal: str
    body: Mapping[str, Any]
    run: Mapping[str, Any]
    leaf_sha256: str
    erased: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """How often somebody used a version of a prompt: answers and runs, and when last."""

    prompt_sha256: str
    principal: str
    answers: int
    runs: int
    last: str


class PromptRuns:
    """Every run there was. There is no way here to change or delete one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        body: Mapping[str, Any],
        run: Mapping[str, Any],
        *,
        principal: Principal,
        prompt: PromptVersion,
        policy: PolicyVersion | None = None,
    ) -> tuple[int, str]:
        """Store a run durably, with the texts that it names; its index in the ledger and its leaf hash."""
        with self._database.write() as connection:
            refuse_erased_person(connection, principal.id)
            keep_prompt(self._database, connection, prompt)
            if policy is not None and policy.number < 1:
                keep_policy(self._database, connection, policy)
            row = run_row(body)
            payload = dumps({"by": principal.id, "body": body, "run": run})
            at = str(body["created_at"])
            leaf = append(self._database, connection, RUN, str(body["id"]), run_facts(row), payload, at)
            connection.execute(prompt_run.insert(), row | {"number": leaf.number, "principal": principal.id})
        return leaf.number, leaf.sha256

    def get(self, run_id: str, principal: Principal) -> PromptRun:
        """One run. Raises NotFound where there is none, or none that `principal` may read."""
        query = _readable(_records().where(prompt_run.c.id == run_id), principal)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise NotFound(f"no run {run_id} of a prompt")
        return _record(row)

    def items(
        self,
        principal: Principal,
        *,
        limit: int,
        before: int | None = None,
        prompts: Collection[str] | None = None,
    ) -> list[PromptRun]:
        """Runs that `principal` may read, newest first, those before index `before`; of these hashes of prompts."""
        query = _readable(_records(), principal)
        if before is not None:
            query = query.where(prompt_run.c.number < before)
        if prompts is not None:
            query = query.where(prompt_run.c.prompt_sha256.in_(sorted(prompts)))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(prompt_run.c.number.desc()).limit(limit)).all()
        return [_record(row) for row in rows]

    def uses(self, prompts: Collection[str], principal: Principal) -> list[Use]:
        """How often each of these versions answered and ran, by user; reviewers see all users, others themselves."""
        found: dict[tuple[str, str], list[Any]] = {}
        with self._database.read() as connection:
            for place, table in enumerate((answer, prompt_run)):
                columns = (table.c.prompt_sha256, table.c.principal)
                query = select(*columns, func.count(), func.max(table.c.created_at)).group_by(*columns)
                if not principal.role.oversees:
                    query = query.where(table.c.principal == principal.id)
                for some in parts(sorted(prompts)):
                    for digest, person, count, last in connection.execute(query.where(columns[0].in_(some))):
                        kept = found.setdefault((digest, person), [0, 0, ""])
                        kept[place] += count
                        kept[2] = max(kept[2], last)
        return [Use(*key, *values) for key, values in sorted(found.items())]


def run_row(body: Mapping[str, Any]) -> dict[str, Any]:
    """The facts of a run as its row keeps them, but for its index and who asked."""
    model, prompt = body["model"], body["prompt"]
    return {
        "id": body["id"],
        "status": body["status"],
        "prompt_sha256": prompt["sha256"],
        "model": f"{model['provider']}/{model['name']}",
        "experiment": prompt.get("experiment", ""),
        "arm": prompt.get("arm", ""),
        "created_at": body["created_at"],
    }


def run_facts(row: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's leaf says openly: nothing that names a person."""
    return {name: row[name] for name in _FACTS}


def _records() -> Select[Any]:
    return (
        select(prompt_run, ledger_leaf.c.sha256.label("leaf_sha256"), ledger_payload.c.payload)
        .join(ledger_leaf, ledger_leaf.c.number == prompt_run.c.number)
        .outerjoin(ledger_payload, ledger_payload.c.number == prompt_run.c.number)
    )


def _readable(query: Any, principal: Principal) -> Any:
    return query if principal.role.oversees else query.where(prompt_run.c.principal == principal.id)


def _record(row: Any) -> PromptRun:
    ledger = {"index": row.number, "leaf_sha256": row.leaf_sha256}
    if row.payload is None:
        body = _remains(row) | {"ledger": ledger}
        return PromptRun(row.id, row.number, row.principal, body, {}, row.leaf_sha256, True)
    said = json.loads(row.payload)
    return PromptRun(row.id, row.number, row.principal, said["body"] | {"ledger": ledger}, said["run"], row.leaf_sha256)


def _remains(row: Any) -> dict[str, Any]:
    """What is left to show of a run whose payload was erased."""
    provider, _, name = row.model.partition("/")
    return {
        "id": row.id,
        "status": ERASED,
        "reason": "What was put in and replied was erased.",
        "output": "",
        "json": None,
        "tries": 0,
        "prompt": {"name": "", "version": 0, "sha256": row.prompt_sha256, "label": ""},
        "model": {"provider": provider, "name": name, "parameters": {}},
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "cost": None},
        "timings_ms": {},
        "created_at": row.created_at,
    }
