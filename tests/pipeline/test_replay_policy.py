"""Replays under policies and reviews: judged again by the policy of the record, and no draft escapes through one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace

from kernel.errors import Conflict
from kernel.records import LOCAL_OWNER, Principal, Question, Role
from kernel.storage.impact import Of, Scope

ASKER = Principal("key_asker", Role.APP)
REVIEWER = Principal("key_reviewer", Role.REVIEWER)
STRICT = """format: 1
name: strict
topics:
  access: [door code]
input:
  - {rule: no-codes, topics: [access], then: refuse, message: Ask the front desk.}
context:
  - {rule: third, phrases: [register 3], then: drop}
output:
  - {rule: everything, always: true, then: review}
impact:
  review: {cited_only: false, confidence_at_least: 0.0}
"""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[FastWorkspace]:
    folder = tmp_path / "folder"
    folder.mkdir()
    for n in range(4):
        (folder / f"{n}.md").write_text(f"# Register {n}\n\nAlpha Team keeps register {n} in Lisbon.\n")
    with fast_workspace(tmp_path / "home") as workspace:
        workspace.indexer.ingest(InlineParser(), [folder], "folder")
        yield workspace


def put_in_force(made: FastWorkspace, text: str) -> None:
    made.policies.release(made.policies.add(text, "local", "a step").number, "local")


def identical(made: FastWorkspace, answer_id: str, who: Principal = LOCAL_OWNER) -> bool:
    return bool(made.replayer.replay(answer_id, who)["identical"])


def test_an_answer_is_judged_again_by_the_policy_of_its_record(made: FastWorkspace) -> None:
    """Refused, with a passage dropped, held back, or under no released policy: each as it was, whatever came later."""
    before = made.answering.ask(Question("Who keeps register 1?"))
    put_in_force(made, STRICT)
    after = [made.answering.ask(Question(one)) for one in ("Who keeps register 1?", "What is the door code?")]
    assert (after[0]["status"], after[1]["reason"]) == ("pending_review", "Ask the front desk.")
    put_in_force(made, "format: 1\nname: bare\n")
    assert [identical(made, one["id"]) for one in (before, *after)] == [True, True, True]
    report = made.replayer.replay(after[0]["id"], LOCAL_OWNER)
    assert "verdicts" in {stage["stage"] for stage in report["stages"]}
    changes = made.today.compare(after[0]["id"], LOCAL_OWNER)["changes"]
    assert "policy" in {change["kind"] for change in changes}


def test_a_draft_does_not_escape_through_a_replay(made: FastWorkspace) -> None:
    free = made.answering.ask(Question("Who keeps register 1?", ASKER))
    put_in_force(made, STRICT)
    held = made.answering.ask(Question("Who keeps register 1?", ASKER))
    assert held["status"] == "pending_review"
    for replays in (made.replayer.replay, made.today.compare):
        with pytest.raises(Conflict, match="not released"):
            replays(held["id"], ASKER)
        assert replays(held["id"], REVIEWER)["id"] == held["id"]
    assert identical(made, free["id"], ASKER)
    today = made.today.compare(free["id"], ASKER)
    assert today["current"]["status"] == "pending_review"
    assert (today["current"]["answer"], today["current"]["sentences"], today["current"]["citations"]) == ("", [], [])
    assert not [line for line in today["diff"] if line.startswith("+")]
    assert made.today.compare(free["id"], REVIEWER)["current"]["answer"]


def test_a_withdrawal_opens_the_reviews_that_the_policy_asks_for(made: FastWorkspace) -> None:
    answers = [made.answering.ask(Question(f"Who keeps register {n}?", ASKER)) for n in range(2)]
    put_in_force(made, STRICT)
    document = answers[0]["citations"][0]["document_id"]
    done = made.impact.withdraw(Scope(Of.DOCUMENT, document), "misprint", LOCAL_OWNER)
    reviews = made.queries.run("neighbours", {"kind": "answer", "id": answers[0]["id"]}, 100)["items"]
    assert done["stale_answers"] == 2
    assert [item for item in reviews if item["kind"] == "review"]
    assert identical(made, answers[0]["id"], ASKER)
    again = list(made.impact.reask(Scope(Of.DOCUMENT, document)))
    assert {one["status"][1] for one in again} == {"pending_review"}
    assert list(made.verifier.faults()) == []
