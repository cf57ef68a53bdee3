"""Versions of the workspace's policy, and which of them is in force. Both are written once and never changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from kernel.errors import Conflict, NotFound
from kernel.ids import sha256
from kernel.records import PolicyVersion, Principal, RevisionStanding, Role
from kernel.storage.access import groups_of, may_see, withdrawn
from kernel.storage.database import Database
from kernel.storage.ledger import append
from kernel.storage.rows import dumps, now, parts
from kernel.storage.schema import chunk, policy_release, policy_version, revision

STORED, RELEASED = "policy.stored", "policy.released"
_NEWEST = (
    select(policy_release.c.leaf, policy_version)
    .join(policy_version, policy_version.c.number == policy_release.c.policy)
    .order_by(policy_release.c.leaf.desc())
)


class Policies:
    """Stored policies by number and by hash, and every move of the pointer to the one in force."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, text: str, author: str, message: str) -> PolicyVersion:
        """Store a text as the next version. Raises Conflict where that text is a version already."""
        with self._database.write() as connection:
            digest = sha256(text)
            known = connection.execute(
                select(policy_version.c.number).where(policy_version.c.sha256 == digest)
            ).scalar()
            if known is not None:
                raise Conflict(f"this text is version {known} already; put it in force with: vouch policies release")
            highest = connection.execute(select(func.max(policy_version.c.number))).scalar() or 0
            made = PolicyVersion(max(highest, 0) + 1, digest, text, author, message, now())
            _store(self._database, connection, made)
            return made

    def release(self, number: int, by: str, shipped: PolicyVersion | None = None) -> PolicyVersion:
        """Put a version in force, with its entry in the ledger; `shipped`, where given, is stored first and is the one.

        Raises NotFound for an unknown number, and Conflict where the version is in force already.
        """
        with self._database.write() as connection:
            return move_policy(self._database, connection, number, by, shipped)

    def released(self) -> PolicyVersion | None:
        """The version that the last release put in force; None where there was no release."""
        with self._database.read() as connection:
            row = connection.execute(_NEWEST.limit(1)).first()
        return None if row is None else _record(row)

    def released_sha256(self) -> str | None:
        """The hash of the version in force, without reading its text."""
        query = _NEWEST.with_only_columns(policy_version.c.sha256).limit(1)
        with self._database.read() as connection:
            found: str | None = connection.execute(query).scalar()
            return found

    def get(self, number: int) -> PolicyVersion:
        """One version. Raises NotFound."""
        with self._database.read() as connection:
            return _version(connection, policy_version.c.number == number, f"no policy version {number}")

    def by_sha256(self, digest: str) -> PolicyVersion:
        """The version of a hash, as records of answers name it. Raises NotFound."""
        with self._database.read() as connection:
            return _version(connection, policy_version.c.sha256 == digest, f"no policy of SHA-256 {digest}")

    def items(self) -> list[PolicyVersion]:
        """Every stored version, newest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(policy_version).order_by(policy_version.c.number.desc()))
            return [_record(row) for row in rows]

    def releases(self) -> list[tuple[int, int, str]]:
        """Every move of the pointer, newest first: entry of the ledger, version, moment."""
        query = select(policy_release).order_by(policy_release.c.leaf.desc())
        with self._database.read() as connection:
            return [(row.leaf, row.policy, row.created_at) for row in connection.execute(query)]

    def standings(self, chunk_ids: Sequence[str], access: int) -> Mapping[str, RevisionStanding]:
        """Since when the revision of each chunk is stored, and its groups in a version of the access rules."""
        found: dict[str, RevisionStanding] = {}
        with self._database.read() as connection:
            for some in parts(chunk_ids):
                query = select(chunk.c.public_id, revision.c.id, revision.c.created_at)
                query = query.join(revision, revision.c.id == chunk.c.revision_id).where(chunk.c.public_id.in_(some))
                rows = connection.execute(query).all()
                groups = groups_of(connection, sorted({row[1] for row in rows}), access)
                found.update({row[0]: RevisionStanding(row[2], groups.get(row[1], ())) for row in rows})
        return found

    def open_to_all(self, chunk_ids: Sequence[str]) -> bool:
        """Whether everybody may see all of these passages now: none is restricted, withdrawn or erased."""
        anybody, wanted, found = Principal("", Role.APP, frozenset()), set(chunk_ids), set[str]()
        query = select(chunk.c.public_id).join(revision, revision.c.id == chunk.c.revision_id)
        rule = may_see(anybody)
        query = query.where(~withdrawn()) if rule is None else query.where(rule, ~withdrawn())
        with self._database.read() as connection:
            for some in parts(sorted(wanted)):
                found.update(connection.execute(query.where(chunk.c.public_id.in_(some))).scalars())
        return found == wanted


def policy_pointer(connection: Connection) -> int | None:
    """The number of the version that the last release put in force; None where there was no release."""
    found: int | None = connection.execute(_NEWEST.with_only_columns(policy_version.c.number).limit(1)).scalar()
    return found


def move_policy(
    database: Database, connection: Connection, number: int, by: str, shipped: PolicyVersion | None = None
) -> PolicyVersion:
    """Put a version in force in the writing transaction of `connection`; `Policies.release` says the rest."""
    if shipped is not None:
        made = keep_policy(database, connection, shipped)
    else:
        made = _version(connection, policy_version.c.number == number, f"no policy version {number}")
    if policy_pointer(connection) == made.number:
        raise Conflict(f"version {number} is in force already")
    facts = {"policy": made.number, "sha256": made.sha256}
    leaf = append(database, connection, RELEASED, f"policy {made.number}", facts, dumps({"by": by}))
    row = {"leaf": leaf.number, "policy": made.number, "created_at": leaf.created_at}
    connection.execute(policy_release.insert(), row)
    return made


def keep_policy(database: Database, connection: Connection, policy: PolicyVersion) -> PolicyVersion:
    """Store the policy that came with this program where it is not yet: its text must outlive the program.

    The first one is version 0; one that came with a later program, -1 and so on.
    """
    row = connection.execute(select(policy_version).where(policy_version.c.sha256 == policy.sha256)).first()
    if row is not None:
        return _record(row)
    lowest = connection.execute(select(func.min(policy_version.c.number)).where(policy_version.c.number < 1)).scalar()
    number = 0 if lowest is None else lowest - 1
    made = PolicyVersion(number, policy.sha256, policy.text, policy.author, policy.message, now())
    _store(database, connection, made)
    return made


def policy_facts(row: Any) -> dict[str, Any]:
    """What the entry of a stored version says openly."""
    return {"number": row.number, "sha256": row.sha256}


def _store(database: Database, connection: Connection, made: PolicyVersion) -> None:
    row = {name: getattr(made, name) for name in ("number", "sha256", "text", "author", "message", "created_at")}
    connection.execute(policy_version.insert(), row)
    payload = dumps({"author": made.author, "message": made.message})
    append(database, connection, STORED, f"policy {made.number}", policy_facts(made), payload, made.created_at)


def _version(connection: Connection, condition: Any, missing: str) -> PolicyVersion:
    row = connection.execute(select(policy_version).where(condition)).first()
    if row is None:
        raise NotFound(missing)
    return _record(row)


def _record(row: Any) -> PolicyVersion:
    return PolicyVersion(row.number, row.sha256, row.text, row.author, row.message, row.created_at)
