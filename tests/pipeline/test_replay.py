"""Past answers made again: the same byte for byte whatever happened since, and where not, it is said how and why."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_model_server import DONE, FakeModelServer, Reply, Step, finish, token
from fast_parts import FastWorkspace, InlineParser, fast_workspace
from handbook import handbook
from sqlalchemy import delete, update

from api.assembly import Workspace
from kernel.errors import Conflict, GenerationFailed, NotFound
from kernel.ids import sha256
from kernel.ports import GenerationRequest, Generator
from kernel.records import LOCAL_OWNER, Generation, ModelInfo, Principal, Question, Role
from kernel.settings import Settings
from kernel.storage.access import Withdrawals
from kernel.storage.schema import chunk, ledger_payload, prompt_version
from pipeline.answering import Answering
from pipeline.extractive import ExtractiveGenerator
from pipeline.oversight.differences import first_difference, text_diff
from pipeline.oversight.replay import Replayer
from pipeline.oversight.today import Today
from pipeline.prompts.library import shipped_prompt

PEOPLE = (LOCAL_OWNER, Principal("key_none", Role.APP), Principal("key_hr", Role.APP, frozenset({"hr", "board"})))
TEAMS = ("Alpha", "Beta", "Gamma", "Delta")
CHILD = Path(__file__).parent / "replay_child.py"
Serve = Callable[..., FakeModelServer]


def write(folder: Path, pages: int, place: str = "Lisbon") -> None:
    """Pages about registers; the last one is a record that only group hr sees."""
    folder.mkdir(exist_ok=True)
    for n in range(pages):
        team = TEAMS[n % len(TEAMS)]
        page = f"# Register {n}\n\n{team} Team keeps register {n} in {place}. {team} Team meets on day {n}.\n"
        (folder / f"{n}.md").write_text(page)
    record = {"id": "pay", "title": "Pay", "text": f"Alpha Team is paid {pages} euros a day.", "groups": ["hr"]}
    (folder / "pay.jsonl").write_text(json.dumps(record) + "\n")


def ingest(made: FastWorkspace, folder: Path) -> None:
    made.indexer.ingest(InlineParser(), [folder], "folder")


def ask_all(made: FastWorkspace) -> list[str]:
    """Answers to several questions, for several people, of the live and of an older snapshot, with several settings."""
    newest = made.snapshots.live().snapshot
    questions = [
        Question(f"{verb} register {n}?", who, top_k, as_of)
        for n in range(5)
        for verb in ("Who keeps", "When does the team meet that keeps")
        for who in PEOPLE
        for top_k, as_of in ((None, None), (3, newest - 1))
    ]
    questions += [Question("What is Alpha Team paid?", who) for who in PEOPLE]
    return [made.answering.ask(question)["id"] for question in questions]


def differing(made: FastWorkspace, ids: list[str]) -> list[str]:
    return [one for one in ids if not made.replayer.replay(one, LOCAL_OWNER)["identical"]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[str]]:
    """A home with many answers of two snapshots, and all that can happen after them."""
    root = tmp_path_factory.mktemp("replay")
    folder = root / "folder"
    with fast_workspace(root / "home") as made:
        write(folder, 6)
        ingest(made, folder)
        write(folder, 8, "Porto")
        ingest(made, folder)
        ids = ask_all(made)
        assert differing(made, ids) == []
        assert {made.answers.get(one, LOCAL_OWNER).body["status"] for one in ids} >= {"answered", "abstained"}
    with fast_workspace(root / "home") as made:
        (folder / "0.md").unlink()
        write(folder, 12, "Faro")
        (folder / "1.md").unlink()
        ingest(made, folder)
        made.snapshots.rollback(1)
        rows = made.catalog.document_rows(
            made.catalog.source_id("folder", str(folder)), ["2.md", "3.md", "pay.jsonl#pay"]
        )
        made.catalog.set_groups(dict.fromkeys(rows.values(), ("board",)))
        cited = [c["document_id"] for one in ids[:9] for c in made.answers.get(one, LOCAL_OWNER).body["citations"]]
        Withdrawals(made.database).withdraw(set(cited), {"reason": "wrong", "by": "local"})
        made.snapshots.rollback(3)
        made.library.rebuild()
    return root / "home", folder, ids


def test_every_answer_is_identical_whatever_happened_since(home: tuple[Path, Path, list[str]]) -> None:
    place, folder, ids = home
    with fast_workspace(place) as made:
        assert differing(made, ids) == []
        ingest(made, folder)
        assert differing(made, ids) == []
        assert not list(made.verifier.faults())


def test_another_process_with_another_hash_seed_makes_the_same_bytes(home: tuple[Path, Path, list[str]]) -> None:
    printed = []
    for seed in ("1", "4711"):
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join([*sys.path])}
        done = subprocess.run(
            [sys.executable, str(CHILD), str(home[0])], env=environment, capture_output=True, text=True, check=True
        )
        printed.append([json.loads(line) for line in done.stdout.splitlines()])
    assert printed[0] == printed[1]
    assert {one[0] for one in printed[0]} >= set(home[2])
    assert all(one[1] for one in printed[0])


def test_the_real_model_and_the_real_index(models: Path) -> None:
    with handbook(models) as made:
        asked = ["How many weeks of parental leave may an employee take?", "Who leads the People Office?"]
        asked += ["Is BOD 19-02 in force?", "When are receipts due?", "What is the dress code?"]
        ids = [made.answering.ask(Question(one, who))["id"] for one in asked for who in PEOPLE]
        with handbook_again(made.settings) as again:
            again.library.rebuild()
            assert [one for one in ids if not again.replayer.replay(one, LOCAL_OWNER)["identical"]] == []


def handbook_again(settings: Settings) -> Workspace:
    return Workspace(settings)


# --- What differs is named ------------------------------------------------------------------------------------------


@pytest.fixture
def made(tmp_path: Path) -> Iterator[FastWorkspace]:
    """A small workspace of its own."""
    write(tmp_path / "folder", 4)
    with fast_workspace(tmp_path / "home") as workspace:
        ingest(workspace, tmp_path / "folder")
        yield workspace


def ask(made: FastWorkspace, question: str = "Who keeps register 1?", who: Principal = LOCAL_OWNER) -> str:
    return str(made.answering.ask(Question(question, who))["id"])


def stages(report: dict[str, Any]) -> dict[str, str | None]:
    return {stage["stage"]: stage["difference"] for stage in report["stages"] if not stage["identical"]}


def test_a_changed_passage_shows_in_every_stage_that_it_reaches(made: FastWorkspace) -> None:
    answer_id = ask(made)
    with made.database.write() as connection:
        connection.execute(update(chunk).values(text=chunk.c.text + "!"))
    made.searcher._passages.clear()
    report = made.replayer.replay(answer_id, LOCAL_OWNER)
    found = stages(report)
    assert not report["identical"]
    assert found.keys() >= {"context", "messages"}
    assert str(found["context"]).startswith("context 1, text_sha256 was “")
    assert "differs from character" in str(found["messages"])
    assert report["reasons"] == ["the store, or the program, is not what it was: see `vouch verify`"]


def test_another_ranking_is_named_as_the_reason(made: FastWorkspace) -> None:
    answer_id = ask(made)
    with made.database.write() as connection:
        rewrite(connection, made, answer_id, lambda run: run["method"].update(ranker="0" * 64, embedder="old@1"))
    report = made.replayer.replay(answer_id, LOCAL_OWNER)
    assert "method" in stages(report)
    assert [reason.split(":")[1].split()[0] for reason in report["reasons"]] == ["embedder", "ranker"]


def rewrite(connection: Any, made: FastWorkspace, answer_id: str, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the stored run of an answer, as no program of ours would."""
    record = made.answers.get(answer_id, LOCAL_OWNER)
    payload = made.ledger.payload(record.number)
    assert payload is not None
    stored = json.loads(payload[1])
    change(stored["run"])
    values = {"payload": json.dumps(stored)}
    connection.execute(update(ledger_payload).where(ledger_payload.c.number == record.number).values(values))


def test_the_prompt_is_that_of_the_store_and_not_of_the_program(made: FastWorkspace) -> None:
    """A template that this version does not bring is found by its hash; one that is lost is an error that says so."""
    old = shipped_prompt()
    template = old.template.replace("# role\n", "# role\nYou are terse. ", 1)
    prompt = replace(old, version=7, template=template, sha256=sha256(template))
    assert prompt.sha256 != old.sha256
    answering = made.answering
    pinned = answering.pin(Question("Who keeps register 1?"))
    composed = answering.compose(replace(pinned, prompt=prompt))
    body = answering._record(composed, 0.0)
    report = made.replayer.replay(body["id"], LOCAL_OWNER)
    assert report["identical"]
    assert report["pinned"]["prompt"]["version"] == 7
    changes = made.today.compare(body["id"], LOCAL_OWNER)["changes"]
    (change,) = [one for one in changes if one["kind"] == "prompt"]
    assert "version 7 became grounded-answer version 1" in change["words"]
    assert list(change["sections"]) == ["role"]
    with made.database.write() as connection:
        connection.execute(delete(prompt_version).where(prompt_version.c.sha256 == prompt.sha256))
    with pytest.raises(NotFound, match=prompt.sha256):
        made.replayer.replay(body["id"], LOCAL_OWNER)


def test_who_only_asks_is_not_shown_the_texts_of_prompts(made: FastWorkspace) -> None:
    """A label may be on a draft: its words, and those of its test cases, are for those who read prompts."""
    text = shipped_prompt().template.replace("version: 1\n", "").replace("# role\n", "# role\nBe Zwirbel. ", 1)
    number = made.prompts.save(text, "key_ann", "a draft").version
    made.prompts.label("grounded-answer", number, "trial", LOCAL_OWNER)
    asker = PEOPLE[1]
    answer_id = made.answering.ask(Question("Who keeps register 1?", asker, prompt="grounded-answer@trial"))["id"]
    made.prompts.label("grounded-answer", 1, "trial", LOCAL_OWNER)
    for principal, shown in ((asker, False), (LOCAL_OWNER, True)):
        report = made.today.compare(answer_id, principal)
        (change,) = [one for one in report["changes"] if one["kind"] == "prompt"]
        assert "role" in change["sections"]
        assert ("Zwirbel" in json.dumps(report)) == shown


def test_settings_are_those_of_the_record(made: FastWorkspace, tmp_path: Path) -> None:
    """Candidates, top_k, tokens and exact search differ from the running ones: the record's are taken."""
    flags = {"candidates": 10, "context_tokens": 128, "top_k": 2, "search": "exact", "chunk_tokens": 48}
    with FastWorkspace(Settings.load(home=tmp_path / "home", **flags)) as other:
        answer_id = ask(other)
        context = other.answers.get(answer_id, LOCAL_OWNER).run["context"]
    report = made.replayer.replay(answer_id, LOCAL_OWNER)
    assert report["identical"]
    assert report["pinned"]["method"]["each"] == 10
    assert len(context) < len(made.answers.get(ask(made), LOCAL_OWNER).run["context"])
    changes = made.today.compare(answer_id, LOCAL_OWNER)["changes"]
    assert {one["kind"] for one in changes} >= {"settings", "ranking"}


def test_what_was_erased_or_is_not_yours_cannot_be_replayed(made: FastWorkspace) -> None:
    answer_id = ask(made, who=PEOPLE[1])
    for replays in (made.replayer.replay, made.today.compare):
        with pytest.raises(NotFound):
            replays(answer_id, PEOPLE[2])
        assert replays(answer_id, PEOPLE[1])["id"] == answer_id
    with made.database.write() as connection:
        number = made.answers.get(answer_id, LOCAL_OWNER).number
        connection.execute(delete(ledger_payload).where(ledger_payload.c.number == number))
    for replays in (made.replayer.replay, made.today.compare):
        with pytest.raises(Conflict, match="erased"):
            replays(answer_id, LOCAL_OWNER)


def test_a_replay_records_nothing(made: FastWorkspace) -> None:
    answer_id = ask(made)
    before = made.ledger.size()
    made.replayer.replay(answer_id, LOCAL_OWNER)
    made.today.compare(answer_id, LOCAL_OWNER)
    assert made.ledger.size() == before


# --- Models ---------------------------------------------------------------------------------------------------------


class Model:
    """A model server's stand-in: says what it is told to say, or fails."""

    info = ModelInfo("toy", "echo", {"temperature": 0.7})

    def __init__(self, *replies: str | GenerationFailed) -> None:
        self.replies = list(replies)
        self.asked: list[GenerationRequest] = []

    def generate(self, request: GenerationRequest) -> Generation:
        self.asked.append(request)
        reply = self.replies.pop(0)
        if isinstance(reply, GenerationFailed):
            raise reply
        return Generation(reply, prompt_tokens=7, completion_tokens=3, cost=0.5)


def with_model(made: FastWorkspace, model: Generator) -> tuple[Answering, Replayer]:
    settings = made.answering_settings
    return (
        Answering(made.snapshots, made.searcher, model, made.answers, settings, made._oversight, made.checks),
        Replayer(
            made.answers,
            made.snapshots,
            made.pins,
            made._searcher_as,
            ExtractiveGenerator(),
            lambda: model,
            settings,
            made._oversight,
            made.releases,
            made.checks,
        ),
    )


def test_a_models_reply_is_grounded_again_and_shown_beside_a_fresh_one(made: FastWorkspace) -> None:
    model = Model("Beta Team keeps register 1. [c1] It is blue.", "Gamma Team keeps it. [c1] It is blue.")
    answering, replayer = with_model(made, model)
    body = answering.ask(Question("Who keeps register 1?"))
    report = replayer.replay(body["id"], LOCAL_OWNER)
    assert report["identical"]
    assert model.asked[1].messages == model.asked[0].messages
    fresh = report["fresh"]
    assert (fresh["same"], fresh["reply"], fresh["error"]) == (False, "Gamma Team keeps it. [c1] It is blue.", None)
    assert "+ Gamma Team keeps it." in fresh["diff"]
    assert replayer.replay(body["id"], LOCAL_OWNER, ask_again=False)["fresh"] is None
    asker = Principal(LOCAL_OWNER.id, Role.APP, None)
    assert replayer.replay(body["id"], asker)["fresh"] is None


def test_a_model_is_asked_again_as_the_prompt_asks_it(made: FastWorkspace) -> None:
    text = shipped_prompt().template.replace("version: 1\n", "model: {temperature: 0.7, max_tokens: 99}\n")
    number = made.prompts.save(text, "key_ann", "warmer").version
    made.prompts.label("grounded-answer", number, "warm", LOCAL_OWNER)
    model = Model("Beta Team keeps register 1. [c1]", "Beta Team keeps register 1. [c1]")
    answering, replayer = with_model(made, model)
    body = answering.ask(Question("Who keeps register 1?", prompt="grounded-answer@warm"))
    assert replayer.replay(body["id"], LOCAL_OWNER)["fresh"]["same"]
    assert [one.options for one in model.asked] == [{"temperature": 0.7, "max_tokens": 99}] * 2


def test_a_model_that_is_away_fails_no_replay(made: FastWorkspace) -> None:
    answering, replayer = with_model(made, Model("Beta Team keeps it. [c1]", GenerationFailed("the server is away")))
    report = replayer.replay(answering.ask(Question("Who keeps register 1?"))["id"], LOCAL_OWNER)
    assert report["identical"]
    assert report["fresh"]["error"] == "the server is away"
    assert report["fresh"]["reply"] is None
    plain = made.replayer.replay(report["id"], LOCAL_OWNER)
    assert plain["identical"]
    assert plain["fresh"] is None  # no model is configured here


def test_a_failure_is_replayed_as_one(made: FastWorkspace) -> None:
    answering, replayer = with_model(made, Model(GenerationFailed("no room"), "Now it works. [c1]"))
    body = answering.ask(Question("Who keeps register 1?"))
    assert body["status"] == "failed"
    assert replayer.replay(body["id"], LOCAL_OWNER)["identical"]


def backwards(reply: Reply) -> None:
    scores = [{"index": i, "relevance_score": i / 8} for i in range(len(reply.request.body["documents"]))]
    reply.body(200, "application/json", json.dumps({"results": scores}).encode())


def broken(reply: Reply) -> None:
    reply.body(400, "application/json", b"{}")


def parts(*questions: str) -> Step:
    return lambda reply: reply.stream(token(json.dumps({"questions": questions})), finish(), DONE)


@pytest.mark.parametrize("reranks", [backwards, broken])
def test_helpers_are_not_asked_again(made: FastWorkspace, tmp_path: Path, serve: Serve, reranks: Step) -> None:
    """What the reranker and the decomposer said is in the record; the servers are gone when it is replayed."""
    reranker, decomposer = serve(reranks), serve(parts("Who meets on day 2?", "What is Alpha Team paid?"))
    flags = {"reranker_base_url": reranker.url, "reranker_model": "cross", "reranker_passages": 4, "decompose": "model"}
    flags |= {"openai_base_url": decomposer.url, "openai_model": "small", "chunk_tokens": 48}
    with FastWorkspace(Settings.load(home=tmp_path / "home", **flags)) as helped:
        answer_id = ask(helped)
        asked = len(reranker.seen), len(decomposer.seen)
        assert helped.replayer.replay(answer_id, LOCAL_OWNER)["identical"]
        assert (len(reranker.seen), len(decomposer.seen)) == asked
    report = made.replayer.replay(answer_id, LOCAL_OWNER)
    assert report["identical"], stages(report)
    assert set(report["pinned"]["method"]) >= {"reranker", "decomposer"}


# --- Today ----------------------------------------------------------------------------------------------------------


def changes(made: FastWorkspace, answer_id: str) -> dict[str, str]:
    """What the comparison says of each document, by its title."""
    compared = made.today.compare(answer_id, LOCAL_OWNER)
    return {one["title"]: one["change"] for one in compared["changes"] if one["kind"] == "document"}


def test_nothing_changed_is_the_same(made: FastWorkspace) -> None:
    compared = made.today.compare(ask(made), LOCAL_OWNER)
    assert (compared["same"], compared["changes"], compared["diff"]) == (True, [], [])


def test_every_fate_of_a_document_is_told(made: FastWorkspace, tmp_path: Path) -> None:
    who = Principal("key_hr", Role.APP, frozenset({"hr"}))
    answer_id = ask(made, "Who keeps registers, and what is Alpha Team paid?", who)
    before = made.answers.get(answer_id, LOCAL_OWNER)
    folder = tmp_path / "folder"
    (folder / "0.md").unlink()
    (folder / "1.md").write_text("# Register 1\n\nBeta Team keeps register 1 in Faro since May.\n")
    (folder / "new.md").write_text("# Register 9\n\nAlpha Team is paid to keep registers.\n")
    ingest(made, folder)
    rows = made.catalog.document_rows(made.catalog.source_id("folder", str(folder)), ["pay.jsonl#pay"])
    made.catalog.set_groups(dict.fromkeys(rows.values(), ("board",)))
    gone = next(item["document_id"] for item in before.run["context"] if title_of(made, item) == "Register 2")
    Withdrawals(made.database).withdraw([gone], {"reason": "wrong"})
    assert changes(made, answer_id) == {
        "Register 0": "gone",
        "Register 1": "revised",
        "Register 2": "withdrawn",
        "Pay": "hidden",
        "Register 9": "added",
    }
    assert made.replayer.replay(answer_id, LOCAL_OWNER)["identical"]


def title_of(made: FastWorkspace, item: dict[str, Any]) -> str:
    return made.pins.titles({(item["document_id"], item["revision"])})[item["document_id"]]


def test_outranked_and_risen_passages_are_told(made: FastWorkspace, tmp_path: Path) -> None:
    """One passage is read at a time; better ones come, and when they are withdrawn the old one is back."""
    flags = {"top_k": 1, "chunk_tokens": 48}
    folder = tmp_path / "folder"
    with FastWorkspace(Settings.load(home=tmp_path / "home", **flags)) as one:
        answer_id = ask(one, "Who keeps the blue register of Beta Team?")
        (folder / "blue.md").write_text("# The blue register\n\nBeta Team keeps the blue register of Beta Team.\n")
        ingest(one, folder)
        compared = one.today.compare(answer_id, LOCAL_OWNER)
        kinds = {change["change"]: change["words"] for change in compared["changes"]}
        assert set(kinds) == {"outranked", "added"}
        assert re.search(r"rank [2-9]$", kinds["outranked"])
        assert "The blue register" in kinds["added"]
        later = ask(one, "Who keeps the blue register of Beta Team?")
        blue = one.answers.get(later, LOCAL_OWNER).run["context"][0]["document_id"]
        Withdrawals(one.database).withdraw([blue], {"reason": "wrong"})
        back = one.today.compare(later, LOCAL_OWNER)
        assert [change["change"] for change in back["changes"]] == ["withdrawn", "risen"]
        assert re.search(r"it ranked [2-9] then$", back["changes"][1]["words"])
        assert not back["same"]
        assert back["diff"]


def test_another_model_of_today_is_told(made: FastWorkspace) -> None:
    answering, replayer = with_model(made, Model("Beta Team keeps register 1 in Lisbon. [c1]"))
    answer_id = answering.ask(Question("Who keeps register 1?"))["id"]
    compared = Today(replayer, made.pins, made.answering).compare(answer_id, LOCAL_OWNER)
    said = [change["words"] for change in compared["changes"] if change["kind"] == "model"]
    assert any('provider was "toy", is "extractive"' in words for words in said)


def test_a_question_about_the_past_is_asked_of_today(made: FastWorkspace, tmp_path: Path) -> None:
    write(tmp_path / "folder", 4, "Porto")
    ingest(made, tmp_path / "folder")
    body = made.answering.ask(Question("Where does Beta Team keep register 1?", as_of=1))
    compared = made.today.compare(body["id"], LOCAL_OWNER)
    assert compared["changes"][0]["kind"] == "snapshot"
    assert compared["current"]["retrieval"]["snapshot"] == 2
    assert not compared["same"]


# --- Words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recorded", "now", "words"),
    [
        ([1, 2], [1], "x: 2 were recorded, 1 came out"),
        ([{"a": 1, "b": 2}], [{"a": 1, "b": 3}], "x 1, b was 2, is 3"),
        ({"a": 1}, {}, "x has no a any more"),
        ({}, {"a": 1}, "x has a a, which was not recorded"),
        ("one", "two", "x was “one”, is “two”"),
        (
            "a" * 90 + "b",
            "a" * 90 + "c",
            "x differs from character 90 on: “b…” was recorded, “c…” came out",
        ),
        ([1.0], [1], "x 1 was 1.0, is 1"),
    ],
)
def test_the_first_difference_in_words(recorded: Any, now: Any, words: str) -> None:
    assert first_difference("x", recorded, now) == words


def test_texts_are_compared_by_sentence() -> None:
    assert text_diff("One. Two.", "One. Two.") == []
    assert text_diff("One. Two.", "One. Three.") == ["  One.", "- Two.", "+ Three."]
