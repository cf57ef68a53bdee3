"""`vouch serve`: the HTTP server."""

from __future__ import annotations

import ipaddress
import logging
import signal
import socket
from collections.abc import Callable
from typing import Annotated, Any

import typer
import uvicorn

from api.app import create_app
from api.assembly import Workspace
from api.cli.call import Call, command
from api.cli.output import write_json
from kernel.errors import InvalidInput, Unavailable
from kernel.records import Role

commands = typer.Typer(rich_markup_mode=None)

BACKLOG = 2048
DRAIN_SECONDS = 30
_LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"paths": {"()": "api.cli.serve.PathsOnly"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {
        "stderr": {
            "class": "logging.StreamHandler",
            "formatter": "line",
            "stream": "ext://sys.stderr",
            "filters": ["paths"],
        }
    },
    "loggers": {"uvicorn": {"handlers": ["stderr"], "level": "INFO", "propagate": False}},
}


class PathsOnly(logging.Filter):
    """Cuts what follows `?` from logged addresses: it may hold what somebody asked about."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, an access record without its query string."""
        if record.name == "uvicorn.access" and isinstance(record.args, tuple):
            record.args = tuple(a.partition("?")[0] if isinstance(a, str) else a for a in record.args)
        return True


class _Server(uvicorn.Server):
    """Says so when it is up."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and not self.should_exit:
            self._announce()


@command(commands)
def serve(
    call: Call,
    host: Annotated[str | None, typer.Option(help="Address to listen on (default: 127.0.0.1).")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port (default: 8000); 0 takes a free one.")
    ] = None,
) -> None:
    """Serve the HTTP API until it is told to end (Ctrl-C or SIGTERM); requests under way are finished first.

    The first start makes an admin key and prints it this once. Any host but this machine's own needs a key to exist.
    """
    settings = call.settings(host=host, port=port)
    workspace = call.open(settings)
    if not workspace.keys.any() and not is_loopback(settings.host):
        raise InvalidInput(
            f"{settings.host} can be reached by others and no API key exists; make one: vouch keys create --role admin"
        )
    _open_all(call.with_model)
    listener = _listen(settings.host, settings.port)
    url = f"http://{_shown(settings.host)}:{listener.getsockname()[1]}"
    config = uvicorn.Config(create_app(workspace), log_config=_LOGGING, timeout_graceful_shutdown=DRAIN_SECONDS)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    server = _Server(config, lambda: _announce(call, url, _first_key(workspace)))
    try:
        server.run(sockets=[listener])
    finally:
        signal.signal(signal.SIGTERM, before)
        listener.close()
    if not server.started:
        raise Unavailable("the server could not start; its log above says why")


def _open_all(workspace: Workspace) -> None:
    """Make the parts that answer before the server starts: what is wrong with them is told in one line."""
    workspace.warm()
    _ = workspace.answering


def _first_key(workspace: Workspace) -> str | None:
    """The secret of an admin key made now, where there is no key yet: so it is made only when it can be shown."""
    if workspace.keys.any():
        return None
    return workspace.keys.create(Role.ADMIN, None, "made by the first vouch serve")[1]


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises Unavailable where the address is taken or not this machine's."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.create_server((host, port), family=family, backlog=BACKLOG)
        # asyncio turns Nagle's wait (some 40 ms an answer) off only for sockets that say that they are TCP
        return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, made.detach())
    except OSError as error:
        raise Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another --port or --host"
        ) from error


def is_loopback(host: str) -> bool:
    """Whether an address reaches this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _announce(call: Call, url: str, secret: str | None) -> None:
    if call.flags.json:
        write_json({"url": url, "key": secret}, line=True)
        return
    call.note(f"serving {url} (API description: {url}/docs)")
    if secret is not None:
        call.note(f"admin key, shown this once: {secret}")
