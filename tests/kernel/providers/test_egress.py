"""What may be reached over HTTP, and that nothing else is."""

from __future__ import annotations

import gzip
import re
import socket
from collections.abc import Callable, Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from outside_parts import Answer, Heard, WebServer, as_json

from kernel.errors import InvalidInput, Unavailable
from kernel.providers.egress import Egress, Hosts, Secret, TooLarge, WebRequest, web_url

Listen = Callable[..., WebServer]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Starts web servers on loopback."""
    servers: list[WebServer] = []

    def start(reply: Callable[[Heard], Answer] = lambda _: as_json({"fine": True})) -> WebServer:
        servers.append(WebServer(reply))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def get(url: str, **more: object) -> WebRequest:
    return WebRequest("GET", web_url(url), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("entry", "url", "on_it"),
    [
        ("api.example.org", "https://api.example.org/x", True),
        ("api.example.org", "http://API.Example.org", True),
        ("api.example.org", "https://api.example.org:8443/", False),
        ("api.example.org:8443", "https://api.example.org:8443/", True),
        ("api.example.org:8443", "https://api.example.org/", False),
        ("api.example.org", "https://xapi.example.org/", False),
        ("api.example.org", "https://api.example.org.evil.test/", False),
        ("*.example.org", "https://a.b.example.org/", True),
        ("*.example.org", "https://example.org/", False),
        ("*.example.org", "https://badexample.org/", False),
        ("*.example.org:81", "http://a.example.org:81/", True),
        ("bücher.example", "https://bücher.example/", False),
        ("xn--bcher-kva.example", "https://bücher.example/", True),
        ("10.0.0.0/8", "http://10.1.2.3/", True),
        ("10.0.0.0/8", "http://11.1.2.3/", False),
        ("10.0.0.0/8", "http://10.1.2.3:8080/", False),
        ("10.0.0.5:8080", "http://10.0.0.5:8080/", True),
        ("10.0.0.5:8080", "http://10.0.0.5/", False),
        ("[::1]:8080", "http://[::1]:8080/", True),
        ("::1", "http://[0:0::1]/", True),
        ("127.0.0.1", "http://2130706433/", False),
        ("127.0.0.1", "http://0x7f.1/", False),
        ("127.0.0.1", "http://127.1/", False),
    ],
)
def test_a_list_of_hosts_means_what_it_says(entry: str, url: str, on_it: bool) -> None:
    entries = [entry] if entry.isascii() else []
    assert (web_url(url) in Hosts(entries)) is on_it


@pytest.mark.parametrize("entry", ["", "a b", "https://example.org", "*", "*.*", "host:99999999", "a/b", "a*.org"])
def test_an_entry_that_is_no_host_is_refused(entry: str) -> None:
    with pytest.raises(InvalidInput, match="is not a host"):
        Hosts([entry])


@pytest.mark.parametrize(
    "url", ["ftp://example.org", "//example.org", "example.org", "https://", "http://u:p@example.org/", "file:///x"]
)
def test_what_is_no_plain_web_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        web_url(url)


PRIVATE = [
    *("127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"),
    *("2002:7f00:1::", "2002:a00:1::1", "224.0.0.1", "ff02::1", "192.0.2.1", "255.255.255.255"),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_allowed_name_that_leads_inside_is_refused(address: str) -> None:
    """As after a change of the name's entry (DNS rebinding): the address itself is not on the list."""
    hosts = Hosts(["api.example.org", "*.example.org", "192.168.7.7"])
    assert not hosts.reaches("api.example.org", address)
    egress = Egress(hosts, addresses=lambda host, port: [address])
    with pytest.raises(InvalidInput, match="leads to an address that is not public"):
        egress.send(get("http://api.example.org/"))


@given(st.ip_addresses(network="10.0.0.0/8"), st.ip_addresses(network="8.8.0.0/16"))
def test_a_private_address_is_reached_only_where_it_is_listed(inside: object, outside: object) -> None:
    plain, listed = Hosts(["a.example.org"]), Hosts(["a.example.org", f"{inside}:99"])
    assert (plain.reaches("a.example.org", str(inside)), listed.reaches("a.example.org", str(inside))) == (False, True)
    assert plain.reaches("a.example.org", str(outside))
    assert not listed.reaches("localhost.example.org", "127.0.0.1")


def test_the_name_is_looked_up_once_and_only_what_was_checked_is_connected_to(listen: Listen) -> None:
    """A name that would lead inside the second time is not asked a second time."""
    server = listen()
    asked: list[str] = []

    def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]

    egress = Egress(Hosts([f"api.example.org:{server.port}", "127.0.0.1"]), addresses=lookup)
    reply = egress.send(get(f"http://api.example.org:{server.port}/a?b=c"))
    assert (reply.status, reply.body, asked) == (200, b'{"fine": true}', ["api.example.org"])
    assert server.heard[0].headers["host"] == f"api.example.org:{server.port}"
    egress.close()


def test_localhost_may_lead_here_where_it_is_listed(listen: Listen) -> None:
    server = listen()
    assert Egress(Hosts([f"localhost:{server.port}"])).send(get(f"http://localhost:{server.port}/")).status == 200
    with pytest.raises(InvalidInput, match="may not be reached"):
        Egress(Hosts([])).send(get(server.url))
    assert len(server.heard) == 1


def test_no_proxy_of_the_environment_is_used(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    server, proxy = listen(), listen()
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    assert Egress(Hosts([server.host])).send(get(server.url)).status == 200
    assert proxy.heard == []


def test_redirects_lead_only_to_what_may_be_reached(listen: Listen) -> None:
    inside = listen()
    outside = listen(lambda one: as_json({}, 302, Location=inside.url if one.path == "/in" else "/end"))
    egress = Egress(Hosts([outside.host]))
    with pytest.raises(InvalidInput, match=rf"redirects to {inside.host}, which may not be reached"):
        egress.send(get(f"{outside.url}/in"))
    assert inside.heard == []
    for bad in ("file:///etc/passwd", "http://[bad"):
        outside.reply = lambda one, bad=bad: as_json({}, 302, Location=bad)  # type: ignore[misc]
        with pytest.raises(InvalidInput):
            egress.send(get(outside.url))
    outside.reply = lambda one: as_json({}, 302, Location="/again")
    with pytest.raises(InvalidInput, match="redirects more than 5 times"):
        egress.send(get(outside.url))
    outside.reply = lambda one: as_json({}, 307, Location=f"{outside.url}/other") if one.path == "/" else as_json({})
    assert egress.send(get(outside.url)).url == f"{outside.url}/other"
    post = WebRequest("POST", web_url(outside.url), body=b"x")
    assert egress.send(post).status == 307, "what changes something is never sent on"


def test_a_secret_goes_only_to_its_hosts_and_never_on(listen: Listen) -> None:
    other = listen()
    server = listen(lambda one: as_json({}, 302, Location=other.url))
    secret = Secret("Bearer top", Hosts([server.host]))
    egress = Egress(Hosts([server.host, other.host]))
    assert egress.send(get(server.url, secrets={"Authorization": secret})).status == 200
    assert server.heard[0].headers["authorization"] == "Bearer top"
    assert "authorization" not in other.heard[0].headers
    with pytest.raises(InvalidInput, match="may not be sent"):
        egress.send(get(other.url, secrets={"Authorization": secret}))
    assert not Secret("x", Hosts(["api.example.org"])).fits(httpx.URL("http://api.example.org/")), "in the clear"
    assert Secret("x", Hosts(["api.example.org"])).fits(httpx.URL("https://api.example.org/"))
    assert "top" not in repr(secret)


def test_a_reply_that_is_too_large_or_compressed_is_not_taken(listen: Listen) -> None:
    server = listen(lambda one: Answer(200, b"x" * 5000))
    egress = Egress(Hosts([server.host]))
    with pytest.raises(TooLarge, match="more than the 4999 bytes"):
        egress.send(get(server.url, most_bytes=4999))
    assert len(egress.send(get(server.url, most_bytes=5000)).body) == 5000
    server.reply = lambda one: Answer(200, gzip.compress(b"x" * 10**6), {"Content-Encoding": "gzip"})
    with pytest.raises(InvalidInput, match="compressed"):
        egress.send(get(server.url))
    assert server.heard[-1].headers["accept-encoding"] == "identity"


def test_a_server_that_is_away_or_slow_is_unavailable(listen: Listen) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    egress = Egress(Hosts(["127.0.0.1:1", f"127.0.0.1:{port}"]))
    with pytest.raises(Unavailable, match=re.escape(f"127.0.0.1:{port} could not be reached")):
        egress.send(get(f"http://127.0.0.1:{port}/"))
    server = listen(lambda one: Answer(hold=2.0))
    with pytest.raises(Unavailable, match=r"no whole reply within 0\.2 s"):
        Egress(Hosts([server.host])).send(get(server.url, seconds=0.2))
