"""After an erasure nothing of it is left in any file or table, every proof holds, and questions never failed."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from erased_search import check_that_it_finds, found_in
from fast_parts import FastWorkspace, InlineParser
from sqlalchemy import select

from kernel import merkle
from kernel.errors import Conflict, NotFound
from kernel.ids import derived_id
from kernel.notes import parse_checkpoint
from kernel.ports import GenerationRequest
from kernel.records import LOCAL_OWNER, Generation, Principal, Question, Role
from kernel.settings import Settings
from kernel.storage.erasure import ErasureRequest
from kernel.storage.schema import chunk
from pipeline.extractive import ExtractiveGenerator

SECRET = "Ottilie Quandelbrock"
PAGE = f"# Dossier of {SECRET}\n\n{SECRET} keeps her savings of 481516234210 euros in the Zwirbelbank of Murnau.\n"
OTHER = "# Canteen\n\nThe canteen opens at eleven and serves soup on Fridays. It closes at three.\n"
NEEDLES = [SECRET, "Quandelbrock", "Zwirbelbank", "dossier-of-quandelbrock"]
QUESTIONS = ("Where does Ottilie Quandelbrock keep her savings?", "When does the canteen open?")
ASKER = Principal("key_asker", Role.APP)


def settings_of(tmp_path: Path, url: str | None = None) -> Settings:
    return Settings.load(
        home=tmp_path / "home", workspace=f"t{secrets.token_hex(8)}", database_url=url, chunk_tokens=48
    )


def fill(made: FastWorkspace, folder: Path) -> str:
    """Two documents, three snapshots, four answers; the id of the document to be erased."""
    folder.mkdir(exist_ok=True)
    (folder / "canteen.md").write_text(OTHER)
    (folder / "dossier-of-quandelbrock.md").write_text(PAGE.replace("481516234210", "100"))
    made.indexer.ingest(InlineParser(), [folder], "folder")
    (folder / "dossier-of-quandelbrock.md").write_text(PAGE)
    made.indexer.ingest(InlineParser(), [folder], "folder")
    for question in QUESTIONS:
        made.answering.ask(Question(question, ASKER))
        made.answering.ask(Question(question))
    return derived_id("doc", "folder", "dossier-of-quandelbrock.md")


@pytest.fixture
def made(tmp_path: Path) -> Iterator[FastWorkspace]:
    with FastWorkspace(settings_of(tmp_path)) as workspace:
        yield workspace


def faults(made: FastWorkspace) -> list[str]:
    return [f"{fault.where}: {fault.what}" for fault in made.verifier.faults()]


def check_proofs(made: FastWorkspace, before: str) -> None:
    """Every leaf is still in the tree, and the tree grew out of the one before."""
    ledger, old = made.ledger, parse_checkpoint(before.partition("\n\n")[0] + "\n")
    size = ledger.size()
    root = parse_checkpoint(ledger.checkpoint().partition("\n\n")[0] + "\n").root
    assert merkle.consistent(old.size, size, old.root, root, ledger.consistency(old.size))
    for leaf in ledger.leaves(0, size):
        assert merkle.included(bytes.fromhex(leaf.sha256), leaf.number, size, ledger.inclusion(leaf.number), root)


def test_the_search_itself_finds(tmp_path: Path) -> None:
    check_that_it_finds(tmp_path / "samples")


def test_a_document_leaves_nothing_behind(made: FastWorkspace, tmp_path: Path) -> None:
    document = fill(made, tmp_path / "folder")
    home = made.settings.home
    with made.database.read() as connection:
        rows = connection.execute(select(chunk.c.text, chunk.c.vector, chunk.c.signature)).all()
    vectors = [bytes(part) for row in rows if SECRET in row.text for part in (row.vector, row.signature)]
    assert found_in(home, NEEDLES)
    assert found_in(home, vectors)
    before, answers = made.ledger.checkpoint(), made.answers.items(LOCAL_OWNER, limit=9)
    done = made.eraser.erase(ErasureRequest(documents=(document,)), "a request", "local")
    assert done.done
    assert done.certificate["ledger"]["verified"]
    assert done.certificate["ledger"]["consistent"]
    assert done.certificate["counts"]["answers"] >= 2
    assert made.erasures.why(done.id)["reason"] == "a request"
    assert faults(made) == []
    check_proofs(made, before)
    assert found_in(home, vectors) == []
    assert found_in(home, NEEDLES) == []
    after = dict(made.answers.items(LOCAL_OWNER, limit=9))
    assert after.keys() == dict(answers).keys()
    emptied = [record for record in after.values() if record.erased]
    assert len(emptied) == done.certificate["counts"]["answers"]
    assert all(record.body["status"] == "erased" for record in emptied)


def erase_quietly(made: FastWorkspace, document: str) -> None:
    made.eraser.erase(ErasureRequest(documents=(document,)), "a request", "local")


def test_questions_go_on_while_a_document_is_erased(made: FastWorkspace, tmp_path: Path) -> None:
    """With many questions under way; nothing of the document is recorded after it is gone."""
    document = fill(made, tmp_path / "folder")
    stop, failed, asked = threading.Event(), list[BaseException](), list[int]()

    def ask() -> None:
        while not stop.is_set():
            try:
                for question in QUESTIONS:
                    made.answering.ask(Question(question.replace(SECRET, "she").replace("Ottilie Quandelbrock", "she")))
                    asked.append(1)
            except BaseException as error:  # noqa: BLE001 - reported below
                failed.append(error)
                return

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    while len(asked) < 12:
        assert not failed, failed
    erase_quietly(made, document)
    seen = len(asked)
    while len(asked) < seen + 12:
        assert not failed, failed
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert faults(made) == []
    made.eraser.resume()
    assert found_in(made.settings.home, NEEDLES) == []


class Interrupted(ExtractiveGenerator):
    """Answers as always, but for one thing that happens while it does so for the first time."""

    def __init__(self, event: Callable[[], None]) -> None:
        super().__init__()
        self._events = [event]

    def generate(self, request: GenerationRequest) -> Generation:
        if self._events:
            self._events.pop()()
        return super().generate(request)


def test_an_answer_that_an_erasure_overtakes_is_made_anew(made: FastWorkspace, tmp_path: Path) -> None:
    document = fill(made, tmp_path / "folder")
    made.__dict__.pop("answering")
    made.__dict__["generator"] = Interrupted(lambda: erase_quietly(made, document))
    body = made.answering.ask(Question("Where are the savings kept?"))
    assert body["retrieval"]["used"] == 1
    assert SECRET not in str(body)
    assert faults(made) == []
    assert found_in(made.settings.home, NEEDLES) == []


def test_names_that_were_erased_can_come_again(made: FastWorkspace, tmp_path: Path) -> None:
    """Rows of entities that are gone are not remembered, nor taken for others."""
    document = fill(made, tmp_path / "folder")
    erase_quietly(made, document)
    (tmp_path / "folder" / "bank.md").write_text("# Banks\n\nThe Zwirbelbank of Murnau and the Bank of Lisbon met.\n")
    made.indexer.ingest(InlineParser(), [tmp_path / "folder"], "folder")
    with FastWorkspace(made.settings) as other:
        rows = [row for row in other.corpus.index_rows(0) if "Zwirbelbank" in row.text]
        names = other.corpus.names_in([row.chunk_id for row in rows])
        assert any("zwirbelbank" in name for found in names.values() for name in found)
    assert faults(made) == []


def test_an_erased_document_stays_out_until_it_is_allowed(made: FastWorkspace, tmp_path: Path) -> None:
    document, folder = fill(made, tmp_path / "folder"), tmp_path / "folder"
    erase_quietly(made, document)
    (report,) = made.indexer.ingest(InlineParser(), [folder], "folder")
    assert (report.added, report.removed, report.failed) == (0, 0, 1)
    assert report.failures[0][1].startswith("erased: not ingested")
    with pytest.raises(NotFound):
        made.catalog.document(document, made.snapshots.live().snapshot, LOCAL_OWNER)
    assert SECRET not in str(made.answering.ask(Question("Where are the savings kept?"))["citations"])
    made.erasures.allow_again([document], "a mistake", "local")
    (report,) = made.indexer.ingest(InlineParser(), [folder], "folder")
    assert (report.added, report.failed) == (1, 0)
    shown = made.catalog.document(document, made.snapshots.live().snapshot, LOCAL_OWNER)
    assert (shown.path, shown.status) == ("dossier-of-quandelbrock.md", "ok")
    assert SECRET in str(made.answering.ask(Question(QUESTIONS[0]))["citations"])
    assert faults(made) == []


def test_passages_never_take_the_numbers_of_erased_ones(made: FastWorkspace, tmp_path: Path) -> None:
    document = fill(made, tmp_path / "folder")
    with made.database.read() as connection:
        known = set(connection.execute(select(chunk.c.id)).scalars())
    erase_quietly(made, document)
    (tmp_path / "folder" / "new.md").write_text("# New\n\nA new page about pencils.\n")
    made.indexer.ingest(InlineParser(), [tmp_path / "folder"], "folder")
    with made.database.read() as connection:
        now = set(connection.execute(select(chunk.c.id)).scalars())
    assert min(now - known) > max(known)
    assert "pencils" in str(made.answering.ask(Question("What is the new page about?"))["citations"])
    assert faults(made) == []


def test_another_process_lets_go_of_the_old_index(made: FastWorkspace, tmp_path: Path) -> None:
    document = fill(made, tmp_path / "folder")
    with FastWorkspace(made.settings) as other:
        other.answering.ask(Question(QUESTIONS[1]))
        old = other.library._opened
        erase_quietly(made, document)
        assert other.answering.ask(Question(QUESTIONS[1]))["retrieval"]["used"] == 1
        assert old is not None
        assert other.library._opened is not old
        assert all(opened is other.library._opened for opened, _ in other.library._views.values())
        (tmp_path / "folder" / "new.md").write_text("# Quandelbrock\n\nQuandelbrock is also a village.\n")
        other.indexer.ingest(InlineParser(), [tmp_path / "folder"], "folder")
    assert faults(made) == []


def test_a_person_leaves_nothing_behind(made: FastWorkspace, tmp_path: Path) -> None:
    fill(made, tmp_path / "folder")
    key, secret = made.keys.create(Role.APP, (), "Wenzel Strubbelkopf's laptop")
    principal = made.keys.authenticate(secret)
    made.answering.ask(Question("What does Wenzel Strubbelkopf eat in the canteen?", principal))
    made.requests.keep(key.id, "wenzel-1", "0" * 64, 200, {"question": "Strubbelkopf"})
    assert found_in(made.settings.home, ["Strubbelkopf"])
    done = made.eraser.erase(ErasureRequest(principals=(key.id,)), "a request", "local")
    assert done.certificate["removed"]["api_key"] == 1
    assert found_in(made.settings.home, ["Strubbelkopf", "wenzel-1"]) == []
    assert faults(made) == []
    assert [one.principal for _, one in made.answers.items(LOCAL_OWNER, limit=9) if one.erased] == [""]
    assert made.keys.items()[0].revoked_at is not None
    with pytest.raises(Conflict, match="erased before"):
        made.eraser.erase(ErasureRequest(principals=(key.id,)), "again", "local")


def test_a_person_is_taken_out_of_what_was_emptied_before(made: FastWorkspace, tmp_path: Path) -> None:
    document = fill(made, tmp_path / "folder")
    erase_quietly(made, document)
    made.eraser.erase(ErasureRequest(principals=("local",)), "a request", "key_admin")
    emptied = [one for _, one in made.answers.items(LOCAL_OWNER, limit=9) if one.erased]
    assert {one.principal for one in emptied} == {"", ASKER.id}
    assert faults(made) == []


def test_a_hold_forbids_erasure(made: FastWorkspace, tmp_path: Path) -> None:
    document = fill(made, tmp_path / "folder")
    answer = made.answers.items(ASKER, limit=9)[-1][1].id
    for scope, value in (
        ("document", document),
        ("source", "folder"),
        ("principal", ASKER.id),
        ("answer", answer),
        ("all", ""),
    ):
        held = made.holds.place(scope, value, "a lawsuit", "local")
        with pytest.raises(Conflict, match=held.id):
            made.eraser.erase(ErasureRequest(documents=(document,)), "a request", "local")
        with pytest.raises(Conflict, match=held.id):
            made.eraser.preview(ErasureRequest(principals=(ASKER.id,)))
        made.holds.release(held.id, "settled", "local")
    assert made.erasures.items() == []
    assert faults(made) == []
    erase_quietly(made, document)
    assert faults(made) == []


def test_uploads_go_and_other_records_of_their_file_stay(made: FastWorkspace) -> None:
    folder = made.settings.workspace_folder / "uploads" / "desk"
    folder.mkdir(parents=True)
    (folder / "people.jsonl").write_text(
        f'{{"id": "a", "text": "{SECRET} lives in Murnau."}}\n{{"id": "b", "text": "The soup is hot on Fridays."}}\n'
    )
    (folder / "note.md").write_text(PAGE)
    made.indexer.ingest(InlineParser(), [folder], "desk")
    ids = tuple(derived_id("doc", "desk", path) for path in ("people.jsonl#a", "note.md"))
    assert made.eraser.preview(ErasureRequest(documents=ids))["uploads"] == 2
    made.eraser.erase(ErasureRequest(documents=ids), "a request", "local")
    assert found_in(made.settings.home, NEEDLES) == []
    assert not (folder / "note.md").exists()
    (report,) = made.indexer.ingest(InlineParser(), [folder], "desk")
    assert (report.unchanged, report.removed, report.failed) == (1, 0, 0)
    assert faults(made) == []


def test_a_source_of_which_nothing_is_left_is_forgotten(made: FastWorkspace, tmp_path: Path) -> None:
    path = tmp_path / "dossier-of-quandelbrock.md"
    path.write_text(PAGE)
    made.indexer.ingest(InlineParser(), [path])
    job = made.jobs.accept("ingest", {"source": str(path), "paths": [str(path)]})
    made.jobs.fail(job.id, f"{path} cannot be read")
    erase_quietly(made, derived_id("doc", str(path), path.name))
    assert found_in(made.settings.home, NEEDLES) == []
    assert faults(made) == []
