"""HTTP to the outside, where a list says what may be reached: nothing else is, whatever names and replies say.

A host is looked up once; its addresses are checked, and only those are connected to, so that a name cannot lead
elsewhere between the check and the call. No proxy of the environment is used, and no redirect is followed to a place
that could not have been asked for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import httpx

from kernel.errors import InvalidInput, Unavailable
from kernel.providers.openai_wire import Addresses, Deadline, DeadlineTransport, addresses_of

MOST_REDIRECTS = 5
PORTS = {"http": 80, "https": 443}
LOCAL = "localhost"
SAFE = ("GET", "HEAD")
"""Methods that change nothing (RFC 9110, section 9.2.1)."""
NAT64 = IPv6Network("64:ff9b::/96")
_ENTRY = re.compile(r"(?P<wild>\*\.)?(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::(?P<port>\d{1,5}))?")

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class TooLarge(InvalidInput):
    """A reply is larger than its caller takes."""


class Hosts:
    """A list of hosts: `host`, `host:port`, `*.host`, an address, or a network. Without a port it means 80 and 443.

    Raises InvalidInput for an entry that is none of these.
    """

    def __init__(self, entries: Sequence[str], named: str = "workflow_http_allow") -> None:
        self._exact: set[tuple[str, int | None]] = set()
        self._below: set[tuple[str, int | None]] = set()
        self._networks: list[Network] = []
        self._vouched: list[Network] = []
        for entry in entries:
            network = _network(entry.strip().strip("[]"))
            if network is not None:
                self._networks.append(network)
                continue
            found = _ENTRY.fullmatch(entry.strip())
            if found is None:
                raise InvalidInput(f"{named}: {entry!r} is not a host, host:port, *.host, address or network")
            host, port = found["host"].strip("[]").lower(), int(found["port"]) if found["port"] else None
            literal = _literal(host)
            if literal is not None:
                self._vouched.append(ip_network(literal))
                host = str(literal)
            (self._below if found["wild"] else self._exact).add((host, port))

    def __contains__(self, url: httpx.URL) -> bool:
        """Whether the host and port of a URL are on the list; where its name leads is another matter (`reaches`)."""
        host, port = host_of(url), url.port or PORTS[url.scheme]
        ports = {port, None} if port in PORTS.values() else {port}
        literal = _literal(host)
        if literal is not None and None in ports and any(literal in network for network in self._networks):
            return True
        parents = [host.split(".", cut)[cut] for cut in range(1, host.count(".") + 1)]
        return any((host, one) in self._exact or any((up, one) in self._below for up in parents) for one in ports)

    def reaches(self, host: str, address: str) -> bool:
        """Whether an address may be connected to for a host that is on the list: any public one, and those that are
        named themselves. Addresses that stand for others count as these too.
        """
        plain = ip_address(address.partition("%")[0])
        if host == LOCAL and plain.is_loopback:
            return True
        named = (*self._networks, *self._vouched)
        return all(_public(one) or any(one in network for network in named) for one in _forms(plain))


@dataclass(frozen=True, slots=True)
class Secret:
    """The value of a header that must not be seen, and the hosts that may get it."""

    value: str = field(repr=False)
    hosts: Hosts

    def fits(self, url: httpx.URL) -> bool:
        """Whether it may be sent there: to a host of its list, and only where nobody can listen."""
        literal = _literal(host_of(url))
        here = host_of(url) == LOCAL or (literal is not None and literal.is_loopback)
        return url in self.hosts and (url.scheme == "https" or here)


@dataclass(frozen=True, slots=True)
class WebRequest:
    """What to send. `secrets` are headers that go only where they may; `most_bytes` is the largest reply taken."""

    method: str
    url: httpx.URL
    headers: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    body: bytes | None = None
    most_bytes: int = 1 << 20
    seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class WebReply:
    """A whole reply, of any status. Names of `headers` are in small letters."""

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes


class Egress:
    """Sends requests to what is on the list. Safe to share between threads."""

    def __init__(
        self,
        allow: Hosts,
        *,
        addresses: Addresses = addresses_of,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allow = allow
        self._addresses = addresses
        self._clock = clock

    @cached_property
    def _transport(self) -> DeadlineTransport:
        """Made with the first request: it reads the certificates that are trusted."""
        return DeadlineTransport(self._checked)

    def close(self) -> None:
        """Closes its connections."""
        self._transport.close()

    def check(self, request: WebRequest) -> None:
        """Raises InvalidInput where the request may not be sent."""
        if request.url not in self._allow:
            raise InvalidInput(f"{place_of(request.url)} may not be reached: workflow_http_allow does not name it")
        for name, secret in request.secrets.items():
            if not secret.fits(request.url):
                raise InvalidInput(f"the secret of the header {name} may not be sent to {place_of(request.url)}")

    def send(self, request: WebRequest) -> WebReply:
        """The reply, whatever its status; redirects of GET and HEAD are followed where they may be.

        Raises InvalidInput where it may not be sent, TooLarge, and Unavailable where no whole reply came in time.
        """
        self.check(request)
        deadline = Deadline(self._clock() + request.seconds, self._clock)
        url, secrets = request.url, request.secrets
        for _ in range(MOST_REDIRECTS + 1):
            reply, onward = self._once(request, url, secrets, deadline)
            if onward is None:
                return reply
            if onward not in self._allow:
                raise InvalidInput(f"{place_of(url)} redirects to {place_of(onward)}, which may not be reached")
            url, secrets = onward, {name: secret for name, secret in secrets.items() if secret.fits(onward)}
        raise InvalidInput(f"{place_of(request.url)} redirects more than {MOST_REDIRECTS} times")

    def _once(
        self, request: WebRequest, url: httpx.URL, secrets: Mapping[str, Secret], deadline: Deadline
    ) -> tuple[WebReply, httpx.URL | None]:
        """A reply, and where it leads on to."""
        headers = {"Accept-Encoding": "identity", "User-Agent": "vouch"} | dict(request.headers)
        headers |= {name: secret.value for name, secret in secrets.items()}
        try:
            asked = httpx.Request(request.method, url, headers=headers, content=request.body)
            with deadline.held():
                response = self._transport.handle_request(asked)
                try:
                    body = _body(response, request.most_bytes, place_of(url))
                finally:
                    response.close()
        except httpx.TimeoutException as error:
            raise Unavailable(f"{place_of(url)} gave no whole reply within {request.seconds:g} s") from error
        except httpx.LocalProtocolError as error:
            raise InvalidInput(f"the request to {place_of(url)} cannot be sent: {error}") from error
        except httpx.TransportError as error:
            raise Unavailable(f"{place_of(url)} could not be reached: {error}") from error
        reply = WebReply(response.status_code, str(url), {k.lower(): v for k, v in response.headers.items()}, body)
        return reply, _onward(request.method, url, reply)

    def _checked(self, host: str, port: int) -> list[str]:
        found = self._addresses(host, port)
        allowed = [address for address in found if self._allow.reaches(host.lower(), address)]
        if found and not allowed:
            raise InvalidInput(f"{host} leads to an address that is not public, and workflow_http_allow does not name")
        return allowed


def web_url(text: str) -> httpx.URL:
    """A URL that can be asked for. Raises InvalidInput for one that is not whole, or that carries a password."""
    try:
        url = httpx.URL(text.strip())
    except httpx.InvalidURL as error:
        raise InvalidInput(f"the URL cannot be read: {error}") from error
    if url.scheme not in PORTS or not url.host or url.userinfo:
        raise InvalidInput("a URL begins with https:// or http:// and a host, and holds no user or password")
    return url


def host_of(url: httpx.URL) -> str:
    """The host of a URL as it is looked up: ASCII, in small letters."""
    return url.raw_host.decode("ascii").strip("[]").lower()


def place_of(url: httpx.URL) -> str:
    """A URL's host, and its port where that is not the usual one: what is said of it in words."""
    port = url.port
    return host_of(url) + (f":{port}" if port not in (None, PORTS[url.scheme]) else "")


def _onward(method: str, url: httpx.URL, reply: WebReply) -> httpx.URL | None:
    if method not in SAFE or reply.status not in (301, 302, 303, 307, 308) or "location" not in reply.headers:
        return None
    try:
        return web_url(str(url.join(reply.headers["location"])))
    except httpx.InvalidURL as error:
        raise InvalidInput(f"{place_of(url)} redirects to what is no URL") from error


def _body(response: httpx.Response, most: int, place: str) -> bytes:
    if response.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise InvalidInput(f"{place} sent its reply compressed, though it was asked not to")
    body = b""
    for piece in response.iter_raw():
        body += piece
        if len(body) > most:
            raise TooLarge(f"{place} sent more than the {most} bytes that are taken")
    return body


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _forms(address: Address) -> list[Address]:
    """An address, and the IPv4 addresses that it stands for; one that is mapped is nothing but what it stands for."""
    if isinstance(address, IPv4Address):
        return [address]
    if address.ipv4_mapped is not None:
        return [address.ipv4_mapped]
    inner: list[Address] = [address]
    inner += [address.sixtofour] if address.sixtofour is not None else []
    inner += list(address.teredo) if address.teredo is not None else []
    inner += [IPv4Address(int(address) & 0xFFFFFFFF)] if address in NAT64 else []
    return inner


def _public(address: Address) -> bool:
    return (address.is_global or address in NAT64) and not address.is_multicast
