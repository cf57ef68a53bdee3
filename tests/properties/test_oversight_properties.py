"""Whatever is done to a workspace, in whatever order: the record verifies, grows out of what it was, gives every past
answer again, and tells a key nothing that was withheld from it or erased."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from erased_search import found_in
from fast_parts import FastWorkspace, InlineParser, fast_workspace, scratch
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from kernel import merkle
from kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from kernel.ids import derived_id
from kernel.notes import parse_checkpoint
from kernel.records import LOCAL_OWNER, AnswerStatus, Principal, Question, Role
from kernel.settings import Settings
from kernel.storage.access import Withdrawals
from kernel.storage.erasure import ErasureRequest
from kernel.storage.erasure_rows import GONE
from kernel.storage.impact import Of, Scope
from kernel.storage.retention import RetentionRules
from kernel.storage.reviews import APPROVED, EDITED, REJECTED
from kernel.storage.schema import document
from pipeline.oversight.backup import Target, restore

SUBJECTS = ("Harbour Register", "Travel Policy", "Canteen Roster", "Fire Drill")
TEAMS = ("Alpha Team", "Beta Office", "Gamma Desk")
QUESTIONS = tuple(f"Who keeps the {subject}?" for subject in SUBJECTS)
FILES = tuple(f"{place}.md" for place in range(len(SUBJECTS)))
GROUPS = (None, None, ["a"], ["b"])
POLICIES = (
    "output:\n- {rule: hold, always: true, then: review}\nreview: {approvals: 2, deadline_hours: 24}\n",
    "output:\n- {rule: hold, stakes: [high], then: review}\nimpact: {review: {cited_only: false}}\n",
    "output:\n- {rule: stop, phrases: [alpha team], then: abstain}\n",
    "context:\n- {rule: old, phrases: [beta office], then: drop}\nimpact: {review: {approvals: 2}}\n",
    "input:\n- {rule: no, phrases: [travel policy], then: refuse}\n",
    "input:\n- {rule: late, always: true, then: review, deadline_hours: 0.000001}\n",
)
REVIEWING = ("assign", "comment", "approve", "approve", "edit", "reject")
REFUSALS = (Conflict, Forbidden, InvalidInput, NotFound)
"""What an act that makes no sense at its moment may raise."""

few = st.integers(0, 7)
text = st.tuples(st.sampled_from(TEAMS), st.integers(0, 99), st.sampled_from(GROUPS))
asked = st.tuples(st.integers(0, 3), few, st.sampled_from([None, None, "high"]), st.sampled_from([False, False, True]))
reviewed = st.tuples(few, st.sampled_from(REVIEWING), few)
whole = st.tuples(st.sampled_from(["document", "document", "document", "source"]), few)
HOW: dict[str, tuple[int, st.SearchStrategy[Any]]] = {
    "ask": (6, asked),
    "review": (8, reviewed),
    "ingest": (3, st.dictionaries(st.integers(0, 3), st.none() | text | text, min_size=1, max_size=3)),
    "policy": (2, few),
    "policy_back": (1, few),
    "withdraw": (2, whole),
    "restore": (3, whole),
    "groups": (1, st.tuples(few, st.sampled_from([(), (), ("a",), ("b",)]))),
    "erase": (2, st.tuples(st.sampled_from(["document", "document", "principal", "answer"]), few)),
    "allow": (2, few),
    "hold": (2, st.tuples(st.sampled_from(["document", "answer", "principal", "release", "release"]), few)),
    "key": (1, st.tuples(st.sampled_from(["create", "revoke"]), few)),
    "retention": (1, st.sampled_from([0, 0, 2])),
    "rollback": (1, few),
    "reindex": (1, few),
    "expire": (1, few),
    "reask": (2, few),
}
"""How often each act is taken, and with what."""
STEPS = st.sampled_from([name for name, (times, _) in HOW.items() for _ in range(times)]).flatmap(
    lambda name: st.tuples(st.just(name), HOW[name][1])
)


@dataclass
class World:
    """A workspace, the folder that it reads, and what was seen of it so far."""

    made: FastWorkspace
    folder: Path
    people: list[Principal] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    written: dict[int, set[str]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)

    def documents(self) -> list[str]:
        """Ids of all documents that were ever read from the folder."""
        with self.made.database.read() as connection:
            return list(connection.execute(select(document.c.public_id).order_by(document.c.id)).scalars())

    def answers(self) -> list[Any]:
        return list(self.made.answers.records())

    def reviews(self) -> list[Any]:
        return list(reversed(self.made.reviews.items(limit=500)))

    def person(self, place: int, *roles: Role) -> Principal:
        found = [one for one in self.people if not roles or one.role in roles]
        return found[place % len(found)]


@contextmanager
def world() -> Iterator[World]:
    """A workspace with documents that all may see, keys of every role, and answers of which some wait for a person."""
    with scratch() as root:
        folder = root / "folder"
        folder.mkdir()
        with fast_workspace(root / "home") as made:
            one = World(made, folder, [LOCAL_OWNER])
            for role, groups in ((Role.APP, ("a",)), (Role.APP, ("b",)), (Role.REVIEWER, ()), (Role.REVIEWER, ())):
                create(one, role, groups)
            ingest(one, {place: (TEAMS[place % 3], 0, None) for place in range(len(FILES))})
            policy(one, 1)
            for place, stakes in enumerate([None, "high", "high", "high"]):
                ask(one, place, 1 + place % 2, stakes, past=False)
            yield one


def create(one: World, role: Role, groups: tuple[str, ...]) -> None:
    _, secret = one.made.keys.create(role, groups, f"a key of {role.value}")
    one.people.append(one.made.keys.authenticate(secret))


def ingest(one: World, changes: dict[int, tuple[str, int, list[str] | None] | None]) -> None:
    """Files that are written or removed. Every text has a word of its own, to look for once it was erased."""
    for place, what in changes.items():
        path = one.folder / FILES[place]
        if what is None:
            path.unlink(missing_ok=True)
            continue
        team, number, groups = what
        word = f"zq{place}word{number}x"
        head = (
            f"---\ntitle: {SUBJECTS[place]} {word}\n"
            + (f"groups: {json.dumps(groups)}\n" if groups else "")
            + "---\n\n"
        )
        path.write_text(f"{head}The {team} keeps the {SUBJECTS[place]} in room {word}.\n")
    one.made.indexer.ingest(InlineParser(), [one.folder], "folder")
    for place in range(len(FILES)):
        path = one.folder / FILES[place]
        blocked = path.exists() and not any(info.path == path.name for info in _listed(one))
        if path.exists() and not blocked:
            word = path.read_text().partition("in room ")[2].strip(".\n")
            one.written.setdefault(place, set()).add(word)
            one.gone.discard(word)


def _listed(one: World) -> list[Any]:
    return one.made.catalog.documents(one.made.snapshots.live().snapshot, LOCAL_OWNER, limit=100)


def ask(one: World, place: int, who: int, stakes: Any, past: bool) -> None:
    newest = max((info.number for info in one.made.snapshots.items()), default=0)
    one.made.answering.ask(
        Question(QUESTIONS[place], one.person(who), as_of=newest // 2 if past else None, stakes=stakes)
    )


def policy(one: World, place: int) -> None:
    text = f"format: 1\nname: p{place}\n" + POLICIES[place % len(POLICIES)]
    known = {version.text: version.number for version in one.made.policies.items()}
    number = known.get(text) or one.made.policies.add(text, one.person(place).id, "a step").number
    one.made.policies.release(number, one.person(place).id)


def review(one: World, place: int, what: str, who: int) -> None:
    reviews, desk, actor = one.reviews(), one.made.review_desk, one.person(who, Role.REVIEWER, Role.ADMIN)
    if not reviews:
        return
    chosen = reviews[-1 - place % len(reviews)]
    if what == "assign":
        desk.assign(chosen.id, one.person(who + 1, Role.REVIEWER, Role.ADMIN).id, actor)
    elif what == "comment":
        desk.comment(chosen.id, f"I, {actor.id}, looked at it", actor)
    elif what == "approve":
        desk.approve(chosen.id, actor, "it is well")
    elif what == "edit":
        draft = next(iter(one.made.answers.records([chosen.answer_number])))
        desk.edit(chosen.id, f"{draft.body['answer'].partition(' in room')[0]}.", actor, "clearer")
    else:
        desk.reject(chosen.id, "it is wrong", actor)


def withdraw(one: World, what: str, of: str, place: int) -> None:
    documents = one.documents()
    if what == "restore" and place % 4:  # most of what can be restored is something that was withdrawn
        documents = [info.id for info in Withdrawals(one.made.database).items()] or documents
    scope = Scope(Of.SOURCE, "folder") if of == "source" else Scope(Of.DOCUMENT, documents[place % len(documents)])
    act = one.made.impact.withdraw if what == "withdraw" else one.made.impact.restore
    act(scope, "a step", one.person(place))


def hold(one: World, of: str, place: int) -> None:
    if of == "release":
        held = one.made.holds.items(released=False)
        one.made.holds.release(held[place % len(held)].id, "over", LOCAL_OWNER.id) if held else None
        return
    one.made.holds.place(of, _named(one, of, place), "a case", one.person(place).id)


def erase(one: World, of: str, place: int) -> None:
    name = _named(one, of, place)
    made = one.made.eraser.erase(ErasureRequest(**{f"{of}s": (name,)}), "a request", one.person(place + 1).id)
    assert made.certificate["ledger"]["verified"]
    assert made.certificate["ledger"]["consistent"]
    for place in [place for place in one.written if derived_id("doc", "folder", FILES[place]) == name]:
        one.gone |= one.written.pop(place)
    if of == "principal":
        one.people = [who for who in one.people if who.id != name] or one.people
        if not any(who.role == Role.APP for who in one.people):
            create(one, Role.APP, ("a",))


def _named(one: World, of: str, place: int) -> str:
    if of == "document":
        names = one.documents()
    elif of == "principal":
        names = [who.id for who in one.people[1:]]
    else:
        names = [record.id for record in one.answers()]
    if not names:
        raise NotFound(f"there is no {of} yet")
    return names[place % len(names)]


def rollback(one: World, by: int) -> None:
    one.made.snapshots.rollback(by % (max(info.number for info in one.made.snapshots.items()) + 1))


def reask(one: World, place: int) -> None:
    documents = one.documents()
    list(one.made.impact.reask(Scope(Of.DOCUMENT, documents[place % len(documents)])))


def allow(one: World, place: int) -> None:
    erased = sorted(one.made.catalog.erased())
    if erased:
        one.made.erasures.allow_again([erased[place % len(erased)]], "it may", LOCAL_OWNER.id)


def regroup(one: World, place: int, groups: tuple[str, ...]) -> None:
    source = one.made.catalog.source_id("folder", f"{one.folder}/")
    rows = sorted(one.made.catalog.document_rows(source, list(FILES)).values())
    if rows:
        one.made.catalog.set_groups({rows[place % len(rows)]: groups})


def keys(one: World, what: str, place: int) -> None:
    if what == "create":
        create(one, (Role.APP, Role.REVIEWER)[place % 2], ("a", "b"))
    else:
        one.made.keys.revoke(one.people[1:][place % len(one.people[1:])].id)


ACTS: dict[str, Callable[[World, Any], object]] = {
    "ingest": ingest,
    "rollback": rollback,
    "reindex": lambda one, _: one.made.library.rebuild(),
    "expire": lambda one, _: one.made.reviews.expire(),
    "reask": reask,
    "allow": allow,
    "policy_back": lambda one, _: one.made.policies.rollback(LOCAL_OWNER.id),
    "ask": lambda one, how: ask(one, *how),
    "policy": policy,
    "review": lambda one, how: review(one, *how),
    "withdraw": lambda one, how: withdraw(one, "withdraw", *how),
    "restore": lambda one, how: withdraw(one, "restore", *how),
    "groups": lambda one, how: regroup(one, *how),
    "key": lambda one, how: keys(one, *how),
    "hold": lambda one, how: hold(one, *how),
    "erase": lambda one, how: erase(one, *how),
    "retention": lambda one, days: one.made.retention.expire(
        RetentionRules(1), LOCAL_OWNER.id, datetime.now(UTC) + timedelta(days=days)
    ),
}


def check_record(one: World) -> None:
    """The record is whole, and every head that was ever seen is one of its beginnings."""
    assert list(one.made.verifier.faults()) == []
    ledger = one.made.ledger
    size = ledger.size()
    one.roots[size] = root = parse_checkpoint(ledger.checkpoint().partition("\n\n")[0] + "\n").root
    for older, was in one.roots.items():
        assert merkle.consistent(older, size, was, root, ledger.consistency(older, size))


def check_replays(one: World) -> None:
    """Every answer that was not erased is made again as it was, but where a document of its snapshot was erased."""
    for record in one.answers():
        if record.erased:
            continue
        report = one.made.replayer.replay(record.id, LOCAL_OWNER)
        wrong = [stage for stage in report["stages"] if not stage["identical"]]
        assert not wrong or any("erased" in reason for reason in report["reasons"]), (record.id, wrong)


def doors(one: World, answer_id: str, who: Principal) -> Iterator[Any]:
    """All that a key is told of one of its answers."""
    made = one.made
    yield made.releases.record(answer_id, who).body
    yield made.lineage.lineage(answer_id, who)
    yield made.lineage.text(answer_id, who, "turtle")
    yield made.prover.proof(answer_id, who)
    yield made.prover.bundle(answer_id, who)
    for again in (made.replayer.replay, made.today.compare):
        try:
            yield again(answer_id, who)
        except Conflict as error:
            yield str(error)


def _withheld(one: World, record: Any) -> bool:
    """Whether a person must still let the answer out, or did not."""
    states = {review.state for review in one.reviews() if review.answer_id == record.id}
    waits = record.body["status"] == AnswerStatus.PENDING_REVIEW and not states & {APPROVED, EDITED}
    return waits or (REJECTED in states and APPROVED not in states and EDITED not in states)


def check_doors(one: World) -> None:
    """No key reads a text that waits for a person or was rejected, nor an answer of somebody else."""
    keys = [who for who in one.people if who.role == Role.APP]
    drafts = {}
    for record in one.answers():
        for who in keys:
            if record.principal != who.id:
                with pytest.raises(NotFound):
                    next(doors(one, record.id, who))
                continue
            if not record.erased and record.body["answer"] and _withheld(one, record):
                drafts[record.id] = (who, record.body["answer"])
    for answer_id, (who, draft) in drafts.items():
        listed = [found.body for _, found in one.made.releases.items(who, limit=500)]
        mine = [body for body in listed if body["id"] == answer_id]
        assert draft not in json.dumps([mine, *doors(one, answer_id, who)], ensure_ascii=False)


def check_backup(one: World) -> None:
    """What was backed up and restored verifies, holds the same record, and nothing that was erased."""
    root = one.made.settings.home.parent
    size = one.made.ledger.size()
    backup = one.made.backups.make(root / "a.backup", LOCAL_OWNER.id, with_key=True)
    other = Settings.load(home=root / "other", chunk_tokens=48)
    restore(
        backup.path,
        Target(other.workspace_folder, other.workspace, None, other.ledger_key_file),
        LOCAL_OWNER.id,
        backup.key_file,
    )
    with FastWorkspace(other) as again:
        assert list(again.verifier.faults()) == []
        assert again.ledger.checkpoint(size) == one.made.ledger.checkpoint(size)
        for record in one.answers():
            assert again.answers.get(record.id, LOCAL_OWNER) == record
            if not record.erased:
                report, there = one.made.replayer.replay(record.id, LOCAL_OWNER), again.replayer
                assert there.replay(record.id, LOCAL_OWNER)["stages"] == report["stages"]
    assert found_in(other.home, sorted(one.gone)) == []


def run(history: list[tuple[str, Any]]) -> None:
    with world() as one:
        for what, how in history:
            with suppress(*REFUSALS):
                ACTS[what](one, how)
            assert GONE not in {info.status for info in _listed(one)}
            check_record(one)
            check_replays(one)
            check_doors(one)
        assert found_in(one.made.settings.home, sorted(one.gone)) == []
        check_backup(one)


@given(st.lists(STEPS, min_size=4, max_size=12))
@settings(max_examples=5)
def test_any_history_leaves_the_record_whole(history: list[tuple[str, Any]]) -> None:
    run(history)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@given(st.lists(STEPS, min_size=8, max_size=30))
@settings(max_examples=100)
def test_any_long_history_leaves_the_record_whole(history: list[tuple[str, Any]]) -> None:
    run(history)
