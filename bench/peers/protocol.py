"""How a measured system is spoken to: one JSON object a line, on standard input and output.

    {"do": "load", "system": NAME, "model": FOLDER}         -> {"rss_mb"}
    {"do": "index", "corpus": FILE, "vectors": FILE | null, "workspace": NAME | null}
                                                            -> {"passages", "seconds", "rss_mb"}
    {"do": "encode", "texts": [TEXT], "to": FILE.npy}       -> {}
    {"do": "ask", "questions": [TEXT], "k": 10}             -> {"found": [[ID]], "ms": [MILLISECONDS], "rss_mb"}
    {"do": "save", "folder": FOLDER}                        -> {"mb": SIZE | null}

A corpus holds `{"id", "title", "text"}` a line; a passage is its title and text as one string. `vectors` are unit rows
of the same model in the order of the corpus; without them the system encodes the passages itself. `workspace` is for
ours alone: one that holds the corpus already. Whatever goes wrong is answered by `{"error": WORDS}`. This file runs in
every peer's environment: it needs numpy and nothing of ours.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

Answer = dict[str, Any]


@dataclass(frozen=True)
class Corpus:
    """Passages to make searchable; `vectors` are theirs where the system need not encode them."""

    path: Path
    ids: Sequence[str]
    texts: Sequence[str]
    vectors: Any | None
    workspace: str | None


class System(Protocol):
    """A retrieval system that is measured: made for one corpus, with its encoder loaded before any clock runs."""

    def __init__(self, system: str, model: Path) -> None: ...

    def encode(self, texts: Sequence[str]) -> Any:
        """Vectors `[len(texts), dimension]` of passages from the system's own encoder."""

    def index(self, corpus: Corpus) -> None:
        """Make the passages searchable; encode them unless their vectors are given."""

    def ask(self, question: str, k: int) -> Sequence[str]:
        """The ids of the best `k` passages, best first."""

    def save(self, folder: Path) -> bool:
        """Write all that it can save of its index into `folder`; False where it has no such function."""


def serve(make: Callable[[str, Path], System]) -> None:
    """Answer messages until standard input ends. `make` gets the system's name and the model's folder."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    sys.addaudithook(_only_loopback)
    desk = _Desk(make)
    for line in sys.stdin:
        _send(answers, desk.answer(json.loads(line)))


class _Desk:
    """One system, made by the first message."""

    def __init__(self, make: Callable[[str, Path], System]) -> None:
        self._make = make
        self._system: System | None = None

    def answer(self, message: dict[str, Any]) -> Answer:
        try:
            if message["do"] == "load":
                self._system = self._make(message["system"], Path(message["model"]))
                return {"rss_mb": rss_mb()}
            if self._system is None:
                return {"error": "nothing is loaded yet"}
            return _DOINGS[message["do"]](self._system, message)
        except Exception as error:  # noqa: BLE001 - the other side must learn of whatever went wrong
            return {"error": f"{type(error).__name__}: {error}"[:2000]}


def _encode(system: System, message: dict[str, Any]) -> Answer:
    np.save(message["to"], np.asarray(system.encode(message["texts"]), np.float32), allow_pickle=False)
    return {}


def _index(system: System, message: dict[str, Any]) -> Answer:
    path, workspace = Path(message["corpus"]), message.get("workspace")
    ids, texts = ([], []) if workspace else read_corpus(path)
    vectors = np.load(message["vectors"], allow_pickle=False) if message.get("vectors") else None
    begin = time.perf_counter()
    system.index(Corpus(path, ids, texts, vectors, workspace))
    return {"passages": len(ids), "seconds": time.perf_counter() - begin, "rss_mb": rss_mb()}


def _ask(system: System, message: dict[str, Any]) -> Answer:
    found, times = [], []
    for question in message["questions"]:
        begin = time.perf_counter()
        ids = system.ask(question, message["k"])
        times.append(round((time.perf_counter() - begin) * 1000, 4))
        found.append(list(ids))
    return {"found": found, "ms": times, "rss_mb": rss_mb()}


def _save(system: System, message: dict[str, Any]) -> Answer:
    folder = Path(message["folder"])
    folder.mkdir(parents=True)
    return {"mb": folder_mb(folder) if system.save(folder) else None}


_DOINGS = {"encode": _encode, "index": _index, "ask": _ask, "save": _save}


def read_corpus(path: Path) -> tuple[list[str], list[str]]:
    """The ids of a corpus and its passages: title and text as one string."""
    with path.open(encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    return [row["id"] for row in rows], [passage_text(row) for row in rows]


def passage_text(row: dict[str, str]) -> str:
    """A passage as every system reads it."""
    return f"{row['title']}\n{row['text']}" if row.get("title") else row["text"]


def rss_mb() -> float:
    """Memory of this process that is resident now, in MB."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return round(int(line.split()[1]) / 1024, 1)


def folder_mb(folder: Path) -> float:
    """Size of all files under a folder, in MB."""
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20, 1)


def _send(answers: TextIO, answer: Answer) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _only_loopback(event: str, arguments: tuple[Any, ...]) -> None:
    """No model, tokenizer or statistic is fetched or sent while anything is measured."""
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = str(arguments[1][0])
        if not host.startswith(("127.", "::1", "localhost")):
            raise PermissionError(f"a measured system tried to connect to {host}")
