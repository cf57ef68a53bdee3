"""Where parts of the oversight meet: erasure and restoring, erasure and reviews, what a key learns from a replay."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace

from kernel.errors import Conflict, Unauthenticated
from kernel.ids import derived_id
from kernel.records import LOCAL_OWNER, IngestReport, Principal, Question, Role
from kernel.storage.erasure import ErasureRequest
from kernel.storage.impact import Of, Scope

PAGES = {
    "a.md": "---\ntitle: Register\n---\n\nAlpha Team keeps the Harbour Register.\n",
    "b.md": "---\ntitle: Policy\n---\n\nBeta Office keeps the Travel Policy.\n",
}
A = derived_id("doc", "folder", "a.md")
FOLDER = Scope(Of.SOURCE, "folder")
ASKED = "Who keeps the Harbour Register?"
ASKER = Principal("key_asker", Role.APP)
HOLDS = "format: 1\nname: holds\noutput:\n- {rule: hold, always: true, then: review, approvals: 3}\n"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[FastWorkspace]:
    with fast_workspace(tmp_path / "home") as workspace:
        ingest(workspace, tmp_path, PAGES)
        yield workspace


def ingest(made: FastWorkspace, root: Path, pages: dict[str, str]) -> IngestReport:
    folder = root / "folder"
    folder.mkdir(exist_ok=True)
    for name, text in pages.items():
        (folder / name).write_text(text)
    (report,) = made.indexer.ingest(InlineParser(), [folder], "folder")
    return report


def person(made: FastWorkspace, role: Role) -> Principal:
    return made.keys.authenticate(made.keys.create(role, None)[1])


def held_review(made: FastWorkspace, asker: Principal = ASKER) -> str:
    """The id of a review that three people must approve."""
    made.policies.release(made.policies.add(HOLDS, "local", "a test").number, "local")
    made.answering.ask(Question(ASKED, asker))
    return made.reviews.items(limit=1)[0].id


def listed(made: FastWorkspace) -> list[str]:
    return [one.path for one in made.catalog.documents(made.snapshots.live().snapshot, LOCAL_OWNER, limit=9)]


def test_restoring_a_source_does_not_let_erased_documents_in_again(made: FastWorkspace, tmp_path: Path) -> None:
    made.eraser.erase(ErasureRequest((A,)), "a request", "local")
    made.impact.withdraw(FOLDER, "recalled", LOCAL_OWNER)
    assert A not in made.impact.restore(FOLDER, "checked", LOCAL_OWNER)["documents"]
    assert ingest(made, tmp_path, PAGES).added == 0
    with pytest.raises(Conflict, match="allow-again"):
        made.impact.restore(Scope(Of.DOCUMENT, A), "checked", LOCAL_OWNER)
    assert listed(made) == ["b.md"]
    assert list(made.verifier.faults()) == []


def test_a_document_that_came_back_is_withdrawn_and_restored_like_any(made: FastWorkspace, tmp_path: Path) -> None:
    made.eraser.erase(ErasureRequest((A,)), "a request", "local")
    made.erasures.allow_again([A], "agreed", "local")
    assert listed(made) == ["b.md"]
    assert ingest(made, tmp_path, PAGES).failures == ()
    made.impact.withdraw(Scope(Of.DOCUMENT, A), "recalled", LOCAL_OWNER)
    assert ingest(made, tmp_path, PAGES).failures == ()
    made.impact.restore(Scope(Of.DOCUMENT, A), "checked", LOCAL_OWNER)
    assert sorted(listed(made)) == ["a.md", "b.md"]
    assert list(made.verifier.faults()) == []


def test_a_replay_tells_no_title_of_a_revision_that_is_hidden(made: FastWorkspace, tmp_path: Path) -> None:
    answer = made.answering.ask(Question(ASKED, ASKER))
    hidden = "---\ntitle: Closing of the harbour\ngroups: [board]\n---\n\nAlpha Team kept the Harbour Register.\n"
    ingest(made, tmp_path, {"a.md": hidden})
    shown = made.today.compare(answer["id"], ASKER)
    assert "“Register” is in groups" in shown["changes"][0]["words"]
    assert "Closing" not in json.dumps(shown)


def test_a_replay_of_today_tells_nothing_of_what_would_wait(made: FastWorkspace) -> None:
    answer = made.answering.ask(Question(ASKED, ASKER))
    held_review(made)
    shown = made.today.compare(answer["id"], ASKER)["current"]
    assert (shown["status"], shown["answer"], shown["citations"]) == ("pending_review", "", [])
    assert "held" not in shown["policy"]


def test_nothing_is_recorded_for_a_person_who_was_erased_meanwhile(made: FastWorkspace) -> None:
    asker, reviewer = person(made, Role.APP), person(made, Role.REVIEWER)
    review_id = held_review(made)
    composed = made.answering.compose(made.answering.pin(Question(ASKED, asker)))
    made.eraser.erase(ErasureRequest((), (asker.id, reviewer.id)), "a request", "local")
    with pytest.raises(Unauthenticated):
        made.answering._record(composed, 0.0)
    with pytest.raises(Unauthenticated):
        made.review_desk.comment(review_id, "too late", reviewer)
    assert asker.id not in {record.principal for record in made.answers.records()}


def test_approvals_count_after_those_who_gave_them_were_erased(made: FastWorkspace) -> None:
    people = [person(made, Role.REVIEWER) for _ in range(3)]
    review_id = held_review(made)
    made.review_desk.assign(review_id, people[1].id, people[0])
    for one in people[:2]:
        made.review_desk.approve(review_id, one)
    made.eraser.erase(ErasureRequest((), tuple(one.id for one in people[:2])), "a request", "local")
    assert list(made.verifier.faults()) == []
    assert made.review_desk.approve(review_id, people[2])["state"] == "approved"
    assert list(made.verifier.faults()) == []
    assert made.reporter.report()["adherence"]["reviews"]["too_few_approvals"] == 0


def test_an_answer_that_was_erased_cannot_be_approved(made: FastWorkspace) -> None:
    review_id, reviewer = held_review(made), person(made, Role.REVIEWER)
    made.eraser.erase(ErasureRequest((A,)), "a request", "local")
    with pytest.raises(Conflict, match="erased"):
        made.review_desk.approve(review_id, reviewer)
    assert made.review_desk.reject(review_id, "it is gone", reviewer)["state"] == "rejected"
    assert list(made.verifier.faults()) == []


def test_no_response_is_remembered_that_tells_of_what_was_erased_meanwhile(made: FastWorkspace) -> None:
    asker, requests = person(made, Role.APP), made.requests
    kept, gone = (made.answering.ask(Question(asked, asker)) for asked in ("Who keeps the Travel Policy?", ASKED))
    begun = requests.begun()
    made.eraser.erase(ErasureRequest(answers=(gone["id"],)), "a request", "local")
    for name, response in (("kept", kept), ("gone", gone)):
        requests.keep(asker.id, name, "0" * 64, 200, response, begun)
    assert requests.seen(asker.id, "kept", "0" * 64) is not None
    assert requests.seen(asker.id, "gone", "0" * 64) is None
    made.eraser.erase(ErasureRequest((), (asker.id,)), "a request", "local")
    requests.keep(asker.id, "late", "0" * 64, 200, {"status": "abstained"}, begun)
    assert requests.seen(asker.id, "late", "0" * 64) is None


def test_a_certificate_counts_the_entries_that_still_name_a_person(made: FastWorkspace) -> None:
    boss, other = person(made, Role.ADMIN), person(made, Role.APP)
    made.eraser.erase(ErasureRequest((), (other.id,)), "a request", boss.id)
    made.holds.release(made.holds.place("document", A, "a case", boss.id).id, "over", boss.id)
    done = made.eraser.erase(ErasureRequest((), (boss.id,)), "a request", "local")
    assert done.certificate["kept"] == {"erasure": 1, "hold.placed": 1, "hold.released": 1}


def test_a_question_with_other_stakes_is_another_question_to_ask_again(made: FastWorkspace) -> None:
    for stakes in (None, "high", "high"):
        made.answering.ask(Question(ASKED, ASKER, stakes=stakes))
    made.impact.withdraw(Scope(Of.DOCUMENT, A), "recalled", LOCAL_OWNER)
    assert [len(one["also"]) for one in made.impact.reask(Scope(Of.DOCUMENT, A))] == [1, 0]
