"""Small revisions to store: one chunk a line, each with a mention, a relation and vectors of four dimensions."""

from __future__ import annotations

import numpy as np

from ingest.similar import signature
from kernel.ids import sha256
from kernel.records import ChunkDraft, Mention, MentionKind, PromptVersion, Relation, Span, StoredChunk, StoredRevision

RECIPE = "rcp_test"
DIMENSION = 4
PROMPT = PromptVersion("test", 1, sha256("template"), "production", "template")


def revision(
    path: str, text: str = "Alpha knows Beta.\nBeta knows Gamma.", *, groups: tuple[str, ...] | None = None
) -> StoredRevision:
    """A revision of that path and text."""
    return StoredRevision(
        path=path,
        external_id=None,
        content_sha256=sha256(text),
        media_type="text/plain",
        title=f"Title of {path}",
        uri=f"file:///{path}",
        text=text,
        reason=None,
        details={"metadata": {"ü": 1}, "groups": groups},
        groups=groups,
        chunks=chunks(text),
    )


def failed(path: str, reason: str = "is empty") -> StoredRevision:
    """A revision of a file that could not become text."""
    return StoredRevision(path, None, sha256(reason), "application/pdf", path, "", "", reason, {}, None)


def chunks(text: str) -> tuple[StoredChunk, ...]:
    """One chunk a line that is not blank."""
    found: list[StoredChunk] = []
    start = 0
    for line in text.split("\n"):
        if line.strip():
            found.append(_chunk(len(found), start, line))
        start += len(line) + 1
    return tuple(found)


def _chunk(ordinal: int, start: int, line: str) -> StoredChunk:
    key = line.split()[0].casefold()
    vector = np.zeros(DIMENSION, "<f4")
    vector[ordinal % DIMENSION] = 1.0
    return StoredChunk(
        draft=ChunkDraft(ordinal, start, start + len(line), line, ("Heading",), 1, (Span(0, len(line)),)),
        vector=vector.tobytes(),
        sentence_vectors=vector.astype("<f2").tobytes(),
        signature=signature(line).astype("<u4").tobytes(),
        mentions=(Mention(key, MentionKind.NAME, 0, len(key)), Mention("topic", MentionKind.TITLE, 0, 0)),
        relations=(Relation(key, "knows", "somebody", 0, len(line)),),
    )


def answer_body(answer_id: str, question: str = "Who knows Beta?", snapshot: int = 1) -> dict[str, object]:
    """The least that a record of an answer holds."""
    return {
        "id": answer_id,
        "status": "answered",
        "question": question,
        "answer": "Alpha. [c1]",
        "confidence": 0.5,
        "retrieval": {"snapshot": snapshot},
        "prompt": {"sha256": PROMPT.sha256},
        "created_at": "2026-01-02T03:04:05.000006+00:00",
    }
