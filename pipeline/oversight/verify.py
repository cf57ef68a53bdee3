"""Checking that what is stored is what was stored: texts, chunks, indexes, and the record of every answer."""

from __future__ import annotations

import json
from collections.abc import Iterator

from kernel.ids import sha256
from kernel.records import Fault
from kernel.storage.answers import Answers, leaf_hash
from kernel.storage.checks import stored_chunks, stored_texts, structure_faults
from kernel.storage.database import Database
from retrieval.shelf import Shelf


class Verifier:
    """Reads everything and changes nothing."""

    def __init__(self, database: Database, answers: Answers, shelf: Shelf) -> None:
        self._database = database
        self._answers = answers
        self._shelf = shelf

    def faults(self) -> Iterator[Fault]:
        """Everything that is wrong, the store first, then indexes, then answers; empty where all is well."""
        yield from structure_faults(self._database)
        yield from self._text_faults()
        yield from self._shelf.faults()
        yield from self._answer_faults()

    def _text_faults(self) -> Iterator[Fault]:
        chunks = stored_chunks(self._database)
        waiting = next(chunks, None)
        for revision_id, text, expected in stored_texts(self._database):
            if sha256(text) != expected:
                yield Fault(f"revision {revision_id}", "its text does not match its SHA-256")
            while waiting is not None and waiting[0] == revision_id:
                _, chunk_id, start, end, piece = waiting
                if text[start:end] != piece:
                    yield Fault(f"chunk {chunk_id}", "its text is not the slice of its revision that it says it is")
                waiting = next(chunks, None)

    def _answer_faults(self) -> Iterator[Fault]:
        for expected, row in enumerate(self._answers.rows()):
            name = f"answer {row.id}"
            if row.number != expected:
                yield Fault(name, f"has index {row.number} where {expected} is due: a record is missing")
                return
            if leaf_hash(row.body, row.run) != row.leaf_sha256:
                yield Fault(name, "its record does not match its leaf hash")
                continue
            body = json.loads(row.body)
            columns = (
                row.id,
                row.status,
                row.question,
                row.snapshot,
                row.prompt_sha256,
                row.created_at,
                row.confidence,
            )
            kept = (
                body["id"],
                body["status"],
                body["question"],
                body["retrieval"]["snapshot"],
                body["prompt"]["sha256"],
                body["created_at"],
                body["confidence"],
            )
            if columns != kept or json.loads(row.run)["principal"]["id"] != row.principal:
                yield Fault(name, "its columns do not say what its record says")
