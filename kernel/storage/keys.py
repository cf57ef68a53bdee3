"""API keys and idempotent requests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, select, update

from kernel.errors import Conflict, NotFound, Unauthenticated
from kernel.ids import random_id, secret_key, sha256
from kernel.records import KeyInfo, Principal, Role
from kernel.storage.database import Database
from kernel.storage.erasure_rows import is_erased_person
from kernel.storage.ledger import append
from kernel.storage.rows import dumps, insert_new, now
from kernel.storage.schema import (
    answer,
    api_key,
    document,
    erased_leaf,
    erased_revision,
    idempotency,
    ledger_leaf,
    revision,
)

KEY_FACTS = ("name", "sha256", "role", "all_groups", "groups", "expires_at")
"""What a key was made with, as the ledger keeps it."""


class Keys:
    """API keys. Only the hash of a secret is stored, so a key can be shown once, when it is made."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self, role: Role, groups: Sequence[str] | None = (), name: str = "", expires_at: datetime | None = None
    ) -> tuple[KeyInfo, str]:
        """A new key and its secret. `groups` of None may see every document."""
        secret, key_id = secret_key(), random_id("key")
        values = {
            "id": key_id,
            "name": name,
            "sha256": sha256(secret),
            "role": role.value,
            "all_groups": groups is None,
            "groups": dumps(sorted(set(groups or ()))),
            "expires_at": expires_at.astimezone(UTC).isoformat(timespec="microseconds") if expires_at else None,
            "created_at": now(),
        }
        with self._database.write() as connection:
            connection.execute(api_key.insert(), values)
            facts = {"role": role.value, "all_groups": groups is None}
            payload = {name: values[name] for name in KEY_FACTS}
            append(self._database, connection, "key.created", key_id, facts, dumps(payload), str(values["created_at"]))
        return self._get(key_id), secret

    def authenticate(self, secret: str) -> Principal:
        """Who a secret belongs to. Raises Unauthenticated where it is unknown, expired or revoked."""
        with self._database.read() as connection:
            row = connection.execute(select(api_key).where(api_key.c.sha256 == sha256(secret))).first()
        if row is None or row.revoked_at is not None or (row.expires_at is not None and row.expires_at <= now()):
            raise Unauthenticated("the API key is unknown, expired or revoked")
        return Principal(row.id, Role(row.role), None if row.all_groups else frozenset(json.loads(row.groups)))

    def holds(self, who: str) -> bool:
        """Whether somebody may still act: False for a key that was revoked or has expired."""
        with self._database.read() as connection:
            row = connection.execute(
                select(api_key.c.revoked_at, api_key.c.expires_at).where(api_key.c.id == who)
            ).first()
        return row is None or (row.revoked_at is None and (row.expires_at is None or row.expires_at > now()))

    def revoke(self, key_id: str) -> KeyInfo:
        """End a key at once. Raises NotFound where there is none of that id."""
        with self._database.write() as connection:
            moment = now()
            held = (api_key.c.id == key_id) & api_key.c.revoked_at.is_(None)
            if connection.execute(update(api_key).where(held).values(revoked_at=moment)).rowcount:
                append(self._database, connection, "key.revoked", key_id, {}, at=moment)
        return self._get(key_id)

    def items(self) -> list[KeyInfo]:
        """All keys, oldest first."""
        with self._database.read() as connection:
            return [
                _info(row) for row in connection.execute(select(api_key).order_by(api_key.c.created_at, api_key.c.id))
            ]

    def any(self) -> bool:
        """Whether a key that still holds exists."""
        unexpired = api_key.c.expires_at.is_(None) | (api_key.c.expires_at > now())
        query = select(func.count()).select_from(api_key).where(api_key.c.revoked_at.is_(None), unexpired)
        with self._database.read() as connection:
            return bool(connection.execute(query).scalar_one())

    def _get(self, key_id: str) -> KeyInfo:
        with self._database.read() as connection:
            row = connection.execute(select(api_key).where(api_key.c.id == key_id)).first()
        if row is None:
            raise NotFound(f"no key {key_id}")
        return _info(row)


class Requests:
    """What was answered to requests that carried an `Idempotency-Key`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def seen(self, principal: str, key: str, request_sha256: str) -> tuple[int, Any] | None:
        """Status and body of the answer given before. Raises Conflict where the key came with another request."""
        query = select(idempotency).where(idempotency.c.principal == principal, idempotency.c.key == key)
        with self._database.read() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        if row.request_sha256 != request_sha256:
            raise Conflict("this Idempotency-Key was used with a different request")
        return int(row.status), json.loads(row.response)

    def begun(self) -> int:
        """What to give `keep` later: how long the ledger was when a request began."""
        with self._database.read() as connection:
            return int(connection.execute(select(func.coalesce(func.max(ledger_leaf.c.number), -1))).scalar_one())

    def keep(
        self, principal: str, key: str, request_sha256: str, status: int, response: Any, begun: int | None = None
    ) -> None:
        """Remember an answer; but none that tells of what was erased since the request began (`begun`)."""
        row = {
            "principal": principal,
            "key": key,
            "request_sha256": request_sha256,
            "status": status,
            "response": dumps(response),
            "created_at": now(),
        }
        with self._database.write() as connection:
            if begun is None or not _erased_since(connection, begun, principal, str(row["response"])):
                insert_new(connection, idempotency, [row])


def _erased_since(connection: Connection, begun: int, principal: str, response: str) -> bool:
    """Whether who asked, or an answer or document that a response names, was erased by an entry after `begun`."""
    if is_erased_person(connection, principal):
        return True
    answers = select(answer.c.id).join(erased_leaf, erased_leaf.c.number == answer.c.number)
    documents = (
        select(document.c.public_id)
        .join(revision, revision.c.document_id == document.c.id)
        .join(erased_revision, erased_revision.c.revision_id == revision.c.id)
    )
    gone = [
        *connection.execute(answers.where(erased_leaf.c.leaf > begun)).scalars(),
        *connection.execute(documents.where(erased_revision.c.leaf > begun)).scalars(),
    ]
    return any(name in response for name in gone)


def _info(row: Any) -> KeyInfo:
    def moment(value: str | None) -> datetime | None:
        return datetime.fromisoformat(value) if value else None

    return KeyInfo(
        id=row.id,
        name=row.name,
        role=Role(row.role),
        groups=None if row.all_groups else tuple(json.loads(row.groups)),
        created_at=datetime.fromisoformat(row.created_at),
        expires_at=moment(row.expires_at),
        revoked_at=moment(row.revoked_at),
    )
