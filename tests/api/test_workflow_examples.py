"""Each workflow that comes with the program, by one command on a fresh workspace; what waits is approved by another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workflow_site import SHIPPED

VOUCH = Path(sys.executable).parent / "vouch"
PATIENCE = 60.0


class Vouch:
    """The installed program on a home with a reviewer's key and a worker."""

    def __init__(self, home: Path, models: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("VOUCH_")}
        self._environment = kept | {"VOUCH_MODELS": str(models), "VOUCH_HOME": str(home)}
        self.home = home

    def __call__(self, *words: str) -> Any:
        command = [str(VOUCH), *words, "--json"]
        run = subprocess.run(command, env=self._environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        assert run.returncode == 0, (words, run.stdout, run.stderr)
        return json.loads(run.stdout)

    def worker(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([str(VOUCH), "worker"], env=self._environment, stderr=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def vouch(tmp_path_factory: pytest.TempPathFactory, models: Path) -> Iterator[Vouch]:
    made = Vouch(tmp_path_factory.mktemp("home"), models)
    made("sources", "list")
    process = made.worker()
    try:
        yield made
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def key(vouch: Vouch) -> str:
    return str(vouch("keys", "create", "--role", "reviewer")["key"])


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", sorted(path.stem for path in SHIPPED.glob("*.yaml")))
def test_every_example_runs_by_one_command(vouch: Vouch, key: str, name: str) -> None:
    run = vouch("workflows", "run", name, "--example")
    if run["status"] == "waiting":
        (task,) = [
            one for one in vouch("reviews", "list", "--state", "open")["items"] if one.get("run_id") == run["id"]
        ]
        seen = vouch("reviews", "show", task["id"], "--key", key)["payload_sha256"]
        vouch("reviews", "approve", task["id"], "--seen", seen, "--key", key)
    end = time.monotonic() + PATIENCE
    while run["status"] not in ("done", "failed") and time.monotonic() < end:
        time.sleep(0.2)
        run = vouch("runs", "show", run["id"])
    assert run["status"] == "done", run
    delivered = run["output"].get("delivered")
    folder = vouch.home / "workspaces" / "default" / "deliveries"
    assert delivered is None or (folder / delivered).stat().st_size > 100
