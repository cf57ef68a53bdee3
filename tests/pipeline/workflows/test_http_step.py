"""Steps of kind `http`: what they send, what they make of replies, and what they never let out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from outside_parts import Answer, WebServer, as_json, call_of
from pydantic import ValidationError

from api.assembly import Workspace
from kernel.errors import InvalidInput, Unavailable
from kernel.providers.egress import Egress, Hosts, Secret
from kernel.storage.breakers import BreakerRule, Breakers
from pipeline.prompts.json_schema import schema_faults
from pipeline.workflows.breakers import Guards, NotNow
from pipeline.workflows.spec import Step
from pipeline.workflows.steps.base import StepFailed
from pipeline.workflows.steps.http import HttpKind, HttpWith

SECRET = "Bearer s3cr3t-value"


@pytest.fixture
def server() -> Iterator[WebServer]:
    one = WebServer()
    yield one
    one.close()


@pytest.fixture
def kind(server: WebServer, workspace: Workspace) -> HttpKind:
    hosts = Hosts([server.host])
    guards = Guards(Breakers(workspace.database), BreakerRule(failures=3))
    return HttpKind(Egress(hosts), {"crm": Secret(SECRET, hosts), "else": Secret("x", Hosts(["other.test"]))}, guards)


def run(kind: HttpKind, seconds: float = 5.0, **with_: Any) -> Any:
    given = HttpWith.model_validate(with_)
    step = Step.model_validate({"id": "step", "kind": "http", "with": with_})
    output = kind.run(given, call_of("http", seconds=seconds)).output
    assert schema_faults(output, kind.output(step)) == []
    return output


def failure(kind: HttpKind, **with_: Any) -> StepFailed:
    with pytest.raises(StepFailed) as raised:
        run(kind, **with_)
    return raised.value


def test_a_request_is_sent_as_declared(server: WebServer, kind: HttpKind) -> None:
    server.reply = lambda _: as_json({"id": 7}, 201, ETag='"v1"', Set_Cookie="session=1")
    made = run(
        kind,
        method="POST",
        url=f"{server.url}/tickets?a=1",
        query={"q": "ä b", "tags": ["x", "y"], "none": None},
        headers={"X-Source": "vouch"},
        secrets={"Authorization": "crm"},
        json={"title": "é", "n": 1.5},
    )
    assert made == {
        "status": 201,
        "url": f"{server.url}/tickets?a=1&q=%C3%A4+b&tags=x&tags=y",
        "headers": {"content-type": "application/json", "etag": '"v1"'},
        "body": {"id": 7},
    }
    (heard,) = server.heard
    assert (heard.method, heard.path) == ("POST", "/tickets")
    assert heard.query == {"a": ["1"], "q": ["ä b"], "tags": ["x", "y"]}
    assert json.loads(heard.body) == {"title": "é", "n": 1.5}
    assert heard.headers["idempotency-key"] == "run_one:step:0"
    assert (heard.headers["authorization"], heard.headers["x-source"]) == (SECRET, "vouch")
    assert heard.headers["content-type"] == "application/json"


def test_each_try_has_the_same_key_and_a_question_has_none(server: WebServer, kind: HttpKind) -> None:
    for _ in range(2):
        run(kind, method="PUT", url=server.url, text="plain")
    run(kind, url=server.url)
    assert [one.headers.get("idempotency-key") for one in server.heard] == ["run_one:step:0"] * 2 + [None]
    assert server.heard[0].body == b"plain"


def test_no_secret_comes_back(server: WebServer, kind: HttpKind) -> None:
    """A server that repeats what it was sent: neither the output nor an error shows it."""
    server.reply = lambda one: as_json({"you sent": [one.headers["authorization"], "s3cr3t-value"]})
    made = run(kind, url=server.url, secrets={"Authorization": "crm"})
    assert made["body"] == {"you sent": ["***", "***"]}
    server.reply = lambda one: Answer(400, f"bad key {one.headers['authorization']}".encode())
    error = failure(kind, url=server.url, secrets={"Authorization": "crm"})
    assert "s3cr3t" not in f"{error} {error.output}"
    assert "bad key ***" in str(error)


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 501, 301])
def test_a_refusal_is_final(server: WebServer, kind: HttpKind, status: int) -> None:
    server.reply = lambda _: Answer(status, b"no such thing")
    error = failure(kind, method="POST", url=server.url, json={})
    assert (error.retryable, error.slug) == (False, "status")
    assert error.output == {"status": status, "body": "no such thing"}
    assert f"answered {status}: no such thing" in str(error)


@pytest.mark.parametrize(("status", "slug"), [(429, "busy"), (500, "status"), (503, "status"), (408, "status")])
def test_what_may_pass_is_worth_another_try(server: WebServer, kind: HttpKind, status: int, slug: str) -> None:
    server.reply = lambda _: Answer(status, b"", {"Retry-After": "7"})
    error = failure(kind, url=server.url)
    assert (error.retryable, error.slug, error.after) == (True, slug, 7.0)


def test_statuses_that_are_expected_are_no_failure(server: WebServer, kind: HttpKind) -> None:
    server.reply = lambda _: as_json({"error": "none"}, 404)
    assert run(kind, url=server.url, expect=["2xx", 404])["status"] == 404
    assert failure(kind, url=server.url, expect=[200]).retryable is False


def test_a_reply_is_read_as_asked(server: WebServer, kind: HttpKind) -> None:
    server.reply = lambda _: Answer(200, "grüße".encode("latin-1"), {"Content-Type": "text/plain; charset=latin-1"})
    assert run(kind, url=server.url, read="text")["body"] == "grüße"
    assert run(kind, url=server.url, read="nothing")["body"] is None
    for body in (b"<html>", b"NaN", b"[" * 100_000, b"\xff"):
        server.reply = lambda _, body=body: Answer(200, body)  # type: ignore[misc]
        assert failure(kind, url=server.url).slug == "unreadable"
    server.reply = lambda _: Answer(204, b"")
    assert run(kind, url=server.url)["body"] is None
    server.reply = lambda _: Answer(200, b"x" * 100)
    with pytest.raises(InvalidInput, match="more than the 99 bytes"):
        run(kind, url=server.url, read="text", most_bytes=99)


def test_only_what_is_listed_is_reached_and_only_known_secrets_are_used(server: WebServer, kind: HttpKind) -> None:
    with pytest.raises(InvalidInput, match="may not be reached"):
        run(kind, url="http://127.0.0.1:1/")
    with pytest.raises(InvalidInput, match="has no secret nope"):
        run(kind, url=server.url, secrets={"Authorization": "nope"})
    with pytest.raises(InvalidInput, match="may not be sent"):
        run(kind, url=server.url, secrets={"Authorization": "else"})
    assert server.heard == []


def test_the_time_of_the_step_is_kept(server: WebServer, kind: HttpKind) -> None:
    server.reply = lambda _: Answer(hold=1.0)
    with pytest.raises(Unavailable, match="no whole reply"):
        run(kind, seconds=0.2, url=server.url)


def test_a_server_that_keeps_failing_is_left_alone(server: WebServer, kind: HttpKind) -> None:
    server.reply = lambda _: Answer(500, b"")
    for _ in range(3):
        failure(kind, url=server.url)
    with pytest.raises(NotNow, match="failed 3 times in a row"):
        run(kind, url=server.url)
    assert len(server.heard) == 3


@pytest.mark.parametrize(
    "with_",
    [
        {"url": "http://a", "method": "BREW"},
        {"url": "http://a", "headers": {"Host": "b"}},
        {"url": "http://a", "headers": {"X-A": "one\r\nX-B: two"}},
        {"url": "http://a", "headers": {"X A": "one"}},
        {"url": "http://a", "headers": {"Idempotency-Key": "one"}},
        {"url": "http://a", "headers": {"Authorization": "x"}, "secrets": {"authorization": "crm"}},
        {"url": "http://a", "method": "POST", "json": {}, "text": ""},
        {"url": "http://a", "json": {}},
        {"url": "http://a", "expect": []},
        {"url": "http://a", "expect": ["200"]},
        {"url": "http://a", "unknown": 1},
        {},
    ],
)
def test_what_cannot_be_sent_is_refused_when_it_is_read(with_: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        HttpWith.model_validate(with_)


def test_what_may_change_something_has_an_effect(kind: HttpKind) -> None:
    assert [kind.effect({"method": method}) for method in ("GET", "HEAD", "POST", "DELETE", "{{ input.how }}")] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert kind.effect({}) is False
