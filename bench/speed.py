"""How fast: ingest beside the encoder alone, HTTP beside encoding and exact search alone, all in one run; and size."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import faiss
import httpx
import numpy as np

from api.assembly import Workspace
from bench.data import questions, write_corpus
from bench.homes import HOME, open_set
from kernel.ports import EmbeddingInput
from kernel.records import LOCAL_OWNER, Role, Span
from kernel.settings import Settings

INGESTED = 2000
ROUNDS = 3
ASKED = 150


def ingest() -> dict[str, float]:
    """Passages a second of a whole ingest, and of the encoder alone on the same chunks; rounds taken in turn."""
    corpus = write_corpus("2wiki", HOME / "corpora" / "2wiki.jsonl")
    part = HOME / "corpora" / "part.jsonl"
    part.write_text("".join(f"{line}\n" for line in corpus.read_text().splitlines()[:INGESTED]))
    whole, alone = [], []
    for _ in range(ROUNDS):
        home = HOME / "ingest-speed"
        shutil.rmtree(home, ignore_errors=True)
        with Workspace(Settings.load(home=home, models=_models())) as workspace:
            workspace.embedder.embed(["warm"])
            with workspace.parser_pool() as pool:
                begin = time.perf_counter()
                workspace.indexer.ingest(pool, [part])
                whole.append(time.perf_counter() - begin)
            inputs = _inputs(workspace)
            begin = time.perf_counter()
            for start in range(0, len(inputs), 512):
                workspace.embedder.embed_passages(inputs[start : start + 512])
            alone.append(time.perf_counter() - begin)
        shutil.rmtree(home, ignore_errors=True)
    return {
        "passages": INGESTED,
        "ingest, passages/s": round(INGESTED / float(np.median(whole)), 1),
        "encoder alone, passages/s": round(INGESTED / float(np.median(alone)), 1),
        "ingest / encoder alone": round(float(np.median(np.array(alone) / np.array(whole))), 3),
    }


def _inputs(workspace: Workspace) -> list[EmbeddingInput]:
    """What the encoder read of each stored chunk, without sentences: the least that encoding can be."""
    rows = workspace.corpus.index_rows(0)
    return [EmbeddingInput(row.title, row.text, tuple[Span, ...]()) for row in rows]


def serve() -> dict[str, float]:
    """Latency of the HTTP doors at 12.5k passages with one client, beside the floor in process, in turn."""
    workspace, _ = open_set("hotpotqa")
    with workspace:
        key = workspace.keys.create(Role.APP, None, "bench")[1]
        view, _ = workspace.library.view(workspace.snapshots.live(), LOCAL_OWNER)
        floor = _floor(workspace, np.ascontiguousarray(view.index.vectors))
        asked = [one.question for one in questions("hotpotqa")[: 3 * ASKED]]
        with Server(workspace.settings) as server:
            client = httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {key}"}, timeout=60)
            doors: dict[str, Callable[[str], Any]] = {
                "floor": floor,
                "retrieve": lambda text: client.post("/v1/retrieve", json={"question": text}).raise_for_status(),
                "query": lambda text: client.post("/v1/query", json={"question": text}).raise_for_status(),
            }
            times = _in_turn(doors, asked)
            figures = {"ready after, s": server.ready_after, "resident, MB": server.resident_mb()}
    for name, values in times.items():
        figures[f"{name} p50, ms"] = round(float(np.percentile(values, 50)), 2)
        figures[f"{name} p99, ms"] = round(float(np.percentile(values, 99)), 2)
    for name in ("retrieve", "query"):
        figures[f"{name} p50 / floor p50"] = round(figures[f"{name} p50, ms"] / figures["floor p50, ms"], 2)
    return figures


def _floor(workspace: Workspace, vectors: Any) -> Callable[[str], Any]:
    exact = faiss.IndexFlatIP(vectors.shape[1])
    exact.add(vectors)
    return lambda text: exact.search(workspace.embedder.embed([text]), 10)


def _in_turn(doors: dict[str, Callable[[str], Any]], asked: Sequence[str]) -> dict[str, list[float]]:
    """Each door gets every third question, so that none meets one that is remembered; after ten to warm up."""
    times: dict[str, list[float]] = {name: [] for name in doors}
    for number, text in enumerate(asked):
        name = list(doors)[number % len(doors)]
        begin = time.perf_counter()
        doors[name](text)
        if number >= 10 * len(doors):
            times[name].append((time.perf_counter() - begin) * 1000)
    return times


class Server:
    """A real `vouch serve` process over a workspace."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __enter__(self) -> Server:
        settings = self._settings
        command = [str(Path(sys.executable).parent / "vouch"), "--json", "--home", str(settings.home), "--workspace"]
        command += [settings.workspace, "serve", "--port", "18765"]
        environment = os.environ | {"VOUCH_MODELS": str(settings.model_folder.parent)}
        begin = time.perf_counter()
        self._process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = "http://127.0.0.1:18765"
        while True:
            try:
                if httpx.get(f"{self.url}/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                pass
            if self._process.poll() is not None:
                raise RuntimeError("vouch serve ended before it was ready")
            time.sleep(0.02)
        self.ready_after = round(time.perf_counter() - begin, 2)
        return self

    def resident_mb(self) -> float:
        """Memory that is resident now, in MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
        return round(int(line.split()[1]) / 1024, 1)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(30)


def _models() -> Path | None:
    return Settings.load(home=HOME).model_folder.parent


if __name__ == "__main__":
    print(json.dumps({"ingest": ingest(), "serve": serve()}, indent=1))
