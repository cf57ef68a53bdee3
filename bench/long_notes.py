"""A set's passages as long lower-case notes without titles, several passages of like content in each.

Benchmark sets are lists of short passages; what people keep are documents of many chunks, each beside others on the
same subject. So each note is made of a passage and those nearest to it in meaning that no other note has taken. Which
passages there are, and which stand together, follows from their ids and vectors alone. Copies are written to the
benchmark home, never to the project.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from api.assembly import Workspace
from bench.data import ROOT, SETS, questions
from kernel.ids import sha256
from kernel.records import LOCAL_OWNER

KEPT = 2500
"""Passages of a set that notes are made of: those that answer its questions, and others drawn by their ids."""
LEAST, MOST = 2, 24
"""Passages of one note; how many there are is drawn, few more often than many."""
HELD = 0.5
"""Share of a passage, or of a chunk, that the other must hold for the chunk to be found as the passage."""


def write_long_notes(name: str, workspace: Workspace, target: Path) -> Path:
    """The notes of a set as records of id and text; `workspace` holds the set's passages, whose vectors are used."""
    texts = _texts(name)
    vectors = _vectors(workspace)
    ids = _kept(name, [one for one in texts if one in vectors])
    notes = [[texts[one] for one in group] for group in groups({one: vectors[one] for one in ids})]
    lines = [json.dumps({"id": f"note {number}", "text": "\n\n".join(note)}) for number, note in enumerate(notes)]
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return target


def groups(vectors: Mapping[str, NDArray[np.float32]]) -> list[list[str]]:
    """Ids in groups: one that is free, in the order of their hashes, and its nearest that are free, shuffled."""
    order = sorted(vectors, key=sha256_of)
    matrix = np.stack([vectors[one] for one in order]).astype(np.float64)
    free = np.ones(len(order), np.bool_)
    found = []
    for first, one in enumerate(order):
        if free[first]:
            source = random.Random(sha256_of(one))
            size = int(LEAST * (MOST / LEAST) ** source.random())
            near = np.where(free, np.round(matrix @ matrix[first], 5), -2.0)
            near[first] = 2.0
            chosen = np.argsort(-near, kind="stable")[: min(size, int(free.sum()))].tolist()
            free[chosen] = False
            source.shuffle(chosen)
            found.append([order[place] for place in chosen])
    return found


def passages_in(name: str, workspace: Workspace) -> dict[int, frozenset[str]]:
    """By row of each visible chunk, the ids of the set's passages that it is found as."""
    state = workspace.snapshots.live()
    view, _ = workspace.library.view(state, LOCAL_OWNER)
    id_of = {text: one for one, text in _texts(name).items()}
    chunks = workspace.corpus.passages(view.index.chunk_id[view.mask].tolist())
    parts: dict[str, list[tuple[int, int, str]]] = {}
    for document in workspace.catalog.documents(state.snapshot, LOCAL_OWNER, limit=1_000_000):
        begin = 0
        for text in workspace.catalog.text(document.id, document.revision).split("\n\n"):
            if text.strip() in id_of:
                parts.setdefault(document.id, []).append((begin, begin + len(text), id_of[text.strip()]))
            begin += len(text) + 2
    return {
        row: frozenset(
            one
            for start, end, one in parts.get(chunk.document_id, ())
            if min(end, chunk.end) - max(start, chunk.start) >= HELD * min(end - start, chunk.end - chunk.start)
        )
        for row, (chunk, _) in chunks.items()
    }


def sha256_of(text: str) -> str:
    """The hash that stands for a passage's id where an order must say nothing about it."""
    return sha256(text)


def _texts(name: str) -> dict[str, str]:
    """The passages by id, in lower case and on one line; of equal ones the first by id."""
    with gzip.open(ROOT / SETS[name] / "corpus.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file if line.strip()]
    rows.sort(key=lambda row: str(row["id"]), reverse=True)
    found = {" ".join(row["text"].lower().split()): str(row["id"]) for row in rows}
    return {one: text for text, one in sorted(found.items(), key=lambda pair: pair[1]) if text}


def _kept(name: str, ids: list[str]) -> list[str]:
    wanted = frozenset().union(*(one.supporting for one in questions(name)))
    return sorted(ids, key=lambda one: (one not in wanted, sha256_of(one)))[: max(KEPT, len(wanted))]


def _vectors(workspace: Workspace) -> dict[str, NDArray[np.float32]]:
    """The vector of the first chunk of each record, by the record's id."""
    state = workspace.snapshots.live()
    index = workspace.library.view(state, LOCAL_OWNER)[0].index
    ids = workspace.catalog.external_ids(state.snapshot)
    first = np.flatnonzero(index.ordinal == index.ordinal.min())
    rows = zip(first.tolist(), index.document_id[first].tolist(), strict=True)
    return {ids[document]: index.vectors[place] for place, document in rows if document in ids}
