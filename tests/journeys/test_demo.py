"""The demo: that it asks about real documents, judges answers, and ends as its promise says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from api.demo import QUESTIONS, DemoQuestion, documents

VOUCH = Path(sys.executable).parent / "vouch"
LICENCE = next(question for question in QUESTIONS if len(question.cites) == 2)
UNANSWERABLE = next(question for question in QUESTIONS if not question.cites)


def body(status: str = "answered", answer: str = "", titles: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"status": status, "reason": None, "answer": answer, "citations": [{"title": title} for title in titles]}


def test_the_documents_are_the_metadata_of_what_is_installed() -> None:
    found = documents()
    assert 40 <= len(found) <= 90
    assert len({path.parent.name for path in found}) == len(found)
    assert all(path.read_text(encoding="utf-8").startswith("Metadata-Version:") for path in found)
    names = {path.parent.name.partition("-")[0] for path in found}
    assert {"fastapi", "starlette"} <= names
    assert "pytest" not in names


def test_what_an_answer_must_say_is_read_from_the_packages() -> None:
    assert all(question.expected() != "nothing" for question in QUESTIONS if question.cites)
    command = LICENCE.check()
    shown = subprocess.run(command, shell=True, capture_output=True, text=True, check=True).stdout
    assert LICENCE.expected() in shown


@pytest.mark.parametrize(
    ("question", "given", "wrong"),
    [
        (LICENCE, body(answer=f"It is {LICENCE.expected()}.", titles=("fastapi", "starlette")), None),
        (LICENCE, body(answer=f"It is {LICENCE.expected()}.", titles=("fastapi",)), "nothing of starlette is cited"),
        (LICENCE, body(answer="It is GPL.", titles=("fastapi", "Starlette")), "it does not say"),
        (LICENCE, body("abstained"), "it was not answered"),
        (LICENCE, body("partial", LICENCE.expected(), LICENCE.cites), "it was not answered in full"),
        (UNANSWERABLE, body("abstained"), None),
        (UNANSWERABLE, body(answer="Ten.", titles=("fastapi",)), "it was answered although no document says"),
    ],
)
def test_an_answer_is_judged(question: DemoQuestion, given: dict[str, Any], wrong: str | None) -> None:
    found = question.shortcoming(given)
    assert (found is None) if wrong is None else (found or "").startswith(wrong)


@pytest.mark.slow
def test_the_demo_indexes_answers_and_verifies_and_is_quick_the_second_time(tmp_path: Path, models: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VOUCH_")}
    environment = kept | {"VOUCH_MODELS": str(models), "VOUCH_HOME": str(tmp_path)}
    cold = subprocess.run([VOUCH, "demo"], env=environment, capture_output=True, text=True, timeout=160)
    assert cold.returncode == 0, (cold.stdout, cold.stderr)
    assert cold.stdout.splitlines()[-1] == "record verified"
    assert cold.stdout.count("Recorded as ans_") == len(QUESTIONS)
    assert (tmp_path / "demo" / "workspaces" / "demo" / "vouch.db").is_file()

    warm = subprocess.run([VOUCH, "--json", "demo"], env=environment, capture_output=True, text=True, timeout=60)
    assert warm.returncode == 0, (warm.stdout, warm.stderr)
    report = json.loads(warm.stdout)
    assert report["ok"] is True
    assert (report["ingest"]["added"], report["ingest"]["changed"]) == (0, 0)
    assert report["ingest"]["unchanged"] == len(documents())
    assert report["seconds"] <= 15
