"""What policies and reviews promise, on both databases: order, four eyes, one decision, and what `verify` finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from copies import CopyOf
from fast_parts import FastWorkspace, InlineParser
from sqlalchemy import Table, delete, select, update

from kernel.errors import Conflict, Forbidden, IntegrityFailure, InvalidInput, NotFound
from kernel.ids import sha256
from kernel.records import LOCAL_OWNER, PolicyVersion, Principal, Question, Role
from kernel.storage import reviews as storage
from kernel.storage.access import Withdrawals
from kernel.storage.database import Database
from kernel.storage.reviews import Reviews, state_after
from kernel.storage.schema import answer, policy_release, policy_version, review, review_event
from pipeline.oversight.reviews import ReviewDesk

HOLD = "format: 1\nname: hold\noutput:\n  - {rule: all, always: true, then: review, approvals: %d}\n"
QUESTION = "Who keeps register 0?"


def build(made: FastWorkspace, folder: Path) -> None:
    (folder / "folder").mkdir()
    (folder / "folder" / "0.md").write_text("# Register 0\n\nAlpha Team keeps register 0 in Lisbon.\n")
    made.indexer.ingest(InlineParser(), [folder / "folder"], "folder")


@pytest.fixture
def made(copy_of: CopyOf) -> Iterator[FastWorkspace]:
    """A workspace with one document."""
    with copy_of(build, chunk_tokens=48) as workspace:
        yield workspace


def principal(made: FastWorkspace, role: Role, name: str = "") -> Principal:
    return made.keys.authenticate(made.keys.create(role, None, name)[1])


def held(made: FastWorkspace, asker: Principal, approvals: int = 1) -> tuple[str, str]:
    """Ask under a policy that holds everything back; ids of the answer and its review."""
    text = HOLD % approvals
    known = [one.number for one in made.policies.stored.items() if one.text == text]
    number = known[0] if known else made.policies.add(text, "local", "hold").number
    if made.policies.in_force().version.number != number:
        made.policies.release(number, "local")
    body = made.answering.ask(Question(QUESTION, asker))
    assert body["status"] == "pending_review"
    (one,) = made.reviews.of_answers([body["ledger"]["index"]])[body["ledger"]["index"]]
    return body["id"], one.id


def seen(made: FastWorkspace, answer_id: str, who: Principal) -> dict[str, Any]:
    return dict(made.releases.record(answer_id, who).body)


def faults(made: FastWorkspace) -> list[str]:
    return [f"{fault.where}: {fault.what}" for fault in made.verifier.faults()]


def test_versions_are_numbered_kept_and_put_in_force(made: FastWorkspace) -> None:
    book = made.policies
    assert book.in_force().version.number == 0
    one = book.add(HOLD % 1, "key_a", "first")
    two = book.add(HOLD % 2, "key_a", "second")
    assert (one.number, two.number) == (1, 2)
    assert book.in_force().version.number == 0
    with pytest.raises(Conflict, match="version 1 already"):
        book.add(HOLD % 1, "key_b", "again")
    with pytest.raises(InvalidInput, match="line 1, nonsense"):
        book.add("nonsense: 1\nformat: 1\nname: x\n", "key_b", "wrong")
    book.release(1, "key_a")
    book.release(2, "key_a")
    with pytest.raises(Conflict, match="in force already"):
        book.release(2, "key_a")
    with pytest.raises(NotFound, match="no policy version 9"):
        book.release(9, "key_a")
    assert book.in_force().version == two
    assert book.rollback("key_a").number == 1
    assert book.release(0, "key_a").number == 0
    assert book.stored.releases()[0][1] == 0
    assert [one.number for one in book.items()] == [2, 1, 0]
    assert faults(made) == []


def test_the_shipped_policy_is_stored_with_the_first_answer_made_under_it(made: FastWorkspace) -> None:
    assert made.policies.stored.items() == []
    first, second = (made.answering.ask(Question(QUESTION)) for _ in range(2))
    (kept,) = made.policies.stored.items()
    assert first["policy"] == second["policy"]
    assert first["policy"] == {"version": 0, "sha256": kept.sha256, "verdicts": []}
    assert kept.number == 0
    assert made.policies.stored.by_sha256(kept.sha256).text == kept.text
    assert faults(made) == []


def test_the_shipped_policy_of_a_later_program_gets_a_number_of_its_own(
    made: FastWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.answering.ask(Question(QUESTION))
    text = "format: 1\nname: later\n"
    later = PolicyVersion(0, sha256(text), text, "", "", "")
    monkeypatch.setattr("pipeline.oversight.policy_book.shipped_policy", lambda: later)
    assert [one.number for one in made.policies.items()] == [0, -1]
    assert made.policies.release(-1, "local").text == later.text
    assert made.policies.in_force().policy.name == "later"


def test_a_draft_is_shown_to_no_asker_until_it_is_approved(made: FastWorkspace) -> None:
    asker, reviewer = principal(made, Role.APP), principal(made, Role.REVIEWER)
    answer_id, review_id = held(made, asker)
    waiting = seen(made, answer_id, asker)
    assert (waiting["status"], waiting["reason"]) == ("pending_review", "The answer waits for a person.")
    assert not any(waiting[name] for name in ("answer", "sentences", "citations", "conflicts", "notices", "confidence"))
    assert "Alpha" not in str(waiting)
    assert waiting["review"]["id"] == review_id
    assert "held" not in waiting["policy"]
    ((_, listed),) = made.releases.items(asker, limit=9)
    assert "Alpha" not in str(listed.body)
    lineage = made.lineage.lineage(answer_id, asker)
    assert (lineage["answer"]["answer"], lineage["sentences"]) == ("", [])
    assert not any(item["cited"] or item["quotes"] for item in lineage["context"])
    draft = seen(made, answer_id, reviewer)
    assert (draft["status"], "Alpha" in draft["answer"]) == ("pending_review", True)
    made.review_desk.approve(review_id, reviewer, "fine")
    released = seen(made, answer_id, asker)
    assert (released["status"], released["reason"], released["answer"]) == ("answered", None, draft["answer"])
    assert released["review"]["state"] == "approved"
    assert released == seen(made, answer_id, reviewer)
    assert made.answers.get(answer_id, asker).body["status"] == "pending_review"
    assert faults(made) == []


def test_the_asker_decides_nothing_whatever_the_role(made: FastWorkspace) -> None:
    for asker in (principal(made, Role.ADMIN), LOCAL_OWNER):
        _, review_id = held(made, asker)
        for act in (
            made.review_desk.approve,
            lambda r, a: made.review_desk.reject(r, "no", a),
            lambda r, a: made.review_desk.edit(r, "Alpha Team keeps register 0.", a),
        ):
            with pytest.raises(Forbidden, match="another person must"):
                act(review_id, asker)
        with pytest.raises(InvalidInput, match="assign another person"):
            made.review_desk.assign(review_id, asker.id, asker)
        assert made.reviews.get(review_id).state == "open"


def test_apps_reach_no_review(made: FastWorkspace) -> None:
    app = principal(made, Role.APP)
    _, review_id = held(made, LOCAL_OWNER)
    desk = made.review_desk
    acts: list[Callable[[], object]] = [
        lambda: desk.items(app, limit=1),
        lambda: desk.show(review_id, app),
        lambda: desk.assign(review_id, "local", app),
        lambda: desk.comment(review_id, "x", app),
        lambda: desk.approve(review_id, app),
        lambda: desk.edit(review_id, "x", app),
        lambda: desk.reject(review_id, "x", app),
    ]
    for act in acts:
        with pytest.raises(Forbidden):
            act()


def test_four_eyes_are_those_of_distinct_people_and_of_one_text(made: FastWorkspace) -> None:
    asker = principal(made, Role.APP)
    one, two, three = (principal(made, Role.REVIEWER, "same name") for _ in range(3))
    answer_id, review_id = held(made, asker, approvals=2)
    desk = made.review_desk
    stale = desk.show(review_id, one)["text_of"]
    assert desk.approve(review_id, one, text_of=stale)["state"] == "open"
    with pytest.raises(Conflict, match="you approved this text already"):
        desk.approve(review_id, one)
    assert seen(made, answer_id, asker)["status"] == "pending_review"
    assert desk.edit(review_id, "Alpha Team keeps register 0 in Lisbon.", two)["state"] == "open"
    with pytest.raises(Conflict, match="changed meanwhile"):
        desk.approve(review_id, three, text_of=stale)
    with pytest.raises(Conflict, match="you approved this text already"):
        desk.approve(review_id, two)
    assert seen(made, answer_id, asker)["status"] == "pending_review"
    assert desk.approve(review_id, one)["state"] == "edited"
    assert seen(made, answer_id, asker)["answer"] == "Alpha Team keeps register 0 in Lisbon."
    with pytest.raises(Conflict, match="the review is edited"):
        desk.reject(review_id, "too late", three)
    assert faults(made) == []


def test_an_edit_is_grounded_in_the_same_passages(made: FastWorkspace) -> None:
    asker, reviewer = principal(made, Role.APP), principal(made, Role.REVIEWER)
    answer_id, review_id = held(made, asker)
    recorded = made.answers.get(answer_id, reviewer)
    with pytest.raises(InvalidInput, match="reject the answer with a reason"):
        made.review_desk.edit(review_id, "Bananas are yellow in Peru.", reviewer)
    made.review_desk.edit(review_id, "Alpha Team keeps register 0 in Lisbon. [c1]", reviewer, "shorter")
    shown = seen(made, answer_id, asker)
    assert (shown["status"], shown["answer"]) == ("answered", "Alpha Team keeps register 0 in Lisbon.")
    (citation,) = shown["citations"]
    assert citation["chunk_id"] in {item["chunk_id"] for item in recorded.run["context"]}
    assert made.answers.get(answer_id, reviewer) == recorded
    detail = made.review_desk.show(review_id, reviewer)
    assert [event["kind"] for event in detail["events"]] == ["opened", "edited"]
    assert detail["events"][1]["actor"] == reviewer.id


def test_a_rejection_tells_its_reason_and_ends_the_draft_for_all(made: FastWorkspace) -> None:
    asker, reviewer = principal(made, Role.APP), principal(made, Role.REVIEWER)
    answer_id, review_id = held(made, asker)
    with pytest.raises(InvalidInput, match="the reason is empty"):
        made.review_desk.reject(review_id, " \n", reviewer)
    made.review_desk.reject(review_id, "The register moved.", reviewer)
    for who in (asker, reviewer):
        body = seen(made, answer_id, who)
        assert (body["status"], body["answer"], body["citations"]) == ("abstained", "", [])
        assert body["reason"] == "A reviewer rejected the answer: The register moved."


def test_a_deadline_rejects_at_once_and_is_written_down_by_the_next_writer(
    made: FastWorkspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asker, reviewer = principal(made, Role.APP), principal(made, Role.REVIEWER)
    answer_id, review_id = held(made, asker)
    later = (datetime.now(UTC) + timedelta(hours=73)).isoformat(timespec="microseconds")
    monkeypatch.setattr(storage, "now", lambda: later)
    body = seen(made, answer_id, asker)
    assert (body["status"], body["review"]["state"]) == ("abstained", "expired")
    assert made.reviews.get(review_id).state == "expired"
    assert [one["id"] for one in made.review_desk.items(reviewer, limit=9, state="expired")] == [review_id]
    assert made.review_desk.items(reviewer, limit=9, state="open") == []
    assert made.reviews.counts() == {"open": 0, "approved": 0, "edited": 0, "rejected": 0, "expired": 1}
    assert [event.kind for event in made.reviews.events(review_id)] == ["opened"]
    with pytest.raises(Conflict, match="the review is expired"):
        made.review_desk.approve(review_id, reviewer)
    assert [event.kind for event in made.reviews.events(review_id)] == ["opened", "expired"]
    assert made.reviews.expire() == 0
    made.review_desk.comment(review_id, "a pity", reviewer)
    assert faults(made) == []


@pytest.mark.parametrize("approvals", [1, 2])
def test_of_many_who_decide_at_once_one_does(made: FastWorkspace, approvals: int) -> None:
    """On threads over two sets of connections, as two processes would have them."""
    asker = principal(made, Role.APP)
    _, review_id = held(made, asker, approvals)
    people = [principal(made, Role.REVIEWER) for _ in range(8)]
    url = made.database.url.render_as_string(hide_password=False)
    other = Database(url, made.settings.ledger_key_file, made.settings.workspace)
    desks = [made.review_desk, ReviewDesk(Reviews(other), made.answers, made.corpus, made.keys, made.policies)]

    def decide(place: int) -> str:
        desk, who = desks[place % 2], people[place]
        try:
            found = desk.approve(review_id, who) if place % 4 < 2 else desk.reject(review_id, f"no {place}", who)
        except Conflict:
            return "late"
        return str(found["state"])

    with ThreadPoolExecutor(8) as pool:
        states = list(pool.map(decide, range(8)))
    final = [state for state in states if state not in ("late", "open")]
    kinds = [event.kind for event in made.reviews.events(review_id)][1:]
    assert len(final) == 1
    assert made.reviews.get(review_id).state == final[0] == kinds[-1]
    assert kinds.count("approved") <= approvals
    assert len(kinds) == len(states) - states.count("late")
    assert faults(made) == []
    other.close()


def test_withdrawal_reviews_mark_answers_and_do_not_hide_them(made: FastWorkspace) -> None:
    asker, reviewer = principal(made, Role.APP), principal(made, Role.REVIEWER)
    bodies = [made.answering.ask(Question(QUESTION, asker)) for _ in range(2)]
    numbers = [body["ledger"]["index"] for body in bodies]
    with made.database.write() as connection:
        opened = made.reviews.open(connection, numbers, "withdrawn")
        assert len(opened) == 2
        assert made.reviews.open(connection, numbers, "withdrawn") == []
    body = seen(made, bodies[0]["id"], asker)
    assert (body["under_review"], body["status"], body["answer"]) == (True, "answered", bodies[0]["answer"])
    made.review_desk.approve(opened[0], reviewer)
    made.review_desk.reject(opened[1], "It stood on it alone.", reviewer)
    by_answer = {one.answer_number: one.state for found in made.reviews.of_answers(numbers).values() for one in found}
    assert sorted(by_answer.values()) == ["approved", "rejected"]
    kept, lost = (seen(made, body["id"], asker) for body in bodies)
    if by_answer[numbers[0]] == "rejected":
        kept, lost = lost, kept
    assert ("under_review" in kept, kept["answer"]) == (False, bodies[0]["answer"])
    assert (lost["status"], lost["answer"]) == ("abstained", "")
    assert faults(made) == []


@pytest.mark.parametrize(
    ("review_rule", "opened"),
    [
        ("{cited_only: true}", 1),
        ("{cited_only: false}", 2),
        ("{cited_only: false, confidence_at_least: 1.0, approvals: 2}", 0),
        ("null", 0),
    ],
)
def test_the_policy_says_which_answers_a_withdrawal_opens_reviews_of(
    made: FastWorkspace, tmp_path: Path, review_rule: str, opened: int
) -> None:
    folder = tmp_path / "folder"
    (folder / "1.md").write_text("# Other\n\nBeta Team keeps the Lisbon register 1 in a box of steel and oak.\n")
    made.indexer.ingest(InlineParser(), [folder], "folder")
    made.policies.add(f"format: 1\nname: i\nimpact:\n  review: {review_rule}\n", "local", "i")
    made.policies.release(1, "local")
    one = made.answering.ask(Question(QUESTION))
    two = made.answering.ask(Question("What is the box of Beta Team made of?"))
    cites = [{citation["title"] for citation in body["citations"]} for body in (one, two)]
    assert [("Register 0" in titles) for titles in cites] == [True, False]
    if review_rule.startswith("{cited_only: false, conf"):
        assert one["confidence"] <= 1.0
        with made.database.write() as connection:
            connection.execute(update(answer).values(confidence=0.9))
    found = made.catalog.documents(made.snapshots.live().snapshot, LOCAL_OWNER, limit=9)
    gone = next(document.id for document in found if document.path.endswith("0.md"))
    Withdrawals(made.database).withdraw([gone], {"reason": "x", "by": "local"})
    with made.database.write() as connection:
        numbers = [body["ledger"]["index"] for body in (one, two)]
        ids = made.review_desk.open_withdrawn(connection, numbers, "withdrawn by its author")
    assert len(ids) == opened
    if opened:
        first = made.reviews.of_answers(numbers)[numbers[0]][0]
        assert (first.id in ids, first.reason) == (True, "withdrawn")
        assert made.reviews.events(first.id)[0].payload["comment"] == "withdrawn by its author"


def test_a_policy_whose_text_was_changed_answers_nothing(made: FastWorkspace) -> None:
    made.policies.add(HOLD % 1, "local", "x")
    made.policies.release(1, "local")
    with made.database.write() as connection:
        connection.execute(
            update(policy_version).where(policy_version.c.number == 1).values(text="format: 1\nname: x\n")
        )
    with pytest.raises(IntegrityFailure, match="policy 1"):
        made.answering.ask(Question(QUESTION))


def test_assignment_names_a_person_who_may_review(made: FastWorkspace) -> None:
    asker, reviewer = principal(made, Role.APP), principal(made, Role.REVIEWER)
    _, review_id = held(made, asker)
    for wrong in (asker.id, "key_none", principal(made, Role.APP).id):
        with pytest.raises(InvalidInput):
            made.review_desk.assign(review_id, wrong, reviewer)
    gone = principal(made, Role.REVIEWER)
    made.keys.revoke(gone.id)
    with pytest.raises(InvalidInput):
        made.review_desk.assign(review_id, gone.id, reviewer)
    assert made.review_desk.assign(review_id, reviewer.id, reviewer)["assignee"] == reviewer.id
    assert [one["id"] for one in made.review_desk.items(reviewer, limit=5, mine=True)] == [review_id]
    assert faults(made) == []


@pytest.mark.parametrize(
    ("steps", "approvals", "state"),
    [
        ([("approved", "a")], 1, "approved"),
        ([("approved", "a")], 2, "open"),
        ([("approved", "a"), ("approved", "a")], 2, "open"),
        ([("approved", "a"), ("commented", "b"), ("approved", "b")], 2, "approved"),
        ([("approved", "a"), ("edited", "b")], 2, "open"),
        ([("approved", "a"), ("edited", "b"), ("approved", "a")], 2, "edited"),
        ([("edited", "a"), ("edited", "b"), ("approved", "b")], 2, "open"),
        ([("edited", "a")], 1, "edited"),
        ([("approved", "a"), ("rejected", "b"), ("approved", "c")], 2, "rejected"),
        ([("expired", "vouch")], 1, "expired"),
        ([], 1, "open"),
    ],
)
def test_the_state_follows_from_the_steps(steps: list[tuple[str, str]], approvals: int, state: str) -> None:
    assert state_after(steps, approvals) == state


COLUMNS = [
    (table, column.name)
    for table in (policy_version, policy_release, review, review_event)
    for column in table.columns
    if not (table is review and column.name in ("id", "answer_number"))
    and not (table is policy_version and column.name == "number")
    and not (table is policy_release and column.name in ("leaf", "policy"))
    and not (table is review_event and column.name in ("leaf", "review_id"))
]


def build_decided(made: FastWorkspace, folder: Path) -> None:
    build(made, folder)
    asker, one, two = principal(made, Role.APP), principal(made, Role.REVIEWER), principal(made, Role.REVIEWER)
    held(made, asker, approvals=1)
    _, review_id = held(made, asker, approvals=2)
    made.review_desk.assign(review_id, one.id, two)
    made.review_desk.comment(review_id, "look", two)
    made.review_desk.approve(review_id, one)
    made.review_desk.approve(review_id, two)


@pytest.fixture
def decided(copy_of: CopyOf) -> Iterator[FastWorkspace]:
    """A workspace with released policies and a review that was assigned, commented on and decided by two."""
    with copy_of(build_decided, chunk_tokens=48) as workspace:
        assert faults(workspace) == []
        yield workspace


def changed(value: Any) -> Any:
    if value is None:
        return "2026-01-01"
    if isinstance(value, str):
        return value[:-1] + ("x" if value[-1:] != "x" else "y")
    return value + 1


@pytest.mark.parametrize(("table", "column"), COLUMNS, ids=lambda value: getattr(value, "name", value))
def test_verify_names_a_change_of_any_column(decided: FastWorkspace, table: Table, column: str) -> None:
    key = next(iter(table.primary_key))
    with decided.database.write() as connection:
        row = connection.execute(select(table).order_by(key.desc()).limit(1)).one()
        values = {column: changed(row._mapping[column])}
        connection.execute(update(table).where(key == row._mapping[key.name]).values(values))
    assert faults(decided)


BLOWS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "another policy released": lambda *_: update(policy_release).where(policy_release.c.policy == 2).values(policy=1),
    "a release gone": lambda *_: delete(policy_release).where(policy_release.c.policy == 2),
    "a step of another review": lambda last, first, _: (
        update(review_event).where(review_event.c.leaf == last.leaf).values(review_id=first.id)
    ),
    "a step gone": lambda last, *_: delete(review_event).where(review_event.c.leaf == last.leaf),
    "another answer": lambda _, first, other: (
        update(review).where(review.c.id == first.id).values(answer_number=other.answer_number)
    ),
    "approved by nobody": lambda _, first, __: (
        update(review).where(review.c.id == first.id).values(state="approved", decided_at=first.created_at)
    ),
}


@pytest.mark.parametrize("blow", sorted(BLOWS))
def test_verify_names_what_is_missing_or_points_elsewhere(decided: FastWorkspace, blow: str) -> None:
    with decided.database.write() as connection:
        last = connection.execute(select(review_event).order_by(review_event.c.leaf.desc()).limit(1)).one()
        first, other = connection.execute(select(review).order_by(review.c.created_at)).all()
        connection.execute(BLOWS[blow](last, first, other))
    assert faults(decided)
