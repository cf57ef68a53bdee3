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
from contextlib import contextmanager
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
    """A corpus of `chunks` chunks and more after them, the same for the same size and seed."""

    def __init__(self, chunks: int, dimension: int) -> None:
        rng = np.random.default_rng(SEED)
        self._dimension = dimension
        self.chunks = chunks
        syllables = np.array([onset + vowel for onset in _ONSETS for vowel in _VOWELS])
        picks = rng.integers(0, len(syllables), (WORDS, 4))
        lengths = rng.integers(2, 5, WORDS)
        self._words = ["".join(syllables[row[:n]]) for row, n in zip(picks, lengths.tolist(), strict=True)]
        self._word_chance = _zipf(WORDS, 1.0)
        self._names = int(chunks * NAMES_EACH)
        self._name_chance = _zipf(self._names, 0.8)
        self._topics = rng.normal(size=(TOPICS, dimension)).astype(np.float32)

    def name(self, number: int) -> str:
        """The key of an entity: two words that depend on its number alone."""
        return f"{self._words[(number * 7919 + 13) % WORDS]} {self._words[(number * 104_729 + 7) % WORDS]}"

    def title(self, document: int) -> str:
        """A document is about one of the names, each of which has a document at most."""
        return self.name((document * 5) % self._names)

    def parts(self, low: int, high: int) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Chunks from `low` up to `high` in steps: the number of the first, and what each holds."""
        for begin in range(low, high, STEP):
            rng = np.random.default_rng([SEED, self.chunks, begin])
            count = min(STEP, high - begin)
            words = np.searchsorted(self._word_chance, rng.random((count, CHUNK_WORDS)))
            names = np.searchsorted(self._name_chance, rng.random((count, NAMES_A_CHUNK)))
            topic = ((np.arange(begin, begin + count) // DOCUMENT_CHUNKS) * 31) % TOPICS
            noise = rng.standard_normal((count, 1 + SENTENCES, self._dimension), np.float32)
            vectors = self._topics[topic][:, None, :] + np.float32(0.7) * noise
            vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
            yield begin, [self._chunk(words[i], names[i], vectors[i]) for i in range(count)]

    def _chunk(self, words: NDArray[Any], names: NDArray[Any], vectors: NDArray[np.float32]) -> dict[str, Any]:
        pieces = [self._words[word] for word in words.tolist()]
        step = CHUNK_WORDS // NAMES_A_CHUNK
        mentions: dict[tuple[int, int], str] = {}
        text = ""
        for number, name in enumerate(names.tolist()):
            text += " ".join(pieces[number * step : (number + 1) * step]) + " "
            key = self.name(name)
            mentions[len(text), len(text) + len(key)] = key
            text += key.title() + (". " if number % 5 == 4 else " ")
        middle = text.find(". ") + 2
        spans = np.array([[0, middle - 1], [middle, len(text) - 1]], "<i4")
        return {"text": text.strip(), "mentions": mentions, "vectors": vectors, "spans": spans, "pieces": pieces}


def _zipf(count: int, power: float) -> NDArray[np.float64]:
    """The cumulative chances of ranks: 1 / (rank + 2)^power."""
    chance: NDArray[np.float64] = np.cumsum((np.arange(count) + 2.0) ** -power)
    return chance / chance[-1]


class Store:
    """Puts chunks of a corpus into a workspace's store as documents that are visible."""

    def __init__(self, workspace: Workspace, corpus: Synthetic) -> None:
        self._workspace, self._corpus = workspace, corpus
        self._source = workspace.catalog.source_id("synthetic", "seeded")
        with workspace.database.read() as connection:
            self._entities: dict[str, int] = dict(connection.exec_driver_sql("SELECT key, id FROM entity").all())

    def fill(self, low: int, high: int) -> list[str]:
        """Store chunks `[low, high)`, whole documents; some questions about them."""
        asked: list[str] = []
        for begin, chunks in self._corpus.parts(low, high):
            rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _INSERTS}
            for number, made in enumerate(chunks, start=begin):
                document, ordinal = divmod(number, DOCUMENT_CHUNKS)
                title = self._corpus.title(document)
                if ordinal == 0:
                    _document_rows(rows, document + 1, self._source, self._workspace.recipe, title)
                _chunk_rows(rows, number + 1, ordinal, made, self._entities, title)
                if number % max(1, (high - low) // ASKED) == 0:
                    asked.append(_question(made))
            with self._workspace.database.write() as connection:
                for name, statement in _INSERTS.items():
                    if rows[name]:
                        connection.exec_driver_sql(statement, rows[name])
            print(f"  stored {begin + len(chunks):,} of {high:,} chunks", end="\r", file=sys.stderr)
        print(file=sys.stderr)
        documents = range(low // DOCUMENT_CHUNKS + 1, high // DOCUMENT_CHUNKS + 1)
        self._workspace.snapshots.publish("synthetic", documents, ())
        return asked


def _question(made: dict[str, Any]) -> str:
    names = list(made["mentions"].values())
    return f"Which {' '.join(made['pieces'][:4])} did {names[0].title()} have with {names[1].title()}?"


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
            (row - 1) // DOCUMENT_CHUNKS + 1,
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
    """Make, index and ask a corpus of one size, and add a hundredth to it."""
    settings = Settings.load(home=HOME, workspace=f"scale_{chunks}")
    shutil.rmtree(settings.workspace_folder, ignore_errors=True)
    with Workspace(settings) as workspace:
        store = Store(workspace, Synthetic(chunks, workspace.embedder.dimension))
        figures: dict[str, float] = {"chunks": chunks}
        with _timed(figures, "made in, s"):
            asked = store.fill(0, chunks)
        figures |= index(workspace) | _recall(workspace, asked)
        key = workspace.keys.create(Role.APP, None, "bench")[1]
    figures |= serve(settings, key, asked)
    with Workspace(settings) as workspace:
        figures |= grow(workspace, chunks)
    return figures


def index(workspace: Workspace) -> dict[str, float]:
    """Build the index of what is stored."""
    figures: dict[str, float] = {}
    with _timed(figures, "index built in, s"):
        workspace.library.update(lambda done: print(f"  indexed {done:,} chunks", end="\r", file=sys.stderr))
    print(file=sys.stderr)
    return figures | {
        "mentions": float(workspace.library.reach(0).index.pass_ptr[-1]),
        "index, MB": _size_mb(workspace.settings.workspace_folder / "index"),
        "peak while building, MB": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def serve(settings: Settings, key: str, asked: Sequence[str]) -> dict[str, float]:
    """Ask a real server over HTTP, one question at a time."""
    with Server(settings) as server, httpx.Client(base_url=server.url, timeout=60) as client:
        times = []
        for text in asked:
            begin = time.perf_counter()
            answer = client.post("/v1/retrieve", json={"question": text}, headers={"Authorization": f"Bearer {key}"})
            answer.raise_for_status()
            times.append((time.perf_counter() - begin) * 1000)
        figures = {"ready after, s": server.ready_after, "resident, MB": server.resident_mb()}
    return figures | {f"retrieve p{p}, ms": round(float(np.percentile(times[20:], p)), 2) for p in (50, 95, 99)}


def grow(workspace: Workspace, chunks: int) -> dict[str, float]:
    """Add a hundredth, and see what indexing it and the next question's view cost; then withdraw it again."""
    workspace.library.view(workspace.snapshots.live(), LOCAL_OWNER)
    more = int(chunks * CHANGED) // DOCUMENT_CHUNKS * DOCUMENT_CHUNKS
    store = Store(workspace, Synthetic(chunks, workspace.embedder.dimension))
    store.fill(chunks, chunks + more)
    figures: dict[str, float] = {"added": more}
    before = _files(workspace)
    with _timed(figures, "index grown in, s"):
        workspace.library.update()
    figures["index written, MB"] = _written_mb(before, _files(workspace))
    with _timed(figures, "view renewed in, s"):
        workspace.library.view(workspace.snapshots.live(), LOCAL_OWNER)
    first, last = chunks // DOCUMENT_CHUNKS + 1, (chunks + more) // DOCUMENT_CHUNKS
    workspace.snapshots.publish("withdrawn", (), range(first, last + 1))
    with _timed(figures, "view renewed after removal in, s"):
        workspace.library.view(workspace.snapshots.live(), LOCAL_OWNER)
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


@contextmanager
def _timed(figures: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    figures[name] = round(time.perf_counter() - begin, 3)


def _files(workspace: Workspace) -> dict[Path, int]:
    """The size of every file of an index."""
    folder = workspace.settings.workspace_folder / "index"
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def _written_mb(before: dict[Path, int], after: dict[Path, int]) -> float:
    """What was added to files that only grow, and all of those that are new."""
    return round(sum(size - before.get(path, 0) for path, size in after.items()) / 2**20, 2)


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
