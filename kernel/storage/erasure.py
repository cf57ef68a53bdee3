"""Erasing documents, people and answers from the store: planned, done in one transaction, and bound by one entry.

An entry's payload and salt are deleted; the entry, and so every proof, stays. What is left of a revision (its number,
its hash, for the snapshots' entries) is bound by the erasure's own entry. What the transaction leaves behind in files
is the business of `pipeline.oversight.erasure`, which also writes the certificate.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Column, Connection, or_, select, update

from kernel.errors import Conflict, InvalidInput, NotFound
from kernel.ids import random_id, sha256
from kernel.storage.access import access_digest, next_version
from kernel.storage.answers import ANSWER, ERASED_ACCESS
from kernel.storage.database import Database
from kernel.storage.deliveries import delivered, delivery_entries, forget_deliveries
from kernel.storage.erasure_rows import (
    CHUNK_FLOOR,
    COPIED,
    ERASED,
    EXPIRED,
    GONE,
    JOURNALS,
    erased_documents,
    forget_library_users,
    forget_reasons,
    numbers_digest,
    remains_digest,
    remove_documents,
    remove_payloads,
    remove_people,
    remove_requests,
    remove_sources,
    review_entries,
    rows_of,
    run_entries,
    scrub_jobs,
)
from kernel.storage.holds import held_answers, held_documents, held_principals
from kernel.storage.ledger import append
from kernel.storage.rows import dumps, now, parts
from kernel.storage.schema import (
    answer,
    answer_evidence,
    api_key,
    chunk,
    document,
    erased_leaf,
    erased_revision,
    erasure,
    ledger_leaf,
    ledger_payload,
    prompt_run,
    prompt_version,
    review_event,
    revision,
    run,
    run_event,
    setting,
    source,
    withdrawal,
    workflow_version,
)
from kernel.storage.stale import WITHDRAWN, stale_facts
from kernel.storage.task_erasure import forget_tasks, showing, task_entries

CERTIFIED = "erasure.certified"
OF_RUNS = "run."
"""What the kinds of entries begin with that are about runs of workflows."""
KEPT = (
    *("policy.", "hold.", "prompt.saved", "prompt.first_used", "workflow.saved", "workflow.first_used"),
    *("release.", "ledger.", "backup.", "source."),
)
"""Kinds of entries whose payloads stay although they may name a person: the certificate counts them."""
SHORTEST_NAME = 4
_ID = re.compile(r"(?:doc|chk)_[a-z2-7]{26}")


@dataclass(frozen=True, slots=True)
class ErasureRequest:
    """What is to be erased: documents and answers by id, people by the ids of their keys."""

    documents: tuple[str, ...] = ()
    principals: tuple[str, ...] = ()
    answers: tuple[str, ...] = ()


@dataclass(slots=True)
class Plan:
    """The rows that an erasure reaches. `names` are strings that say which document it was; never stored."""

    documents: dict[str, int] = field(default_factory=dict)
    revisions: list[int] = field(default_factory=list)
    chunks: int = 0
    answers: list[int] = field(default_factory=list)
    entries: list[int] = field(default_factory=list)
    principals: list[str] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    uploads: list[tuple[str, str, str, str | None]] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    wanted: set[str] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    asked: int = 0
    scanned: int = -1
    mentioned: set[int] = field(default_factory=set)

    def counts(self) -> dict[str, int]:
        """How much is reached, as the ledger's entry says it."""
        return {
            "documents": len(self.documents),
            "revisions": len(self.revisions),
            "chunks": self.chunks,
            "answers": len(self.answers),
            "entries": len(self.entries),
            "principals": len(self.principals),
        }


@dataclass(frozen=True, slots=True)
class ErasureInfo:
    """An erasure or expiry: `certificate` says how far it is (`state`), and at the end what was done."""

    id: str
    kind: str
    leaf: int
    certificate: dict[str, Any]
    created_at: str

    @property
    def done(self) -> bool:
        """Whether files, index and backups were seen to as well."""
        return bool(self.certificate.get("state") == "done")


class Erasures:
    """Erases rows. Everything is checked, bound and deleted in one transaction, or nothing is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def plan(self, request: ErasureRequest) -> Plan:
        """What an erasure would reach now. Raises NotFound, and Conflict where a hold forbids it."""
        with self._database.read() as connection:
            plan = _targets(connection, request)
            _scan(connection, plan)
            _collect(connection, plan)
            _refuse_held(connection, plan)
        return plan

    def erase(self, request: ErasureRequest, reason: str, by: str, before_commit: Any = None) -> ErasureInfo:
        """Erase. `before_commit` is called with the plan once all rows are seen to: what must be gone by then.

        Raises InvalidInput, NotFound, and Conflict where a hold forbids it or all of it was erased before.
        """
        if not (request.documents or request.principals or request.answers):
            raise InvalidInput("name at least one document, person (key id) or answer to erase")
        early = self.plan(request)
        erasure_id = random_id("era")
        with self._database.write() as connection:
            plan = _targets(connection, request)
            if (plan.wanted, plan.names) == (early.wanted, early.names):
                plan.scanned, plan.mentioned, plan.kept = early.scanned, early.mentioned, early.kept
            _scan(connection, plan)
            _collect(connection, plan)
            _refuse_held(connection, plan)
            if not (plan.entries or plan.documents or plan.asked):
                raise Conflict("all of this was erased before")
            row = self._erase(connection, plan, erasure_id, {"reason": reason, "by": by, **asdict(request)})
            if before_commit is not None:
                before_commit(plan)
        return row

    def _erase(self, connection: Connection, plan: Plan, erasure_id: str, about: dict[str, Any]) -> ErasureInfo:
        moment = now()
        hide(self._database, connection, plan.documents, about)
        removed = remove_documents(connection, sorted(plan.documents.values()), plan.revisions)
        remove_sources(connection, plan.sources)
        removed |= {"source": len(plan.sources), "job": scrub_jobs(connection, plan.names) if plan.names else 0}
        answers = rows_of(connection, answer.c.id, answer.c.number, plan.answers)
        runs = rows_of(connection, prompt_run.c.id, prompt_run.c.number, plan.entries)
        removed["idempotency"] = remove_requests(
            connection, {*plan.wanted, *map(escaped, plan.names), *answers, *runs}, plan.principals
        )
        ended = [
            row.id
            for row in connection.execute(select(api_key.c.id, api_key.c.revoked_at))
            if row.id in plan.principals and row.revoked_at is None
        ]
        for person in ended:
            append(self._database, connection, "key.revoked", person, {}, at=moment)
        carried = _carried(connection, plan)
        removed |= remove_people(connection, plan.principals, moment)
        removed |= forget_library_users(connection, plan.entries, plan.principals)
        removed["delivery"] = forget_deliveries(connection, plan.entries)
        forget_reasons(connection, plan.entries)
        removed["ledger_payload"] = remove_payloads(connection, plan.entries)
        removed |= forget_tasks(connection, plan.entries)
        facts = (
            plan.counts()
            | {
                "entries_sha256": numbers_digest(plan.entries),
                "revisions_sha256": numbers_digest(plan.revisions),
                "remains_sha256": remains_digest(connection, plan.revisions),
            }
            | {name: _setting(connection, name) for name in (ERASED_ACCESS, CHUNK_FLOOR)}
        )
        draft = {"state": "running", "removed": removed, "kept": plan.kept}
        return seal(
            self._database,
            connection,
            ERASED,
            erasure_id,
            (plan.entries, plan.revisions),
            facts,
            draft,
            about | carried,
        )

    def items(self) -> list[ErasureInfo]:
        """All erasures and expiries, the newest first."""
        query = select(erasure, ledger_leaf.c.kind).join(ledger_leaf, ledger_leaf.c.number == erasure.c.leaf)
        with self._database.read() as connection:
            return [_info(row) for row in connection.execute(query.order_by(erasure.c.leaf.desc()))]

    def get(self, erasure_id: str) -> ErasureInfo:
        """One erasure. Raises NotFound where there is none of that id."""
        found = [one for one in self.items() if one.id == erasure_id]
        if not found:
            raise NotFound(f"no erasure {erasure_id}; `vouch erasures list` shows them")
        return found[0]

    def unfinished(self) -> list[ErasureInfo]:
        """Erasures whose files, index or backups were not seen to yet, the oldest first."""
        with self._database.read() as connection:
            if connection.execute(select(erasure.c.id).limit(1)).first() is None:
                return []
        return [one for one in reversed(self.items()) if not one.done]

    def why(self, erasure_id: str) -> dict[str, Any]:
        """Who erased what and why; empty where the entry's payload was itself erased."""
        query = select(ledger_payload.c.payload).join(erasure, erasure.c.leaf == ledger_payload.c.number)
        with self._database.read() as connection:
            payload = connection.execute(query.where(erasure.c.id == erasure_id)).scalar()
        found: dict[str, Any] = {} if payload is None else json.loads(payload)
        return found

    def certify(self, erasure_id: str, certificate: dict[str, Any]) -> ErasureInfo:
        """Store the certificate of a finished erasure, bound by an entry of its own; once."""
        text = dumps(certificate)
        with self._database.write() as connection:
            known = connection.execute(select(erasure.c.certificate).where(erasure.c.id == erasure_id)).scalar_one()
            if json.loads(known).get("state") != "done":
                connection.execute(update(erasure).where(erasure.c.id == erasure_id).values(certificate=text))
                facts = {"certificate_sha256": sha256(text)}
                append(self._database, connection, CERTIFIED, erasure_id, facts)
        return self.get(erasure_id)

    def allow_again(self, documents: Collection[str], reason: str, by: str) -> list[str]:
        """Let documents that were erased be read in again. Raises NotFound where one was not erased or is allowed."""
        with self._database.write() as connection:
            held = withdrawal.c.died.is_(None)
            blocked = erased_documents(connection)
            missing = sorted(set(documents) - blocked.keys())
            if missing:
                raise NotFound(f"{missing[0]} is not a document that was erased and is still kept out")
            version = next_version(connection)
            rows = [blocked[name] for name in sorted(documents)]
            connection.execute(update(withdrawal).where(held, withdrawal.c.document_id.in_(rows)).values(died=version))
            facts = {"version": version, "documents": len(rows), "rules_sha256": access_digest(connection, version)}
            payload = {"document_ids": sorted(documents), "reason": reason, "by": by}
            append(self._database, connection, "document.restored", f"access {version}", facts, dumps(payload))
        return sorted(documents)


def seal(
    database: Database,
    connection: Connection,
    kind: str,
    erasure_id: str,
    emptied: tuple[Sequence[int], Sequence[int]],
    facts: dict[str, Any],
    draft: dict[str, Any],
    payload: dict[str, Any],
) -> ErasureInfo:
    """Append the entry of an erasure or expiry, and the rows that say which entries and revisions it emptied."""
    entries, revisions = emptied
    text = dumps({"id": erasure_id} | draft)
    leaf = append(database, connection, kind, erasure_id, facts | {"draft_sha256": sha256(text)}, dumps(payload))
    for some in parts(entries):
        connection.execute(erased_leaf.insert(), [{"number": number, "leaf": leaf.number} for number in some])
    for some in parts(revisions):
        connection.execute(erased_revision.insert(), [{"revision_id": row, "leaf": leaf.number} for row in some])
    row = {"id": erasure_id, "leaf": leaf.number, "certificate": text, "created_at": leaf.created_at}
    connection.execute(erasure.insert(), row)
    return ErasureInfo(erasure_id, kind, leaf.number, json.loads(text), leaf.created_at)


def hide(database: Database, connection: Connection, documents: dict[str, int], about: dict[str, Any]) -> None:
    """Hide documents from every snapshot, under a new version of the access rules, so that every view changes."""
    if not documents:
        return
    gone = set(connection.execute(select(withdrawal.c.document_id).where(withdrawal.c.died.is_(None))).scalars())
    version = next_version(connection)
    fresh = sorted(set(documents.values()) - gone)
    if fresh:
        connection.execute(withdrawal.insert(), [{"document_id": row, "born": version} for row in fresh])
    known = connection.execute(select(setting.c.value).where(setting.c.name == ERASED_ACCESS)).scalar()
    if known is None:
        connection.execute(setting.insert(), {"name": ERASED_ACCESS, "value": str(version)})
    else:
        connection.execute(update(setting).where(setting.c.name == ERASED_ACCESS).values(value=str(version)))
    facts = {"version": version, "documents": len(fresh), "rules_sha256": access_digest(connection, version)}
    payload = {"document_ids": sorted(documents), "by": about["by"], "reason": "erased"}
    append(database, connection, WITHDRAWN, f"access {version}", facts | stale_facts([]), dumps(payload))


def _setting(connection: Connection, name: str) -> int:
    return int(connection.execute(select(setting.c.value).where(setting.c.name == name)).scalar() or 0)


def _info(row: Any) -> ErasureInfo:
    return ErasureInfo(row.id, row.kind, row.leaf, json.loads(row.certificate), row.created_at)


def _targets(connection: Connection, request: ErasureRequest) -> Plan:
    """What a request names, and by what its traces are known."""
    plan = Plan(principals=sorted(set(request.principals)))
    for public_id in sorted(set(request.documents)):
        _name_document(connection, plan, public_id)
    for person in plan.principals:
        asked = connection.execute(select(answer.c.number).where(answer.c.principal == person)).scalars().all()
        known = connection.execute(select(api_key.c.id).where(api_key.c.id == person)).first()
        known = known or connection.execute(select(prompt_run.c.id).where(prompt_run.c.principal == person)).first()
        known = known or connection.execute(select(run.c.id).where(run.c.principal == person)).first()
        if not asked and known is None:
            raise NotFound(f"no key {person}, and no answer was given to anyone of that id")
        plan.answers += asked
        plan.asked += len(asked)
    for answer_id in sorted(set(request.answers)):
        ran = connection.execute(select(prompt_run.c.number).where(prompt_run.c.id == answer_id)).scalar()
        ran = ran or connection.execute(select(run.c.number).where(run.c.id == answer_id)).scalar()
        if ran is not None:
            plan.runs.append(ran)
            continue
        number = connection.execute(select(answer.c.number).where(answer.c.id == answer_id)).scalar()
        if number is None:
            raise NotFound(f"no answer {answer_id}")
        plan.answers.append(number)
    plan.sources = _emptied_sources(connection, plan)
    for row in plan.sources:
        name = connection.execute(select(source.c.name).where(source.c.id == row)).scalar_one()
        plan.names += [f"ingest {name}"] + ([name] if len(name) >= SHORTEST_NAME and "/" in name else [])
    plan.names = sorted({name for name in plan.names if len(name) >= SHORTEST_NAME})
    return plan


def _name_document(connection: Connection, plan: Plan, public_id: str) -> None:
    query = select(document, source.c.name, source.c.location).join(source, source.c.id == document.c.source_id)
    found = connection.execute(query.where(document.c.public_id == public_id)).first()
    if found is None:
        raise NotFound(f"no document {public_id}")
    columns = (revision.c.id, revision.c.uri)
    live = (revision.c.document_id == found.id) & (revision.c.status != GONE)
    rows = connection.execute(select(*columns).where(live).order_by(revision.c.id)).all()
    if not rows:
        return
    plan.documents[public_id] = found.id
    plan.revisions += [row.id for row in rows]
    plan.uploads.append((found.name, found.location, found.path, found.external_id))
    names = {found.path, *(row.uri for row in rows)}
    plan.names += [name for name in names if name]
    pieces = rows_of(connection, chunk.c.public_id, chunk.c.revision_id, [row.id for row in rows])
    plan.chunks += len(pieces)
    plan.wanted |= {public_id, *pieces}
    used = rows_of(connection, answer_evidence.c.answer_number, answer_evidence.c.revision_id, [r.id for r in rows])
    plan.answers += used


def _emptied_sources(connection: Connection, plan: Plan) -> list[int]:
    """Sources of which every document is erased, now or before."""
    rows = list(plan.documents.values())
    touched = set(rows_of(connection, document.c.source_id, document.c.id, rows))
    left = (
        select(document.c.source_id, document.c.id)
        .join(revision, revision.c.document_id == document.c.id)
        .where(document.c.source_id.in_(sorted(touched)), revision.c.status != GONE)
    )
    full = {row.source_id for row in connection.execute(left) if row.id not in set(rows)}
    return sorted(touched - full)


def _scan(connection: Connection, plan: Plan) -> None:
    """Look through every stored payload after `plan.scanned` for traces of what is named."""
    query = select(ledger_leaf.c.number, ledger_leaf.c.kind, ledger_payload.c.payload)
    query = query.join(ledger_payload, ledger_payload.c.number == ledger_leaf.c.number)
    query = query.where(ledger_leaf.c.number > plan.scanned).order_by(ledger_leaf.c.number)
    if plan.scanned < 0:
        plan.kept = {}
    last = plan.scanned
    people, names = [dumps(person) for person in plan.principals], _whole(plan.names)
    for number, kind, payload in _rows(connection, query):
        last = number
        if kind == ANSWER:
            traced = bool(plan.wanted) and _stands_on(payload, plan.wanted)
        elif kind in (ERASED, EXPIRED, CERTIFIED):
            traced = not set(json.loads(payload).get("askers", {}).values()).isdisjoint(plan.principals)
            if not traced and any(person in payload for person in people):  # who erased, or was erased before
                plan.kept[kind] = plan.kept.get(kind, 0) + 1
        else:
            traced = any(person in payload for person in people) or bool(names and names.search(payload))
            if not traced and kind.startswith(OF_RUNS) and plan.wanted:
                traced = not set(_ID.findall(payload)).isdisjoint(plan.wanted)
        if traced and kind.startswith(KEPT):
            plan.kept[kind] = plan.kept.get(kind, 0) + 1
        elif traced:
            plan.mentioned.add(number)
    plan.scanned = last


def _copies(connection: Connection, column: Column[Any], wanted: Collection[str]) -> int:
    """How many of the texts of `column` say that they hold text of these documents or answers: versions of prompts and
    workflows are immutable, so the certificate counts them.
    """
    if not wanted:
        return 0
    marks = [column.like(mark, escape="\\") for mark in ("%doc\\_%", "%ans\\_%")]
    texts = connection.execute(select(column).where(or_(*marks))).scalars()
    return sum(not set(COPIED.findall(text)).isdisjoint(wanted) for text in texts)


def _whole(names: Sequence[str]) -> re.Pattern[str] | None:
    """Finds any of these names in stored JSON, where it is not part of a longer one."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(re.escape(escaped(name)) for name in names)})(?!\w)") if names else None


def escaped(name: str) -> str:
    """A string as it stands within stored JSON."""
    return dumps(name)[1:-1]


def _rows(connection: Connection, query: Any) -> Iterator[Any]:
    with connection.execution_options(yield_per=500).execute(query) as rows:
        yield from rows
    connection.execution_options(yield_per=None)


def _stands_on(payload: str, wanted: Collection[str]) -> bool:
    """Whether a record shows anything of these documents or passages. Lists of candidates are ids alone, and stay."""
    if set(_ID.findall(payload)).isdisjoint(wanted):
        return False
    record = json.loads(payload)
    run = {name: value for name, value in record["run"].items() if name not in ("candidates", "reranker")}
    return not set(_ID.findall(dumps([record["body"], run]))).isdisjoint(wanted)


def _collect(connection: Connection, plan: Plan) -> None:
    """All entries whose payloads go: answers, what was said about them, keys and acts of people, other traces."""
    kinds: dict[int, str] = {}
    for some in parts(sorted(plan.mentioned)):
        query = select(ledger_leaf.c.number, ledger_leaf.c.kind).where(ledger_leaf.c.number.in_(some))
        kinds.update((row[0], row[1]) for row in connection.execute(query))
    answers = {*plan.answers, *(number for number, kind in kinds.items() if kind == ANSWER)}
    entries = {*answers, *kinds, *plan.runs, *review_entries(connection, answers)}
    told = [f"source {row}" for row in plan.sources]
    entries |= set(rows_of(connection, ledger_leaf.c.number, ledger_leaf.c.subject, told))
    for person in plan.principals:
        mine = (ledger_leaf.c.kind == "key.created") & (ledger_leaf.c.subject == person)
        entries |= set(connection.execute(select(ledger_leaf.c.number).where(mine)).scalars())
        entries |= set(rows_of(connection, review_event.c.leaf, review_event.c.actor, [person]))
        for table in JOURNALS:
            entries |= set(rows_of(connection, table.c.leaf, table.c.actor, [person]))
        entries |= set(rows_of(connection, prompt_run.c.number, prompt_run.c.principal, [person]))
        entries |= set(rows_of(connection, run_event.c.leaf, run_event.c.actor, [person]))
    entries |= showing(connection, {*plan.wanted, *rows_of(connection, answer.c.id, answer.c.number, answers)})
    entries |= run_entries(connection, entries, plan.principals)
    entries |= task_entries(connection, entries) | delivery_entries(connection, entries)
    stored = set(rows_of(connection, ledger_payload.c.number, ledger_payload.c.number, entries))
    plan.entries = sorted(stored)
    sent = delivered(connection, stored)
    if sent:
        plan.kept["copies delivered by workflows"] = sent
    plan.answers = sorted(answers & stored)
    asked = rows_of(connection, answer.c.id, answer.c.number, plan.answers)
    for what, column in (("prompts", prompt_version.c.template), ("workflows", workflow_version.c.text)):
        copies = _copies(connection, column, {*plan.wanted, *asked})
        if copies:
            plan.kept[f"text of {what}"] = copies


def _refuse_held(connection: Connection, plan: Plan) -> None:
    documents, people, answers = held_documents(connection), held_principals(connection), held_answers(connection)
    for name, row in sorted(plan.documents.items()):
        if row in documents:
            raise Conflict(f"the legal hold {documents[row]} forbids erasing the document {name}; release it first")
    for person in plan.principals:
        if person in people or "" in people:
            raise Conflict(f"the legal hold {people.get(person) or people['']} forbids erasing what is of {person}")
    for some in parts(plan.entries) if people else ():
        ran = select(prompt_run.c.id, prompt_run.c.principal).where(prompt_run.c.number.in_(some))
        started = select(run.c.id, run.c.principal).where(run.c.number.in_(some))
        for name, person in [*connection.execute(ran), *connection.execute(started)]:
            if person in people or "" in people:
                raise Conflict(
                    f"the legal hold {people.get(person) or people['']} forbids erasing the run {name}, which this "
                    "would empty; release the hold first"
                )
    for number in plan.answers:
        if number in answers:
            name = connection.execute(select(answer.c.id).where(answer.c.number == number)).scalar_one()
            raise Conflict(
                f"the legal hold {answers[number]} forbids erasing the answer {name}, which this would empty; "
                "release the hold first"
            )


def _carried(connection: Connection, plan: Plan) -> dict[str, dict[str, Any]]:
    """What no row could bind otherwise: who asked the answers that are emptied now, and whose the documents were; with
    what earlier erasures said of that, whose own entries are emptied now.
    """
    askers: dict[str, str] = {}
    owners: dict[str, int] = {}
    for some in parts(plan.entries):
        query = select(ledger_payload.c.payload).join(ledger_leaf, ledger_leaf.c.number == ledger_payload.c.number)
        query = query.where(ledger_leaf.c.kind.in_([ERASED, EXPIRED]), ledger_leaf.c.number.in_(some))
        for payload in connection.execute(query).scalars():
            said = json.loads(payload)
            askers |= said.get("askers", {})
            owners |= said.get("owners", {})
    for some in parts(plan.answers):
        rows = connection.execute(select(answer.c.number, answer.c.principal).where(answer.c.number.in_(some)))
        askers |= {str(number): person for number, person in rows}
    for names in parts(sorted(plan.documents)):
        named = select(document.c.public_id, document.c.source_id).where(document.c.public_id.in_(names))
        owners.update((row[0], row[1]) for row in connection.execute(named))
    asked = {number: person for number, person in askers.items() if person and person not in plan.principals}
    return {"askers": asked, "owners": owners}
