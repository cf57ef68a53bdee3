"""Telling people through a web hook: signed, only where the settings allow it, and never in the way of the work."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fast_parts import FastWorkspace, fast_workspace
from outside_parts import Answer, WebServer, no_guards
from task_parts import ONE, Office, call_of

from api.flow_kinds import guards_of, notifier_of
from kernel.errors import InvalidInput
from kernel.providers.egress import Egress, Hosts
from kernel.settings import Settings
from pipeline.workflows.asking import Asks
from pipeline.workflows.notices import WebhookNotifier
from pipeline.workflows.signatures import HEADER, is_signed
from pipeline.workflows.steps.review import Review

SECRET = "a secret of thirty-two characters"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[FastWorkspace]:
    with fast_workspace(tmp_path / "home") as workspace:
        yield workspace


@pytest.fixture
def web() -> Iterator[WebServer]:
    server = WebServer()
    yield server
    server.close()


def notifier(made: FastWorkspace, web: WebServer, *hosts: str) -> WebhookNotifier:
    return WebhookNotifier(f"{web.url}/hook", SECRET, Egress(Hosts(hosts)), no_guards(made.database))


def test_who_is_asked_is_told_once_signed(made: FastWorkspace, web: WebServer) -> None:
    office = Office(made)
    office.asks = Asks(office.tasks, notifier=notifier(made, web, web.host))
    office.review = Review(office.asks)
    ref = office.put()
    assert office.put() == ref
    (heard,) = web.heard
    assert is_signed(SECRET, heard.body, heard.headers[HEADER.lower()], time.time())
    assert json.loads(heard.body) == {
        "to": "role:reviewer",
        "subject": "A review of triage, step look, waits for you",
        "text": f"vouch reviews show {ref}",
    }
    assert (heard.method, heard.path) == ("POST", "/hook")


@pytest.mark.parametrize("how", ["not allowed", "refuses", "breaks", "away"])
def test_a_hook_that_cannot_be_told_is_in_nobodys_way(made: FastWorkspace, web: WebServer, how: str) -> None:
    web.reply = lambda _: Answer({"refuses": 404, "breaks": 500}.get(how, 200))
    teller = notifier(made, web, *([] if how == "not allowed" else [web.host]))
    if how == "away":
        web.close()
    office = Office(made)
    office.asks = Asks(office.tasks, notifier=teller)
    office.review = Review(office.asks)
    ref = office.put(call_of(f"run_{how[0]}"))
    assert office.desk.approve(ref, ONE, office.seen(ref))["state"] == "approved"
    assert len(web.heard) == (how in ("refuses", "breaks"))
    if how == "away":
        web.close = lambda: None  # type: ignore[method-assign]


def test_the_settings_name_hook_and_secret(made: FastWorkspace, tmp_path: Path) -> None:
    def with_settings(**more: Any) -> FastWorkspace:
        return FastWorkspace(Settings.load(home=tmp_path / "home", **more))

    guards = guards_of(made)
    assert notifier_of(made, guards) is None
    url = {"workflow_notify_url": "https://chat.example.org/hook"}
    with with_settings(**url) as other, pytest.raises(InvalidInput, match="workflow_notify_secret"):
        notifier_of(other, guards)
    held = {"workflow_secrets": {"chat": {"value": SECRET}}, "workflow_notify_secret": "chat"}
    with with_settings(**url, **held) as other:
        assert isinstance(notifier_of(other, guards), WebhookNotifier)
