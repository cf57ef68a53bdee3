"""A user's whole way on the command line, each step a process of its own: documents come, change, and go back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

VOUCH = Path(sys.executable).parent / "vouch"
QUESTION = "How many days may an employee work from home?"


class Vouch:
    """The installed program, on one home."""

    def __init__(self, home: Path, models: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VOUCH_")}
        self._environment = kept | {"VOUCH_MODELS": str(models), "VOUCH_HOME": str(home)}

    def __call__(self, *words: object, code: int = 0) -> Any:
        command = [str(VOUCH), *(str(word) for word in words), "--json"]
        run = subprocess.run(
            command, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
        )
        assert run.returncode == code, (words, run.stdout, run.stderr)
        return json.loads(run.stdout)


@pytest.fixture
def vouch(tmp_path: Path, models: Path) -> Vouch:
    return Vouch(tmp_path / "home", models)


@pytest.mark.slow
def test_documents_change_and_the_past_can_still_be_asked(vouch: Vouch, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    home_work = docs / "home-work.md"
    home_work.write_text("# Home work\n\nAn employee may work from home on two days of every week.\n")
    (docs / "travel.md").write_text("# Travel\n\nHotel costs up to 140 euros a night are paid back.\n")

    (first,) = vouch("ingest", docs)["sources"]
    assert (first["added"], first["failed"], first["snapshot"]) == (2, 0, 1)
    answer = vouch("ask", QUESTION)
    assert answer["status"] == "answered"
    assert "two days" in answer["answer"]
    published = datetime.now(UTC).isoformat()
    assert [item["id"] for item in vouch("answers", "list")["items"]] == [answer["id"]]
    citation = answer["citations"][0]
    text = vouch("documents", "text", citation["document_id"], "--revision", citation["revision"])["text"]
    assert text[citation["start"] : citation["end"]] == citation["quote"]
    cited = [item for item in vouch("lineage", answer["id"])["context"] if item["cited"]]
    assert [item["document_id"] for item in cited] == [citation["document_id"]]

    home_work.write_text("# Home work\n\nAn employee may work from home on four days of every week.\n")
    (docs / "travel.md").unlink()
    (second,) = vouch("ingest", docs)["sources"]
    assert (second["changed"], second["removed"], second["snapshot"]) == (1, 1, 2)
    assert "four days" in vouch("ask", QUESTION)["answer"]

    past = vouch("ask", QUESTION, "--as-of", "1")
    assert "two days" in past["answer"]
    assert past["retrieval"] | {"snapshot": 1, "as_of": 1} == past["retrieval"]
    assert "two days" in vouch("ask", QUESTION, "--as-of", published)["answer"]

    assert vouch("snapshots", "rollback", 1) == {"snapshot": 1, "previous": 2}
    assert "two days" in vouch("ask", QUESTION)["answer"]
    assert [item["live"] for item in vouch("snapshots")["items"]] == [False, True]

    assert vouch("verify") == {"ok": True, "faults": []}
