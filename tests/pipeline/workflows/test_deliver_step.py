"""Steps of kind `deliver`: files exactly once whenever the process is killed, web hooks that are signed, mail."""

from __future__ import annotations

import email
import email.policy
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fast_parts import empty_database, fast_workspace
from hypothesis import given
from hypothesis import strategies as st
from outside_parts import Answer, MailServer, WebServer, as_json, call_of, no_guards
from pydantic import ValidationError

from kernel.errors import Conflict, InvalidInput, Unavailable, VouchError
from kernel.ids import sha256
from kernel.providers.egress import Egress, Hosts, Secret
from kernel.providers.smtp import MailRefused, SmtpSender
from kernel.storage.database import Database
from kernel.storage.deliveries import Deliveries
from kernel.storage.ledger import Ledger
from kernel.storage.ledger_checks import store_faults
from pipeline.prompts.json_schema import schema_faults
from pipeline.workflows.signatures import HEADER, WINDOW_SECONDS, is_signed, signature_of
from pipeline.workflows.sinks import files
from pipeline.workflows.sinks.files import DRAFT, Folder, parts_of
from pipeline.workflows.sinks.mail import Recipients
from pipeline.workflows.spec import Step
from pipeline.workflows.steps.base import StepFailed
from pipeline.workflows.steps.deliver import DeliverKind, DeliverWith, MailRoute

NAMES = ("brief.md", "brief.2.md", "brief.3.md")
WATCHED = ("act", "open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.listdir")
ENOUGH = 200


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with fast_workspace(tmp_path / "home") as made:
        yield made.database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def web() -> Iterator[WebServer]:
    one = WebServer(lambda _: as_json({}, 202))
    yield one
    one.close()


@pytest.fixture
def post() -> Iterator[MailServer]:
    one = MailServer()
    yield one
    one.close()


def kind_of(
    database: Database, folder: Path, allow: tuple[str, ...] = (), mail: MailRoute | None = None
) -> DeliverKind:
    secrets = {"hook": Secret("shared secret", Hosts([]))}
    store = Deliveries(database)
    return DeliverKind(store, Folder(folder), Egress(Hosts(allow)), secrets, mail, no_guards(database))


@pytest.fixture
def kind(database: Database, folder: Path, web: WebServer, post: MailServer) -> DeliverKind:
    route = MailRoute(
        SmtpSender(f"smtp://127.0.0.1:{post.port}"), "vouch@example.org", Recipients(["@example.org", "kim@other.test"])
    )
    return kind_of(database, folder, (web.host,), route)


def run(kind: DeliverKind, key: str = "run_one:send:0", **with_: Any) -> dict[str, Any]:
    made: dict[str, Any] = kind.run(DeliverWith.model_validate(with_), call_of("deliver", key, with_=with_)).output
    step = Step.model_validate({"id": "send", "kind": "deliver", "with": with_})
    assert schema_faults(made, kind.output(step)) == []
    return made


def files_in(folder: Path) -> dict[str, str]:
    """What lies in a folder and below it, drafts included."""
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


# --- files


def test_a_file_is_delivered_whole_and_the_same_key_once(kind: DeliverKind, folder: Path) -> None:
    made = run(kind, to="file", path="briefs/2026/brief.md", text="Grüße\n")
    assert files_in(folder) == {"briefs/2026/brief.md": "Grüße\n"}
    assert (made["path"], made["version"], made["bytes"]) == ("briefs/2026/brief.md", 1, 8)
    assert made["sha256"] == sha256("Grüße\n")
    (folder / "briefs/2026/brief.md").unlink()
    assert run(kind, to="file", path="briefs/2026/brief.md", text="Grüße\n") == made
    assert files_in(folder) == {}, "it was delivered: what somebody did with it since is theirs"
    with pytest.raises(StepFailed, match="with other content"):
        run(kind, to="file", path="briefs/2026/brief.md", text="Else")


def test_versions_are_kept_or_replaced_as_asked(kind: DeliverKind, folder: Path) -> None:
    for n in (1, 2, 3):
        made = run(kind, f"run_{n}:send:0", to="file", path="brief.md", text=f"text {n}")
        assert (made["path"], made["version"]) == (NAMES[n - 1], n)
    assert files_in(folder) == {name: f"text {n}" for n, name in enumerate(NAMES, 1)}
    run(kind, "run_4:send:0", to="file", path="brief.md", text="last", existing="replace")
    assert files_in(folder)["brief.md"] == "last"
    run(kind, "run_5:send:0", to="file", path="data.json", json={"b": [1, "ä"], "a": None})
    assert json.loads(files_in(folder)["data.json"]) == {"b": [1, "ä"], "a": None}


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "../x", "a/../../x", "a//b", "", "a/", ".hidden", "a/.b/c", "a\\b", "a\x00b", "a\nb"),
        *("x" * 181, "/".join("abcdefghijk")),
    ],
)
def test_no_path_leaves_the_folder(kind: DeliverKind, folder: Path, path: str) -> None:
    with pytest.raises((InvalidInput, ValidationError)):
        run(kind, to="file", path=path, text="x")
    assert not folder.exists()


@given(st.text(alphabet="./a\\\x00 ", max_size=12))
def test_a_path_that_is_taken_has_plain_names_only(path: str) -> None:
    try:
        parts = parts_of(path)
    except InvalidInput:
        return
    assert Path("root").joinpath(*parts).as_posix() == f"root/{path}"
    assert all(part not in ("", ".", "..") for part in parts)


def test_no_link_leads_out_of_the_folder(kind: DeliverKind, folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious.md").write_text("precious")
    folder.mkdir()
    (folder / "door").symlink_to(outside)
    (folder / "brief.md").symlink_to(outside / "precious.md")
    for n, existing in enumerate(("version", "replace")):
        with pytest.raises(InvalidInput, match="plain folders"):
            run(kind, f"run_{n}:send:0", to="file", path="door/x.md", text="x", existing=existing)
        run(kind, f"run_{n}:send:1", to="file", path="brief.md", text="mine", existing=existing)
    assert files_in(outside) == {"precious.md": "precious"}
    assert not (folder / "brief.md").is_symlink()


def opened(home: Path) -> Database:
    """The database of a home, made where there is none; without looking for migrations, which takes longest."""
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "vouch.db").exists():
        (home / "vouch.db").write_bytes(empty_database())
    return Database(f"sqlite:///{home / 'vouch.db'}", home / "ledger.key")


def killed_at(event: int, home: Path, folder: Path, with_: dict[str, Any]) -> bool:
    """Whether a process that delivers was killed, by SIGKILL, as it was about to do its n-th thing with files or the
    store, or had just done it.
    """
    child = os.fork()
    if child:
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        return os.WIFSIGNALED(status)
    try:
        kind, seen = kind_of(opened(home), folder), 0

        def count(name: str, _: object = None) -> None:
            nonlocal seen
            if name not in WATCHED:
                return
            seen += 1
            if seen == event:
                os.kill(os.getpid(), signal.SIGKILL)

        def counted(act: Callable[..., Any]) -> Callable[..., Any]:
            def acted(*arguments: Any, **more: Any) -> Any:
                count("act")
                made = act(*arguments, **more)
                count("act")
                return made

            return acted

        os.fsync = counted(os.fsync)
        Deliveries.begin = counted(Deliveries.begin)  # type: ignore[method-assign]
        Deliveries.finish = counted(Deliveries.finish)  # type: ignore[method-assign]
        sys.addaudithook(count)
        run(kind, **with_)
        os._exit(0)
    except BaseException:  # noqa: BLE001 - this process must not go on with the tests
        traceback.print_exc()
        os._exit(1)


@pytest.mark.parametrize(
    ("existing", "meanwhile", "system"),
    [
        ("version", "overwritten", "moves"),
        ("replace", "overwritten", "moves"),
        *(
            pytest.param(*one, marks=pytest.mark.slow)
            for one in (
                ("version", "taken", "moves"),
                ("version", "nothing", "moves"),
                ("version", "taken", "links"),
                ("version", "nothing", "links"),
                ("replace", "taken", "moves"),
                ("replace", "nothing", "moves"),
            )
        ),
    ],
)
def test_killed_at_any_moment_a_file_is_delivered_exactly_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, existing: str, meanwhile: str, system: str
) -> None:
    """The process dies before each thing that it does, one after the other; then the step is done again.

    Meanwhile somebody may have taken the file away, or put another in its place: what was delivered before is not
    delivered again. Where the system cannot move a file to a free name, it does so by a link.
    """
    if system == "links":
        monkeypatch.setattr(files, "_RENAMEAT2", None)
    with_ = {"to": "file", "path": "in/brief.md", "text": "mine", "existing": existing}
    before = 0
    for event in range(1, ENOUGH):
        home, folder = tmp_path / f"{event}" / "home", tmp_path / f"{event}" / "out"
        if not killed_at(event, home, folder, with_):
            break
        there = (folder / "in/brief.md").exists()
        before += there
        if there and meanwhile == "taken":
            (folder / "in/brief.md").rename(folder / "taken.md")
        if there and meanwhile == "overwritten":
            (folder / "in/brief.md").unlink()
            (folder / "in/brief.md").write_text("theirs")
        database = opened(home)
        kind = kind_of(database, folder)
        output = run(kind, **with_)
        assert run(kind, **with_) == output
        assert [fault.what for fault in store_faults(database, Ledger(database))] == []
        database.close()
        found = files_in(folder)
        assert [name for name in found if name.endswith(DRAFT)] == []
        expected = {"nothing": {"in/brief.md": "mine"}, "taken": {"taken.md": "mine"}}
        assert found == (expected.get(meanwhile, {"in/brief.md": "theirs"}) if there else expected["nothing"]), event
    assert before >= 2, "some were killed after the file was in place"
    assert event < ENOUGH - 1


def test_workers_that_overlap_deliver_once(database: Database, folder: Path, tmp_path: Path) -> None:
    """The same step at the same time in several threads, each with connections of its own, again and again."""
    faults: list[Exception] = []

    def work(n: int) -> None:
        try:
            run(kind_of(database, folder), f"run_{n}:send:0", to="file", path="brief.md", text=f"text {n}")
        except (VouchError, StepFailed) as error:
            faults.append(error)

    for n in range(8):
        threads = [threading.Thread(target=work, args=(n,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert faults == []
    assert sorted(files_in(folder).values()) == [f"text {n}" for n in range(8)]


# --- web hooks


def test_a_web_hook_is_signed_and_carries_its_key(kind: DeliverKind, web: WebServer) -> None:
    made = run(kind, to="webhook", url=f"{web.url}/in?x=1", secret="hook", json={"brief": "ä"})
    assert (made["status"], made["host"], made["to"]) == (202, web.host, "webhook")
    (heard,) = web.heard
    about = {"id": "run_one:send:0", "run": "run_one", "step": "send", "workflow": "weekly"}
    assert json.loads(heard.body) == about | {"data": {"brief": "ä"}}
    assert (heard.method, heard.headers["idempotency-key"]) == ("POST", "run_one:send:0")
    header = heard.headers[HEADER.lower()]
    assert is_signed("shared secret", heard.body, header, time.time())
    assert made["sha256"] == sha256(heard.body)
    assert run(kind, to="webhook", url=f"{web.url}/in?x=1", secret="hook", json={"brief": "ä"}) == made
    assert len(web.heard) == 1, "what is done is not sent again"


def test_a_signature_holds_for_this_body_this_secret_and_this_time() -> None:
    header = signature_of("secret", b'{"a": 1}', 1000)
    assert is_signed("secret", b'{"a": 1}', header, 1000 + WINDOW_SECONDS)
    assert not is_signed("secret", b'{"a": 1}', header, 1001 + WINDOW_SECONDS)
    assert not is_signed("secret", b'{"a": 2}', header, 1000)
    assert not is_signed("secre", b'{"a": 1}', header, 1000)
    assert not is_signed("secret", b'{"a": 1}', header.replace("t=1000", "t=1001"), 1000)
    for bad in ("", "t=1", "v1=x", header + "0", header.replace("v1", "v2"), "t=9999999999999," + header):
        assert not is_signed("secret", b'{"a": 1}', bad, 1000)


def test_a_web_hook_that_may_have_arrived_is_sent_again_with_the_same_key(
    kind: DeliverKind, web: WebServer, database: Database
) -> None:
    web.reply = lambda _: Answer(503, b"", {"Retry-After": "3"})
    with pytest.raises(StepFailed) as raised:
        run(kind, to="webhook", url=web.url, secret="hook", text="x")
    assert (raised.value.retryable, raised.value.after) == (True, 3.0)
    begun = Deliveries(database).find("run_one:send:0")
    assert begun is not None
    assert (begun.done, begun.once) == (None, False)
    web.reply = lambda _: Answer(200)
    run(kind, to="webhook", url=web.url, secret="hook", text="x")
    assert len({(one.headers["idempotency-key"], one.body) for one in web.heard}) == 1


def test_a_step_that_was_begun_is_not_begun_as_another(kind: DeliverKind, web: WebServer) -> None:
    web.reply = lambda _: Answer(503)
    with pytest.raises(StepFailed):
        run(kind, to="webhook", url=web.url, secret="hook", text="x")
    for with_ in ({"to": "file", "path": "a"}, {"to": "webhook", "url": web.url, "secret": "hook"}):
        with pytest.raises(Conflict, match="other content or to another sink"):
            run(kind, **with_, text="y")
    assert len(web.heard) == 1


def test_a_web_hook_goes_only_where_it_may(kind: DeliverKind, web: WebServer, database: Database) -> None:
    for url, secret in (("http://127.0.0.1:1/", "hook"), (web.url, "nope")):
        with pytest.raises(InvalidInput):
            run(kind, to="webhook", url=url, secret=secret, text="x")
    assert Deliveries(database).find("run_one:send:0") is None
    web.reply = lambda _: Answer(410, b"gone")
    with pytest.raises(StepFailed, match="answered 410: gone") as raised:
        run(kind, to="webhook", url=web.url, secret="hook", text="x")
    assert raised.value.retryable is False


# --- mail

MAIL = {"to": "mail", "recipients": ["kim@example.org", "kim@other.test"], "subject": "Weekly brief — Grüße"}


HOSTILE = "# Brief <script>alert(1)</script>\n\n[x](javascript:alert(1)) ![y](http://z/)"


def test_a_mail_arrives_as_declared(kind: DeliverKind, post: MailServer) -> None:
    attach = [
        {"name": "brief.md", "text": "# Brief", "as": "markdown"},
        {"name": "brief.html", "text": HOSTILE, "as": "html"},
        {"name": "data.txt", "text": "plain\x00"},
    ]
    made = run(kind, **MAIL, text="Hello,\n.\n..two\ngrüße\n", attach=attach)
    (mail,) = post.mails
    assert (mail.sender, mail.to) == ("vouch@example.org", ["kim@example.org", "kim@other.test"])
    parsed: Any = email.message_from_bytes(mail.data, policy=email.policy.default)
    assert parsed["subject"] == MAIL["subject"]
    assert parsed["message-id"] == made["message_id"]
    assert parsed.get_body().get_content().splitlines() == ["Hello,", ".", "..two", "grüße"]
    parts = list(parsed.iter_attachments())
    assert [(one.get_filename(), one.get_content_type()) for one in parts] == [
        ("brief.md", "text/markdown"),
        ("brief.html", "text/html"),
        ("data.txt", "text/plain"),
    ]
    page = parts[1].get_content()
    assert "<h1>Brief &lt;script&gt;" in page
    assert [word for word in ("<script", 'href="javascript', "<img") if word in page] == []
    assert (made["accepted"], made["refused"]) == (2, [])


def test_a_mail_that_may_have_arrived_is_sent_again_so_that_a_receiver_can_drop_it(
    kind: DeliverKind, post: MailServer
) -> None:
    """The server takes the mail and dies before it says so: the second is the same, byte for byte."""
    post.drop = 1
    attach = [{"name": "a.txt", "text": "x"}]
    with pytest.raises(Unavailable, match="broke off"):
        run(kind, **MAIL, text="x", attach=attach)
    time.sleep(1.1)
    made = run(kind, **MAIL, text="x", attach=attach)
    assert run(kind, **MAIL, text="x", attach=attach) == made
    assert len(post.mails) == 2
    assert post.mails[0].data == post.mails[1].data
    run(kind, "run_two:send:0", **MAIL, text="x", attach=attach)
    assert post.mails[2].data != post.mails[0].data


@pytest.mark.parametrize(
    "subject", ["a\r\nBcc: x@evil.test", "a\nb", "a\rb", "a\x00b", "a\u2028b", "a\x85b", "\r\n\r\nbody"]
)
def test_no_header_is_smuggled_in(kind: DeliverKind, post: MailServer, subject: str) -> None:
    with pytest.raises(InvalidInput, match="one line"):
        run(kind, to="mail", recipients=["kim@example.org"], subject=subject, text="x")
    assert post.mails == []


@pytest.mark.parametrize(
    "address",
    [
        *("kim@evil.test", "kim@example.org\r\nBcc: x@y.z", "kim@example.org, x@evil.test", "<kim@example.org>", "kim"),
        *("@x", "kim@example.org@example.org", "a b@example.org", '"a"@example.org', "kim@sub.example.org"),
        "k" * 260 + "@example.org",
    ],
)
def test_mail_goes_only_to_whom_it_may(kind: DeliverKind, post: MailServer, address: str) -> None:
    with pytest.raises(InvalidInput):
        run(kind, to="mail", recipients=["kim@example.org", address], subject="x", text="x")
    assert post.mails == []


def test_what_the_mail_server_says_decides(kind: DeliverKind, post: MailServer) -> None:
    cases: list[tuple[dict[str, str], type[Exception]]] = [
        ({"CONNECT": "421 later"}, Unavailable),
        ({"MAIL": "451 later"}, Unavailable),
        ({"kim@example.org": "450 later", "kim@other.test": "550 no"}, Unavailable),
        ({"MAIL": "550 not from you"}, MailRefused),
        ({"kim@example.org": "550 no", "kim@other.test": "550 no"}, MailRefused),
        ({"DATA": "554 no"}, MailRefused),
    ]
    for replies, expected in cases:
        post.replies = replies
        with pytest.raises(expected):
            run(kind, **MAIL, text="x")
    post.replies = {"kim@other.test": "550 no such person"}
    made = run(kind, **MAIL, text="x")
    assert (made["accepted"], made["refused"]) == (1, ["kim@other.test"])


def test_mail_needs_a_server_and_encryption_elsewhere(database: Database, folder: Path) -> None:
    with pytest.raises(InvalidInput, match="workflow_smtp_url"):
        run(kind_of(database, folder), **MAIL, text="x")
    for url in ("http://x", "smtp://", "smtp://x:99999999", "x"):
        with pytest.raises(InvalidInput):
            SmtpSender(url)
    assert "p%40ss" not in repr(SmtpSender("smtps://user:p%40ss@mail.example.org"))


# --- what is declared


@pytest.mark.parametrize(
    "with_",
    [
        {"to": "file", "text": "x"},
        {"to": "file", "path": "a"},
        {"to": "file", "path": "a", "text": "x", "json": 1},
        {"to": "file", "path": "a", "text": "x", "url": "http://a"},
        {"to": "webhook", "url": "http://a", "text": "x"},
        {"to": "mail", "recipients": [], "subject": "x", "text": "x"},
        {"to": "mail", "recipients": ["a@b"], "subject": "x", "json": {}},
        {"to": "mail", "recipients": ["a@b"], "subject": "x", "text": "x", "attach": [{"name": "../x", "text": ""}]},
        {"to": "pigeon", "text": "x"},
    ],
)
def test_what_does_not_fit_its_sink_is_refused_when_it_is_read(with_: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DeliverWith.model_validate(with_)


def test_it_always_has_an_effect(kind: DeliverKind) -> None:
    assert kind.effect({"to": "file"})
