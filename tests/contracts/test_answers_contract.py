"""What the record of answers promises, on both databases."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError
from stored_samples import PROMPT, RECIPE, answer_body, revision

from kernel.errors import NotFound
from kernel.ids import sha256
from kernel.merkle import leaf_hash
from kernel.records import LOCAL_OWNER, Principal, Role
from kernel.storage.answers import Answers, answer_payload
from kernel.storage.catalog import Catalog
from kernel.storage.corpus import Corpus
from kernel.storage.database import Database
from kernel.storage.ledger import Ledger, commitment
from pipeline.oversight.tree_check import TreeCheck

ASKER, OTHER = Principal("key_asker", Role.APP), Principal("key_other", Role.APP)
REVIEWER = Principal("key_reviewer", Role.REVIEWER)
RUN = {"principal": {"id": "key_asker"}, "reply": "Alpha. [c1] \U0001f600"}
CHILD = Path(__file__).with_name("record_child.py")


def record(answers: Answers, answer_id: str, principal: Principal = ASKER) -> tuple[int, str]:
    return answers.record(answer_body(answer_id), RUN, principal=principal, prompt=PROMPT, evidence=[])


def test_a_record_comes_back_as_it_was_given(answers: Answers, ledger: Ledger) -> None:
    body = answer_body("ans_1", "Wer weiß \u201cβ\u201d?\n")
    index, leaf = answers.record(body, RUN, principal=ASKER, prompt=PROMPT, evidence=[])
    found = answers.get("ans_1", ASKER)
    assert (found.id, found.run, found.leaf_sha256) == ("ans_1", RUN, leaf)
    assert found.body == {**body, "ledger": {"index": index, "leaf_sha256": leaf}}
    (row,) = answers.rows()
    assert (row.number, row.principal, row.status) == (index, "key_asker", body["status"])
    stored, payload = ledger.leaf(index), ledger.payload(index)
    assert leaf_hash(stored.text.encode()).hex() == stored.sha256 == leaf
    assert payload is not None
    assert payload[1] == answer_payload(body, RUN)
    assert json.loads(stored.text)["commitment"] == commitment(*payload)
    assert "weiß" not in stored.text


def test_an_app_reads_its_own_answers_only(answers: Answers) -> None:
    record(answers, "ans_1")
    record(answers, "ans_2", OTHER)
    for reader in (ASKER, REVIEWER, LOCAL_OWNER):
        assert answers.get("ans_1", reader).id == "ans_1"
    for answer_id in ("ans_1", "ans_none"):
        with pytest.raises(NotFound, match=f"no answer {answer_id}"):
            answers.get(answer_id, OTHER)
    assert [item.id for _, item in answers.items(ASKER, limit=9)] == ["ans_1"]
    assert [item.id for _, item in answers.items(REVIEWER, limit=9)] == ["ans_2", "ans_1"]


def test_listings_page_back_from_the_newest(answers: Answers) -> None:
    for n in range(7):
        record(answers, f"ans_{n}")
    first = answers.items(ASKER, limit=3)
    rest = answers.items(ASKER, limit=9, before=first[-1][0])
    assert [number for number, _ in first + rest] == [8, 7, 6, 5, 4, 3, 2]
    assert [item.body["ledger"]["index"] for _, item in first] == [8, 7, 6]


def test_a_record_that_cannot_be_stored_takes_no_index(answers: Answers) -> None:
    record(answers, "ans_1")
    with pytest.raises(IntegrityError):
        record(answers, "ans_1")
    with pytest.raises(KeyError):
        answers.record(answer_body("ans_2"), RUN, principal=ASKER, prompt=PROMPT, evidence=[("chk_none", True)])
    assert record(answers, "ans_3")[0] == 3
    assert [row.id for row in answers.rows()] == ["ans_1", "ans_3"]


def test_the_chain_leads_from_chunks_to_their_source(catalog: Catalog, corpus: Corpus, answers: Answers) -> None:
    source = catalog.source_id("handbook", "/shelf")
    catalog.stage(source, RECIPE, [revision("a")])
    rows = [row.chunk_id for row in corpus.index_rows(0)]
    passages = corpus.passages(rows)
    ids = [passages[row][0].chunk_id for row in rows]
    evidence = [(ids[1], True), (ids[0], False)]
    answers.record(answer_body("ans_1"), RUN, principal=ASKER, prompt=PROMPT, evidence=evidence)
    chain = answers.chain([*ids, "chk_none"])
    assert set(chain) == set(ids)
    link = chain[ids[0]]
    assert (link["source"], link["location"], link["number"]) == ("handbook", "/shelf", 1)
    assert (link["row"], link["text_sha256"]) == (rows[0], sha256(revision("a").text))


def test_indexes_have_no_gaps_under_many_writers(
    connect: Callable[[], Database], answers: Answers, ledger: Ledger, database_url: str, database: Database
) -> None:
    workspace = database.schema.removeprefix("vouch_")
    command = [sys.executable, str(CHILD), database_url, str(database.signer.path), workspace]
    children = [subprocess.Popen([*command, f"child{n}", "20"], stdout=subprocess.PIPE, text=True) for n in range(2)]
    writers = [Answers(connect()) for _ in range(8)]

    def write(number: int) -> list[int]:
        return [record(writers[number], f"ans_{number}_{n}")[0] for n in range(10)]

    with ThreadPoolExecutor(len(writers)) as pool:
        given = [index for indexes in pool.map(write, range(len(writers))) for index in indexes]
    for child in children:
        printed, _ = child.communicate(timeout=60)
        assert child.returncode == 0
        given += [int(line.split()[1]) for line in printed.splitlines()]
    assert sorted(given) == list(range(2, 2 + 8 * 10 + 2 * 20))
    assert [row.number for row in answers.rows()] == sorted(given)
    check = TreeCheck(ledger.key)
    assert list(check.faults(ledger.rows())) == []
    assert ledger.key.open(ledger.checkpoint()).root == check.frontier.root()
