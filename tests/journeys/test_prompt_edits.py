"""Many people and several processes at one library: no edit is lost, and a label that moved counts everywhere."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fast_parts import FastWorkspace, InlineParser, fast_workspace

from kernel.records import Principal, Role
from pipeline.prompts.exchange import new_draft

CHILD = Path(__file__).with_name("prompt_child.py")
QUESTION = "Where does Alpha Team keep register 0?"
EDITS, EDITORS = 200, 8
SOON = 1.0
"""Seconds in which a label that moved must count everywhere."""
ANN, BOB = Principal("key_ann", Role.EDITOR), Principal("key_bob", Role.REVIEWER)
ADMIN = Principal("key_admin", Role.ADMIN, None)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[FastWorkspace]:
    """A workspace of this process, with a document."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "0.md").write_text("# Register 0\n\nAlpha Team keeps register 0 in Lisbon.\n")
    with fast_workspace(tmp_path / "home") as made:
        made.indexer.ingest(InlineParser(), [folder], "folder")
        yield made


@contextmanager
def elsewhere(home: Path) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """Another process that serves the same home: clients of an app and of an editor."""
    arguments = [sys.executable, str(CHILD), str(home)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            url, *secrets = child.stdout.readline().split()
            app, editor = (
                httpx.Client(base_url=url, headers={"Authorization": f"Bearer {one}"}, timeout=60, trust_env=False)
                for one in secrets
            )
            with app, editor:
                yield app, editor
        finally:
            child.stdin.close()


def live(made: FastWorkspace, text: str) -> int:
    """A version that passed every gate."""
    library = made.prompts
    number = library.save(text, ANN.id, "").version
    library.submit("team", number, ANN)
    library.approve("team", number, BOB)
    library.tested("team", number, ANN, {"model": library._gates().model, "passed": True, "cases": 1, "failed": 0}, {})
    return number


def test_a_label_that_moved_counts_in_another_process_at_the_next_question(here: FastWorkspace) -> None:
    text = new_draft("team", grounded=True)
    one, two = live(here, text), live(here, text.replace("Specific and short", "In one sentence"))
    here.prompts.label("team", one, "production", ADMIN)
    with elsewhere(here.settings.home) as (app, editor):

        def answered() -> int:
            response = app.post("/v1/query", json={"question": QUESTION, "prompt": "team"})
            assert response.status_code == 200, response.text
            number: int = response.json()["prompt"]["version"]
            return number

        assert answered() == one
        for number in (two, one) * 3:
            if number == two:
                here.prompts.label("team", two, "production", ADMIN)
            else:
                here.prompts.rollback("team", ADMIN)
            begin = time.perf_counter()
            assert answered() == number
            assert time.perf_counter() - begin < SOON
            assert editor.get("/v1/prompts/team").json()["labels"] == {"production": number}
        mine = editor.put(
            "/v1/prompts/team",
            json={"text": text.replace("Specific", "Plain")},
            headers={"If-Match": editor.get("/v1/prompts/team").headers["etag"]},
        )
        assert here.prompts.versions("team")[0].version == mine.json()["version"] == 3
    assert list(here.verifier.faults()) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_edits_at_the_same_time_lose_nothing(here: FastWorkspace) -> None:
    """Each editor reads, adds a line, and saves with If-Match until it took: every line is there, every one once."""
    conflicts, guard = [0], threading.Lock()
    with elsewhere(here.settings.home) as (_, editor):
        at = "/v1/prompts/busy"
        first = editor.put(at, json={"text": new_draft("busy")}, headers={"If-None-Match": "*"})
        assert first.status_code == 201, first.text

        def add(number: int) -> None:
            while True:
                found = editor.get(at)
                text = found.json()["text"].replace("\n# task\n", f"- Case {number}.\n\n# task\n")
                headers = {"If-Match": found.headers["etag"], "Idempotency-Key": f"{number} of {found.headers['etag']}"}
                status = editor.put(at, json={"text": text, "message": f"case {number}"}, headers=headers).status_code
                if status == 201:
                    return
                assert status == 412
                with guard:
                    conflicts[0] += 1

        with ThreadPoolExecutor(EDITORS) as pool:
            list(pool.map(add, range(EDITS)))
        newest = editor.get(at).json()
    lines = [line for line in newest["text"].splitlines() if line.startswith("- Case ")]
    assert sorted(lines) == sorted(f"- Case {number}." for number in range(EDITS))
    assert newest["version"] == EDITS + 1
    assert conflicts[0] > 0
    versions = here.prompts.versions("busy")
    assert [one.version for one in versions] == list(range(EDITS + 1, 0, -1))
    for older, newer in zip(versions[1:], versions, strict=False):
        assert len(newer.template.splitlines()) == len(older.template.splitlines()) + 1
    assert list(here.verifier.faults()) == []
