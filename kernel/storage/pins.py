"""What a record of an answer pins by hash or number, found again: prompt, policy, documents then and now."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import select, tuple_

from kernel.errors import NotFound
from kernel.records import LiveState, Principal, PromptVersion
from kernel.storage.access import may_see, withdrawn
from kernel.storage.database import Database
from kernel.storage.rows import parts, seen_by
from kernel.storage.schema import document, erased_revision, policy_version, prompt_version, revision, visibility


@dataclass(frozen=True, slots=True)
class DocumentState:
    """A document as a principal finds it in a snapshot: which revision, or what keeps it away.

    `state` is visible, hidden (its groups do not reach the principal), withdrawn, or gone (not in the snapshot).
    """

    id: str
    state: str
    revision: int | None


class Pins:
    """Reads what records name."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def prompt(self, digest: str, label: str) -> PromptVersion:
        """The template of this SHA-256, as it was kept with the first answer made with it. Raises NotFound."""
        with self._database.read() as connection:
            row = connection.execute(select(prompt_version).where(prompt_version.c.sha256 == digest)).first()
        if row is None:
            raise NotFound(f"the prompt of SHA-256 {digest} is not in the store; `vouch verify` tells what is wrong")
        return PromptVersion(row.name, row.version, row.sha256, label, row.template)

    def policy(self, digest: str) -> str | None:
        """The text of the policy of this SHA-256; None where there is none."""
        query = select(policy_version.c.text).where(policy_version.c.sha256 == digest)
        with self._database.read() as connection:
            found: str | None = connection.execute(query).scalar()
            return found

    def erased_in(self, snapshot: int) -> int:
        """How many revisions that a snapshot showed have been erased since."""
        query = select(erased_revision.c.revision_id).join(
            visibility, visibility.c.revision_id == erased_revision.c.revision_id
        )
        with self._database.read() as connection:
            return len(set(connection.execute(query.where(seen_by(snapshot))).scalars()))

    def documents(self, public_ids: Sequence[str], state: LiveState, principal: Principal) -> dict[str, DocumentState]:
        """How `principal` finds each of these documents in a state; those that never were are left out."""
        found: dict[str, DocumentState] = {}
        shown = select(document.c.public_id, revision.c.number).join(revision, revision.c.document_id == document.c.id)
        shown = shown.join(visibility, visibility.c.revision_id == revision.c.id).where(seen_by(state.snapshot))
        rule = may_see(principal, state.access_version)
        with self._database.read() as connection:
            for some in parts(sorted(set(public_ids))):
                mine = document.c.public_id.in_(some)
                known = select(document.c.public_id).where(mine)
                found.update((name, DocumentState(name, "gone", None)) for name in connection.execute(known).scalars())
                back = shown.where(mine, withdrawn(state.access_version))
                gone = {row.public_id for row in connection.execute(back)}
                open_to = shown.where(mine) if rule is None else shown.where(mine, rule)
                seen = {row.public_id for row in connection.execute(open_to)}
                for row in connection.execute(shown.where(mine)):
                    what = "withdrawn" if row.public_id in gone else "visible" if row.public_id in seen else "hidden"
                    number = row.number if what == "visible" else None
                    found[row.public_id] = DocumentState(row.public_id, what, number)
        return found

    def titles(self, revisions: Collection[tuple[str, int]]) -> dict[str, str]:
        """The title of each document in the revision that is named with it. Others may be hidden from who asks."""
        query = select(document.c.public_id, revision.c.title).join(revision, revision.c.document_id == document.c.id)
        found: dict[str, str] = {}
        with self._database.read() as connection:
            for some in parts(sorted(set(revisions)), 200):
                named = tuple_(document.c.public_id, revision.c.number).in_(some)
                found.update((name, title) for name, title in connection.execute(query.where(named)) if title)
        return found
