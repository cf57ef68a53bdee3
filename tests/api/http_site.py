"""A served workspace for the tests of HTTP: real documents, real keys, a real server on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.assembly import Workspace
from kernel.records import Role
from kernel.settings import Settings

TEAMS = ("Orion", "Lyra", "Cygnus", "Draco", "Perseus", "Auriga", "Carina", "Corvus")
SALARY = "The salary band of Quetzalcoatl is 91000 euros a year."
QUESTION = "How long does the Orion team keep its backups?"


def write_handbook(folder: Path, days: int) -> None:
    """A folder of pages, one a team, and records of which one is for group hr only."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, team in enumerate(TEAMS):
        keep = days if team == "Orion" else 100 + number
        page = (
            f"# Team {team}\n\nThe {team} team keeps its backups for {keep} days. Its lead sits in room {number + 7}.\n"
        )
        (folder / f"{team.lower()}.md").write_text(page)
    records = [
        {"id": "pay", "title": "Salaries", "text": SALARY, "groups": ["hr"]},
        {"id": "canteen", "title": "Canteen", "text": "The canteen opens at 11:30 and serves soup on Fridays."},
    ]
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def ingest(workspace: Workspace, folder: Path, name: str) -> int | None:
    """Bring a folder in; the number of the snapshot that shows it."""
    with workspace.parser_pool() as parser:
        return workspace.indexer.ingest(parser, [folder], name)[0].snapshot


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """Run a server on loopback; its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@dataclass
class Site:
    """A running server, with a client for each kind of key; `anonymous` has none."""

    workspace: Workspace
    app: FastAPI
    handbook: Path
    anonymous: httpx.Client
    app_key: httpx.Client
    hr: httpx.Client
    editor: httpx.Client
    reviewer: httpx.Client
    admin: httpx.Client

    def job(self, response: httpx.Response) -> dict[str, Any]:
        """The job that a 202 names, once it has ended."""
        assert response.status_code == 202, response.text
        for _ in range(3000):
            job: dict[str, Any] = self.admin.get(response.headers["location"]).json()
            if job["state"] in ("done", "failed"):
                return job
            time.sleep(0.02)
        raise AssertionError("the job does not end")

    def walk(self, client: httpx.Client, path: str, limit: int) -> list[dict[str, Any]]:
        """Every item of a listing, page by page."""
        items: list[dict[str, Any]] = []
        cursor = None
        while True:
            asked = {"limit": limit} | ({"cursor": cursor} if cursor else {})
            page = client.get(path, params=asked).raise_for_status().json()
            assert len(page["items"]) <= limit
            assert page["items"] or cursor is None
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return items


@contextmanager
def site_at(home: Path, models: Path, **flags: Any) -> Iterator[Site]:
    """A site over a fresh home with two snapshots: in 1 Orion keeps backups for 30 days, in 2 for 45."""
    with Workspace(Settings.load(home=home, models=models, threads=1, **flags)) as workspace:
        handbook = home / "handbook"
        for days in (30, 45):
            write_handbook(handbook, days)
            ingest(workspace, handbook, "handbook")
        app = create_app(workspace)
        with served(app) as url:
            keys = {
                "anonymous": None,
                "app_key": workspace.keys.create(Role.APP)[1],
                "hr": workspace.keys.create(Role.APP, ["hr"])[1],
                "editor": workspace.keys.create(Role.EDITOR)[1],
                "reviewer": workspace.keys.create(Role.REVIEWER)[1],
                "admin": workspace.keys.create(Role.ADMIN, None)[1],
            }
            clients = {name: client_of(url, key) for name, key in keys.items()}
            try:
                yield Site(workspace, app, handbook, **clients)
            finally:
                for client in clients.values():
                    client.close()


def client_of(url: str, key: str | None) -> httpx.Client:
    """A client that sends `key`."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)
