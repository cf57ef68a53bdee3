"""A private PostgreSQL server for tests: made in a temporary folder, reached through a socket in it, gone afterwards.

The server sorts text by language (ICU), not by bytes, so that a query that leans on byte order is found out.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

USER = "postgres"
START_SECONDS = 30.0
SETTINGS = {
    "listen_addresses": "",
    "max_connections": "80",
    "shared_buffers": "32MB",
    "max_wal_size": "64MB",
    "min_wal_size": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "autovacuum": "off",
}
GUARD = 'folder=$1; shift; "$@" & server=$!; read -r _; kill -QUIT "$server"; wait "$server"; rm -rf "$folder"'
"""Ends the server and its data when the test process goes away, however it goes: then its end of the pipe closes."""


class NoPostgres(Exception):
    """PostgreSQL cannot be started here; the message says why and what would help."""


def find_programs() -> Path:
    """The folder with `initdb` and `postgres`: the newest under /usr/lib/postgresql, else the one on PATH."""
    packaged = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    on_path = shutil.which("initdb")
    for folder in [*reversed(packaged), *([Path(on_path).resolve().parent] if on_path else [])]:
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder
    raise NoPostgres("no PostgreSQL is installed: initdb is neither under /usr/lib/postgresql nor on PATH")


def _account() -> str | None:
    """Whom to run the server as: itself refuses root. Raises NoPostgres where root has nobody to hand it to."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(USER).pw_name
    except KeyError as error:
        raise NoPostgres(f"PostgreSQL does not run as root, and there is no user {USER!r} to run it as") from error


@contextmanager
def private_cluster() -> Iterator[str]:
    """The URL of a fresh server, which ends with the block. Raises NoPostgres where none can be started."""
    programs, account = find_programs(), _account()
    folder = Path(tempfile.mkdtemp(prefix="vouch-pg-", dir=_memory()))
    try:
        if account is not None:
            shutil.chown(folder, account)
        _initdb(programs, folder, account)
        with _server(programs, folder, account):
            yield f"postgresql://{USER}@/postgres?host={quote(str(folder))}"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _memory() -> Path | None:
    """A folder in memory with room enough, so that what the server makes durable costs no disk."""
    shared = Path("/dev/shm")
    roomy = shared.is_dir() and os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 1 << 30
    return shared if roomy else None


def _initdb(programs: Path, folder: Path, account: str | None) -> None:
    command = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", USER, "-A", "trust", "-E", "UTF8", "-N"]
    locale = ["--locale=C", "--locale-provider=icu", "--icu-locale=en-US"]
    for options in (locale, ["--locale=C"]):
        run = subprocess.run([*command, *options], user=account, cwd=folder, capture_output=True, text=True)
        if run.returncode == 0:
            return
        shutil.rmtree(folder / "data", ignore_errors=True)
    words = run.stderr.strip().splitlines() or ["no output"]
    raise NoPostgres(f"initdb failed: {words[-1]}")


@contextmanager
def _server(programs: Path, folder: Path, account: str | None) -> Iterator[None]:
    options = [f"-c{name}={value}" for name, value in SETTINGS.items()]
    command = [str(programs / "postgres"), "-D", str(folder / "data"), "-k", str(folder), *options]
    with (folder / "log").open("wb") as log:
        guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "sh", str(folder), *command],
            user=account,
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _await(programs, folder, guard)
        yield
    finally:
        guard.communicate(timeout=START_SECONDS)


def _await(programs: Path, folder: Path, guard: subprocess.Popen[bytes]) -> None:
    ready = [str(programs / "pg_isready"), "-q", "-h", str(folder)]
    deadline = time.monotonic() + START_SECONDS
    while subprocess.run(ready).returncode != 0:
        if guard.poll() is not None or time.monotonic() > deadline:
            words = (folder / "log").read_text(errors="replace").strip().splitlines() or ["no output"]
            raise NoPostgres(f"the PostgreSQL server did not start: {words[-1]}")
        time.sleep(0.05)
