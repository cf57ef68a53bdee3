"""Worker processes for tests of the workflow engine: they write down what they do, line by line, into one file."""

from __future__ import annotations

import atexit
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from kernel.storage.engine_database import EngineDatabase
from pipeline.workflows.engine import Engine

TESTS = Path(__file__).parent
PATIENCE = 60.0
"""Seconds after which what a test waits for does not come any more."""


@dataclass(frozen=True)
class Site:
    """Where workers work: `url` of the database, a folder for files, and how they behave."""

    url: str
    folder: Path
    seconds: float = 0.02
    threads: int = 4
    queues: tuple[tuple[str, int], ...] = (("default", 100),)
    silent: float = 1.0
    place: str = "workers"
    child: str = "engine_child"

    @property
    def log(self) -> Path:
        return self.folder / "log.jsonl"

    def database(self) -> EngineDatabase:
        return EngineDatabase(self.url, self.folder / "engine.db", "test")

    @contextmanager
    def client(self) -> Iterator[Engine]:
        """An engine in this process, which is no worker."""
        database = self.database()
        engine = Engine(database, worker="nobody")
        yield engine
        engine.close()
        database.close()

    def lines(self) -> list[dict[str, Any]]:
        """What the workers wrote so far; the last line of one that was killed may be cut."""
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.endswith("}")]

    def ended(self) -> list[str]:
        """The turns that came to their end, in that order."""
        return [line["turn"] for line in self.lines() if line["what"] == "end"]

    @classmethod
    def of(cls, flags: str) -> Self:
        """The site that a worker process was given."""
        read = json.loads(flags)
        return cls(**{**read, "folder": Path(read["folder"]), "queues": tuple(map(tuple, read["queues"]))})

    def worker(self, **changes: Any) -> Worker:
        return Worker(replace(self, **changes))


class Nursery:
    """A process that forks worker processes; one for all tests of this process."""

    def __init__(self) -> None:
        search = f"{TESTS.parent}{os.pathsep}{TESTS}"
        self._process = subprocess.Popen(
            [sys.executable, str(TESTS / "nursery.py")],
            env={**os.environ, "PYTHONPATH": search},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._process.communicate)

    def start(self, module: str, flags: str) -> tuple[int, str]:
        """The number of the process, and the worker's id, once it is up."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{module} {flags}\n")
        self._process.stdin.flush()
        number, _, worker = self._process.stdout.readline().strip().partition(" ")
        assert worker, "the worker did not start"
        return int(number), worker


@cache
def nursery() -> Nursery:
    return Nursery()


class Worker:
    """A worker process; it is up when this returns."""

    def __init__(self, site: Site) -> None:
        flags = json.dumps({**asdict(site), "folder": str(site.folder)})
        self._number, self.id = nursery().start(site.child, flags)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def kill(self) -> None:
        """As the machine would: at once."""
        self._send(signal.SIGKILL)
        until(lambda: not self._send(0))

    def pause(self, writes: Callable[[], object]) -> None:
        """Have it stand still, in a moment in which it holds no lock: `writes` would wait for one."""
        while True:
            self._send(signal.SIGSTOP)
            probe = threading.Thread(target=writes)
            probe.start()
            probe.join(1.5)
            if not probe.is_alive():
                return
            self.go_on()
            probe.join()
            time.sleep(random.uniform(0.02, 0.2))

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def stop(self) -> None:
        """As its owner would: it may finish."""
        self._send(signal.SIGTERM)
        until(lambda: not self._send(0))

    def _send(self, what: int) -> bool:
        try:
            os.kill(self._number, what)
        except ProcessLookupError:
            return False
        return True


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Wait for something to come true; fails where it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.02)


def note(path: Path, what: str, **more: Any) -> None:
    """Append a line, in one write."""
    line = json.dumps({"what": what, "at": time.time(), "pid": os.getpid(), **more}) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        os.write(handle, line.encode())
    finally:
        os.close(handle)
