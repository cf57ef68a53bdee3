"""OpenAIGenerator against a server on loopback that fails in scripted ways: a whole answer, or why not."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from fake_model_server import (
    DONE,
    EVENTS,
    TEXT,
    USAGE,
    WORDS,
    FakeModelServer,
    Reply,
    Step,
    event,
    finish,
    good,
    token,
)

from kernel.errors import GenerationFailed, InvalidInput, UnusableReply
from kernel.ports import GenerationRequest, Generator
from kernel.providers import model_server
from kernel.providers.openai import OpenAIGenerator
from kernel.records import Evidence, Generation, Message

KEY = "sk-very-secret-1234567890"
REQUEST = GenerationRequest(
    "How tall?", (Message("system", "Cite."), Message("user", "How tall? ü")), Evidence(1, ()), ()
)
WHOLE = Generation(TEXT, prompt_tokens=11, completion_tokens=5)

Serve = Callable[..., FakeModelServer]


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Waits(list[float]):
    """A `sleep` that notes what it was asked for and does not wait."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


Make = Callable[..., OpenAIGenerator]


@pytest.fixture
def make(closing: ExitStack) -> Make:
    """Generators with a short deadline that do not wait between tries, closed at the end."""

    def build(url: str, **options: object) -> OpenAIGenerator:
        settings = {"deadline_seconds": 5.0, "sleep": Waits(), "api_key": KEY, **options}
        generator = OpenAIGenerator(url, "small", **settings)  # type: ignore[arg-type]
        closing.callback(generator.close)
        return generator

    return build


@contextmanager
def lasting(least: float, most: float) -> Iterator[None]:
    """It takes that many seconds; what a busy machine held this process up for is not counted as too long."""
    held_up, over = [0.0], threading.Event()

    def tick(seconds: float = 0.01) -> None:
        begin = time.monotonic()
        while not over.wait(seconds):
            now = time.monotonic()
            held_up[0] += max(0.0, now - begin - 2 * seconds)
            begin = now

    watch = threading.Thread(target=tick)
    watch.start()
    start = time.monotonic()
    try:
        yield
        length = time.monotonic() - start
    finally:
        over.set()
        watch.join()
    assert least <= length <= most + held_up[0], f"{length} s, held up for {held_up[0]} s"


def failure(generator: OpenAIGenerator, kind: type[GenerationFailed] = GenerationFailed) -> str:
    with pytest.raises(GenerationFailed) as caught:
        generator.generate(REQUEST)
    assert type(caught.value) is kind
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert KEY not in str(caught.value)
    return str(caught.value)


# --- What is asked, and a whole answer ----------------------------------------------------------------------


def test_a_whole_answer_and_what_was_asked(serve: Serve, make: Make) -> None:
    server = serve(good)
    port: Generator = make(server.url + "/", max_tokens=99, temperature=0.25)
    assert port.generate(REQUEST) == WHOLE
    (seen,) = server.seen
    assert seen.path == "/v1/chat/completions"
    assert seen.headers["Authorization"] == f"Bearer {KEY}"
    assert seen.headers["Accept-Encoding"] == "identity"
    assert seen.body == {
        "model": "small",
        "messages": [{"role": "system", "content": "Cite."}, {"role": "user", "content": "How tall? ü"}],
        "temperature": 0.25,
        "max_tokens": 99,
        "seed": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_without_a_key_no_authorization_is_sent(serve: Serve, make: Make) -> None:
    server = serve(good)
    make(server.url, api_key=None).generate(REQUEST)
    assert "Authorization" not in server.seen[0].headers


def test_credentials_in_the_url_are_used_but_never_shown(
    serve: Serve, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(lambda reply: reply.body(400, "application/json", b'{"error": "no p@ss here"}'))
    with caplog.at_level(logging.DEBUG):
        generator = make(server.url.replace("//", "//me:p%40ss@"), api_key=None)
        shown = failure(generator) + repr(generator) + str(generator.info) + caplog.text
    assert server.seen[0].headers["Authorization"] == "Basic bWU6cEBzcw=="
    assert generator.info.parameters["base_url"] == server.url
    assert not any(secret in shown for secret in ("p%40ss", "p@ss", "bWU6cEBzcw=="))


def test_info_pins_what_steers_the_model(make: Make) -> None:
    info = make("http://models.example:8080/v1", temperature=0.5, max_tokens=64).info
    assert (info.provider, info.name) == ("openai", "small")
    assert info.parameters == {
        "temperature": 0.5,
        "max_tokens": 64,
        "seed": 7,
        "base_url": "http://models.example:8080/v1",
    }


def every_byte_alone(reply: Reply) -> None:
    reply.head()
    for byte in b"".join([*WORDS, finish(), USAGE, DONE]):
        reply.chunk(bytes([byte]))
    reply.end()


def split_in_a_character(reply: Reply) -> None:
    stream = b"".join([*WORDS, finish(), USAGE, DONE])
    middle = stream.index("🙂".encode()) + 2
    reply.head()
    reply.chunk(stream[:middle])
    reply.pause(0.05)
    reply.chunk(stream[middle:])
    reply.end()


def crlf_comments_and_names(reply: Reply) -> None:
    stream = b"".join([*WORDS, finish(), USAGE, DONE]).replace(b"\n", b"\r\n").replace(b"data: ", b"data:")
    reply.stream(b"\xef\xbb\xbf: ping\r\n\r\nevent: message\r\nid: 1\r\nretry: 5\r\n", stream)


def data_over_two_lines(reply: Reply) -> None:
    first = WORDS[0].replace(b', "finish_reason"', b',\ndata: "finish_reason"')
    assert first.count(b"data: ") == 2
    reply.stream(first, *WORDS[1:], finish(), USAGE, DONE)


def chunks_that_end_with_crlf_inside_an_event(reply: Reply) -> None:
    first, second = WORDS[0].replace(b', "finish_reason"', b',\r\n|data: "finish_reason"').split(b"|")
    reply.stream(first, second, *WORDS[1:], finish(), USAGE, DONE)


def other_choices_and_reasoning(reply: Reply) -> None:
    other = event({"choices": [{"index": 1, "delta": {"content": "nonsense"}, "finish_reason": "length"}]})
    thought = event({"choices": [{"delta": {"role": "assistant", "content": None, "reasoning_content": "hm"}}]})
    reply.stream(thought, other, *WORDS, finish(), USAGE, DONE)


def no_blank_line_after_done(reply: Reply) -> None:
    reply.stream(*WORDS, finish(), USAGE, b"data: [DONE]")


def ends_with_the_connection(reply: Reply) -> None:
    reply.head(chunked=False)
    reply.raw(b"".join([*WORDS, finish(), USAGE, DONE]))


def cut_after_the_end_was_declared(reply: Reply) -> None:
    reply.head()
    reply.chunk(b"".join([*WORDS, finish(), USAGE]))


def one_json_reply(reply: Reply) -> None:
    answer = {"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}
    whole = {"choices": [answer], "usage": {"prompt_tokens": 11, "completion_tokens": 5}}
    reply.body(200, "application/json; charset=utf-8", json.dumps(whole).encode())


FAITHFUL = [
    every_byte_alone,
    split_in_a_character,
    crlf_comments_and_names,
    data_over_two_lines,
    chunks_that_end_with_crlf_inside_an_event,
    other_choices_and_reasoning,
    no_blank_line_after_done,
    ends_with_the_connection,
    cut_after_the_end_was_declared,
    one_json_reply,
]


@pytest.mark.parametrize("step", FAITHFUL, ids=lambda step: step.__name__)
def test_whole_answers_however_they_come(serve: Serve, make: Make, step: Step) -> None:
    server = serve(step)
    assert make(server.url, retries=0).generate(REQUEST) == WHOLE
    assert len(server.seen) == 1


def test_absent_usage_counts_as_zero(serve: Serve, make: Make) -> None:
    server = serve(lambda reply: reply.stream(*WORDS, finish(), DONE))
    assert make(server.url).generate(REQUEST) == Generation(TEXT)


def test_a_declared_end_is_enough_where_the_server_then_hangs(serve: Serve, make: Make) -> None:
    def step(reply: Reply) -> None:
        reply.head()
        reply.chunk(b"".join([*WORDS, finish()]))
        reply.hang()

    server = serve(step)
    with lasting(0.3, 1.0):
        assert make(server.url, deadline_seconds=0.4).generate(REQUEST).text == TEXT
    assert len(server.seen) == 1


# --- Failures that are final --------------------------------------------------------------------------------


def streamed(*events: bytes) -> Step:
    return lambda reply: reply.stream(*events)


def answered(status: int, kind: str = "application/json", body: bytes = b"{}", **headers: str) -> Step:
    return lambda reply: reply.body(status, kind, body, **headers)


def compressed(reply: Reply) -> None:
    reply.body(200, EVENTS, b"\x1f\x8b", Content_Encoding="gzip")


def untyped(reply: Reply) -> None:
    reply.head(kind=None)
    reply.chunk(b"hello")
    reply.end()


def endless(reply: Reply) -> None:
    reply.head()
    for _ in range(6):
        reply.chunk(token("x" * 1024 * 1024))
    reply.end()


def endless_json(reply: Reply) -> None:
    reply.body(200, "application/json", b'{"a": "' + b"x" * (5 * 1024 * 1024))


FINAL = {
    "length": (streamed(*WORDS, finish("length"), USAGE, DONE), "limit of tokens"),
    "content_filter": (streamed(*WORDS, finish("content_filter"), DONE), "withheld the answer"),
    "tool_calls": (streamed(*WORDS, finish("tool_calls"), DONE), "finish_reason 'tool_calls'"),
    "no finish_reason": (streamed(*WORDS, USAGE, DONE), "no finish_reason"),
    "only empty choices": (streamed(event({"choices": []}), USAGE, DONE), "no finish_reason"),
    "json without finish_reason": (
        answered(200, body=b'{"choices": [{"message": {"content": "Half of"}}]}'),
        "no finish_reason",
    ),
    "json cut by length": (
        answered(200, body=b'{"choices": [{"message": {"content": "a"}, "finish_reason": "length"}]}'),
        "limit of tokens",
    ),
    "garbage": (streamed(WORDS[0], b"data: {nonsense\n\n", finish(), DONE), "an event that is not JSON"),
    "bad utf-8": (
        streamed(token("ä").replace(b"\xc3", b"\xff"), finish(), DONE),
        "an event that is not JSON",
    ),
    "wrong shape": (
        streamed(event({"choices": [{"delta": {"content": 5}}]})),
        "unknown shape: choices.0.delta",
    ),
    "negative usage": (
        streamed(*WORDS, finish(), event({"usage": {"prompt_tokens": -1}})),
        "unknown shape: usage.prompt_tokens",
    ),
    "unknown event": (streamed(WORDS[0], event({"token": "lost"}), finish(), DONE), "unknown kind"),
    "unknown line": (streamed(WORDS[0], b"datum: x\n\n", finish(), DONE), "belongs to no event stream"),
    "garbage reply": (answered(200, body=b"{nonsense"), "a reply that is not JSON"),
    "html": (answered(200, "text/html", b"<p>log in</p>"), "sent text/html where"),
    "no content type": (untyped, "sent no content type where"),
    "compressed": (compressed, "compressed"),
    "error event": (streamed(WORDS[0], event({"error": {"message": "bad luck"}}), DONE), "error: bad luck"),
    "error beside choices": (
        streamed(*WORDS, event({"choices": [], "error": {"message": "bad luck"}}), finish(), DONE),
        "error: bad luck",
    ),
    "error text": (streamed(event({"error": "bad luck"})), "error: bad luck"),
    "error 400 event": (streamed(event({"error": {"code": 400, "message": "too long"}})), "error: too long"),
    "error in a reply": (answered(200, body=b'{"error": {"message": "bad luck"}}'), "error: bad luck"),
    "error message alone": (streamed(event({"message": "bad luck", "detail": []})), "error: bad luck"),
    "refusal": (streamed(event({"choices": [{"delta": {"refusal": "No."}}]}), finish(), DONE), "refused"),
    "empty": (streamed(finish(), USAGE, DONE), "an empty answer"),
    "blank": (streamed(token(" \n"), finish(), DONE), "an empty answer"),
    "nul": (streamed(token("a\0b"), finish(), DONE), "NUL"),
    "text after the end": (streamed(*WORDS, finish(), token("more"), DONE), "went on writing"),
    "huge stream": (endless, "more than 4 MiB"),
    "huge reply": (endless_json, "more than 4 MiB"),
    "400": (
        answered(400, body=b'{"error": {"message": "no such\\n option"}}'),
        "answered 400: no such option",
    ),
    "401": (answered(401, body=b'{"error": {"message": "bad key %s"}}' % KEY.encode()), "API key (401)"),
    "403": (answered(403), "use the model (403)"),
    "404": (answered(404, body=b'{"detail": "no such model"}'), "answered 404: no such model"),
    "422": (answered(422, "text/plain", b"what?"), "answered 422 (1 try)"),
    "302": (answered(302, Location="http://127.0.0.1:9/"), "redirects elsewhere (302)"),
}


REPLIED = {"length", "content_filter", "tool_calls", "json cut by length", "refusal", "empty", "blank", "nul"}
"""Failures in which the model said all that it had to say: another server would not help."""


@pytest.mark.parametrize("name", FINAL)
def test_final_failures_are_named_and_not_tried_again(serve: Serve, make: Make, name: str) -> None:
    step, words = FINAL[name]
    server = serve(step, good)
    sentence = failure(make(server.url), UnusableReply if name in REPLIED else GenerationFailed)
    assert words in sentence
    assert sentence.startswith(f"the model server at {server.url} ")
    assert sentence.endswith("(1 try)")
    assert len(server.seen) == 1


# --- Failures that may pass ---------------------------------------------------------------------------------


def cut_mid_event(reply: Reply) -> None:
    reply.head()
    reply.chunk(WORDS[0] + WORDS[1][:30])


def cut_quietly_mid_event(reply: Reply) -> None:
    reply.head(chunked=False)
    reply.raw(WORDS[0] + finish()[:-2])


def cut_after_half(reply: Reply) -> None:
    reply.stream(*WORDS[:2])


def reset_mid_stream(reply: Reply) -> None:
    reply.head()
    reply.chunk(WORDS[0])
    reply.pause(0.05)
    reply.reset()


def reset_at_once(reply: Reply) -> None:
    reply.reset()


def silent_close(_: Reply) -> None:
    return


def no_http(reply: Reply) -> None:
    reply.raw(b"SSH-2.0-server\r\n")


def error_with_slow_words(reply: Reply) -> None:
    reply.head(500)
    reply.hang()


PASSING = {
    "cut mid event": (cut_mid_event, "broke the connection off"),
    "cut quietly mid event": (cut_quietly_mid_event, "broke its reply off before the end"),
    "cut after half": (cut_after_half, "broke its reply off before the end"),
    "empty stream": (streamed(), "broke its reply off before the end"),
    "reset mid stream": (reset_mid_stream, "broke the connection off"),
    "reset at once": (reset_at_once, "broke the connection off"),
    "silent close": (silent_close, "broke the connection off"),
    "no http": (no_http, "broke the connection off"),
    "500": (answered(500, body=b'{"error": {"message": "out of memory"}}'), "answered 500: out of memory"),
    "502": (answered(502, "text/html", b"<p>bad gateway</p>"), "answered 502 ("),
    "503": (answered(503), "answered 503 ("),
    "408": (answered(408), "answered 408 ("),
    "409": (answered(409), "answered 409 ("),
    "425": (answered(425), "answered 425 ("),
    "429": (answered(429), "answered 429 ("),
    "error event 500": (streamed(WORDS[0], event({"error": {"code": 500, "message": "oom"}})), "error: oom"),
    "server_error": (streamed(event({"error": {"type": "server_error", "message": "oom"}})), "error: oom"),
}


@pytest.mark.parametrize("name", PASSING)
def test_passing_failures_are_tried_again(serve: Serve, make: Make, name: str) -> None:
    step, words = PASSING[name]
    server = serve(step, step, good)
    assert make(server.url, retries=2).generate(REQUEST) == WHOLE
    assert len(server.seen) == 3
    hopeless = serve(step)
    sentence = failure(make(hopeless.url, retries=2))
    assert words in sentence
    assert sentence.endswith("(3 tries)")
    assert len(hopeless.seen) == 3


def test_no_retries_means_one_try(serve: Serve, make: Make) -> None:
    server = serve(answered(500), good)
    assert failure(make(server.url, retries=0)).endswith("(1 try)")
    assert len(server.seen) == 1


def test_a_refused_connection(make: Make) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        waits = Waits()
        url = f"http://127.0.0.1:{held.getsockname()[1]}/v1"
        sentence = failure(make(url, retries=2, sleep=waits))
    assert "could not be reached" in sentence
    assert sentence.endswith("(3 tries)")
    assert len(waits) == 2


def test_a_name_that_does_not_resolve(make: Make) -> None:
    assert "its name does not resolve" in failure(make("http://model..invalid/v1", retries=0))


CEILINGS = [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_back_off_stays_below_a_doubling_ceiling(serve: Serve, make: Make) -> None:
    server, waits = serve(answered(503)), Waits()
    failure(make(server.url, retries=7, sleep=waits, deadline_seconds=60.0))
    assert all(0 <= wait <= ceiling for wait, ceiling in zip(waits, CEILINGS, strict=True))


def test_back_off_has_full_jitter() -> None:
    for number, ceiling in enumerate(CEILINGS, start=1):
        drawn = [model_server._back_off(number) / ceiling for _ in range(500)]
        assert 0.0 <= min(drawn) < 0.1
        assert 0.9 < max(drawn) <= 1.0


def in_seconds(seconds: float, *, skew: float = 0.0) -> dict[str, str]:
    now = datetime.now(UTC) + timedelta(seconds=skew)
    then = {"Retry_After": format_datetime(now + timedelta(seconds=seconds), usegmt=True)}
    return then | ({"Date": format_datetime(now, usegmt=True)} if skew else {})


RETRY_AFTER: dict[str, tuple[Callable[[], dict[str, str]], float, float]] = {
    "seconds": (lambda: {"Retry_After": "3"}, 3.0, 3.0),
    "date": (lambda: in_seconds(30.0), 27.0, 30.0),
    "date by the server's clock": (lambda: in_seconds(30.0, skew=-5000.0), 30.0, 30.0),
    "past date": (lambda: in_seconds(-30.0), 0.0, 0.5),
    "word": (lambda: {"Retry_After": "soon"}, 0.0, 0.5),
    "no digit of ours": (lambda: {"Retry_After": "²"}, 0.0, 0.5),
    "negative": (lambda: {"Retry_After": "-3"}, 0.0, 0.5),
}


@pytest.mark.parametrize("name", RETRY_AFTER)
def test_retry_after_is_honoured(serve: Serve, make: Make, name: str) -> None:
    headers, least, most = RETRY_AFTER[name]
    server, waits = serve(answered(429, **headers()), good), Waits()
    generator = make(server.url, sleep=waits, deadline_seconds=60.0)
    assert generator.generate(REQUEST) == WHOLE
    assert least <= waits[0] <= most
    assert len(waits) == 1


def test_retry_after_is_really_waited_for(serve: Serve, make: Make) -> None:
    server = serve(answered(429, Retry_After="1"), good)
    with lasting(1.0, 2.0):
        make(server.url, sleep=time.sleep).generate(REQUEST)
    assert server.seen[1].at - server.seen[0].at >= 1.0


@pytest.mark.parametrize("headers", [{"Retry_After": "9" * 400}, {"Retry_After": "60"}, in_seconds(7200.0)])
def test_retry_after_past_the_deadline_is_not_waited_for(serve: Serve, make: Make, headers: dict[str, str]) -> None:
    server, waits = serve(answered(429, **headers), good), Waits()
    with lasting(0.0, 1.0):
        assert "answered 429 (1 try)" in failure(make(server.url, sleep=waits))
    assert waits == []


# --- The deadline -------------------------------------------------------------------------------------------


def drip_tokens(reply: Reply) -> None:
    reply.head()
    for _ in range(100):
        reply.chunk(token("x"))
        reply.pause(0.1)


def drip_a_chunk_head(reply: Reply) -> None:
    reply.head()
    reply.raw(b"5;")
    for _ in range(100):
        reply.raw(b"x")
        reply.pause(0.1)


def drip_headers(reply: Reply) -> None:
    reply.raw(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    for _ in range(100):
        reply.raw(b"x")
        reply.pause(0.1)


def late_token_then_hang(reply: Reply) -> None:
    reply.head()
    reply.pause(0.35)
    reply.chunk(WORDS[0])
    reply.hang()


def hang_before_headers(reply: Reply) -> None:
    reply.hang()


def hang_after_headers(reply: Reply) -> None:
    reply.head()
    reply.hang()


SLOW = [
    drip_tokens,
    drip_a_chunk_head,
    drip_headers,
    late_token_then_hang,
    hang_before_headers,
    hang_after_headers,
]


@pytest.mark.parametrize("step", SLOW, ids=lambda step: step.__name__)
def test_the_deadline_holds_however_slowly_bytes_come(serve: Serve, make: Make, step: Step) -> None:
    server = serve(step)
    with lasting(0.35, 0.7):
        sentence = failure(make(server.url, deadline_seconds=0.4))
    assert "gave no whole answer within 0.4 s (1 try)" in sentence
    assert len(server.seen) == 1


def test_the_deadline_covers_all_tries_and_waits(serve: Serve, make: Make) -> None:
    server = serve(lambda reply: (reply.pause(0.25), reply.body(503, "text/plain", b""))[0])
    with lasting(0.2, 0.75):
        failure(make(server.url, retries=10, deadline_seconds=0.5, sleep=time.sleep))
    assert 1 <= len(server.seen) <= 3


@pytest.mark.parametrize("own", [False, True], ids=["its client", "a client of one's own"])
def test_a_second_try_gets_only_what_is_left(
    serve: Serve, make: Make, closing: ExitStack, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    monkeypatch.setattr(model_server, "FIRST_WAIT_SECONDS", 0.0)
    client = closing.enter_context(httpx.Client(trust_env=False)) if own else None

    def fails_late(reply: Reply) -> None:
        reply.pause(0.4)
        reply.reset()

    server = serve(fails_late, hang_before_headers)
    with lasting(1.15, 1.5):
        assert "within 1.2 s (2 tries)" in failure(make(server.url, deadline_seconds=1.2, client=client))
    assert len(server.seen) == 2


def test_an_error_whose_words_do_not_come_is_still_tried_again(
    serve: Serve, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_server, "FAULT_SECONDS", 0.2)
    server = serve(error_with_slow_words, good)
    with lasting(0.2, 1.0):
        assert make(server.url).generate(REQUEST) == WHOLE


def test_the_deadline_holds_for_a_client_of_ones_own(serve: Serve, make: Make, closing: ExitStack) -> None:
    server = serve(drip_tokens)
    client = closing.enter_context(httpx.Client(trust_env=False))
    generator = make(server.url, client=client, deadline_seconds=0.4)
    with lasting(0.35, 0.7):
        assert "within 0.4 s" in failure(generator)
    generator.close()
    assert not client.is_closed


def test_the_deadline_holds_while_tls_is_agreed_on(make: Make) -> None:
    def drip_a_record(listener: socket.socket) -> None:
        accepted = listener.accept()[0]
        with accepted, suppress(OSError):
            accepted.sendall(b"\x16\x03\x03\x40\x00")
            for _ in range(15):
                accepted.sendall(b"x")
                time.sleep(0.1)

    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        pool.submit(drip_a_record, listener)
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1"
        with lasting(0.35, 0.7):
            assert "could not be reached" in failure(make(url, deadline_seconds=0.4))


def test_a_server_without_tls_is_named(serve: Serve, make: Make) -> None:
    url = serve(good).url.replace("http:", "https:")
    assert "could not be reached: [SSL" in failure(make(url, retries=0))


@contextmanager
def full_port(host: str = "127.0.0.1", port: int = 0) -> Iterator[int]:
    """A port whose queue of connections is full: the system answers no further one."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind((host, port))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


def test_the_deadline_holds_while_connecting(make: Make) -> None:
    with full_port() as port, lasting(0.25, 0.6):
        sentence = failure(make(f"http://127.0.0.1:{port}/v1", deadline_seconds=0.3))
    assert "could not be reached" in sentence


def resolve_to(patch: pytest.MonkeyPatch, *addresses: str) -> str:
    """Lets a name stand for several addresses, and returns that name."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
    patch.setattr("kernel.providers.openai_wire.getaddrinfo", lambda *_, **__: found)
    return "several.invalid"


def test_addresses_that_do_not_answer_share_the_time(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    name = resolve_to(monkeypatch, "127.0.0.1", "127.0.0.1")
    with full_port() as port, lasting(0.35, 0.6):
        failure(make(f"http://{name}:{port}/v1", deadline_seconds=0.4))


def test_a_second_address_has_time_where_the_first_does_not_answer(
    serve: Serve, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, name = serve(good), resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    url = server.url.replace("127.0.0.1", name)
    with full_port("127.0.0.2", httpx.URL(server.url).port or 0), lasting(0.0, 0.5):
        assert make(url, retries=0, deadline_seconds=0.6).generate(REQUEST) == WHOLE


def test_a_second_address_answers_where_the_first_refuses(
    serve: Serve, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, name = serve(good), resolve_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    assert make(server.url.replace("127.0.0.1", name), retries=0).generate(REQUEST) == WHOLE


# --- Secrets, surroundings, threads -------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 500])
def test_the_key_shows_nowhere(serve: Serve, make: Make, caplog: pytest.LogCaptureFixture, status: int) -> None:
    words = json.dumps({"error": {"message": f"{'x' * 395}{KEY} is a bad key"}}).encode()
    server = serve(answered(status, body=words))
    with caplog.at_level(logging.DEBUG):
        generator = make(server.url, retries=1)
        sentence = failure(generator)
    for shown in (sentence, caplog.text, repr(generator), str(generator), str(generator.info)):
        assert KEY[:10] not in shown
    assert caplog.records


@pytest.mark.parametrize("key", ["sk-\nX-Evil: 1", "sk-ü", "two words"])
def test_a_key_that_no_header_carries_is_refused_unseen(key: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        OpenAIGenerator("http://127.0.0.1/v1", "small", api_key=key)
    assert key not in str(caught.value)


def test_a_line_end_after_the_key_is_dropped(serve: Serve, make: Make) -> None:
    server = serve(good)
    make(server.url, api_key=f"{KEY}\n").generate(REQUEST)
    assert server.seen[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("url", ["", "models.example/v1", "ftp://a/v1", "http://", "http://a:b/v1", "http://a/v1?k=1"])
def test_unusable_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        OpenAIGenerator(url, "small")


def test_redirects_are_not_followed(serve: Serve, make: Make, closing: ExitStack) -> None:
    elsewhere = serve(good)
    server = serve(answered(307, Location=f"{elsewhere.url}/chat/completions"))
    client = closing.enter_context(httpx.Client(trust_env=False, follow_redirects=True))
    for options in ({}, {"client": client}):
        assert "not followed" in failure(make(server.url, **options))
    assert elsewhere.seen == []


def test_proxies_of_the_environment_are_not_used(serve: Serve, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert make(serve(good).url, retries=0).generate(REQUEST) == WHOLE


def test_several_answers_at_once_do_not_mix(serve: Serve, make: Make) -> None:
    together = threading.Barrier(16, timeout=5.0)

    def echo(reply: Reply) -> None:
        said = reply.request.body["messages"][0]["content"]
        together.wait()
        reply.stream(*[token(f"{said};") for _ in range(20)], finish(), USAGE, DONE)

    generator = make(serve(echo).url, retries=0)

    def ask(number: int) -> str:
        messages = (Message("user", f"n{number}"),)
        return generator.generate(GenerationRequest("", messages, Evidence(1, ()), ())).text

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == [f"n{number};" * 20 for number in range(16)]


def test_deadlines_of_threads_do_not_mix(serve: Serve, make: Make) -> None:
    def slow(reply: Reply) -> None:
        reply.pause(0.4)
        good(reply)

    server = serve(slow)
    patient, hasty = make(server.url, deadline_seconds=5.0), make(server.url, deadline_seconds=0.2)
    with ThreadPoolExecutor(2) as pool:
        answer = pool.submit(patient.generate, REQUEST)
        assert "within 0.2 s" in pool.submit(failure, hasty).result()
        assert answer.result() == WHOLE


def test_strange_characters_of_a_question_reach_the_server_as_json(serve: Serve, make: Make) -> None:
    server = serve(good)
    messages = (Message("user", 'lone \ud800 "quote" \u2028'),)
    assert make(server.url).generate(GenerationRequest("", messages, Evidence(1, ()), ())) == WHOLE
    assert server.seen[0].body["messages"][0]["content"] == messages[0].content


# --- Options that steer how it is asked -----------------------------------------------------------------------


def test_a_schema_is_sent_and_done_without_where_the_server_refuses_it(serve: Serve, make: Make) -> None:
    server = serve(answered(400, body=b'{"error": "unknown field response_format"}'), good)
    generator = make(server.url, retries=0)
    asked = replace(REQUEST, options={"json_schema": {"type": "object"}})
    assert generator.generate(asked).text == TEXT
    assert generator.generate(asked).text == TEXT
    first, second, third = server.seen
    assert first.body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "reply", "schema": {"type": "object"}},
    }
    assert "response_format" not in second.body
    assert "response_format" not in third.body, "it is not asked for again"


def test_a_refusal_that_is_not_about_the_schema_is_told_as_it_is(serve: Serve, make: Make) -> None:
    server = serve(answered(400, body=b'{"error": "too long"}'))
    generator = make(server.url, retries=3)
    with pytest.raises(GenerationFailed, match=r"answered 400: too long \(1 try\)"):
        generator.generate(replace(REQUEST, options={"json_schema": {"type": "object"}}))
    assert ["response_format" in seen.body for seen in server.seen] == [True, False]


def test_a_shorter_deadline_holds_for_one_request(serve: Serve, make: Make) -> None:
    server = serve(lambda reply: reply.pause(2.0), good)
    generator = make(server.url, deadline_seconds=30.0)
    with lasting(0.2, 1.0), pytest.raises(GenerationFailed, match=r"within 0\.3 s"):
        generator.generate(replace(REQUEST, options={"deadline_seconds": 0.3}))
    assert generator.generate(REQUEST) == WHOLE
