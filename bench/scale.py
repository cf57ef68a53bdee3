"""How searching scales: `python -m bench.scale [CHUNKS …]` makes corpora of 10,000 to a million chunks, and asks them.

The text is synthetic, from a seed: words by Zipf's law from a large vocabulary, documents of five chunks with a title
of two words, about ten names a chunk whose frequencies follow Zipf's law too (so that the commonest name is in more
than one chunk in a hundred), vectors around two thousand topics. All of it goes into a real store, from which the
real index is built; questions are encoded by the real model and asked over HTTP of a real server.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray

from api.assembly import Workspace
from bench.homes import HOME
from bench.speed import Server
from kernel.ids import derived_id, sha256
from kernel.records import LOCAL_OWNER, Role
from kernel.settings import Settings

SIZES = (10_000, 100_000, 1_000_000)
SEED = 20261120
WORDS = 200_000
CHUNK_WORDS = 60
NAMES_A_CHUNK = 10
NAMES_EACH = 1.2
"""Distinct names a chunk of the corpus."""
DOCUMENT_CHUNKS = 5
SENTENCES = 2
TOPICS = 2000
STEP = 5000
ASKED = 200
CHANGED = 0.01
_ONSETS = ["b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "ch", "sh", "st", "tr", "br", "kr"]
_VOWELS = ["a", "e", "i", "o", "u", "ai", "ei", "ou"]


class Synthetic:
    """A corpus of `chunks` chunks, the same for the same size and seed."""

    def __init__(self, chunks: int, dimension: int) -> None:
        self._rng = np.random.default_rng([SEED, chunks])
        self._dimension = dimension
        self.chunks = chunks
        syllables = np.array([onset + vowel for onset in _ONSETS for vowel in _VOWELS])
        picks = np.random.default_rng(SEED).integers(0, len(syllables), (WORDS, 4))
        lengths = np.random.default_rng(SEED + 1).integers(2, 5, WORDS)
        self._words = ["".join(syllables[row[:n]]) for row, n in zip(picks, lengths.tolist(), strict=True)]
        self._word_chance = _zipf(WORDS, 1.0)
        self.names = int(chunks * NAMES_EACH)
        self._name_chance = _zipf(self.names, 0.8)
        self._topics = self._rng.normal(size=(TOPICS, dimension)).astype(np.float32)

    def name(self, number: int) -> str:
        """The name of an entity: two words that depend on its number alone."""
        first, second = (number * 7919 + 13) % WORDS, (number * 104_729 + 7) % WORDS
        return f"{self._words[first].title()} {self._words[second].title()}"

    def title(self, document: int) -> str:
        """A document is about one of the names, each of which has a document at most."""
        return self.name((document * 5) % self.names)

    def parts(self) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Chunks in steps: the number of the first, and what each holds."""
        for low in range(0, self.chunks, STEP):
            count = min(STEP, self.chunks - low)
            words = np.searchsorted(self._word_chance, self._rng.random((count, CHUNK_WORDS)))
            names = np.searchsorted(self._name_chance, self._rng.random((count, NAMES_A_CHUNK)))
            vectors = self._vectors(low, count)
            yield low, [self._chunk(words[i], names[i], vectors[i]) for i in range(count)]

    def _vectors(self, low: int, count: int) -> NDArray[np.float32]:
        topic = ((np.arange(low, low + count) // DOCUMENT_CHUNKS) * 31) % TOPICS
        noise = self._rng.normal(size=(count, 1 + SENTENCES, self._dimension)).astype(np.float32)
        vectors = self._topics[topic][:, None, :] + 0.7 * noise
        unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=2, keepdims=True)
        return unit

    def _chunk(self, words: NDArray[Any], names: NDArray[Any], vectors: NDArray[np.float32]) -> dict[str, Any]:
        pieces = [self._words[word] for word in words.tolist()]
        step = CHUNK_WORDS // NAMES_A_CHUNK
        mentions: dict[tuple[int, int], str] = {}
        text = ""
        for number, name in enumerate(names.tolist()):
            text += " ".join(pieces[number * step : (number + 1) * step]) + " "
            surface = self.name(name)
            mentions[len(text), len(text) + len(surface)] = surface.casefold()
            text += surface + (". " if number % 5 == 4 else " ")
        middle = text.find(". ") + 2
        spans = np.array([[0, middle - 1], [middle, len(text) - 1]], "<i4")
        return {"text": text.strip(), "mentions": mentions, "vectors": vectors, "spans": spans, "pieces": pieces}


def _zipf(count: int, power: float) -> NDArray[np.float64]:
    """The cumulative chances of ranks: 1 / (rank + 2)^power."""
    chance: NDArray[np.float64] = np.cumsum((np.arange(count) + 2.0) ** -power)
    return chance / chance[-1]


def fill(workspace: Workspace, corpus: Synthetic) -> list[str]:
    """Put a corpus into the store as documents that are visible; some questions about it."""
    source = workspace.catalog.source_id("synthetic", "seeded")
    recipe, asked, entities = workspace.recipe, [], dict[str, int]()
    revision = 0
    for low, chunks in corpus.parts():
        rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _INSERTS}
        for number, made in enumerate(chunks, start=low):
            document, ordinal = divmod(number, DOCUMENT_CHUNKS)
            title = corpus.title(document)
            if ordinal == 0:
                revision = document + 1
                _document_rows(rows, revision, source, recipe, title)
            _chunk_rows(rows, number + 1, revision, ordinal, made, entities, title.casefold())
            if number % max(1, corpus.chunks // ASKED) == 0:
                names = list(made["mentions"].values())
                words = " ".join(made["pieces"][:4])
                asked.append(f"Which {words} did {names[0].title()} have with {names[1].title()}?")
        with workspace.database.write() as connection:
            for name, statement in _INSERTS.items():
                if rows[name]:
                    connection.exec_driver_sql(statement, rows[name])
        print(f"  stored {low + len(chunks):,} of {corpus.chunks:,} chunks", end="\r", file=sys.stderr)
    print(file=sys.stderr)
    workspace.snapshots.publish("synthetic", range(1, revision + 1), ())
    return asked


_INSERTS = {
    "document": "INSERT INTO document (id, public_id, source_id, path, created_at) VALUES (?, ?, ?, ?, '2026-11-20')",
    "revision": "INSERT INTO revision (id, document_id, number, content_sha256, text_sha256, recipe, media_type, title,"
    " uri, status, length, details, created_at) VALUES (?, ?, 1, ?, ?, ?, 'text/plain', ?, '', 'ok', 0, '{}', '2026')",
    "entity": "INSERT INTO entity (id, key) VALUES (?, ?)",
    "chunk": 'INSERT INTO chunk (id, public_id, revision_id, ordinal, start, "end", tokens, heading, text, sentences,'
    " vector, sentence_vectors, signature, sha256) VALUES (?, ?, ?, ?, 0, ?, 80, '[]', ?, ?, ?, ?, ?, ?)",
    "mention": 'INSERT INTO mention (chunk_id, start, "end", entity_id, kind) VALUES (?, ?, ?, ?, ?)',
}


def _document_rows(rows: dict[str, list[tuple[Any, ...]]], number: int, source: int, recipe: str, title: str) -> None:
    digest = sha256(str(number))
    rows["document"].append((number, derived_id("doc", "synthetic", str(number)), source, str(number)))
    rows["revision"].append((number, number, digest, digest, recipe, title))


def _chunk_rows(
    rows: dict[str, list[tuple[Any, ...]]],
    row: int,
    revision: int,
    ordinal: int,
    made: dict[str, Any],
    entities: dict[str, int],
    title: str,
) -> None:
    text, vectors = made["text"], made["vectors"]
    rows["chunk"].append(
        (
            row,
            derived_id("chk", "synthetic", str(row)),
            revision,
            ordinal,
            len(text),
            text,
            made["spans"].tobytes(),
            vectors[0].astype("<f4").tobytes(),
            vectors[1:].astype("<f2").tobytes(),
            sha256(text).encode(),
            sha256(text),
        )
    )
    named = [((0, 0), title, "title"), *((span, key, "name") for span, key in made["mentions"].items())]
    for span, key, kind in named:
        number = entities.get(key)
        if number is None:
            number = entities[key] = len(entities) + 1
            rows["entity"].append((number, key))
        rows["mention"].append((row, *span, number, kind))


def measure(chunks: int) -> dict[str, float]:
    """Make, index and ask a corpus of one size."""
    settings = Settings.load(home=HOME, workspace=f"scale_{chunks}")
    shutil.rmtree(settings.workspace_folder, ignore_errors=True)
    with Workspace(settings) as workspace:
        begin = time.perf_counter()
        asked = fill(workspace, Synthetic(chunks, workspace.embedder.dimension))
        figures: dict[str, float] = {"chunks": chunks, "made in, s": round(time.perf_counter() - begin, 1)}
        begin = time.perf_counter()
        workspace.library.update(lambda done: print(f"  indexed {done:,} chunks", end="\r", file=sys.stderr))
        print(file=sys.stderr)
        figures["index built in, s"] = round(time.perf_counter() - begin, 1)
        figures["mentions"] = float(workspace.library.reach(0).index.pass_ptr[-1])
        figures["index, MB"] = _size_mb(settings.workspace_folder / "index")
        figures["peak while building, MB"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
        figures |= _recall(workspace, asked)
        key = workspace.keys.create(Role.APP, None, "bench")[1]
    with Server(settings) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        headers = {"Authorization": f"Bearer {key}"}
        times = []
        for text in asked:
            begin = time.perf_counter()
            client.post("/v1/retrieve", json={"question": text}, headers=headers).raise_for_status()
            times.append((time.perf_counter() - begin) * 1000)
        figures["ready after, s"] = server.ready_after
        figures["resident, MB"] = server.resident_mb()
        figures |= {f"retrieve p{p}, ms": round(float(np.percentile(times[20:], p)), 2) for p in (50, 95, 99)}
    return figures


def _recall(workspace: Workspace, asked: Sequence[str]) -> dict[str, float]:
    """How much of the exact nearest ten the cells find, around the corpus's own vectors; and the stages' times."""
    state = workspace.snapshots.live()
    view, dense = workspace.library.view(state, LOCAL_OWNER)
    found = []
    rng = np.random.default_rng(1)
    for place in rng.integers(0, len(view.index), 50).tolist():
        vector = view.index.vectors[place] + 0.02 * rng.normal(size=view.index.vectors.shape[1]).astype(np.float32)
        vector /= np.linalg.norm(vector)
        exact = np.argpartition(-(view.index.vectors @ vector), 10)[:10]
        found.append(len(set(exact.tolist()) & set(dense.search(view, vector, 10)[0].tolist())) / 10)
    stages: dict[str, list[float]] = {}
    for text in asked:
        for name, milliseconds in workspace.searcher.search(text, state, LOCAL_OWNER, 10).timings_ms.items():
            stages.setdefault(name, []).append(milliseconds)
    times = {f"{name} p50, ms": round(float(np.median(values[20:])), 2) for name, values in stages.items()}
    return {"dense recall@10": round(float(np.mean(found)), 3)} | times


def _size_mb(folder: Path) -> float:
    return round(sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20, 1)


def main(sizes: Sequence[int]) -> int:
    """Measure each size, keep the figures beside those of other benchmarks, and print them."""
    target = HOME / "results.json"
    for size in sizes or SIZES:
        figures = measure(size)
        print(json.dumps(figures, indent=1))
        results = json.loads(target.read_text()) if target.is_file() else {}
        results["scale"] = results.get("scale", {}) | {str(size): figures}
        target.write_text(json.dumps(results, indent=1))
        if os.environ.get("KEEP_SCALE") is None:
            shutil.rmtree(Settings.load(home=HOME, workspace=f"scale_{size}").workspace_folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main([int(size.replace("_", "")) for size in sys.argv[1:]]))
