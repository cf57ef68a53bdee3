"""The program as a process: what it loads, how fast it is there, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

HEAVY = ("torch", "sentence_transformers", "docutils", "lxml", "pptx", "docx", "openpyxl", "pypdfium2", "transformers")
ENTRY = "import sys; from api.cli import main; sys.argv[0] = 'vouch'; main()"


@pytest.fixture
def environment(models: Path, tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("VOUCH_")}
    return kept | {"VOUCH_MODELS": str(models), "VOUCH_HOME": str(tmp_path / "home")}


@contextmanager
def start(environment: dict[str, str], *words: str) -> Iterator[subprocess.Popen[str]]:
    """The program at work; ended by force where the test fails before it ends by itself."""
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", ENTRY, *words]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run(environment: dict[str, str], *words: str) -> tuple[int, str, str]:
    """The exit code, output and log of a whole call."""
    with start(environment, *words) as process:
        out, log = process.communicate(timeout=30)
        return process.returncode, out, log


def test_no_command_loads_what_only_parsing_or_exporting_needs() -> None:
    script = (
        "import importlib, sys; from api.cli.app import COMMANDS; "
        "[importlib.import_module(f'api.cli.{entry.module}') for entry in COMMANDS.values()]; "
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (shown.stdout.strip(), shown.stderr) == ("[]", "")


def test_help_loads_no_part_of_vouch_but_its_command_line() -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from api.cli import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; "
        "print([name for name in ('numpy', 'sqlalchemy', 'fastapi', 'api.assembly') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (shown.stdout.strip(), shown.stderr) == ("[]", "")


def test_serve_makes_a_first_key_answers_and_ends_when_told(environment: dict[str, str]) -> None:
    with start(environment, "serve", "--port", "0", "--json") as server:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        key = {"Authorization": f"Bearer {told['key']}"}
        assert httpx.get(f"{told['url']}/livez").status_code == 200
        assert httpx.get(f"{told['url']}/v1/entities?prefix=salary").status_code == 401
        assert httpx.get(f"{told['url']}/v1/entities?prefix=salary", headers=key).status_code == 200
        server.send_signal(signal.SIGTERM)
        out, log = server.communicate(timeout=20)
    assert server.returncode == 0
    assert out == ""
    assert "GET /v1/entities HTTP" in log
    assert "salary" not in log
    assert told["key"] not in log


def test_serve_shows_a_key_once_and_will_not_open_itself_to_others_without_one(environment: dict[str, str]) -> None:
    code, _, words = run(environment, "serve", "--host", "0.0.0.0", "--port", "0")
    assert code == 2
    assert "vouch keys create" in words

    secret = json.loads(run(environment, "keys", "create", "--role", "admin", "--json")[1])["key"]
    with start(environment, "serve", "--host", "0.0.0.0", "--port", "0", "--json") as server:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        assert told["key"] is None
        address = told["url"].replace("0.0.0.0", "127.0.0.1")
        listed = httpx.get(f"{address}/v1/keys", headers={"Authorization": f"Bearer {secret}"}).json()["items"]
        assert len(listed) == 1
        code, _, words = run(environment, "serve", "--port", address.rpartition(":")[2], "--host", "0.0.0.0")
        assert code == 3
        assert "cannot listen" in words
        server.send_signal(signal.SIGTERM)
        server.communicate(timeout=20)


def test_an_interrupted_ingest_says_what_stays(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    words = "The retention period of invoice records is ten years and the keeper is the Finance Desk. "
    for number in range(60):
        (tmp_path / "docs" / f"{number}.md").write_text(f"# Part {number}\n\n" + words * 120)
    with start(environment, "ingest", str(tmp_path / "docs"), "--json") as ingest:
        database = tmp_path / "home" / "workspaces" / "default" / "vouch.db"
        while not database.exists() and ingest.poll() is None:
            time.sleep(0.05)
        time.sleep(1.0)
        assert ingest.poll() is None
        ingest.send_signal(signal.SIGINT)
        out, log = ingest.communicate(timeout=30)
    assert ingest.returncode == 130
    assert out == ""
    assert "interrupted: what was published stays" in log
    assert json.loads(run(environment, "documents", "list", "--json")[1])["items"] == []


def test_a_fault_of_the_program_keeps_its_traceback(environment: dict[str, str], tmp_path: Path) -> None:
    database = tmp_path / "home" / "workspaces" / "default" / "vouch.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"this is no database at all " * 400)
    code, out, log = run(environment, "sources", "--json")
    assert code == 1
    assert json.loads(out)["error"]["detail"]
    assert log.startswith("error: ")
