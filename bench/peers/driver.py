"""The asking side: a measured system in a process of its own, whose answers are read with a time limit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.homes import HOME
from bench.peers.venvs import HOMES, python_of

ROOT = Path(__file__).resolve().parents[2]
KEPT = ("PATH", "LANG", "LC_ALL", "TMPDIR", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
SILENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HAYSTACK_TELEMETRY_ENABLED": "False",
    "ANONYMIZED_TELEMETRY": "False",
    "LANGSMITH_TRACING": "false",
    "DO_NOT_TRACK": "1",
    "PYTHONWARNINGS": "ignore",
    "PYTHONDONTWRITEBYTECODE": "1",
}
LIMIT_SECONDS = 3600.0
"""Time that one message may take; `--full-index` of the largest corpus takes most of it."""


class Failed(Exception):
    """A measured system gave up, or could not be started."""


@dataclass(frozen=True, slots=True)
class Name:
    """A measured system: which peer's environment it runs in, which of its ways to search, and what it is called."""

    peer: str
    system: str
    title: str

    @property
    def key(self) -> str:
        """Its name in results and on the command line."""
        return f"{self.peer}-{self.system}"


OURS = Name("ours", "search", "**Vouch**")
INGEST = Name("ours", "ingest", OURS.title)
FLOOR = Name("ours", "floor", "floor: encode, exact search")
PEERS = (
    Name("langchain", "dense", "LangChain, FAISS"),
    Name("langchain", "ensemble", "LangChain, ensemble"),
    Name("llamaindex", "dense", "LlamaIndex, FAISS"),
    Name("llamaindex", "fusion", "LlamaIndex, fusion with BM25"),
    Name("haystack", "hybrid", "Haystack, BM25 + vectors"),
    Name("txtai", "hybrid", "txtai, hybrid"),
    Name("txtai", "graph", "txtai, hybrid + graph"),
)


class Process:
    """A system that is running; use it as a context manager. Its standard error goes to a log file beside the peers."""

    def __init__(self, name: Name, model: Path, command: Sequence[str] | None = None) -> None:
        """`command` is for tests: what to run instead of the peer of that name. Raises NotInstalled or Failed."""
        self.name = name
        HOMES.mkdir(parents=True, exist_ok=True)
        self.log = HOMES / f"{name.key}.log"
        with self.log.open("w") as log:
            self._process = subprocess.Popen(
                list(command or _command(name)),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=_environment(name),
            )
        try:
            self.send({"do": "load", "system": name.system, "model": str(model)})
        except BaseException:
            self.__exit__()
            raise

    def send(self, message: dict[str, Any], limit: float = LIMIT_SECONDS) -> dict[str, Any]:
        """The answer to a message. Raises Failed where there is none within `limit` seconds, or it is an error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        alarm = threading.Timer(limit, self._process.kill)
        alarm.start()
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        finally:
            alarm.cancel()
        answer: dict[str, Any] = json.loads(line) if line else {"error": f"its process ended, see {self.log}"}
        if "error" in answer:
            raise Failed(f"{self.name.key}: {answer['error']}")
        return answer

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.close()
            self._process.wait(20)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


def _command(name: Name) -> list[str]:
    if name.peer == "ours":
        return [sys.executable, "-m", "bench.peers.ours"]
    return [str(python_of(name.peer)), "-m", f"bench.peers.{name.peer}.peer"]


def _environment(name: Name) -> dict[str, str]:
    """Little of our own: peers get a home folder of their own too, so that they leave nothing in the user's."""
    if name.peer == "ours":
        return dict(os.environ)
    home = HOMES / "home"
    home.mkdir(parents=True, exist_ok=True)
    return {key: os.environ[key] for key in KEPT if key in os.environ} | SILENT | {"HOME": str(home)}


def corpus_of(name: str) -> Path:
    """Where the shuffled corpus of a set lies, as `open_set` writes it."""
    return (HOME / "corpora" / f"{name}.jsonl").absolute()


def say(words: str) -> None:
    """Progress, on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {words}", file=sys.stderr, flush=True)
